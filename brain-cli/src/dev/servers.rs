//! Server, watcher and deployer in this process, each by the `run` of its own program, over loopback.

use super::agents::Agents;
use anyhow::{Context, anyhow};
use brain_server::{
    Incoming,
    clock::Clock,
    config::Settings,
    store::{Store, sled::SledStore},
};
use std::{
    future::pending,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use tokio::{net::TcpListener, task::JoinSet, time::timeout};
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;

/// The port where `brain` looks for the API, and the one where a server has its board.
const API_PORT: u16 = 7443;
const HTTP_PORT: u16 = 7480;
/// How often the local hosts are polled and the simulated production is observed: at once, for whoever looks on.
const LOOK: &str = "500ms";
/// Time that all agents have to end, and then everything else. The server's own grace is within it.
const GRACE: Duration = Duration::from_secs(11);

/// What runs, by its name.
type Parts = JoinSet<(&'static str, anyhow::Result<()>)>;

/// Everything that runs.
#[derive(Debug, Default)]
pub(super) struct Servers {
    agents: Parts,
    stop_agents: CancellationToken,
    /// The server, and whatever agents need until their end.
    others: Parts,
    stop: CancellationToken,
}

/// Addresses that are taken already, so that they can be told and nobody else has them.
#[derive(Debug)]
pub(super) struct Listeners {
    /// The API's.
    pub api: TcpListener,
    /// The board's.
    pub http: TcpListener,
}

impl Listeners {
    /// Takes them. Where none is named it is the usual one or, if somebody has that, any.
    pub(super) async fn bind(api: Option<SocketAddr>, http: Option<SocketAddr>) -> anyhow::Result<Self> {
        Ok(Self {
            api: bind_or(api, API_PORT, "--listen").await?,
            http: bind_or(http, HTTP_PORT, "--http-listen").await?,
        })
    }
}

async fn bind_or(named: Option<SocketAddr>, usual: u16, what: &str) -> anyhow::Result<TcpListener> {
    if let Some(address) = named {
        return bind(address, what).await;
    }
    match TcpListener::bind((Ipv4Addr::LOCALHOST, usual)).await {
        Ok(listener) => Ok(listener),
        Err(_) => bind((Ipv4Addr::LOCALHOST, 0).into(), what).await,
    }
}

/// Takes an address.
pub(super) async fn bind(address: SocketAddr, what: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("{what}: cannot listen on {address}"))
}

impl Servers {
    /// Starts the server. `hurried`: everything that it looks at is on this machine, and may be looked at often.
    pub(super) async fn serve(&mut self, listeners: Listeners, data: PathBuf, hurried: bool) -> anyhow::Result<()> {
        let Listeners { api, http } = listeners;
        let often = hurried.then(|| LOOK.to_owned());
        let settings = Settings {
            listen: Some(api.local_addr()?.to_string()),
            http_listen: Some(http.local_addr()?.to_string()),
            data: Some(data.display().to_string()),
            poll_interval: often.clone(),
            observe_interval: often,
            ..Settings::default()
        };
        let config = settings.check()?;
        let store: Arc<dyn Store> = Arc::new(tokio::task::spawn_blocking(move || SledStore::open(&data)).await??);
        let incoming = Incoming { api: TcpListenerStream::new(api), http: Some(http) };
        let stop = self.stop.clone();
        self.add("the server", brain_server::run(config, store, Clock::system(), incoming, stop));
        Ok(())
    }

    /// Starts the agents.
    pub(super) fn start(&mut self, agents: Agents) {
        let Agents { watcher: (config, outside), deployer: (acts, acts_on) } = agents;
        let watches = brain_watcher::run(config, outside, self.stop_agents.clone());
        let instance = uuid::Uuid::now_v7().to_string();
        let deploys = brain_deployer::run(acts, acts_on, instance, self.stop_agents.clone());
        self.agents.spawn(async { ("the watcher", watches.await) });
        self.agents.spawn(async { ("the deployer", deploys.await) });
    }

    /// Starts what agents need until their end.
    pub(super) fn add(&mut self, name: &'static str, part: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        self.others.spawn(async move { (name, part.await) });
    }

    /// What ends the parts that were added.
    pub(super) fn stop_signal(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Waits until something ends that nobody has told to; tells why.
    pub(super) async fn broken(&mut self) -> anyhow::Error {
        let ended = tokio::select! {
            Some(ended) = self.agents.join_next() => ended,
            Some(ended) = self.others.join_next() => ended,
            else => pending().await,
        };
        match ended {
            Ok((name, Ok(()))) => anyhow!("{name} has ended, though nobody told it to"),
            Ok((name, Err(error))) => error.context(format!("{name} has ended")),
            Err(panicked) => anyhow!(panicked).context("a part of brain has failed"),
        }
    }

    /// Ends everything: first the agents, then what they work with.
    pub(super) async fn end(mut self) -> anyhow::Result<()> {
        self.stop_agents.cancel();
        all_ended(&mut self.agents).await?;
        self.stop.cancel();
        all_ended(&mut self.others).await
    }
}

async fn all_ended(parts: &mut Parts) -> anyhow::Result<()> {
    let ended = timeout(GRACE, async {
        while let Some(ended) = parts.join_next().await {
            let (name, outcome) = ended.context("a part of brain has failed")?;
            outcome.with_context(|| format!("{name} has not ended well"))?;
        }
        Ok(())
    });
    ended.await.unwrap_or_else(|_| Err(anyhow!("not everything has ended within {} s", GRACE.as_secs())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_that_somebody_has_is_left_to_them_unless_it_was_named() {
        let somebody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let taken = somebody.local_addr().unwrap();
        let other = bind_or(None, taken.port(), "--listen").await.unwrap();
        assert_ne!(other.local_addr().unwrap().port(), taken.port());
        let named = bind_or(Some(taken), 0, "--listen").await.unwrap_err();
        assert_eq!(named.to_string(), format!("--listen: cannot listen on {taken}"));
        // A port that was free a moment ago may be somebody's now.
        for _ in 0..10 {
            let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
            if bind_or(None, free.port(), "--listen").await.unwrap().local_addr().unwrap() == free {
                return;
            }
        }
        panic!("the usual port was free, and another was taken");
    }
}
