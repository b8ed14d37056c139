//! One set of AWS clients for each region, made when it is first needed.

use crate::{aws::Aws, cloud::Cloud};
use async_trait::async_trait;
use std::{collections::HashMap, sync::Arc};
use tokio::sync::Mutex;

/// Gives the cloud of a region.
#[async_trait]
pub trait Clouds: Send + Sync {
    /// The cloud of a region.
    async fn get(&self, region: &str) -> Arc<dyn Cloud>;
}

/// AWS, by region.
#[derive(Debug, Default)]
pub struct AwsClouds(Mutex<HashMap<String, Arc<Aws>>>);

#[async_trait]
impl Clouds for AwsClouds {
    async fn get(&self, region: &str) -> Arc<dyn Cloud> {
        let mut clouds = self.0.lock().await;
        if let Some(cloud) = clouds.get(region) {
            return Arc::clone(cloud) as Arc<dyn Cloud>;
        }
        let cloud = Arc::new(Aws::connect(region).await);
        clouds.insert(region.to_owned(), Arc::clone(&cloud));
        cloud
    }
}
