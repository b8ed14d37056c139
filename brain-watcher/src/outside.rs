//! What a watcher has from outside: the sources, the way to the server and the time. Simulations bring their own.

use crate::{
    config::Config,
    source::port::{RealSources, Sources},
};
use brain_core::time::Timestamp;
use brain_proto::{
    channel::{Network, Tcp},
    v1::Observation,
};
use std::sync::Arc;

/// What a watcher has from outside.
#[derive(Clone)]
pub struct Outside {
    /// Git hosts and registries.
    pub sources: Arc<dyn Sources>,
    /// The way to the server.
    pub network: Arc<dyn Network>,
    /// Tells the time.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// Hears of each observation that the server says it has stored. For those who hold it to that.
    pub stored: Arc<dyn Fn(&Observation) + Send + Sync>,
}

impl Outside {
    /// The hosts of a configuration, and the machine's network and clock.
    pub fn real(config: &Arc<Config>) -> reqwest::Result<Self> {
        let now = || Timestamp(jiff::Timestamp::now().as_millisecond());
        let sources = Arc::new(RealSources::new(Arc::clone(config))?);
        Ok(Self { sources, network: Arc::new(Tcp), now: Arc::new(now), stored: Arc::new(|_| {}) })
    }
}
