//! How long things take in a simulated account.

use serde::{Deserialize, Serialize};

/// Milliseconds of the account's clock. The default is AWS's own pace in a small region; who looks on wants another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    /// From an instance's launch until it has joined its cluster.
    pub boot_ms: i64,
    /// To pull an image and start it.
    pub start_ms: i64,
    /// From a task's start until the load balancer finds it healthy.
    pub healthy_ms: i64,
    /// For which a faulty task runs until it crashes.
    pub crash_ms: i64,
    /// For which a task runs that never is healthy, until ECS ends it for its health checks; or for its service's grace period,
    /// if that is longer.
    pub unhealthy_ms: i64,
    /// For which a task drains.
    pub drain_ms: i64,
    /// For which a deleted service drains, though it has no task: its name is not free meanwhile.
    pub deleted_ms: i64,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            boot_ms: 20_000,
            start_ms: 4_000,
            healthy_ms: 5_000,
            crash_ms: 3_000,
            unhealthy_ms: 30_000,
            drain_ms: 5_000,
            deleted_ms: 10_000,
        }
    }
}
