//! What a deployer has from outside: the clouds, the way to the server and the time. Simulations bring their own.

use crate::clouds::{AwsClouds, Clouds};
use async_trait::async_trait;
use brain_core::time::Timestamp;
use std::sync::Arc;
use tonic::transport::{Channel, Endpoint, Error};

/// The way to the server.
#[async_trait]
pub trait Network: Send + Sync {
    /// Opens a connection.
    async fn connect(&self, endpoint: &Endpoint) -> Result<Channel, Error>;
}

/// The machine's network.
struct Tcp;

#[async_trait]
impl Network for Tcp {
    async fn connect(&self, endpoint: &Endpoint) -> Result<Channel, Error> {
        endpoint.connect().await
    }
}

/// What a deployer has from outside.
#[derive(Clone)]
pub struct Outside {
    /// The clouds.
    pub clouds: Arc<dyn Clouds>,
    /// The way to the server.
    pub network: Arc<dyn Network>,
    /// Tells the time.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

impl Outside {
    /// AWS, and the machine's network and clock.
    #[must_use]
    pub fn real() -> Self {
        let now = || Timestamp(jiff::Timestamp::now().as_millisecond());
        Self { clouds: Arc::new(AwsClouds::default()), network: Arc::new(Tcp), now: Arc::new(now) }
    }
}
