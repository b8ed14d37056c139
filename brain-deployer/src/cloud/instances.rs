//! The port to what instances there can be, and since when they run.

use super::Result;
use async_trait::async_trait;
use brain_core::capacity::Size;
use std::collections::{BTreeMap, BTreeSet};

/// Instance types, and where they are offered.
#[async_trait]
pub trait InstancePort: Send + Sync {
    /// What an instance of a type has; `None`: there is no such type in the region.
    async fn instance_size(&self, kind: &str) -> Result<Option<Size>>;
    /// Zones that offer a type.
    async fn zones_offering(&self, kind: &str) -> Result<BTreeSet<String>>;
    /// Zones by subnet, of those that exist.
    async fn zones_of(&self, subnets: &[String]) -> Result<BTreeMap<String, String>>;
    /// When those of these instances that run, and are tagged as the project's, were launched, milliseconds since 1970.
    async fn launched(&self, project: &str, instances: &[String]) -> Result<BTreeMap<String, i64>>;
}
