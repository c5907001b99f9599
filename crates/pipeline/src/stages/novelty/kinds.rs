//! Images of other kinds: changed test images, noise, the phantoms of this program, and folders of the settings.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use dataset::phantom::Example;
use dataset::{Sample, SampleKey};
use imaging::ImageFile;
use inference::Bundle;
use random::Rng;
use rayon::prelude::*;

use crate::context::{Context, Data};
use crate::pictures::spread;
use crate::scored::Held;

/// A change of an image.
pub(super) type ChangeOf = Box<dyn Fn(&mut Sample, SampleKey) + Send + Sync>;

/// Images of another kind.
pub(super) struct Kind {
    /// What they are.
    pub(super) name: String,
    /// The images before the change.
    pub(super) held: Held,
    /// What makes them another kind.
    pub(super) change: ChangeOf,
}

/// All kinds, with `n` images each.
pub(super) fn all(
    context: &Context<'_>,
    data: &Data,
    trained: &Bundle,
    n: usize,
) -> Result<Vec<Kind>> {
    let rows = spread(&data.splits.test, n);
    let mut kinds = vec![];
    for (name, change) in changes() {
        kinds.push(Kind {
            name: name.into(),
            held: Held::read(context, data, &rows)?,
            change,
        });
    }
    let foreign = |name: &str, samples| Kind {
        name: name.into(),
        held: Held::foreign(samples, context.settings.seed),
        change: Box::new(|_, _| ()),
    };
    for example in Example::ALL {
        if !drawn_here(context, example) {
            kinds.push(foreign(example.words(), phantoms(trained, example, n)?));
        }
    }
    for (name, folder) in &context.settings.novelty.others {
        kinds.push(foreign(name, files(trained, folder, n)?));
    }
    Ok(kinds)
}

/// Whether the data set itself consists of these phantoms.
fn drawn_here(context: &Context<'_>, example: Example) -> bool {
    use dataset::phantom::Subject;
    matches!(
        (&context.settings.data.phantom, example),
        (Some(Subject::Chest(_)), Example::Chest)
            | (Some(Subject::Heads(_)), Example::Head)
            | (Some(Subject::Cells(_)), Example::Cells)
    )
}

fn changes() -> Vec<(&'static str, ChangeOf)> {
    let boxed = |change: fn(&mut Sample, SampleKey)| Box::new(change) as ChangeOf;
    vec![
        ("test images, inverted", boxed(inverted)),
        ("test images, rotated by 90°", boxed(rotated)),
        ("test images, a quarter enlarged", boxed(quarter)),
        ("test images, pixels shuffled", boxed(shuffled)),
        ("noise", boxed(noise)),
    ]
}

fn inverted(sample: &mut Sample, _: SampleKey) {
    sample.image.iter_mut().for_each(|v| *v = 1.0 - *v);
}

/// The value at a row and column of the old image for each pixel of the new one.
fn moved(sample: &mut Sample, from: impl Fn(usize, usize) -> (usize, usize)) {
    let (width, channels) = (sample.width, sample.channels);
    let old = sample.image.clone();
    for (i, pixel) in sample.image.chunks_mut(channels).enumerate() {
        let (y, x) = from(i / width, i % width);
        pixel.copy_from_slice(&old[(y * width + x) * channels..][..channels]);
    }
}

/// Clockwise; an image that is not square is stretched into its own shape.
fn rotated(sample: &mut Sample, _: SampleKey) {
    let (h, w) = (sample.height, sample.width);
    moved(sample, |y, x| ((w - 1 - x) * h / w, y * w / h));
}

/// The middle, of half the height and half the width.
fn quarter(sample: &mut Sample, _: SampleKey) {
    let (h, w) = (sample.height, sample.width);
    moved(sample, |y, x| (h / 4 + y / 2, w / 4 + x / 2));
}

