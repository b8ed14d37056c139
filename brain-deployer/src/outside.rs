//! What a deployer has from outside: the clouds, the way to the server and the time. Simulations bring their own.

use crate::clouds::{AwsClouds, Clouds};
use brain_core::time::Timestamp;
use brain_proto::channel::{Network, Tcp};
use std::sync::Arc;

/// What a deployer has from outside.
#[derive(Clone)]
pub struct Outside {
    /// The clouds.
    pub clouds: Arc<dyn Clouds>,
    /// The way to the server.
    pub network: Arc<dyn Network>,
    /// Tells the time.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// Hears neither that a deployment is withdrawn nor that a report is refused. Only a simulation has such a deployer, to see
    /// that what it does is noticed.
    pub deaf: bool,
}

impl Outside {
    /// AWS, and the machine's network and clock. `aws_limits`: the part of AWS's default limits that brain's
    /// deployers have together.
    #[must_use]
    pub fn real(aws_limits: f64) -> Self {
        let now = || Timestamp(jiff::Timestamp::now().as_millisecond());
        Self { clouds: Arc::new(AwsClouds::new(aws_limits)), network: Arc::new(Tcp), now: Arc::new(now), deaf: false }
    }
}
