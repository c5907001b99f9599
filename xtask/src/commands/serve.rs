//! `cargo xtask serve`: a trained network as an HTTP service.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use ::pipeline::predict::{Predictor, check_origin};
use ::serve::{Limits, Options, Token, serve};
use anyhow::{Result, bail};
use terminal::Interrupt;

use super::root;
use crate::cli::ServeArgs;

pub(crate) fn run(args: &ServeArgs, interrupt: &Interrupt) -> Result<ExitCode> {
    let options = Options {
        address: args.bind,
        token: token(args)?,
        limits: limits(args),
        audit: audit(args),
    };
    let device = settings::device(&args.device, ::bench::Precision::F32)?.device;
    let predictor = Predictor::open_on(&args.model, device)?;
    check_origin(predictor.networks(), &args.model, args.allow_phantom_model)?;
    super::predict::introduce(&predictor);
    let audit = options.audit.clone();
    let ready = |address: SocketAddr| {
        terminal::say(&format!("audit log: {}", audit.display()));
        terminal::say(&format!(
            "listening on http://{address} (Ctrl-C stops): curl -F image=@film.png http://{address}/predict"
        ));
    };
    serve(predictor, options, interrupt, ready)?;
    terminal::say("stopped");
    Ok(ExitCode::SUCCESS)
}

/// The token; a service that other machines can reach needs one, unless that is waived.
fn token(args: &ServeArgs) -> Result<Option<Token>> {
    let token = args.token_file.as_deref().map(Token::read).transpose()?;
    if token.is_none() && !args.no_token && !args.bind.ip().is_loopback() {
        bail!(
            "{} can be reached from other machines: give the service a token with --token-file, or let everyone ask \
             with --no-token",
            args.bind
        );
    }
    Ok(token)
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
