//! Which positions a window reads, along one axis.

/// The direction in which the window is applied.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// Reads `x`, writes `y`.
    Forward,
    /// Reads `dy`, writes `dx`.
    Backward,
}

/// How the positions that are read relate to those that are written, along one axis.
///
/// Written positions fall into classes by their remainder modulo `classes`; the `j`-th of a class reads, through each
/// of the class's taps, position `start + j · step`.
#[derive(Clone, Copy)]
pub(super) struct Axis {
    pub(super) direction: Direction,
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) pad: usize,
    pub(super) read: usize,
    pub(super) written: usize,
}

impl Axis {
    pub(super) fn classes(self) -> usize {
        if self.direction == Direction::Forward {
            1
        } else {
            // Classes beyond the last position are empty.
            self.stride.min(self.written.max(1))
        }
    }

    pub(super) fn step(self) -> usize {
        if self.direction == Direction::Forward {
            self.stride
        } else {
            1
        }
    }

    /// Where tap `k` of the first position of `class` reads, if the class has that tap; may be negative.
    pub(super) fn start(self, class: usize, k: usize) -> Option<isize> {
        match self.direction {
            Direction::Forward => Some(k as isize - self.pad as isize),
            Direction::Backward => {
                let at = (class + self.pad) as isize - k as isize;
                let stride = self.stride as isize;
                (at % stride == 0).then_some(at / stride)
            }
        }
    }

    /// Where tap `k` of written position `at` reads, if inside.
    pub(super) fn source(self, at: usize, k: usize) -> Option<usize> {
        let start = self.start(at % self.classes(), k)?;
        let position = start + (at / self.classes() * self.step()) as isize;
        (position >= 0 && (position as usize) < self.read).then_some(position as usize)
    }

    /// Number of positions in a class.
    pub(super) fn count(self, class: usize) -> usize {
        (self.written.saturating_sub(class)).div_ceil(self.classes())
    }

    /// The class's taps, so that neighbouring ones read neighbouring positions in ascending order: the first, the
    /// distance to the next, and their number.
    pub(super) fn ascending(self, class: usize) -> (usize, isize, usize) {
        let taps = || (0..self.kernel).filter(|&k| self.start(class, k).is_some());
        let (first, distance) = match self.direction {
            Direction::Forward => (taps().next(), 1),
            Direction::Backward => (taps().next_back(), -(self.stride as isize)),
        };
        (first.unwrap_or(0), distance, taps().count())
    }
}
