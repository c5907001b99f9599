//! The allowed ranges of a configuration's values.

use std::ops::RangeInclusive;

use crate::{AugmentConfig, AugmentError, Factor, Fill, RandomResizedCrop};

/// Rejects the first value that is out of range. NaN is in no range.
pub(crate) fn check(config: &AugmentConfig) -> Result<(), AugmentError> {
    check_geometry(config)?;
    check_light(config)?;
    check_texture(config)?;
    check_hiding(config)?;
    check_mixing(config)
}

fn check_geometry(config: &AugmentConfig) -> Result<(), AugmentError> {
    if let Some(crop) = config.random_resized_crop {
        check_crop(crop)?;
    }
    if let Some(rotation) = config.rotation {
        within(
            "rotation.degrees",
            rotation.degrees,
            0.0..=180.0,
            "from 0 to 180 degrees",
        )?;
        probability("rotation.probability", rotation.probability)?;
    }
    if let Some(flip) = config.flip {
        probability("flip.horizontal", flip.horizontal)?;
        probability("flip.vertical", flip.vertical)?;
    }
    if let Some(shift) = config.shift {
        within(
            "shift.fraction",
            shift.fraction,
            0.0..=1.0,
            "a fraction of the side, from 0 to 1",
        )?;
        probability("shift.probability", shift.probability)?;
    }
    if let Some(shear) = config.shear {
        within(
            "shear.degrees",
            shear.degrees,
            0.0..=80.0,
            "from 0 to 80 degrees",
        )?;
        probability("shear.probability", shear.probability)?;
    }
    if let Some(elastic) = config.elastic {
        within(
            "elastic.grid",
            elastic.grid as f64,
            2.0..=32.0,
            "from 2 to 32 points along a side",
        )?;
        within(
            "elastic.sigma",
            elastic.sigma,
            0.0..=1000.0,
            "from 0 to 1000 pixels",
        )?;
        probability("elastic.probability", elastic.probability)?;
    }
    if let Fill::Constant(value) = config.fill {
        value_in_picture("fill.constant", value)?;
    }
    let keys = ["zoom", "zoom.min", "zoom.max", "zoom.probability"];
    factor(
        keys,
        config.zoom,
        0.05..=20.0,
        "from 0.05 to 20 (1 is the original size)",
    )
}

fn check_crop(crop: RandomResizedCrop) -> Result<(), AugmentError> {
    const AREA: &str = "a fraction of the image's area, from 0.001 to 1 (all of it)";
    const RATIO: &str = "a ratio of width to height, from 0.1 to 10 (1 is a square)";
    let ([from, to], [narrow, wide]) = (crop.area, crop.ratio);
    within("random_resized_crop.area[0]", from, 0.001..=1.0, AREA)?;
    within("random_resized_crop.area[1]", to, 0.001..=1.0, AREA)?;
    ordered("random_resized_crop.area", from, to)?;
    within("random_resized_crop.ratio[0]", narrow, 0.1..=10.0, RATIO)?;
    within("random_resized_crop.ratio[1]", wide, 0.1..=10.0, RATIO)?;
    ordered("random_resized_crop.ratio", narrow, wide)?;
    probability("random_resized_crop.probability", crop.probability)
}

fn check_light(config: &AugmentConfig) -> Result<(), AugmentError> {
    let keys = [
        "brightness",
        "brightness.min",
        "brightness.max",
        "brightness.probability",
    ];
    factor(
        keys,
        config.brightness,
        0.0..=100.0,
        "from 0 (black) to 100, where 1 changes nothing",
    )?;
    let keys = [
        "contrast",
        "contrast.min",
        "contrast.max",
        "contrast.probability",
    ];
    factor(
        keys,
        config.contrast,
        0.0..=100.0,
        "from 0 (flat) to 100, where 1 changes nothing",
    )?;
    let keys = ["gamma", "gamma.min", "gamma.max", "gamma.probability"];
    factor(
        keys,
        config.gamma,
        0.01..=10.0,
        "from 0.01 to 10, where 1 changes nothing",
    )
}

