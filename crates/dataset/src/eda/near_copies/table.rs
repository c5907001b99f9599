//! Views ordered by a part of their hashes.

use std::ops::Range;

use collective::part;
use rayon::prelude::*;

use super::outline::{Coarse, Half};
use super::views::View;

/// High bits by which views are put into groups, at most: so few that the pages that are written to in turn, two for each
/// group, fit in the processor's TLB, and so many that a group of a million views fits in its second-level cache.
const HIGH: usize = 9;

/// The views, those with the same value of a part next to each other.
#[derive(Default)]
pub(super) struct Table {
    bits: usize,
    /// Where the views of each value begin; one more at the end.
    starts: Vec<u32>,
    /// In their order before, for each value.
    pub(super) views: Vec<View>,
    /// Their coarse outlines in the same order.
    pub(super) sums: Vec<Half>,
    pub(super) differences: Vec<Half>,
    /// The views in groups, while the table is made, and their outlines.
    rows: Vec<Row>,
    outlines: Vec<Coarse>,
}

/// A view with its value.
#[derive(Clone, Copy, Default)]
struct Row {
    value: u32,
    view: View,
}

/// The views whose values have the same high bits.
struct Group<'t> {
    /// Its views, and the place of the first.
    rows: &'t [Row],
    outlines: &'t [Coarse],
    first: u32,
    /// What of the table is theirs; for each value, where its views end.
    ends: &'t mut [u32],
    views: &'t mut [View],
    sums: &'t mut [Half],
    differences: &'t mut [Half],
}

/// Some views, and for each group the places that are theirs.
struct Segment<'t> {
    views: Range<usize>,
    rows: Vec<&'t mut [Row]>,
    outlines: Vec<&'t mut [Coarse]>,
}

impl Table {
    /// Makes it anew, in the memory that it has, because the system would have to map and clear new memory. `values` has
    /// the values of `bits` bits of some of the views, which are fewer than 2³².
    ///
    /// They are first put into groups by the high bits, and each group then in order: at no time to so many places that
    /// the processor's caches would not have them. Outlines go along, because reading them here and there afterwards would
    /// miss the caches for each, the more so the more there are.
    pub(super) fn make<V: Iterator<Item = u32>>(
        &mut self,
        bits: usize,
        values: impl Fn(Range<usize>) -> V + Sync,
        all: &[View],
        outline: impl Fn(View) -> Coarse + Sync,
    ) {
        let low = bits.saturating_sub(HIGH);
        let high = |value: u32| (value >> low) as usize;
        let n = rayon::current_num_threads();
        let segments = (0..n).into_par_iter().map(|i| part(all.len(), i, n));
        let counted = segments.map(|views| {
            let mut counts = vec![0; 1 << (bits - low)];
            values(views.clone()).for_each(|v| counts[high(v)] += 1);
            (views, counts)
        });
        let counted: Vec<(Range<usize>, Vec<u32>)> = counted.collect();
        self.resize(bits, all.len());
        self.segments(&counted).into_par_iter().for_each(|segment| {
            let views = segment.views.clone();
            let valued = values(views.clone()).zip(&all[views]);
            segment.fill(valued, high, &outline);
        });
        let mut starts = vec![0; (1 << (bits - low)) + 1];
        for (_, counts) in &counted {
            let sums = starts[1..].iter_mut().zip(counts);
            sums.for_each(|(sum, count)| *sum += count);
        }
        (1..starts.len()).for_each(|group| starts[group] += starts[group - 1]);
        self.groups(low, &starts)
            .into_par_iter()
            .for_each(Group::order);
    }

    fn resize(&mut self, bits: usize, views: usize) {
        self.bits = bits;
        self.starts.resize((1 << bits) + 1, 0);
        fit(&mut self.views, views);
        fit(&mut self.sums, views);
        fit(&mut self.differences, views);
        fit(&mut self.rows, views);
        fit(&mut self.outlines, views);
    }

