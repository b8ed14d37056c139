//! Any OCI registry: tags by `tags/list`, paged by Link; digests by HEAD, which counts against no pull limit.
//!
//! Requests go through our own HTTP client: the registry clients at hand follow no Link and make no conditional request.

use super::{Answer, PollError, TAGS_MAX, next_page, refused, send};
use crate::{config::Registry, host::Host, host::Hosts};
use brain_core::{image::Digest, version::compare_tags};
use oci_spec::distribution::Reference;
use reqwest::{
    Client, Method, StatusCode,
    header::{self, HeaderValue},
};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use url::Url;

mod auth;
mod ecr;

use ecr::Credentials;

/// Manifest types; without them a registry answers 404 for an OCI image.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
                         application/vnd.docker.distribution.manifest.list.v2+json, \
                         application/vnd.docker.distribution.manifest.v2+json";
/// Tags asked for in one page.
const PAGE: usize = 1_000;
/// Most pages: the most tags, in pages of a registry that chooses a small size.
const PAGES_MAX: usize = 400;
/// Known tags whose digest is asked for again, to notice those that moved: the newest versions at each poll, and one more
/// in turn; many more of them when something is said to have changed. Each is a request, and there are many projects.
const RECHECKED: usize = 2;
const RECHECKED_HINTED: usize = 50;

/// An image repository.
#[derive(Debug)]
pub struct OciSource {
    client: Client,
    host: Arc<Host>,
    endpoint: Url,
    /// Host as people know it.
    registry: String,
    /// Path of the repository in the registry.
    repository: String,
    credential: Credentials,
    token: Option<auth::Token>,
    known: BTreeMap<String, Digest>,
    /// Known tags that were asked for again, counted on and on.
    rechecked: usize,
    /// The last list that was one page and had an ETag: asked again under that condition, it costs the registry nothing.
    listed: Option<(HeaderValue, BTreeSet<String>)>,
}

#[derive(Deserialize)]
struct TagList {
    // Registries answer null for a repository without tags.
    tags: Option<Vec<String>>,
}

impl OciSource {
    /// The repository `name` as Docker writes it.
    pub fn new(
        client: Client,
        hosts: &Hosts,
        registries: &BTreeMap<String, Registry>,
        name: &str,
    ) -> Result<Self, PollError> {
        let reference: Reference =
            name.parse().map_err(|error| PollError::new(format!("the image repository is faulty: {error}")))?;
        let registry = reference.registry().to_owned();
        let configured = registries.get(&registry);
        let endpoint = match configured.and_then(|configured| configured.endpoint.clone()) {
            Some(endpoint) => endpoint,
            None => Url::parse(&format!("https://{}", reference.resolve_registry()))
                .map_err(|error| PollError::new(format!("the registry's host is faulty: {error}")))?,
        };
        let credential = Credentials::of(configured, &registry);
        Ok(Self {
            client,
            host: hosts.get(&format!("registry {registry}")),
            endpoint,
            registry,
            rechecked: 0,
            repository: reference.repository().to_owned(),
            credential,
            token: None,
            known: BTreeMap::new(),
            listed: None,
        })
    }

    /// Tags and digests as they are now.
    ///
    /// `hinted`: something is said to have changed, and may be any of them.
    pub async fn poll(&mut self, hinted: bool) -> Result<BTreeMap<String, Digest>, PollError> {
        let tags = self.tags().await?;
        self.known.retain(|tag, _| tags.contains(tag));
        let mut newest: Vec<String> = self.known.keys().cloned().collect();
        newest.sort_by(|a, b| compare_tags(b, a));
        let new = tags.into_iter().filter(|tag| !self.known.contains_key(tag));
        let count = if hinted { RECHECKED_HINTED } else { RECHECKED };
        let rest = newest.split_off(newest.len().min(count));
        let in_turn = rest.get(self.rechecked % rest.len().max(1)).cloned();
        self.rechecked = self.rechecked.wrapping_add(1);
        let asked: Vec<String> = new.chain(newest).chain(in_turn).collect();
        for tag in asked {
            match self.digest(&tag).await? {
                Some(digest) => self.known.insert(tag, digest),
                // Deleted between the two requests.
                None => self.known.remove(&tag),
            };
        }
        Ok(self.known.clone())
    }

