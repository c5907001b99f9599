//! Looks for shortcuts: what predicts the class besides the finding, and how much of the network's score survives when
//! something is taken away from the images.

mod alone;
mod parts;
mod section;
mod seen;
mod taken;

use anyhow::Result;

use super::Metrics;
use super::rules::{Rules, add};
use crate::context::Context;
use crate::measured::Probe;
use crate::scoring;

pub(super) fn run(context: &mut Context<'_>) -> Result<()> {
    let data = context.data_cloned()?;
    let trained = scoring::trained(context)?;
    let rules = Rules::of(&context.run.read_json::<Metrics>(super::METRICS)?)?;
    let graph = trained.network().graph().clone();
    let network = (&trained, graph.features().first().copied());
    let alone = alone::measure(context, &data, network, &rules)?;
    let (whole, taken_away) = taken::measure(context, &data, &trained, &rules)?;
    let probe = Probe {
        alone,
        whole,
        taken_away,
    };
    context.section("probe", &section::write(&probe)?)?;
    add(context, |metrics| metrics.probe = Some(probe))
}
