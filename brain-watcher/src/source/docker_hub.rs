//! Docker Hub's own listing of an image repository: tags with their digests, a hundred in a request, which counts against no
//! pull limit.

use super::{PollError, TAGS_MAX, oci::OciSource, refused, send};
use crate::{
    config::{Credential, Registry},
    host::{Host, Hosts},
};
use brain_core::image::Digest;
use reqwest::{Client, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;
use url::Url;

/// Where the listing is.
const HUB: &str = "https://hub.docker.com";
/// Tags in a page, the most that Docker Hub gives.
const PAGE: usize = 100;
/// Life of a login's token. Docker Hub tells none; its tokens live longer than this.
const TOKEN_LIFE: Duration = Duration::from_mins(9);

/// An image repository on Docker Hub.
#[derive(Debug)]
pub struct DockerHubSource {
    client: Client,
    host: Arc<Host>,
    hub: Url,
    namespace: String,
    repository: String,
    credential: Option<Credential>,
    token: Option<(SecretString, Instant)>,
    /// Asked for the digests that the listing leaves out, which is so for some old images.
    registry: OciSource,
}

#[derive(Deserialize)]
struct Page {
    next: Option<String>,
    results: Vec<Tag>,
}

#[derive(Deserialize)]
struct Tag {
    name: String,
    digest: Option<String>,
}

#[derive(Serialize)]
struct Login<'a> {
    identifier: &'a str,
    secret: &'a str,
}

#[derive(Deserialize)]
struct LoginAnswer {
    access_token: SecretString,
}

impl DockerHubSource {
    /// The repository `name`, "flowcommerce/user".
    pub fn new(
        client: Client,
        hosts: &Hosts,
        registries: &BTreeMap<String, Registry>,
        name: &str,
    ) -> Result<Self, PollError> {
        let registry = OciSource::new(client.clone(), hosts, registries, name)?;
        let configured = registries.get("docker.io");
        let hub = match configured.and_then(|configured| configured.hub_endpoint.clone()) {
            Some(hub) => hub,
            None => Url::parse(HUB).map_err(|error| PollError::new(error.to_string()))?,
        };
        let (namespace, repository) =
            registry.repository().split_once('/').unwrap_or(("library", registry.repository()));
        Ok(Self {
            client,
            host: hosts.get("docker.io"),
            hub,
            namespace: namespace.to_owned(),
            repository: repository.to_owned(),
            credential: configured.and_then(|configured| configured.credential.clone()),
            token: None,
            registry,
        })
    }

    /// Tags and digests as they are now; none for a repository that does not exist yet.
    pub async fn poll(&mut self) -> Result<BTreeMap<String, Digest>, PollError> {
        let path = format!("v2/namespaces/{}/repositories/{}/tags", self.namespace, self.repository);
        let mut first = self.url(&path)?;
        first.query_pairs_mut().append_pair("page_size", &PAGE.to_string());
        let mut next = Some(first);
        let mut tags = BTreeMap::new();
        let mut seen = BTreeSet::new();
        while let Some(url) = next {
            if !seen.insert(url.clone()) || seen.len() > TAGS_MAX / PAGE + 1 {
                return Err(PollError::new("docker.io pages its tags without end"));
            }
            let Some(Page { next: following, results }) = self.page(url).await? else { return Ok(BTreeMap::new()) };
            for Tag { name, digest } in results {
                let digest = match digest.and_then(|digest| Digest::parse(&digest).ok()) {
                    Some(digest) => Some(digest),
                    None => self.registry.digest(&name).await?,
                };
                if let Some(digest) = digest {
                    tags.insert(name, digest);
                }
            }
            // A page elsewhere would be given the login's token.
            next = following.and_then(|next| Url::parse(&next).ok()).filter(|next| next.origin() == self.hub.origin());
        }
        Ok(tags)
    }

    async fn page(&mut self, url: Url) -> Result<Option<Page>, PollError> {
        let token = self.token().await?;
        let mut request = self.client.get(url);
        if let Some(token) = &token {
            request = request.bearer_auth(token.expose_secret());
        }
        let answer = send(&self.host, "docker.io", request).await?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            _ => {
                self.token = None;
                let hint = "check the credential of docker.io in the watcher's configuration";
                return Err(refused("docker.io", &answer, hint));
            }
        }
        let page = serde_json::from_slice(&answer.body);
        page.map(Some).map_err(|_| PollError::new("docker.io answers with what is no list of tags"))
    }

    async fn token(&mut self) -> Result<Option<SecretString>, PollError> {
        let Some(Credential { username, password }) = &self.credential else { return Ok(None) };
        if let Some((token, until)) = self.token.as_ref()
            && Instant::now() < *until
        {
            return Ok(Some(token.clone()));
        }
        let login = Login { identifier: username, secret: password.expose_secret() };
        let request = self.client.post(self.url("v2/auth/token")?).json(&login);
        let answer = send(&self.host, "docker.io", request).await?;
        if !answer.status.is_success() {
            let hint = "check the credential of docker.io in the watcher's configuration";
            return Err(refused("the login of docker.io", &answer, hint));
        }
        let token: LoginAnswer = serde_json::from_slice(&answer.body)
            .map_err(|_| PollError::new("the login of docker.io answers with what is no token"))?;
        let (token, _) = self.token.insert((token.access_token, Instant::now() + TOKEN_LIFE));
        Ok(Some(token.clone()))
    }

    /// Its host's queue.
    pub(super) fn queue(&self) -> Arc<Host> {
        Arc::clone(&self.host)
    }

    fn url(&self, path: &str) -> Result<Url, PollError> {
        let base = self.hub.as_str().trim_end_matches('/');
        Url::parse(&format!("{base}/{path}")).map_err(|error| PollError::new(error.to_string()))
    }
}