    /// All tags; none for a repository that does not exist yet.
    async fn tags(&mut self) -> Result<BTreeSet<String>, PollError> {
        let mut tags = BTreeSet::new();
        let mut next = Some(self.url(&format!("tags/list?n={PAGE}"))?);
        let mut seen = BTreeSet::new();
        while let Some(url) = next {
            if !seen.insert(url.clone()) || seen.len() > PAGES_MAX {
                return Err(PollError::new(format!("{} pages its tags without end", self.peer())));
            }
            let answer = self.request(Method::GET, url.clone(), "application/json").await?;
            match answer.status {
                StatusCode::OK => {}
                StatusCode::NOT_MODIFIED => return Ok(self.listed.clone().map(|(_, tags)| tags).unwrap_or_default()),
                StatusCode::NOT_FOUND => {
                    self.listed = None;
                    return Ok(BTreeSet::new());
                }
                _ => return Err(self.refused(&answer)),
            }
            let list: TagList = serde_json::from_slice(&answer.body)
                .map_err(|_| PollError::new(format!("{} answers with what is no list of tags", self.peer())))?;
            tags.extend(list.tags.unwrap_or_default());
            if tags.len() > TAGS_MAX {
                return Err(PollError::new(format!(
                    "{} has more than {TAGS_MAX} tags of {}",
                    self.peer(),
                    self.repository
                )));
            }
            next = next_page(&url, &answer);
            let etag = answer.headers.get(header::ETAG).filter(|_| next.is_none() && seen.len() == 1);
            self.listed = etag.map(|etag| (etag.clone(), tags.clone()));
        }
        Ok(tags)
    }

    /// The digest of a tag; `None` when there is no such tag.
    pub(super) async fn digest(&mut self, tag: &str) -> Result<Option<Digest>, PollError> {
        let url = self.url(&format!("manifests/{tag}"))?;
        let answer = self.request(Method::HEAD, url, MANIFESTS).await?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            _ => return Err(self.refused(&answer)),
        }
        let digest = answer.headers.get("docker-content-digest").and_then(|digest| digest.to_str().ok());
        let digest = digest.and_then(|digest| Digest::parse(digest).ok());
        let missing = || PollError::new(format!("{} tells no digest of {}:{tag}", self.peer(), self.repository));
        digest.map(Some).ok_or_else(missing)
    }

    /// Sends a request, with a token where the registry wants one.
    async fn request(&mut self, method: Method, url: Url, accept: &str) -> Result<Answer, PollError> {
        let build = |token: Option<&auth::Token>| {
            let mut request = self.client.request(method.clone(), url.clone()).header(header::ACCEPT, accept);
            if let Some((etag, _)) = self.listed.as_ref().filter(|_| method == Method::GET) {
                request = request.header(header::IF_NONE_MATCH, etag);
            }
            match token {
                // A link to another host gets no credential.
                Some(token) if url.origin() == self.endpoint.origin() => token.apply(request),
                _ => request,
            }
        };
        self.token = self.token.take().filter(auth::Token::is_fresh);
        let answer = send(&self.host, &self.peer(), build(self.token.as_ref())).await?;
        if answer.status != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        let challenge = auth::Challenge::of(&answer).ok_or_else(|| self.refused(&answer))?;
        let credential = self.credential.get(&self.peer()).await?;
        let token = challenge.answer(&self.client, &self.host, &self.peer(), credential.as_ref()).await?;
        let Some(token) = token else { return Err(self.refused(&answer)) };
        let answer = send(&self.host, &self.peer(), build(Some(&token))).await?;
        self.token = Some(token);
        Ok(answer)
    }

    /// Host as people know it.
    pub(super) fn registry(&self) -> &str {
        &self.registry
    }

    /// Path of the repository in the registry.
    pub(super) fn repository(&self) -> &str {
        &self.repository
    }

    /// Its host's queue.
    pub(super) fn queue(&self) -> Arc<Host> {
        Arc::clone(&self.host)
    }

    fn url(&self, path: &str) -> Result<Url, PollError> {
        let base = self.endpoint.as_str().trim_end_matches('/');
        Url::parse(&format!("{base}/v2/{}/{path}", self.repository))
            .map_err(|error| PollError::new(format!("the registry's address is faulty: {error}")))
    }

    fn refused(&self, answer: &Answer) -> PollError {
        let hint = format!(
            "check the credential of {} in the watcher's configuration, and that it may read {}",
            self.registry, self.repository
        );
        refused(&self.peer(), answer, &hint)
    }

    fn peer(&self) -> String {
        format!("registry {}", self.registry)
    }
}
