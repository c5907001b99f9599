//! Views ordered by a part of their hashes.

use std::ops::Range;

use rayon::prelude::*;

use super::outline::{Coarse, Half};
use super::views::View;

/// High bits by which views are put into groups, at most: so few that the pages that are written to in turn fit in the
/// processor's TLB.
const HIGH: usize = 10;

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
    /// The views in groups, while the table is made.
    rows: Vec<Row>,
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
    first: u32,
    /// What of the table is theirs; for each value, where its views end.
    ends: &'t mut [u32],
    views: &'t mut [View],
    sums: &'t mut [Half],
    differences: &'t mut [Half],
}

impl Table {
    /// Makes it anew, in the memory that it has, because the system would have to map and clear new memory. `values` has
    /// the value of `bits` bits of each of fewer than 2³² views.
    ///
    /// They are first put into groups by the high bits, and each group then in order: at no time to so many places that
    /// the processor's caches would not have them.
    pub(super) fn make(
        &mut self,
        bits: usize,
        values: impl Iterator<Item = u32> + Clone,
        all: &[View],
        outline: impl Fn(View) -> Coarse + Sync,
    ) {
        let low = bits.saturating_sub(HIGH);
        let high = |value: u32| (value >> low) as usize;
        let mut starts = vec![0; (1 << (bits - low)) + 1];
        values.clone().for_each(|v| starts[high(v) + 1] += 1);
        (1..starts.len()).for_each(|group| starts[group] += starts[group - 1]);
        let mut next = starts.clone();
        self.resize(bits, all.len());
        for (value, &view) in values.zip(all) {
            let place = &mut next[high(value)];
            self.rows[*place as usize] = Row { value, view };
            *place += 1;
        }
        self.groups(low, &starts)
            .into_par_iter()
            .for_each(|group| group.order(&outline));
    }

    fn resize(&mut self, bits: usize, views: usize) {
        self.bits = bits;
        self.starts.resize((1 << bits) + 1, 0);
        self.views.resize(views, View::default());
        self.sums.resize(views, Half::default());
        self.differences.resize(views, Half::default());
        self.rows.resize(views, Row::default());
    }

    fn groups(&mut self, low: usize, starts: &[u32]) -> Vec<Group<'_>> {
        let (mut rows, mut views) = (self.rows.as_slice(), self.views.as_mut_slice());
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

impl Group<'_> {
    fn order(self, outline: impl Fn(View) -> Coarse) {
        let low = |value: u32| value as usize & (self.ends.len() - 1);
        let mut next = vec![0; self.ends.len()];
        self.rows.iter().for_each(|row| next[low(row.value)] += 1);
        let mut start = 0;
        for n in &mut next {
            start += std::mem::replace(n, start);
        }
        for row in self.rows {
            let place = &mut next[low(row.value)];
            self.views[*place as usize] = row.view;
            *place += 1;
        }
        // In a loop of its own: reads of outlines miss the caches, but none has to wait for another one.
        for ((view, sums), differences) in self.views.iter().zip(self.sums).zip(self.differences) {
            let coarse = outline(*view);
            (*sums, *differences) = (coarse.sums, coarse.differences);
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
            table.make(bits, values.iter().copied(), &views, outline);
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
