//! Single images of every kind of phantom, in memory: to try a network on what it was not trained on.

use random::Rng;

use super::plan::{Job, Kind};
use super::{Painted, PhantomConfig, cells, heads, paint};

/// A kind of phantom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Example {
    /// A chest radiograph.
    Chest,
    /// A brain slice.
    Head,
    /// Cells under the electron microscope.
    Cells,
}

/// A grey image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drawn {
    /// Rows and columns.
    pub size: [usize; 2],
    /// Row by row.
    pub pixels: Vec<u8>,
}

impl Example {
    /// All kinds.
    pub const ALL: [Example; 3] = [Example::Chest, Example::Head, Example::Cells];

    /// What it shows, in words.
    pub fn words(self) -> &'static str {
        match self {
            Example::Chest => "phantom radiographs",
            Example::Head => "phantom brain slices",
            Example::Cells => "phantom cells",
        }
    }

    /// Draws image `number`, of at least 32 pixels on its longer side.
    pub fn draw(self, side: usize, number: u64) -> Drawn {
        let side = side.max(32);
        match self {
            Example::Chest => chest(side, number),
            Example::Head => heads::example(side, &mut Rng::keyed(number, &[2])),
            Example::Cells => Drawn {
                size: [side; 2],
                pixels: cells::paint(side, number).0,
            },
        }
    }
}

fn chest(size: usize, number: u64) -> Drawn {
    let config = PhantomConfig {
        size,
        ..PhantomConfig::default()
    };
    let job = Job {
        folder: String::new(),
        name: String::new(),
        patient: number,
        image: 0,
        kind: match number % 2 {
            0 => Kind::Normal,
            _ => Kind::Bacterial,
        },
    };
    let Painted { image, .. } = paint(&config, &job);
    Drawn {
        size: [size; 2],
        pixels: image,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_draws_whole_images_that_differ() {
        for kind in Example::ALL {
            let [one, again, other] = [1, 1, 2].map(|number| kind.draw(48, number));
            assert_eq!(one.pixels.len(), one.size[0] * one.size[1], "{kind:?}");
            assert!(one.size[0] == 48 && one.size[1] >= 32, "{kind:?}");
            assert_eq!(one, again);
            assert_ne!(one.pixels, other.pixels);
        }
    }
}
