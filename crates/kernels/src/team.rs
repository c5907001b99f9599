//! Threads of the pool that stay together for a whole pass over a network.
//!
//! Rayon wakes a sleeping thread for an operation, and puts it to sleep again soon after: each takes tens of microseconds,
//! as much as a small operation. A team's members instead wait for its next operation without sleeping. Each operation's
//! tasks are claimed one by one, so that a member that comes late, because it was busy with something else, is not waited
//! for.

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Mutex, PoisonError};

type Task<'a> = dyn Fn(usize) + Sync + 'a;

/// Checks for an operation between two looks at what else the pool has to do; some tens of microseconds. More than it takes
/// the other threads to wake and join.
const CHECKS: u32 = 2_000;

thread_local! {
    /// The team that the current thread leads, unless it is running a task.
    static LED: Cell<*const Team> = const { Cell::new(std::ptr::null()) };
}

/// Runs `work` on a thread of the pool, with the others as its team.
pub(super) fn lead<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    let team = Team::default();
    let team = &team;
    rayon::scope(|scope| {
        let leader = rayon::current_thread_index();
        for _ in 1..rayon::current_num_threads() {
            // One that no other thread has taken by the end of the pass comes back to the leader.
            scope.spawn(move |_| {
                if rayon::current_thread_index() != leader {
                    team.help();
                }
            });
        }
        let _over = Over(team);
        let _led = Led::new(team);
        work()
    })
}

/// Calls `task(0)` to `task(count − 1)` on the team that this thread leads; `false` if it leads none.
pub(super) fn run(count: usize, task: &Task<'_>) -> bool {
    let team = LED.get();
    if team.is_null() {
        return false;
    }
    // A task that has tasks of its own leaves them to Rayon.
    let _busy = Led::new(std::ptr::null());
    // SAFETY: `lead` keeps the team alive for as long as this thread leads it.
    unsafe { (*team).run(count, task) };
    true
}

/// The current thread leads this team until the end of the scope.
struct Led(*const Team);

impl Led {
    fn new(team: *const Team) -> Self {
        Led(LED.replace(team))
    }
}

impl Drop for Led {
    fn drop(&mut self) {
        LED.set(self.0);
    }
}

/// Releases the members, also when the leader panics.
struct Over<'a>(&'a Team);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Release);
    }
}

/// An operation, whose task the leader keeps alive while any member is inside.
#[derive(Clone, Copy)]
struct Operation {
    task: *const Task<'static>,
    count: usize,
}

#[derive(Default)]
struct Team {
    /// Written by the leader while the team is closed and nobody is inside.
    operation: UnsafeCell<Option<Operation>>,
    /// The first task that nobody has claimed, and the number of tasks.
    next: AtomicUsize,
    count: AtomicUsize,
    /// Whether members may come in, and how many are.
    open: AtomicBool,
    inside: AtomicUsize,
    /// Whether the pass has ended.
    over: AtomicBool,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

// SAFETY: only `operation` is not `Sync`. It is written while nobody is inside and read only from inside; its task is `Sync`.
unsafe impl Sync for Team {}
// SAFETY: nothing belongs to a thread.
unsafe impl Send for Team {}

/// Closes an operation, also when the leader's own task panics.
struct Closing<'a>(&'a Team);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        // A member is counted before it looks whether the team is open: it is either waited for or sees that it is not.
        self.0.open.store(false, SeqCst);
        while self.0.inside.load(SeqCst) > 0 {
            std::hint::spin_loop();
        }
    }
}

impl Team {
    fn run(&self, count: usize, task: &Task<'_>) {
        // SAFETY: only the lifetime changes; `Closing` waits until no member can call the task any more.
        let task = unsafe { std::mem::transmute::<*const Task<'_>, *const Task<'static>>(task) };
        let operation = Operation { task, count };
        // SAFETY: the last operation was closed, so that nobody is inside.
        unsafe { *self.operation.get() = Some(operation) };
        self.count.store(count, Relaxed);
        self.next.store(0, Relaxed);
        self.open.store(true, SeqCst);
        let closing = Closing(self);
        self.work(operation);
        drop(closing);
        let mut panic = self.panic.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(panic) = panic.take() {
            resume_unwind(panic);
        }
    }

