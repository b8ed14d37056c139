//! The port to sources: what a poller needs of a git repository and of an image repository, wherever they are.

use super::{
    PollError,
    git::Refs,
    open::{Images, Repository},
};
use crate::{
    config::Config,
    host::{Host, Hosts},
};
use async_trait::async_trait;
use brain_core::image::Digest;
use brain_proto::v1::HostState;
use std::{collections::BTreeMap, sync::Arc};

/// A git repository.
#[async_trait]
pub trait RepositoryPort: Send {
    /// The host that it is on.
    fn host(&self) -> Arc<Host>;
    /// Tags and head as they are now.
    async fn poll(&mut self) -> Result<Refs, PollError>;
    /// Makes a tag.
    async fn create_tag(&mut self, tag: &str, commit: &str) -> Result<(), PollError>;
}

/// An image repository.
#[async_trait]
pub trait ImagesPort: Send {
    /// The host that it is on.
    fn host(&self) -> Arc<Host>;
    /// Tags and digests as they are now. `hinted`: something is said to have changed.
    async fn poll(&mut self, hinted: bool) -> Result<BTreeMap<String, Digest>, PollError>;
}

/// Opens sources. The error is a definition's own fault.
pub trait Sources: Send + Sync {
    /// The git repository at `url`.
    fn repository(&self, url: &str, branch: &str) -> Result<Box<dyn RepositoryPort>, PollError>;
    /// The image repository `name` as Docker writes it.
    fn images(&self, name: &str) -> Result<Box<dyn ImagesPort>, PollError>;
    /// How the hosts are.
    fn hosts(&self) -> Vec<HostState>;
}

/// The sources that a configuration knows, over the network.
#[derive(Debug)]
pub struct RealSources {
    config: Arc<Config>,
    client: reqwest::Client,
    hosts: Arc<Hosts>,
}

impl RealSources {
    /// With one HTTP client for all.
    pub fn new(config: Arc<Config>) -> reqwest::Result<Self> {
        Ok(Self::with_client(config, super::client()?))
    }

    /// The same for hosts of this machine, which no proxy knows.
    pub fn of_this_machine(config: Arc<Config>) -> reqwest::Result<Self> {
        Ok(Self::with_client(config, super::client_of_this_machine()?))
    }

    fn with_client(config: Arc<Config>, client: reqwest::Client) -> Self {
        let hosts = Arc::new(Hosts::new(config.rates.clone()));
        Self { client, hosts, config }
    }
}

impl Sources for RealSources {
    fn repository(&self, url: &str, branch: &str) -> Result<Box<dyn RepositoryPort>, PollError> {
        Ok(Box::new(Repository::open(&self.client, &self.hosts, &self.config, url, branch)?))
    }

    fn images(&self, name: &str) -> Result<Box<dyn ImagesPort>, PollError> {
        Ok(Box::new(Images::open(&self.client, &self.hosts, &self.config, name)?))
    }

    fn hosts(&self) -> Vec<HostState> {
        self.hosts.report()
    }
}

#[async_trait]
impl RepositoryPort for Repository {
    fn host(&self) -> Arc<Host> {
        Self::host(self)
    }

    async fn poll(&mut self) -> Result<Refs, PollError> {
        Self::poll(self).await
    }

    async fn create_tag(&mut self, tag: &str, commit: &str) -> Result<(), PollError> {
        Self::create_tag(self, tag, commit).await
    }
}

#[async_trait]
impl ImagesPort for Images {
    fn host(&self) -> Arc<Host> {
        Self::host(self)
    }

    async fn poll(&mut self, hinted: bool) -> Result<BTreeMap<String, Digest>, PollError> {
        Self::poll(self, hinted).await
    }
}
