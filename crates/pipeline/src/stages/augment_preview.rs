//! Shows augmented images, so that the augmentation can be checked before an hour is spent on training with it.

use anyhow::{Result, anyhow};
use augment::{AugmentConfig, Augmenter, Raster};
use dataset::SampleKey;
use report::{Document, ImageGrid, Plane, Tile};

use crate::context::Context;
use crate::pictures::spread;

/// Images shown, and variants of each.
const IMAGES: usize = 3;
const VARIANTS: usize = 4;

/// What mixes the images of a batch, which single images cannot show.
fn mixing(config: &AugmentConfig) -> Option<String> {
    let name = match (&config.mixup, &config.cutmix) {
        (None, None) => return None,
        (Some(_), None) => "mixup",
        (None, Some(_)) => "cutmix",
        (Some(_), Some(_)) => "mixup and cutmix",
    };
    Some(format!(
        "In training the images of a batch and their labels are mixed in pairs by {name}; the pictures here are not \
         mixed."
    ))
}

pub(super) fn run(context: &mut Context<'_>) -> Result<()> {
    let data = context.data_cloned()?;
    let augmenter = Augmenter::new(&context.settings.augment)?;
    let mut section = Document::fragment();
    section.heading(2, "Augmentation");
    if let Some(text) = mixing(&context.settings.augment) {
        section.paragraph(&text);
    }
    if augmenter.is_identity() {
        section.paragraph(
            "No transform of single images is set: apart from any mixing, the network sees every image unchanged in \
             every epoch.",
        );
        return context.section("augment-preview", &section);
    }
    section.paragraph(
        "In every epoch each training image is transformed at random, so that the network sees the same finding in \
         different positions. Validation and test images are never augmented.",
    );
    let (height, width) = (context.settings.image.height, context.settings.image.width);
    let fit = context.settings.image.fit;
    let mut tiles = vec![];
    for row in spread(&data.splits.train, IMAGES) {
        let record = &data.manifest.rows()[row];
        let image = data.grey_region(record, (height, width), fit)?;
        tiles.push(Tile {
            image: image.clone().into(),
            caption: format!("{}, original", data.manifest.classes()[record.class]),
            border: None,
        });
        for epoch in 0..VARIANTS as u64 {
            let seed = SampleKey {
                seed: context.settings.seed,
                epoch,
                index: row as u64,
            }
            .rng_seed();
            let caption = augmenter.draw(seed, (height, width)).to_string();
            tiles.push(Tile {
                image: augmented(&augmenter, seed, &image)?.into(),
                caption,
                border: None,
            });
        }
    }
    let title = "Augmented training images".into();
    let figure = ImageGrid {
        title,
        subtitle: "one image per row, with its variants in the first epochs".into(),
        columns: 1 + VARIANTS,
        tiles,
    };
    context.run.figure(
        &mut section,
        "augmented",
        &figure.draw()?,
        "Augmented training images",
        "",
    )?;
    context.section("augment-preview", &section)
}

fn augmented(augmenter: &Augmenter, seed: u64, image: &Plane) -> Result<Plane> {
    let (width, height) = image.dimensions();
    let mut raster = Raster::new(height as usize, width as usize, 1, image.values().to_vec())
        .map_err(|e| anyhow!(e))?;
    augmenter.apply(seed, &mut raster, None);
    Ok(Plane::new(width, height, raster.into_data())?)
}
