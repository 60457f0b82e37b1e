//! `moat kv ping`: whether a server answers, for people and scripts.

use std::time::{Duration, Instant};

use clap::Args;

use crate::client::{Client, Error};

use super::context::{Context, Verbosity};
use super::exit::{CliError, Exit};
use super::show::map;

/// Time between attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// Ask whether a server answers
#[derive(Args)]
#[command(
    override_usage = "moat kv ping [OPTIONS]",
    after_help = "Examples:\n  \
        moat kv ping\n  \
        moat kv -h other.example ping --wait 30 && echo there"
)]
pub(super) struct PingArgs {
    /// Wait until it answers, at most that long
    #[arg(short, long, value_name = "SECONDS")]
    wait: Option<f64>,
}

pub(super) async fn run(ctx: &Context, args: &PingArgs) -> Result<Exit, CliError> {
    let wait = match args.wait {
        None => Duration::ZERO,
        Some(seconds) => Duration::try_from_secs_f64(seconds)
            .map_err(|e| CliError::usage(format!("Invalid value for '-w' / '--wait': {e}.")))?,
    };
    let end = now().checked_add(wait);
    let (client, took) = loop {
        match ping(ctx).await {
            Ok(answer) => break answer,
            Err(error) => {
                let wait = end.is_none_or(|end| now() < end);
                if !(wait && error.is_connection()) {
                    return Err(error.into());
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    };
    let server = client.server().await?;
    let node = server.node.as_str();
    let ms = took.as_secs_f64() * 1000.0;
    if ctx.json {
        ctx.show(&map([("node", node.into()), ("ms", ms.into())]))?;
    } else if ctx.verbosity > Verbosity::Quiet {
        ctx.out.line(&format!("{node} answers in {ms:.2} ms"))?;
    }
    Ok(Exit::Success)
}

/// One attempt: a connection, and how long a request takes on it.
async fn ping(ctx: &Context) -> Result<(Client, Duration), Error> {
    let options = ctx.server().map_err(|_| Error::Closed("no TLS".to_owned()));
    let client = Client::connect(options?).await?;
    let start = now();
    client.tock().await?;
    Ok((client, start.elapsed()))
}

#[allow(clippy::disallowed_methods)] // a command measures real time
fn now() -> Instant {
    Instant::now()
}
