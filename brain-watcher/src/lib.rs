//! The watcher: polls git hosts and registries, and tells the server what is there until the server has stored it.
//!
//! The main story: [`run`] keeps a stream to the server open ([`connection`]); the server hands out projects, each of which
//! gets two pollers ([`poller`]); they read [`source`]s through their [`host`]'s queue, [`observe`] finds what is news, and
//! the [`outbox`] keeps it until it is acknowledged. It holds the credentials of git hosts and registries, and never decides
//! anything.

use crate::{config::Config, outbox::Outbox, outside::Outside, poller::Shared};
use std::{sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub mod config;
mod connection;
pub mod host;
pub mod metrics;
pub mod observe;
pub mod once;
pub mod outbox;
pub mod outside;
mod poller;
pub mod source;
mod trace;

/// Outcomes of tags that may wait to be told.
const OUTCOMES: usize = 1_024;
/// Time that pollers have to end.
const GRACE: Duration = Duration::from_secs(2);

/// Watches until `shutdown`.
pub async fn run(config: Arc<Config>, outside: Outside, shutdown: CancellationToken) -> anyhow::Result<()> {
    let tasks = TaskTracker::new();
    let (tag_outcomes, outcomes) = mpsc::channel(OUTCOMES);
    let shared = Arc::new(Shared { config, outside, outbox: Outbox::default(), tag_outcomes, tasks: tasks.clone() });
    connection::keep(shared, outcomes, shutdown).await?;
    tasks.close();
    let _ = timeout(GRACE, tasks.wait()).await;
    Ok(())
}