/// The same grey values in another order.
fn shuffled(sample: &mut Sample, key: SampleKey) {
    let mut order: Vec<usize> = (0..sample.height * sample.width).collect();
    Rng::keyed(key.rng_seed(), &[1]).shuffle(&mut order);
    let width = sample.width;
    moved(sample, |y, x| {
        let at = order[y * width + x];
        (at / width, at % width)
    });
}

/// Independent grey values, each equally probable.
fn noise(sample: &mut Sample, key: SampleKey) {
    let mut rng = Rng::keyed(key.rng_seed(), &[2]);
    for pixel in sample.image.chunks_mut(sample.channels) {
        pixel.fill(rng.range(0.0, 1.0) as f32);
    }
}

/// Drawn at the size of the network's input.
fn phantoms(trained: &Bundle, example: Example, n: usize) -> Result<Vec<Sample>> {
    let shape = trained.input_shape();
    let draw = |number: usize| -> Result<Sample> {
        let drawn = example.draw(shape.h.max(shape.w), number as u64);
        let [rows, columns] = drawn.size;
        let values: Vec<f32> = drawn.pixels.iter().map(|v| f32::from(*v) / 255.0).collect();
        let bytes = imaging::encode::levels((rows, columns), &values)?;
        let path = format!("{} {number}.png", example.words());
        framed(
            trained,
            &ImageFile::of_bytes(Path::new(&path), &bytes, trained.decoder())?,
        )
    };
    (0..n).into_par_iter().map(draw).collect()
}

/// Images of a folder; those that cannot be read are left out.
fn files(trained: &Bundle, folder: &Path, n: usize) -> Result<Vec<Sample>> {
    let (paths, _) = dataset::images_below(folder)
        .with_context(|| format!("novelty.others: {}", folder.display()))?;
    let all: Vec<usize> = (0..paths.len()).collect();
    let read = |i: &usize| {
        let image = ImageFile::read(&paths[*i], trained.decoder()).ok()?;
        framed(trained, &image).ok()
    };
    let samples: Vec<Sample> = spread(&all, n).par_iter().filter_map(read).collect();
    match samples.is_empty() {
        true => bail!("novelty.others: no readable image in {}", folder.display()),
        false => Ok(samples),
    }
}

fn framed(trained: &Bundle, image: &ImageFile) -> Result<Sample> {
    let framed = image.framed(trained.frame())?;
    let shape = trained.input_shape();
    Ok(Sample {
        image: framed.image.values(),
        mask: None,
        height: shape.h,
        width: shape.w,
        channels: shape.c,
        label: 0,
        row: 0,
        placement: framed.placement,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use imaging::{Fit, Placement};

    fn sample() -> Sample {
        Sample {
            image: (0..16).map(|v| v as f32 / 16.0).collect(),
            mask: None,
            height: 4,
            width: 4,
            channels: 1,
            label: 0,
            row: 0,
            placement: Placement::new(Fit::Stretch, (4, 4), (4, 4)),
        }
    }

    fn changed(change: fn(&mut Sample, SampleKey)) -> Vec<f32> {
        let key = SampleKey {
            seed: 1,
            epoch: 0,
            index: 3,
        };
        let mut sample = sample();
        change(&mut sample, key);
        sample.image.iter().map(|v| v * 16.0).collect()
    }

    #[test]
    fn rotates_clockwise_and_enlarges_the_middle() {
        assert_eq!(changed(rotated)[..4], [12.0, 8.0, 4.0, 0.0]);
        assert_eq!(changed(quarter)[..4], [5.0, 5.0, 6.0, 6.0]);
        assert_eq!(changed(inverted)[..2], [16.0, 15.0]);
    }

    #[test]
    fn shuffling_keeps_the_values() {
        let mut values = changed(shuffled);
        assert_ne!(values, changed(|_, _| ()));
        values.sort_by(f32::total_cmp);
        assert_eq!(values, changed(|_, _| ()));
        assert!(changed(noise).iter().all(|v| (0.0..16.0).contains(v)));
    }
}
