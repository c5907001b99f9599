//! From what was found on each image to figures by method.

use anyhow::Result;
use attribution::HeatMap;
use attribution::judge::{Localization, agreement};
use dataset::Sample;
use metrics::{Bootstrap, Interval, Resampling};

use crate::context::{Context, Data};
use crate::measured::{AtRandom, Explained, MethodJudged};
use crate::stages::overlays::region_mask;

/// What was found of one image.
pub(super) struct ImageJudged {
    /// The predicted class.
    pub(super) predicted: usize,
    /// The maps, in the order of the methods.
    pub(super) maps: Vec<HeatMap>,
    /// How good each of them is.
    pub(super) judged: Vec<MapJudged>,
}

/// How good a map is.
pub(super) struct MapJudged {
    pub(super) deletion: f64,
    pub(super) insertion: f64,
    pub(super) localized: Option<Localization>,
    pub(super) at_random: Vec<AtRandom>,
}

/// The finding in an image, at the network's size: the narrowest region of the settings, or the image's own mask; `None`
/// where nothing is known or marked.
pub(super) fn mask(
    context: &Context<'_>,
    data: &Data,
    sample: &Sample,
) -> Result<Option<Vec<bool>>> {
    let settings = context.settings;
    let size = (sample.height, sample.width);
    let narrowest = settings.data.regions.len().checked_sub(1);
    let whole = settings.image.region.is_none() && settings.image.crop.is_none();
    let mask = match narrowest.filter(|_| whole) {
        Some(region) => {
            let mask = region_mask(settings, data, sample.row, region, size)?;
            mask.map(|mask| mask.values().iter().map(|v| *v > 0.5).collect())
        }
        None => sample
            .mask
            .as_ref()
            .map(|mask| mask.iter().map(|class| *class >= 1.0).collect()),
    };
    Ok(mask.filter(|mask: &Vec<bool>| mask.contains(&true)))
}

/// Means over the images, with intervals over patients.
pub(super) fn summarize(
    context: &Context<'_>,
    images: &[ImageJudged],
    patients: &[usize],
    names: &[String],
) -> Result<Explained> {
    let bootstrap = Bootstrap {
        resamples: context.settings.evaluate.bootstrap,
        seed: context.settings.seed,
        level: context.settings.evaluate.confidence,
    };
    let summary = Summary {
        images,
        patients,
        bootstrap,
    };
    let named = names.iter().enumerate();
    Ok(Explained {
        images: images.len(),
        methods: named
            .map(|(i, name)| summary.method(i, name))
            .collect::<Result<_>>()?,
        agreement: agreements(images, names.len())?,
    })
}

struct Summary<'a> {
    images: &'a [ImageJudged],
    patients: &'a [usize],
    bootstrap: Bootstrap,
}

impl Summary<'_> {
    fn method(&self, i: usize, name: &str) -> Result<MethodJudged> {
        let mean = |of: &dyn Fn(&MapJudged) -> f64| {
            let values = self.images.iter().map(|image| of(&image.judged[i]));
            self.interval(&values.collect::<Vec<_>>(), self.patients)
        };
        let localized = |of: fn(&Localization) -> Option<f64>| {
            self.mean_of_some(i, &move |map: &MapJudged| {
                map.localized.as_ref().and_then(of)
            })
        };
        Ok(MethodJudged {
            name: name.into(),
            deletion: mean(&|map| map.deletion)?,
            insertion: mean(&|map| map.insertion)?,
            pointing: localized(|found| Some(found.hit))?,
            energy: localized(|found| found.energy)?,
            mask_area: localized(|found| Some(found.area))?.map(|area| area.estimate),
            at_random: self.at_random(i),
        })
    }

    /// Over the images that have the figure; `None` if none has it.
    fn mean_of_some(
        &self,
        i: usize,
        of: &dyn Fn(&MapJudged) -> Option<f64>,
    ) -> Result<Option<Interval>> {
        let each = self.images.iter().zip(self.patients);
        let found = each.filter_map(|(image, patient)| Some((of(&image.judged[i])?, *patient)));
        let (values, patients): (Vec<f64>, Vec<usize>) = found.unzip();
        match values.is_empty() {
            true => Ok(None),
            false => self.interval(&values, &patients).map(Some),
        }
    }

    fn interval(&self, values: &[f64], patients: &[usize]) -> Result<Interval> {
        let mean = |drawn: &[usize]| {
            let sum: f64 = drawn.iter().map(|i| values[*i]).sum();
            Some(sum / drawn.len() as f64)
        };
        let resampling = Resampling::Grouped(patients);
        Ok(self.bootstrap.interval(values.len(), resampling, mean)?)
    }

    fn at_random(&self, i: usize) -> Vec<AtRandom> {
        let all: Vec<&Vec<AtRandom>> = self
            .images
            .iter()
            .map(|image| &image.judged[i].at_random)
            .filter(|steps| !steps.is_empty())
            .collect();
        let Some(first) = all.first() else {
            return vec![];
        };
        let step = |(k, step): (usize, &AtRandom)| AtRandom {
            stage: step.stage.clone(),
            correlation: average(all.iter().filter_map(|steps| steps.get(k)?.correlation)),
        };
        first.iter().enumerate().map(step).collect()
    }
}

/// The mean over the images of the correlation between every two methods' maps.
fn agreements(images: &[ImageJudged], methods: usize) -> Result<Vec<Vec<Option<f64>>>> {
    let each = images.iter().map(|image| agreement(&image.maps));
    let each: Vec<Vec<Vec<Option<f64>>>> = each.collect::<attribution::Result<_>>()?;
    let mean = |i: usize, j: usize| average(each.iter().filter_map(|of| of[i][j]));
    let row = |i: usize| (0..methods).map(|j| mean(i, j)).collect();
    Ok((0..methods).map(row).collect())
}

fn average(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, n) = values.fold((0.0, 0.0), |(sum, n), value| (sum + value, n + 1.0));
    (n > 0.0).then(|| sum / n)
}
