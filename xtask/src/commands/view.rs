//! `cargo xtask view`: a finished run in a browser.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use ::pipeline::predict::Predictor;
use anyhow::Result;
use terminal::Interrupt;
use viewer::{Study, Viewer};

use super::root;
use super::serve::token;
use crate::cli::ViewArgs;

pub(crate) fn run(args: &ViewArgs, interrupt: &Interrupt) -> Result<ExitCode> {
    let token = token(args.bind, args.token_file.as_deref(), args.no_token)?;
    let study = Study::open(&args.run, args.data.as_deref(), &root())?;
    let images = study.len();
    let viewer = Viewer::new(Some(study), network(args), None);
    let ready = |address: SocketAddr| {
        terminal::say(&format!(
            "{images} images: open http://{address}/ in a browser (Ctrl-C stops)"
        ));
    };
    ::serve::view(viewer, (args.bind, token.as_ref()), interrupt, ready)?;
    Ok(ExitCode::SUCCESS)
}

/// The run's network, which draws the maps; without it there is everything else.
fn network(args: &ViewArgs) -> Option<Arc<Predictor>> {
    match Predictor::open(&args.run) {
        Ok(predictor) => Some(Arc::new(predictor)),
        Err(error) => {
            terminal::say(&format!("there are no maps: {error:#}"));
            None
        }
    }
}
