//! The deployer: carries out deployments on AWS, and observes what runs in production.
//!
//! The main story: [`run`] keeps a stream to the server open (`connection`); a deployment that is handed over gets a
//! `worker`, which takes its plan's [`step`]s one after the other: look at the [`cloud`], act once, look again. Only [`aws`]
//! knows the SDK. It acts only while its lease lasts, and decides nothing that the plan has not decided.

use crate::{config::Config, connection::Deployer, outside::Outside, prometheus::Prometheus};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

pub mod aws;
pub mod cloud;
pub mod clouds;
pub mod config;
mod connection;
mod difference;
mod housekeeping;
mod lease;
pub mod metrics;
mod observers;
pub mod outside;
pub mod prometheus;
mod rehearsal;
mod reporter;
pub mod simulated;
pub mod step;
pub mod user_data;
mod waits;
mod worker;

/// Deploys until `shutdown`. `instance` tells this start of the process from every other.
pub async fn run(
    mut config: Config,
    outside: Outside,
    instance: String,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let prometheus = Arc::new(Prometheus::new(std::mem::take(&mut config.prometheus))?);
    let deployer = Deployer { config, outside, prometheus, instance, waits: Arc::default() };
    connection::keep(deployer, shutdown).await;
    Ok(())
}