    /// The places of each group, in the order of the segments.
    fn segments(&mut self, counted: &[(Range<usize>, Vec<u32>)]) -> Vec<Segment<'_>> {
        let (mut rows, mut outlines) = (self.rows.as_mut_slice(), self.outlines.as_mut_slice());
        let segment = |(views, _): &(Range<usize>, Vec<u32>)| Segment {
            views: views.clone(),
            rows: vec![],
            outlines: vec![],
        };
        let mut segments: Vec<Segment<'_>> = counted.iter().map(segment).collect();
        let groups = counted.first().map_or(0, |(_, counts)| counts.len());
        for group in 0..groups {
            for (segment, (_, counts)) in segments.iter_mut().zip(counted) {
                let len = counts[group] as usize;
                segment.rows.extend(rows.split_off_mut(..len));
                segment.outlines.extend(outlines.split_off_mut(..len));
            }
        }
        segments
    }

    fn groups(&mut self, low: usize, starts: &[u32]) -> Vec<Group<'_>> {
        let (mut rows, mut outlines) = (self.rows.as_slice(), self.outlines.as_slice());
        let mut views = self.views.as_mut_slice();
        let (mut sums, mut differences) =
            (self.sums.as_mut_slice(), self.differences.as_mut_slice());
        let groups = starts
            .windows(2)
            .zip(self.starts[1..].chunks_exact_mut(1 << low));
        let group = |(range, ends)| {
            let range: &[u32] = range;
            let len = (range[1] - range[0]) as usize;
            Some(Group {
                rows: rows.split_off(..len)?,
                outlines: outlines.split_off(..len)?,
                first: range[0],
                ends,
                views: views.split_off_mut(..len)?,
                sums: sums.split_off_mut(..len)?,
                differences: differences.split_off_mut(..len)?,
            })
        };
        groups.map_while(group).collect()
    }

    /// Bits of a value.
    pub(super) fn bits(&self) -> usize {
        self.bits
    }

    /// Where the views of a value are.
    pub(super) fn of(&self, value: usize) -> Range<usize> {
        self.starts[value] as usize..self.starts[value + 1] as usize
    }

    /// Where the views of neighbouring values are.
    pub(super) fn of_range(&self, values: &Range<usize>) -> Range<usize> {
        self.starts[values.start] as usize..self.starts[values.end] as usize
    }
}

impl Segment<'_> {
    /// Puts each view, with its value, into the group that `high` gives.
    fn fill<'v>(
        mut self,
        valued: impl Iterator<Item = (u32, &'v View)>,
        high: impl Fn(u32) -> usize,
        outline: impl Fn(View) -> Coarse,
    ) {
        let mut next = vec![0; self.rows.len()];
        for (value, &view) in valued {
            let group = high(value);
            let place = next[group];
            self.rows[group][place] = Row { value, view };
            self.outlines[group][place] = outline(view);
            next[group] += 1;
        }
    }
}

/// New elements are written by all threads: the system maps and clears their memory meanwhile, which takes longer.
fn fit<T: Default + Send>(elements: &mut Vec<T>, len: usize) {
    if elements.len() != len {
        let new = (0..len).into_par_iter().map(|_| T::default());
        new.collect_into_vec(elements);
    }
}

impl Group<'_> {
    fn order(self) {
        let low = |value: u32| value as usize & (self.ends.len() - 1);
        let mut next = vec![0; self.ends.len()];
        self.rows.iter().for_each(|row| next[low(row.value)] += 1);
        let mut start = 0;
        for n in &mut next {
            start += std::mem::replace(n, start);
        }
        for (row, coarse) in self.rows.iter().zip(self.outlines) {
            let next = &mut next[low(row.value)];
            let place = *next as usize;
            self.views[place] = row.view;
            self.sums[place] = coarse.sums;
            self.differences[place] = coarse.differences;
            *next += 1;
        }
        // Where the next view of a value would be, if it had another one.
        let ends = self.ends.iter_mut().zip(next);
        ends.for_each(|(end, next)| *end = self.first + next);
    }
}

#[cfg(test)]
mod tests {
    use random::Rng;

    use super::*;

    #[test]
    fn views_of_a_value_lie_together_in_their_order() {
        let (mut rng, mut table) = (Rng::stream(13, 13), Table::default());
        for (n, bits) in [(0, 1), (1, 1), (3, 2), (1000, 9), (5000, 11), (40, 20)] {
            let values: Vec<u32> = (0..n).map(|_| rng.below(1 << bits) as u32).collect();
            let view = |image| View {
                image,
                mirrored: image.is_multiple_of(3),
            };
            let views: Vec<View> = (0..n as u32).map(view).collect();
            let outline = |view: View| Coarse::filled(view.image as i16);
            table.make(bits, |range| values[range].iter().copied(), &views, outline);
            let mut expected: Vec<(u32, View)> = values.iter().copied().zip(views).collect();
            expected.sort_by_key(|(value, _)| *value);
            let mut found = vec![];
            for value in 0..1 << bits {
                found.extend(table.of(value).map(|at| (value as u32, table.views[at])));
            }
            assert_eq!(found, expected);
            let coarse = table.sums.iter().zip(&table.differences);
            let coarse = coarse.map(|(&sums, &differences)| Coarse { sums, differences });
            assert!(coarse.eq(table.views.iter().map(|view| outline(*view))));
        }
    }
}
