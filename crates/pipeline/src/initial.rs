//! The network as training starts with it.

use anyhow::{Result, bail};
use formats::weights::{LoadReport, load_encoder};
use model::network::Network;
use model::store::ParamStore;
use settings::Settings;

use crate::context::Data;

/// The untrained network on the device of the settings, with pretrained weights in its encoder if the settings name any.
///
/// # Errors
/// Images of a single class, pretrained weights that do not fit, or a device that cannot run the network.
pub(crate) fn initial(settings: &Settings, data: &Data) -> Result<(Network, Option<LoadReport>)> {
    let classes = data.manifest.classes();
    if classes.len() < 2 && settings.train.task().classifies() {
        bail!(
            "all images are of one class ({}), so there is nothing to classify; set train.task = \"segment\" with \
             model.head = \"none\" and masks, or check data.layout and data.classes",
            classes.join("")
        );
    }
    let graph = settings.graph(classes.len())?;
    let mut store = ParamStore::initialized(&graph, settings.seed);
    let loaded = match &settings.pretrained {
        Some(path) => Some(load_encoder(path, &graph, &mut store)?),
        None => None,
    };
    let network =
        Network::with_store(graph, store).on(settings.device.device, settings.precision)?;
    Ok((network, loaded))
}
