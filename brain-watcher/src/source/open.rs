//! Which source a project's addresses call for.

use super::{PollError, docker_hub::DockerHubSource, git::GitSource, git::Refs, github::GitHubSource, oci::OciSource};
use crate::{
    config::Config,
    host::{Host, Hosts},
};
use brain_core::image::Digest;
use reqwest::Client;
use std::{collections::BTreeMap, sync::Arc};
use url::Url;

/// A git repository: through GitHub's API where the host is configured as a GitHub, by git's own protocol elsewhere.
#[derive(Debug)]
#[allow(missing_docs, reason = "named by the types")]
pub enum Repository {
    Git(GitSource),
    GitHub(GitHubSource),
}

/// An image repository: docker.io by Docker Hub's own listing, unless a mirror stands in for it; all else as an OCI registry.
#[derive(Debug)]
#[allow(missing_docs, reason = "named by the types")]
pub enum Images {
    DockerHub(Box<DockerHubSource>),
    Oci(Box<OciSource>),
}

impl Repository {
    /// The repository at `url`.
    pub fn open(
        client: &Client,
        hosts: &Arc<Hosts>,
        config: &Config,
        url: &str,
        branch: &str,
    ) -> Result<Self, PollError> {
        let host = Url::parse(url).ok().and_then(|url| {
            let host = url.host_str()?.to_owned();
            let port = url.port().map(|port| format!("{host}:{port}"));
            Some(port.unwrap_or(host))
        });
        let host = host.unwrap_or_default();
        if let Some(github) = config.github.get(&host) {
            let (api, auth) = (github.api.clone(), Arc::clone(&github.auth));
            return GitHubSource::new(client.clone(), hosts.get(&host), api, auth, url, branch).map(Self::GitHub);
        }
        let credential = config.git.get(&host).cloned();
        let folder = config.git_folder.as_deref();
        GitSource::new(client.clone(), Arc::clone(hosts), url, branch, credential, folder).map(Self::Git)
    }

    /// The host that it is on.
    pub(crate) fn host(&self) -> Arc<Host> {
        match self {
            Self::Git(git) => git.queue(),
            Self::GitHub(github) => github.queue(),
        }
    }

    /// Tags and head as they are now.
    pub async fn poll(&mut self) -> Result<Refs, PollError> {
        match self {
            Self::Git(git) => git.poll().await,
            Self::GitHub(github) => github.poll().await,
        }
    }

    /// Makes a tag.
    pub async fn create_tag(&mut self, tag: &str, commit: &str) -> Result<(), PollError> {
        match self {
            Self::Git(git) => git.create_tag(tag, commit).await,
            Self::GitHub(github) => github.create_tag(tag, commit).await,
        }
    }
}

impl Images {
    /// The repository `name` as Docker writes it.
    pub fn open(client: &Client, hosts: &Hosts, config: &Config, name: &str) -> Result<Self, PollError> {
        let oci = OciSource::new(client.clone(), hosts, &config.registries, name)?;
        let mirrored = config.registries.get("docker.io").is_some_and(|registry| registry.endpoint.is_some());
        if oci.registry() == "docker.io" && !mirrored {
            let hub = DockerHubSource::new(client.clone(), hosts, &config.registries, name)?;
            return Ok(Self::DockerHub(Box::new(hub)));
        }
        Ok(Self::Oci(Box::new(oci)))
    }

    /// The host that it is on.
    pub(crate) fn host(&self) -> Arc<Host> {
        match self {
            Self::DockerHub(hub) => hub.queue(),
            Self::Oci(oci) => oci.queue(),
        }
    }

    /// Tags and digests as they are now. `hinted`: something is said to have changed.
    pub async fn poll(&mut self, hinted: bool) -> Result<BTreeMap<String, Digest>, PollError> {
        match self {
            Self::DockerHub(hub) => hub.poll().await,
            Self::Oci(oci) => oci.poll(hinted).await,
        }
    }
}
