//! Distribution of tiles over Rayon's current pool. Tiles depend on the shapes alone, never on the number of threads.

use crate::team;
use rayon::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Values an element-wise task handles: 64 KiB of each operand, so that a task's data stay in the second-level cache.
pub(crate) const CHUNK: usize = 16 * 1024;

/// Runs many parallel operations after one another on one of the pool's own threads, with the others as its team: for each
/// operation on its own, threads would have to be woken and waited for, which takes longer than many operations do.
pub fn in_pool<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    match rayon::current_num_threads() {
        1 => rayon::scope(|_| work()),
        _ => team::lead(work),
    }
}

/// Calls `task(0)` to `task(count − 1)`, in parallel if there is more than one.
pub(crate) fn for_each(count: usize, task: impl Fn(usize) + Sync + Send) {
    if count == 1 {
        return task(0);
    }
    if !team::run(count, &task) {
        (0..count).into_par_iter().with_max_len(1).for_each(task);
    }
}

/// Number of tasks that can run at a time.
pub(crate) fn workers() -> usize {
    rayon::current_num_threads()
}

/// Like [`for_each`], with `len` values of working space for each task that runs: as many run at a time as `scratch`
/// has room for.
pub(crate) fn for_each_with(
    count: usize,
    scratch: &mut [f32],
    len: usize,
    task: impl Fn(usize, &mut [f32]) + Sync + Send,
) {
    if len == 0 {
        return for_each(count, |index| task(index, &mut []));
    }
    let next = AtomicUsize::new(0);
    let work = |scratch: &mut [f32]| {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return;
            }
            task(index, scratch);
        }
    };
    let workers = workers().min(count).min(scratch.len() / len);
    if workers <= 1 {
        return work(&mut scratch[..len]);
    }
    let scratch = Shared::new(scratch);
    for_each(workers, |worker| {
        // SAFETY: each worker has its own.
        work(unsafe { scratch.part(worker * len..(worker + 1) * len) });
    });
}

/// The `index`-th of `count` nearly equal ranges that make up `0..len`.
pub(crate) fn part(len: usize, count: usize, index: usize) -> std::ops::Range<usize> {
    len * index / count..len * (index + 1) / count
}

/// An output that tasks write in parallel.
#[derive(Clone, Copy)]
pub(crate) struct Shared<'a, T> {
    data: *mut T,
    len: usize,
    borrow: std::marker::PhantomData<&'a mut [T]>,
}

// SAFETY: the pointer represents a `&mut [T]`; the caller of `part` guarantees that parts do not overlap.
unsafe impl<T: Send> Send for Shared<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Self {
            data: slice.as_mut_ptr(),
            len: slice.len(),
            borrow: std::marker::PhantomData,
        }
    }

    pub(crate) fn pointer(&self) -> *mut T {
        self.data
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The values in `range`.
    ///
    /// # Safety
    /// No other part in use at the same time overlaps it.
    pub(crate) unsafe fn part(&self, range: std::ops::Range<usize>) -> &'a mut [T] {
        assert!(
            range.start <= range.end && range.end <= self.len,
            "part {range:?} of {} values",
            self.len
        );
        // SAFETY: within the slice; the caller guarantees that it overlaps no other part.
        unsafe { std::slice::from_raw_parts_mut(self.data.add(range.start), range.len()) }
    }
}

/// An input that tasks read value by value, and which may be the output itself.
#[derive(Clone, Copy)]
pub(crate) struct Source<T>(pub(crate) *const T);

// SAFETY: only read, and only values that no other task writes.
unsafe impl<T: Sync> Send for Source<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Source<T> {}