fn check_texture(config: &AugmentConfig) -> Result<(), AugmentError> {
    if let Some(noise) = config.noise {
        within(
            "noise.sigma",
            noise.sigma,
            0.0..=1.0,
            "from 0 to 1, in units of image values",
        )?;
        probability("noise.probability", noise.probability)?;
    }
    if let Some(blur) = config.blur {
        within("blur.sigma", blur.sigma, 0.0..=20.0, "from 0 to 20 pixels")?;
        probability("blur.probability", blur.probability)?;
    }
    if let Some(jpeg) = config.jpeg {
        const QUALITY: &str = "a quality, from 1 to 100";
        within("jpeg.min", jpeg.min.into(), 1.0..=100.0, QUALITY)?;
        within("jpeg.max", jpeg.max.into(), 1.0..=100.0, QUALITY)?;
        ordered("jpeg", jpeg.min.into(), jpeg.max.into())?;
        probability("jpeg.probability", jpeg.probability)?;
    }
    Ok(())
}

fn check_hiding(config: &AugmentConfig) -> Result<(), AugmentError> {
    if let Some(erase) = config.erase {
        within(
            "erase.min",
            erase.min,
            0.0..=1.0,
            "a fraction of the area, from 0 to 1",
        )?;
        within(
            "erase.max",
            erase.max,
            0.0..=1.0,
            "a fraction of the area, from 0 to 1",
        )?;
        ordered("erase", erase.min, erase.max)?;
        probability("erase.probability", erase.probability)?;
        value_in_picture("erase.value", erase.value)?;
    }
    if let Some(border) = config.border {
        within(
            "border.fraction",
            border.fraction,
            0.0..=0.5,
            "a fraction of the side, from 0 to 0.5",
        )?;
        probability("border.probability", border.probability)?;
        value_in_picture("border.value", border.value)?;
    }
    Ok(())
}

fn check_mixing(config: &AugmentConfig) -> Result<(), AugmentError> {
    const ALPHA: &str =
        "from 0.001 to 1000 (1 for uniform shares; remove the table to turn it off)";
    if let Some(mixup) = config.mixup {
        within("mixup.alpha", mixup.alpha, 0.001..=1000.0, ALPHA)?;
        probability("mixup.probability", mixup.probability)?;
    }
    if let Some(cutmix) = config.cutmix {
        within("cutmix.alpha", cutmix.alpha, 0.001..=1000.0, ALPHA)?;
        probability("cutmix.probability", cutmix.probability)?;
        if let Some(switch) = cutmix.switch {
            probability("cutmix.switch", switch)?;
            if config.mixup.is_none() {
                return Err(AugmentError::NothingToSwitch);
            }
        }
    }
    Ok(())
}

/// Checks a factor, given the keys of its table, `min`, `max` and `probability`.
fn factor(
    [table, min, max, chance]: [&'static str; 4],
    factor: Option<Factor>,
    range: RangeInclusive<f64>,
    allowed: &'static str,
) -> Result<(), AugmentError> {
    let Some(factor) = factor else { return Ok(()) };
    within(min, factor.min, range.clone(), allowed)?;
    within(max, factor.max, range, allowed)?;
    ordered(table, factor.min, factor.max)?;
    probability(chance, factor.probability)
}

fn probability(key: &'static str, value: f64) -> Result<(), AugmentError> {
    within(key, value, 0.0..=1.0, "a probability, from 0 to 1")
}

fn value_in_picture(key: &'static str, value: f64) -> Result<(), AugmentError> {
    within(
        key,
        value,
        0.0..=1.0,
        "an image value, from 0 (black) to 1 (white)",
    )
}

fn ordered(key: &'static str, min: f64, max: f64) -> Result<(), AugmentError> {
    if min <= max {
        Ok(())
    } else {
        Err(AugmentError::EmptyRange { key, min, max })
    }
}

fn within(
    key: &'static str,
    value: f64,
    range: RangeInclusive<f64>,
    allowed: &'static str,
) -> Result<(), AugmentError> {
    if range.contains(&value) {
        Ok(())
    } else {
        Err(AugmentError::OutOfRange {
            key,
            value,
            allowed,
        })
    }
}
