//! One set of AWS clients for each region and role, made when it is first needed.

use crate::{
    aws::{Aws, Limits},
    cloud::Cloud,
};
use async_trait::async_trait;
use std::{collections::HashMap, sync::Arc};
use tokio::sync::Mutex;

/// Gives the clouds.
#[async_trait]
pub trait Clouds: Send + Sync {
    /// The cloud of a region, as `role` sees it; empty: as the deployer's own credentials do.
    async fn get(&self, region: &str, role: &str) -> Arc<dyn Cloud>;
}

/// AWS.
#[derive(Debug, Default)]
pub struct AwsClouds(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// By region and role.
    clouds: HashMap<(String, String), Arc<Aws>>,
    /// By region and account; an empty account is the deployer's own.
    limits: HashMap<(String, String), Arc<Limits>>,
}

#[async_trait]
impl Clouds for AwsClouds {
    async fn get(&self, region: &str, role: &str) -> Arc<dyn Cloud> {
        let mut inner = self.0.lock().await;
        let key = (region.to_owned(), role.to_owned());
        if let Some(cloud) = inner.clouds.get(&key) {
            return Arc::clone(cloud) as Arc<dyn Cloud>;
        }
        // arn:aws:iam::ACCOUNT:role/NAME
        let account = role.split(':').nth(4).unwrap_or_default();
        let limits = Arc::clone(inner.limits.entry((region.to_owned(), account.to_owned())).or_default());
        let cloud = Arc::new(Aws::connect(region, role, limits).await);
        inner.clouds.insert(key, Arc::clone(&cloud));
        cloud
    }
}
