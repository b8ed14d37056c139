//! Everything that `brain dev` starts and ends.

use super::{
    agents::Agents,
    arguments::Run,
    cloud::Simulated,
    folder::{Folder, Outside},
    forge::{Forge, Push},
    hosts,
    servers::{self, Listeners, Servers},
    welcome::Addresses,
};
use anyhow::{Context, anyhow};
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

/// How often what changed on git host, registry and account is kept.
const KEEP: Duration = Duration::from_secs(1);
/// The project's git repository, and its images.
pub(super) const REPOSITORY: &str = "user";
pub(super) const IMAGES: &str = "flowcommerce/user";

/// What runs.
pub(super) struct House {
    folder: Folder,
    servers: Servers,
    addresses: Addresses,
    local: Option<Local>,
}

/// What stands in for the world.
#[derive(Debug, Clone)]
pub(super) struct Local {
    /// Git host and registry.
    pub forge: Arc<Forge>,
    /// The account.
    pub cloud: Arc<Simulated>,
    /// Address of git host and registry.
    pub address: SocketAddr,
}

impl House {
    /// Starts everything.
    pub(super) async fn start(run: &Run) -> anyhow::Result<Self> {
        let folder = Folder::open(run.data.as_deref())?;
        let listeners = Listeners::bind(run.listen, run.http_listen).await?;
        let (api, board) = (listeners.api.local_addr()?, listeners.http.local_addr()?);
        let mut servers = Servers::default();
        let local = if run.aws { None } else { Some(start_outside(&folder, &mut servers).await?) };
        servers.serve(listeners, folder.store(), local.is_some()).await?;
        let server = format!("http://{api}");
        let agents = match &local {
            Some(local) => Agents::of_this_machine(&server, local.address, &local.cloud)?,
            None => Agents::of_the_world(&server, run.watcher_config.as_deref(), run.deployer_config.as_deref())?,
        };
        servers.start(agents);
        let addresses = Addresses {
            program: std::env::args().next().unwrap_or_else(|| "brain".to_owned()),
            api,
            board,
            hosts: local.as_ref().map(|local| local.address),
            data: folder.path().display().to_string(),
            is_temporary: folder.is_temporary(),
        };
        Ok(Self { folder, servers, addresses, local })
    }

    /// Where everything is.
    pub(super) fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// What stands in for the world; `None` with --aws.
    pub(super) fn local(&self) -> Option<&Local> {
        self.local.as_ref()
    }

    /// Waits until something ends that nobody has told to; tells why.
    pub(super) async fn broken(&mut self) -> anyhow::Error {
        self.servers.broken().await
    }

    /// Ends everything, and removes a temporary folder.
    pub(super) async fn end(self) -> anyhow::Result<()> {
        let ended = self.servers.end().await;
        ended.and(self.folder.close())
    }
}

/// Starts git host, registry and account, as they were kept or as they are in the beginning.
async fn start_outside(folder: &Folder, servers: &mut Servers) -> anyhow::Result<Local> {
    let kept = folder.outside()?;
    let port = kept.as_ref().map(|kept| kept.port);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.unwrap_or_default()));
    let listener = servers::bind(address, "the git host and registry").await;
    let listener = match port {
        // The definitions of projects name it.
        Some(_) => {
            listener.context("it is the address of the last start: does another `brain dev` use this folder?")?
        }
        None => listener?,
    };
    let address = listener.local_addr()?;
    let (forge, world) = match kept {
        Some(Outside { forge, world, .. }) => (Forge::with(forge), world),
        None => (beginning().map_err(|why| anyhow!(why))?, Default::default()),
    };
    let (forge, cloud) = (Arc::new(forge), Arc::new(Simulated::new(world)));
    let (stop, running) = (servers.stop_signal(), cloud.run());
    servers.add("the simulated cloud", async move {
        stop.run_until_cancelled(running).await;
        Ok(())
    });
    let served = hosts::serve(listener, Arc::clone(&forge), Arc::clone(&cloud), servers.stop_signal());
    servers.add("the git host", served);
    let local = Local { forge, cloud, address };
    if !folder.is_temporary() {
        servers.add("keeping what is simulated", keep(local.clone(), folder.path().to_owned(), servers.stop_signal()));
    }
    Ok(local)
}

/// The seed's beginning: an image of 0.0.4 only, though 0.0.5 is tagged, and a commit more on master.
fn beginning() -> Result<Forge, String> {
    let forge = Forge::default();
    forge.push(&version("0.0.4", false))?;
    let tagged = forge.commit(REPOSITORY)?;
    forge.tag(REPOSITORY, "0.0.5", &tagged)?;
    forge.commit(REPOSITORY)?;
    Ok(forge)
}

/// A version of the project.
pub(super) fn version(version: &str, bad: bool) -> Push {
    let (repository, image_repository) = (REPOSITORY.to_owned(), IMAGES.to_owned());
    Push { repository, image_repository, version: version.to_owned(), bad }
}

/// Keeps what is simulated, now and whenever it has changed, until `stop`.
async fn keep(local: Local, folder: PathBuf, stop: CancellationToken) -> anyhow::Result<()> {
    let now = || Outside { port: local.address.port(), forge: local.forge.state(), world: local.cloud.world() };
    let mut kept = None;
    let mut ticks = interval(KEEP);
    loop {
        let goes_on = stop.run_until_cancelled(ticks.tick()).await.is_some();
        let outside = now();
        if kept.as_ref() != Some(&outside) {
            outside.keep(&folder)?;
            kept = Some(outside);
        }
        if !goes_on {
            return Ok(());
        }
    }
}
