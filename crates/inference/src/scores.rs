//! Raw scores of a batch, plain or averaged over the images and their mirror images.

use model::engine::{Images, Value};
use model::graph::Hwc;

use crate::bundle::Bundle;
use crate::error::{InferenceError, Result};
use crate::novelty::pooled;
use crate::reading::softmax;

/// Normalized images, channels last.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// `n·h·w·c` values.
    pub data: &'a [f32],
    /// Number of images.
    pub n: usize,
    /// Shape of one image.
    pub shape: Hwc,
}

/// What is computed besides the class scores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// Each pixel's probability of this class.
    pub map_of: Option<usize>,
    /// The mean over the pixels of each channel of this output, such as `features.5`.
    pub features: Option<&'a str>,
}

/// A network's outputs for a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scores {
    /// Class scores, `[n, classes]`; empty for a segmenter.
    pub logits: Vec<f32>,
    /// Class map, `[n, h, w]`: each pixel's probability of the requested class.
    pub maps: Vec<f32>,
    /// Features, `[n, channels]`; empty unless requested.
    pub features: Vec<f32>,
}

impl Bundle {
    /// Scores and what else is wanted. With `mirror` all are the mean over the image and its mirror image.
    ///
    /// # Errors
    /// The network rejects the input, or a score is NaN or infinite.
    pub fn scores(&self, input: Input<'_>, wanted: Wanted<'_>, mirror: bool) -> Result<Scores> {
        let mut scores = self.plain(input, wanted)?;
        if mirror {
            let data = &mirrored(input.data, input.shape);
            let mut other = self.plain(Input { data, ..input }, wanted)?;
            let of_map = Hwc {
                c: 1,
                ..input.shape
            };
            other.maps = mirrored(&other.maps, of_map);
            average(&mut scores.logits, &other.logits);
            average(&mut scores.maps, &other.maps);
            average(&mut scores.features, &other.features);
        }
        Ok(scores)
    }

    /// The mean over the pixels of each channel of an output, `[n, channels]`, without mirroring; what the output does not
    /// depend on is not computed.
    ///
    /// # Errors
    /// As [`Bundle::scores`], or the network has no such output.
    pub fn features(&self, input: Input<'_>, output: &str) -> Result<Vec<f32>> {
        let map = self.infer(input, &[output])?.next();
        Ok(map.map(|map| pooled(&map)).unwrap_or_default())
    }

    /// Each pixel's probabilities of the map's classes, `[n, h, w, classes]` as in [`Bundle::map_shape`]; with `mirror`
    /// the mean over the image and its mirror image.
    ///
    /// # Errors
    /// As [`Bundle::scores`], or the network has no map.
    pub fn maps(&self, input: Input<'_>, mirror: bool) -> Result<Vec<f32>> {
        let mut maps = self.plain_maps(input)?;
        if mirror {
            let data = &mirrored(input.data, input.shape);
            let other = self.plain_maps(Input { data, ..input })?;
            average(&mut maps, &mirrored(&other, self.map_shape()?));
        }
        Ok(maps)
    }

    fn plain_maps(&self, input: Input<'_>) -> Result<Vec<f32>> {
        let map = self.infer(input, &["map"])?.next();
        let map = map.ok_or(InferenceError::NoMap)?;
        Ok(map.data.chunks(map.shape.c).flat_map(softmax).collect())
    }

    fn plain(&self, input: Input<'_>, wanted: Wanted<'_>) -> Result<Scores> {
        let map = wanted.map_of.map(|_| "map");
        let names: Vec<&str> = ["logits"]
            .into_iter()
            .chain(map)
            .chain(wanted.features)
            .collect();
        let mut values = self.infer(input, &names)?;
        let logits = values.next().map(|v| v.data).unwrap_or_default();
        let maps = match wanted.map_of.zip(map.and_then(|_| values.next())) {
            Some((class, map)) => self.reading().probabilities(&map.data, map.shape.c, class),
            None => vec![],
        };
        finite(&maps)?;
        Ok(Scores {
            logits,
            maps,
            features: values.next().map(|v| pooled(&v)).unwrap_or_default(),
        })
    }

    /// Runs the network. All inference goes through this function, so NaN is never returned.
    fn infer(
        &self,
        input: Input<'_>,
        outputs: &[&str],
    ) -> Result<impl Iterator<Item = Value> + use<>> {
        let images = Images {
            data: input.data,
            shape: input.shape.batch(input.n),
        };
        let values = self.network().infer(images, outputs)?;
        values.iter().try_for_each(|value| finite(&value.data))?;
        Ok(values.into_iter())
    }
}

fn finite(scores: &[f32]) -> Result<()> {
    match scores.iter().all(|score| score.is_finite()) {
        true => Ok(()),
        false => Err(InferenceError::NotFinite),
    }
}

fn mirrored(data: &[f32], shape: Hwc) -> Vec<f32> {
    let rows = data.chunks(shape.w * shape.c);
    rows.flat_map(|row| row.chunks(shape.c).rev().flatten().copied())
        .collect()
}

fn average(a: &mut [f32], b: &[f32]) {
    a.iter_mut().zip(b).for_each(|(a, b)| *a = 0.5 * (*a + *b));
}

#[cfg(test)]
mod tests {
    use formats::checkpoint::{Checkpoint, Meta, Preprocessing};
    use model::engine::{Device, Precision};
    use model::graph::{GraphBuilder, Init, Padding};
    use model::store::ParamStore;

    use super::*;

    /// The weights are finite, but so large that the scores overflow.
    #[test]
    fn non_finite_scores_are_an_error() {
        let mut g = GraphBuilder::new(1);
        let map = g.conv(
            "map",
            g.input(),
            2,
            1,
            1,
            Padding::Same,
            false,
            Init::Constant(3e38),
        );
        let pooled = g.global_avg_pool("pool", map);
        let logits = g.linear("head", pooled, 2, Init::Constant(3e38));
        g.publish("map", map);
        g.publish("logits", logits);
        let graph = g.finish(1).unwrap();
        let preprocessing = Preprocessing::stretched((2, 2), vec![0.5], vec![0.5]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let store = ParamStore::initialized(&graph, 1);
        let meta = Meta::new(["a", "b"], preprocessing);
        Checkpoint::new(graph, store, meta).save(&path).unwrap();
        let bundle = Bundle::load(&path, Device::Cpu, Precision::F32).unwrap();
        let answer = |pixel: f32, map_of| {
            let input = Input {
                data: &[pixel; 4],
                n: 1,
                shape: Hwc { h: 2, w: 2, c: 1 },
            };
            let wanted = Wanted {
                map_of,
                features: None,
            };
            bundle.scores(input, wanted, false)
        };
        assert_eq!(answer(0.0, Some(1)).unwrap().logits, [0.0, 0.0]);
        let refused = |answer: Result<Scores>| {
            let error = answer.unwrap_err().to_string();
            assert!(error.contains("NaN or infinite"), "{error}");
        };
        refused(answer(1.0, None));
        // The map alone overflows as well.
        let input = Input {
            data: &[1e30; 4],
            n: 1,
            shape: Hwc { h: 2, w: 2, c: 1 },
        };
        let error = bundle.maps(input, true).unwrap_err().to_string();
        assert!(error.contains("NaN or infinite"), "{error}");
    }

    #[test]
    fn mirrors_each_row() {
        let shape = Hwc { h: 2, w: 2, c: 2 };
        assert_eq!(
            mirrored(&[1., 2., 3., 4., 5., 6., 7., 8.], shape),
            [3., 4., 1., 2., 7., 8., 5., 6.]
        );
    }
}
