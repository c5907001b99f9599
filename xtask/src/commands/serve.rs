//! `cargo xtask serve`: a trained network as an HTTP service.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use ::pipeline::predict::{Predictor, check_origin};
use ::serve::{Archive, Limits, Options, Token, serve};
use anyhow::{Result, bail};
use terminal::Interrupt;
use viewer::Study;

use super::root;
use crate::cli::ServeArgs;

pub(crate) fn run(args: &ServeArgs, interrupt: &Interrupt) -> Result<ExitCode> {
    let options = Options {
        address: args.bind,
        token: token(args.bind, args.token_file.as_deref(), args.no_token)?,
        limits: limits(args),
        audit: audit(args),
        archive: archive(args)?,
    };
    let (device, precision) = super::computing(&args.device, &args.precision)?;
    let predictor = Predictor::open_on(&args.model, device, precision)?;
    check_origin(predictor.networks(), &args.model, args.allow_phantom_model)?;
    super::predict::introduce(&predictor);
    let audit = options.audit.clone();
    let ready = |address: SocketAddr| {
        terminal::say(&format!("audit log: {}", audit.display()));
        terminal::say(&format!(
            "listening on http://{address} (Ctrl-C stops): open it in a browser, or ask with curl -F image=@film.png \
             http://{address}/predict"
        ));
    };
    let study = study(args)?;
    serve(predictor, study, options, interrupt, ready)?;
    terminal::say("stopped");
    Ok(ExitCode::SUCCESS)
}

/// The run to look at; a lone checkpoint has none, and neither has a run without an evaluation.
fn study(args: &ServeArgs) -> Result<Option<Study>> {
    if args.model.extension().is_some_and(|e| e == "safetensors") {
        return Ok(None);
    }
    match Study::open(&args.model, args.data.as_deref(), &root()) {
        Ok(study) => Ok(Some(study)),
        Err(error) if args.data.is_some() => Err(error),
        Err(error) => {
            terminal::say(&format!("there is no worklist: {error:#}"));
            Ok(None)
        }
    }
}

/// The token; a service that other machines can reach needs one, unless that is waived.
pub(super) fn token(bind: SocketAddr, file: Option<&Path>, waived: bool) -> Result<Option<Token>> {
    let token = file.map(Token::read).transpose()?;
    if token.is_none() && !waived && !bind.ip().is_loopback() {
        bail!(
            "{bind} can be reached from other machines: give the service a token with --token-file, or let everyone ask \
             with --no-token"
        );
    }
    Ok(token)
}

fn archive(args: &ServeArgs) -> Result<Option<Archive>> {
    let authorization = args.archive_authorization.as_deref();
    let archive = args.archive.as_deref();
    archive
        .map(|url| Archive::new(url, authorization))
        .transpose()
}

fn limits(args: &ServeArgs) -> Limits {
    Limits {
        batch: usize::from(args.batch_size),
        requests: usize::from(args.queue),
        per_client: args.per_client.map(usize::from),
        bytes: usize::from(args.max_megabytes) << 20,
        pixels: u64::from(args.max_megapixels) * 1_000_000,
        predicting: Duration::from_secs(args.timeout),
        reading: Duration::from_secs(args.timeout),
        ..Limits::default()
    }
}

fn audit(args: &ServeArgs) -> PathBuf {
    let usual = || root().join("predictions").join("audit.jsonl");
    args.audit.clone().unwrap_or_else(usual)
}
