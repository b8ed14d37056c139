//! The client channel of the agents: how it is opened, kept alive, and how long to pause before it is opened again.

use async_trait::async_trait;
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use std::time::Duration;
use tonic::transport::{Channel, Endpoint, Error, Uri};

/// How often an idle connection is asked whether it lives, and how long it has to answer.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// A stream that lived so long makes the next pause the shortest again.
const STEADY: Duration = Duration::from_secs(10);
/// Shortest and longest pause between attempts.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// The way to the server. A simulation brings its own.
#[async_trait]
pub trait Network: Send + Sync {
    /// Opens a connection.
    async fn connect(&self, endpoint: &Endpoint) -> Result<Channel, Error>;
}

/// The machine's network.
#[derive(Debug, Clone, Copy)]
pub struct Tcp;

#[async_trait]
impl Network for Tcp {
    async fn connect(&self, endpoint: &Endpoint) -> Result<Channel, Error> {
        endpoint.connect().await
    }
}

/// The server, kept alive so that a connection that broke silently is noticed within seconds.
#[must_use]
pub fn endpoint(server: Uri) -> Endpoint {
    Endpoint::from(server)
        .connect_timeout(KEEP_ALIVE)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
}

/// Pauses between attempts to connect: jittered and rising, the first one short.
#[derive(Debug)]
pub struct Pauses(ExponentialBackoff);

impl Default for Pauses {
    fn default() -> Self {
        let pauses = ExponentialBuilder::default().with_jitter().with_min_delay(PAUSE.0).with_max_delay(PAUSE.1);
        Self(pauses.without_max_times().build())
    }
}

impl Pauses {
    /// The pause after a stream that lived so long.
    pub fn after(&mut self, lived: Duration) -> Duration {
        if lived >= STEADY {
            *self = Self::default();
        }
        self.0.next().unwrap_or(PAUSE.1)
    }
}
