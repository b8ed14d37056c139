//! One set of AWS clients for each region and role, made when it is first needed.

use crate::{
    aws::{AllLimits, Aws, own_account},
    cloud::Cloud,
};
use anyhow::Context;
use async_trait::async_trait;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};
use tracing::warn;

/// Longest wait for AWS's word on whose the deployer's own credentials are: whoever asks for a cloud renews leases beside it.
const OWN_WITHIN: Duration = Duration::from_secs(2);

/// Gives the clouds.
#[async_trait]
pub trait Clouds: Send + Sync {
    /// The cloud of a region, as `role` sees it; empty: as the deployer's own credentials do.
    async fn get(&self, region: &str, role: &str) -> Arc<dyn Cloud>;

    /// So many deployers, this one among them, share what AWS lets be called. Of no matter to clouds without limits.
    fn shared_by(&self, _deployers: u32) {}
}

/// AWS.
#[derive(Debug)]
pub struct AwsClouds {
    limits: AllLimits,
    inner: Mutex<Inner>,
}

impl AwsClouds {
    /// None yet. `part`: of AWS's default limits, what all deployers have together.
    #[must_use]
    pub fn new(part: f64) -> Self {
        Self { limits: AllLimits::new(part), inner: Mutex::default() }
    }
}

#[derive(Debug, Default)]
struct Inner {
    /// By region and role.
    clouds: HashMap<(String, String), Arc<Aws>>,
    /// The account of the deployer's own credentials, once a role made it matter.
    own: Option<String>,
}

#[async_trait]
impl Clouds for AwsClouds {
    async fn get(&self, region: &str, role: &str) -> Arc<dyn Cloud> {
        let mut inner = self.inner.lock().await;
        let key = (region.to_owned(), role.to_owned());
        if let Some(cloud) = inner.clouds.get(&key) {
            return Arc::clone(cloud) as Arc<dyn Cloud>;
        }
        let account = inner.account_of(role, region).await;
        let cloud = Arc::new(Aws::connect(region, role, self.limits.of(region, account)).await);
        inner.clouds.insert(key, Arc::clone(&cloud));
        cloud
    }

    fn shared_by(&self, deployers: u32) {
        self.limits.share(deployers, Instant::now());
    }
}

impl Inner {
    /// The account of a role; empty where it is the deployer's own, whose limits it shares. AWS is asked once; where it does
    /// not say, the role's limits are counted by themselves.
    async fn account_of(&mut self, role: &str, region: &str) -> String {
        // arn:aws:iam::ACCOUNT:role/NAME
        let account = role.split(':').nth(4).unwrap_or_default();
        if account.is_empty() {
            return String::new();
        }
        if self.own.is_none() {
            let own = timeout(OWN_WITHIN, own_account(region)).await.context("AWS does not answer");
            match own.and_then(|own| Ok(own?)) {
                Ok(own) => self.own = Some(own),
                Err(error) => warn!(%error, role, "whether the role is of this deployer's own account is not known"),
            }
        }
        if self.own.as_deref() == Some(account) { String::new() } else { account.to_owned() }
    }
}
