//! One set of AWS clients for each region and role, made when it is first needed.

use crate::{
    aws::{Aws, Limits, own_account},
    cloud::Cloud,
};
use anyhow::Context;
use async_trait::async_trait;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::{sync::Mutex, time::timeout};
use tracing::warn;

/// Longest wait for AWS's word on whose the deployer's own credentials are: whoever asks for a cloud renews leases beside it.
const OWN_WITHIN: Duration = Duration::from_secs(2);

/// Gives the clouds.
#[async_trait]
pub trait Clouds: Send + Sync {
    /// The cloud of a region, as `role` sees it; empty: as the deployer's own credentials do.
    async fn get(&self, region: &str, role: &str) -> Arc<dyn Cloud>;
}

/// AWS.
#[derive(Debug)]
pub struct AwsClouds {
    /// The part of AWS's default limits that is for this process.
    limits: f64,
    inner: Mutex<Inner>,
}

impl AwsClouds {
    /// None yet. `limits`: the part of AWS's default limits that is for this process.
    #[must_use]
    pub fn new(limits: f64) -> Self {
        Self { limits, inner: Mutex::default() }
    }
}

#[derive(Debug, Default)]
struct Inner {
    /// By region and role.
    clouds: HashMap<(String, String), Arc<Aws>>,
    /// By region and account; an empty account is the deployer's own.
    limits: HashMap<(String, String), Arc<Limits>>,
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
        let limits = inner.limits.entry((region.to_owned(), account));
        let limits = Arc::clone(limits.or_insert_with(|| Arc::new(Limits::new(self.limits))));
        let cloud = Arc::new(Aws::connect(region, role, limits).await);
        inner.clouds.insert(key, Arc::clone(&cloud));
        cloud
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
