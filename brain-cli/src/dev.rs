//! `brain dev`: all of brain in one process, with what it works with, to try it and to develop against it.
//!
//! The main story: a [`house`] is started, which has server, watcher and deployer ([`servers`]) as they ship, a git host and a
//! registry ([`hosts`], on a [`forge`]) and a simulated [`cloud`]; then addresses and commands are told ([`welcome`]), a
//! [`story`] is played where one is wished for, and all of it runs until Ctrl-C. It is a client of its own server: what it
//! shows is what the API says.

use crate::{
    client::Client,
    config::{Color, Format},
    exit::Exit,
    failure::Failure,
    output::Output,
    session::Session,
};
use arguments::{Run, What};
use brain_process::{log, metrics, stop, trace};
use house::{House, Local};
use tokio_util::sync::CancellationToken;
use welcome::Addresses;

mod agents;
mod arguments;
mod ask;
mod cloud;
mod folder;
mod forge;
mod git;
mod hosts;
mod house;
mod project;
mod registry;
mod servers;
mod story;
mod welcome;

pub(crate) use arguments::Dev;

impl Dev {
    /// Runs everything, unless something is asked of a `brain dev` that runs already; answers the command then.
    pub(crate) async fn without_server(self) -> Result<Option<Self>, Failure> {
        match self.what {
            None => run(self.run).await.map(|()| None),
            Some(_) => Ok(Some(self)),
        }
    }

    /// Asks the `brain dev` of the server.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        match self.what {
            Some(What::Push(push)) => push.run(session).await,
            Some(What::Commit(commit)) => commit.run(session).await,
            None => Ok(Exit::Done),
        }
    }
}

async fn run(run: Run) -> Result<(), Failure> {
    log::start(run.log, run.log_filter());
    // The one TLS provider; a second call would fail, and there is none.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let stop = stop::signalled().map_err(failed)?;
    let _spans = trace::install("brain");
    let measured =
        [brain_server::metrics::MEASURED, brain_watcher::metrics::MEASURED, brain_deployer::metrics::MEASURED];
    metrics::install(&measured.concat()).map_err(failed)?;
    let mut house = House::start(&run).await.map_err(|error| Failure::usage(format!("{error:#}")))?;
    let (addresses, local) = (house.addresses().clone(), house.local().cloned());
    let told = tokio::select! {
        why = house.broken() => Err(failed(why)),
        told = tell(&run, &addresses, local.as_ref(), &stop) => told,
    };
    let ended = house.end().await.map_err(failed);
    told.and(ended)
}

/// Tells everything that is to be told; ends when there is nothing to wait for, or at `stop`.
async fn tell(
    run: &Run,
    addresses: &Addresses,
    local: Option<&Local>,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let out = Output::new(Format::default(), Color::default());
    let client = Client::connect(&addresses.server()?).await?;
    if let Some(local) = local {
        project::make(&client, local).await?;
    }
    out.lines(welcome::addresses(addresses))?;
    if let Some(local) = local.filter(|_| run.story) {
        let told = stop.run_until_cancelled(story::play(client, local, out)).await;
        told.unwrap_or_else(|| Err(Failure::new(Exit::DeploymentFailed, "the story was ended before its end")))?;
        if !run.stays() {
            return Ok(());
        }
    }
    out.lines(welcome::commands(addresses, run.story))?;
    stop.cancelled().await;
    Ok(())
}

fn failed(error: anyhow::Error) -> Failure {
    Failure::new(Exit::DeploymentFailed, format!("{error:#}"))
}
