//! The methods, and what each makes of one image.

use anyhow::Result;
use attribution::judge::{Deletion, Insertion, Randomization, Start, localize};
use attribution::{
    GradCam, GradCamPlusPlus, HeatMap, Image, IntegratedGradients, Method, Occlusion, Target,
};
use dataset::Sample;
use inference::{Bundle, Input, Wanted};
use settings::Settings;

use super::judge::{ImageJudged, MapJudged};
use crate::context::Context;
use crate::measured::AtRandom;

/// Steps of the check by random weights, from the scores down to the image.
const RANDOM_STAGES: usize = 4;

/// Explains the predictions of a network.
pub(super) struct Explainer<'a> {
    trained: &'a Bundle,
    methods: Vec<Method>,
    deletion: Deletion,
    insertion: Insertion,
    seed: u64,
}

impl<'a> Explainer<'a> {
    pub(super) fn new(trained: &'a Bundle, settings: &Settings) -> Self {
        let shape = trained.input_shape();
        let (steps, batch) = (settings.explain.steps, settings.train.batch_size);
        let side = shape.h.min(shape.w);
        let sixth = [shape.h.div_ceil(6), shape.w.div_ceil(6)];
        let at = deepest_places(trained);
        Explainer {
            trained,
            methods: vec![
                Method::GradCam(GradCam {
                    at: at.clone(),
                    ..GradCam::default()
                }),
                Method::GradCamPlusPlus(GradCamPlusPlus {
                    at,
                    ..GradCamPlusPlus::default()
                }),
                Method::IntegratedGradients(IntegratedGradients {
                    steps,
                    batch: steps.min(batch),
                    ..IntegratedGradients::default()
                }),
                Method::Occlusion(Occlusion {
                    window: sixth,
                    stride: sixth.map(|side| side.div_ceil(2)),
                    batch,
                    ..Occlusion::default()
                }),
            ],
            deletion: Deletion {
                steps,
                batch,
                ..Deletion::default()
            },
            insertion: Insertion {
                // 5 pixels of 224, as in the paper.
                start: Start::Blurred(5.0 * side as f64 / 224.0),
                steps,
                batch,
            },
            seed: settings.seed,
        }
    }

    /// Names of the maps of each image, in their order; the last one is random.
    pub(super) fn names(&self) -> Vec<String> {
        let methods = self.methods.iter().map(|method| words(method).to_owned());
        let class_map = self.has_class_map().then(|| "class map".to_owned());
        methods
            .chain(class_map)
            .chain(["random".to_owned()])
            .collect()
    }

    /// Whether each class of the images has a class in the map.
    fn has_class_map(&self) -> bool {
        let classes = &self.trained.meta().classes;
        self.trained.has_map() && self.trained.map_classes() == classes.as_slice()
    }

    /// Explains and judges one image's prediction.
    pub(super) fn judge(
        &self,
        context: &Context<'_>,
        sample: &Sample,
        mask: Option<Vec<bool>>,
        randomized: bool,
    ) -> Result<ImageJudged> {
        let pixels = self.trained.normalized(&sample.image);
        let image = Image::new(&pixels, self.trained.input_shape())?;
        let predicted = self.predicted(image)?;
        let target = self.target(predicted);
        let maps = self.maps(context, image, predicted)?;
        let mut judged = vec![];
        for (i, map) in maps.iter().enumerate() {
            context.interrupt.check()?;
            judged.push(MapJudged {
                deletion: self.area_of_deletion(image, target, map)?,
                insertion: self.area_of_insertion(image, target, map)?,
                localized: match &mask {
                    Some(mask) => Some(localize(map, mask, 0)?),
                    None => None,
                },
                at_random: match (randomized, self.methods.get(i)) {
                    (true, Some(method)) => self.at_random(context, method, image, target)?,
                    _ => vec![],
                },
            });
        }
        Ok(ImageJudged {
            predicted,
            maps,
            judged,
        })
    }

    fn predicted(&self, image: Image<'_>) -> Result<usize> {
        let scores = self.scores(image, None)?;
        Ok(self.trained.decide(&scores.logits))
    }

    fn scores(&self, image: Image<'_>, map_of: Option<usize>) -> Result<inference::Scores> {
        let input = Input {
            data: image.data(),
            n: 1,
            shape: image.shape(),
        };
        let wanted = Wanted {
            map_of,
            features: None,
        };
        Ok(self.trained.scores(input, wanted, false)?)
    }

    /// Between two classes the decision depends on the difference of their scores.
    fn target(&self, class: usize) -> Target {
        match self.trained.meta().classes.len() {
            2 => Target::Contrast {
                class,
                against: 1 - class,
            },
            _ => Target::Class(class),
        }
    }

    fn maps(
        &self,
        context: &Context<'_>,
        image: Image<'_>,
        predicted: usize,
    ) -> Result<Vec<HeatMap>> {
        let (network, target) = (self.trained.network(), self.target(predicted));
        let mut maps = vec![];
        for method in &self.methods {
            context.interrupt.check()?;
            maps.push(method.map(network, image, target)?);
        }
        let shape = image.shape();
        if self.has_class_map() {
            let probabilities = self.scores(image, Some(predicted))?.maps;
            let at = self.trained.map_shape()?;
            let map = HeatMap::new(at.h, at.w, probabilities)?;
            maps.push(map.resized(shape.h, shape.w));
        }
        maps.push(HeatMap::random(shape.h, shape.w, self.seed));
        Ok(maps)
    }

    fn area_of_deletion(&self, image: Image<'_>, target: Target, map: &HeatMap) -> Result<f64> {
        let network = self.trained.network();
        Ok(self.deletion.curve(network, image, target, map)?.area)
    }

    fn area_of_insertion(&self, image: Image<'_>, target: Target, map: &HeatMap) -> Result<f64> {
        let network = self.trained.network();
        Ok(self.insertion.curve(network, image, target, map)?.area)
    }

    fn at_random(
        &self,
        context: &Context<'_>,
        method: &Method,
        image: Image<'_>,
        target: Target,
    ) -> Result<Vec<AtRandom>> {
        let network = self.trained.network();
        let steps = Randomization::new(method, network, image, target, self.seed)?;
        let mut found = vec![];
        for step in steps.in_groups(RANDOM_STAGES) {
            context.interrupt.check()?;
            let step = step?;
            found.push(AtRandom {
                stage: step.stage,
                correlation: step.correlation_of_magnitudes,
            });
        }
        Ok(found)
    }
}

/// The deepest features that have more than one place: those of a small image may be a single pixel.
fn deepest_places(trained: &Bundle) -> Option<String> {
    let (graph, input) = (trained.network().graph(), trained.input_shape());
    let shapes = graph.shapes(input.h, input.w).ok()?;
    let wide = |name: &&str| {
        let shape = graph.output(name).map(|id| shapes[id.index()]);
        shape.is_some_and(|shape| shape.h * shape.w > 1)
    };
    graph.features().into_iter().find(wide).map(str::to_owned)
}

/// The method's name as the field writes it.
fn words(method: &Method) -> &'static str {
    match method {
        Method::GradCam(_) => "Grad-CAM",
        Method::GradCamPlusPlus(_) => "Grad-CAM++",
        Method::IntegratedGradients(_) => "integrated gradients",
        Method::Occlusion(_) => "occlusion",
    }
}
