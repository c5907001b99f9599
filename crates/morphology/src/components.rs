//! Connected components.

use crate::Mask;

/// The connected components of a mask, numbered from 1 in the order in which their first pixels are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Components {
    /// The component of each pixel; 0 outside the mask.
    pub labels: Vec<u32>,
    /// Number of components.
    pub count: usize,
}

impl Mask<'_> {
    /// The mask's components under 4-connectivity, as in SciPy's `label`: pixels that touch only at corners are not
    /// connected, so a diagonal membrane separates two cells.
    pub fn components(self) -> Components {
        let mut labels = vec![0; self.pixels().len()];
        let (mut count, mut open) = (0, Vec::new());
        for first in 0..labels.len() {
            if self.pixels()[first] && labels[first] == 0 {
                count += 1;
                labels[first] = count;
                open.push(first);
                self.flood(&mut labels, count, &mut open);
            }
        }
        Components {
            labels,
            count: count as usize,
        }
    }

    /// Assigns `label` to all pixels that are connected with those in `open`.
    fn flood(self, labels: &mut [u32], label: u32, open: &mut Vec<usize>) {
        while let Some(i) = open.pop() {
            for next in self.neighbours(i).into_iter().flatten() {
                if self.pixels()[next] && labels[next] == 0 {
                    labels[next] = label;
                    open.push(next);
                }
            }
        }
    }

    /// The pixels above, below, to the left and to the right.
    fn neighbours(self, i: usize) -> [Option<usize>; 4] {
        let (row, column) = (i / self.width(), i % self.width());
        [
            (row > 0).then(|| i - self.width()),
            (row + 1 < self.height()).then(|| i + self.width()),
            (column > 0).then(|| i - 1),
            (column + 1 < self.width()).then(|| i + 1),
        ]
    }
}