    /// Runs tasks until all are claimed.
    fn work(&self, operation: Operation) {
        loop {
            let index = self.next.fetch_add(1, Relaxed);
            if index >= operation.count {
                return;
            }
            // SAFETY: called by the leader or from inside, while `run` keeps the task alive.
            unsafe { (*operation.task)(index) };
        }
    }

    /// A member: works on every operation of the pass, and on what else the pool has to do while there is none.
    fn help(&self) {
        let mut checks = 0u32;
        while !self.over.load(Acquire) {
            if self.join() {
                checks = 0;
                continue;
            }
            std::hint::spin_loop();
            checks += 1;
            if checks.is_multiple_of(CHECKS) && rayon::yield_now() != Some(rayon::Yield::Executed) {
                // The processor may be needed by another process.
                std::thread::yield_now();
            }
        }
    }

    /// Works on the current operation; `false` if there is nothing to do.
    fn join(&self) -> bool {
        if !self.open.load(Relaxed) || self.next.load(Relaxed) >= self.count.load(Relaxed) {
            return false;
        }
        self.inside.fetch_add(1, SeqCst);
        let open = self.open.load(SeqCst);
        if open {
            // SAFETY: inside an open team, where the leader does not write.
            let operation = unsafe { *self.operation.get() };
            let work = AssertUnwindSafe(|| {
                if let Some(operation) = operation {
                    self.work(operation);
                }
            });
            if let Err(panic) = catch_unwind(work) {
                let mut first = self.panic.lock().unwrap_or_else(PoisonError::into_inner);
                first.get_or_insert(panic);
            }
        }
        self.inside.fetch_sub(1, Release);
        open
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rayon::prelude::*;

    fn on(threads: usize, work: impl FnOnce() + Send) {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap().install(work);
    }

    fn each_once(count: usize) {
        let calls: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
        assert!(run(count, &|i| {
            calls[i].fetch_add(1, Relaxed);
        }));
        assert!(calls.iter().all(|calls| calls.load(Relaxed) == 1));
    }

    #[test]
    fn every_task_runs_once_in_each_of_many_operations() {
        for threads in [1, 2, 5] {
            on(threads, || {
                lead(|| (0..3_000).for_each(|i| each_once(i % 37)));
            });
        }
    }

    #[test]
    fn members_take_part() {
        on(2, || {
            lead(|| {
                let other = AtomicBool::new(false);
                let leader = std::thread::current().id();
                // The leader's task ends when a member's has begun.
                run(2, &|_| match std::thread::current().id() == leader {
                    true => {
                        while !other.load(Acquire) {
                            std::thread::yield_now();
                        }
                    }
                    false => other.store(true, Release),
                });
            });
        });
    }

    #[test]
    fn without_a_leader_and_within_a_task_there_is_no_team() {
        assert!(!run(3, &|_| ()));
        on(3, || {
            lead(|| {
                run(8, &|_| assert!(!run(2, &|_| ())));
                each_once(4);
            });
            assert!(!run(3, &|_| ()));
        });
    }

    #[test]
    fn a_panic_reaches_the_leader_and_the_team_goes_on() {
        on(2, || {
            lead(|| {
                for bad in [0, 7] {
                    let result = catch_unwind(AssertUnwindSafe(|| {
                        run(8, &|i| assert!(i != bad, "task {i}"));
                    }));
                    assert!(result.is_err());
                    each_once(8);
                }
            });
            let result = catch_unwind(|| lead(|| panic!("the leader")));
            assert!(result.is_err());
        });
    }

    /// Passes on all threads at a time, each with a team of the same pool.
    #[test]
    fn teams_share_a_pool() {
        on(3, || {
            (0..12).into_par_iter().for_each(|_| {
                lead(|| (0..200).for_each(|i| each_once(i % 9)));
            });
        });
    }
}
