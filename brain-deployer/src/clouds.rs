//! One set of AWS clients for each region and role, made when it is first needed.

use crate::{aws::Aws, cloud::Cloud};
use async_trait::async_trait;
use std::{collections::HashMap, sync::Arc};
use tokio::sync::Mutex;

/// Gives the clouds.
#[async_trait]
pub trait Clouds: Send + Sync {
    /// The cloud of a region, as `role` sees it; empty: as the deployer's own credentials do.
    async fn get(&self, region: &str, role: &str) -> Arc<dyn Cloud>;
}

/// AWS, by region and role.
#[derive(Debug, Default)]
pub struct AwsClouds(Mutex<HashMap<(String, String), Arc<Aws>>>);

#[async_trait]
impl Clouds for AwsClouds {
    async fn get(&self, region: &str, role: &str) -> Arc<dyn Cloud> {
        let mut clouds = self.0.lock().await;
        let key = (region.to_owned(), role.to_owned());
        if let Some(cloud) = clouds.get(&key) {
            return Arc::clone(cloud) as Arc<dyn Cloud>;
        }
        let cloud = Arc::new(Aws::connect(region, role).await);
        clouds.insert(key, Arc::clone(&cloud));
        cloud
    }
}
