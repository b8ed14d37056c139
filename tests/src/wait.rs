//! Waiting for a condition, never for a time.

use anyhow::{Result, anyhow};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Longest wait for anything on a busy machine with two cores.
pub const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(30);

/// Asks `check` until it answers, and fails with what it said last once `patience` is at its end.
pub async fn within<T, F>(patience: Duration, what: &str, mut check: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let end = Instant::now() + patience;
    loop {
        match check().await {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() >= end => {
                return Err(anyhow!("waited {patience:?} for: {what}; last: {error:#}"));
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
}

/// [`within`] the usual patience.
pub async fn eventually<T, F>(what: &str, check: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    within(PATIENCE, what, check).await
}
