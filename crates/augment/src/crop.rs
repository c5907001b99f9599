//! The random resized crop: which part of the image is shown.

use random::Rng;

use crate::area::Window;

use crate::streams::log_uniform;
use crate::{RandomResizedCrop, RelativeRect};

/// Windows tried before falling back to the central one, as in torchvision.
const TRIES: usize = 10;

/// The part of an image of `size` (height, width) that a sample shows; `None` if that is all of it.
///
/// torchvision's `RandomResizedCrop.get_params`, step by step: windows of whole pixels are drawn until one fits, at
/// most ten of them; failing that, the largest central window of an allowed ratio is used.
pub(crate) fn draw(
    crop: RandomResizedCrop,
    stream: &mut Rng,
    size: (usize, usize),
) -> Option<RelativeRect> {
    if !stream.chance(crop.probability) || size.0 * size.1 == 0 {
        return None;
    }
    let window = (0..TRIES)
        .find_map(|_| attempt(crop, stream, size))
        .unwrap_or_else(|| central(crop.ratio, size));
    (window.size() != size).then(|| window.shares(size))
}

/// A window of random area, shape and position; `None` if it does not fit into the image.
fn attempt(
    crop: RandomResizedCrop,
    stream: &mut Rng,
    (height, width): (usize, usize),
) -> Option<Window> {
    let area = (height * width) as f64 * stream.range(crop.area[0], crop.area[1]);
    let ratio = log_uniform(stream, crop.ratio[0], crop.ratio[1]);
    let rows = rounded((area / ratio).sqrt());
    let columns = rounded((area * ratio).sqrt());
    if !(1..=height).contains(&rows) || !(1..=width).contains(&columns) {
        return None;
    }
    let (top, left) = (
        stream.below(height - rows + 1),
        stream.below(width - columns + 1),
    );
    Some(Window::new((top, left), (rows, columns)))
}

/// The largest central window whose ratio of width to height is from `narrow` to `wide`.
fn central([narrow, wide]: [f64; 2], (height, width): (usize, usize)) -> Window {
    let ratio = width as f64 / height as f64;
    let (rows, columns) = if ratio < narrow {
        (rounded(width as f64 / narrow).max(1), width)
    } else if ratio > wide {
        (height, rounded(height as f64 * wide).max(1))
    } else {
        (height, width)
    };
    let corner = ((height - rows) / 2, (width - columns) / 2);
    Window::new(corner, (rows, columns))
}

/// Rounds halves to the even number, as Python does.
fn rounded(value: f64) -> usize {
    value.round_ties_even() as usize
}
