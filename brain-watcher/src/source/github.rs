//! GitHub through its REST API. Every request that reads is conditional, and an answer 304 costs nothing of the rate limit.
//!
//! Requests go through our own client: what GitHub's clients at hand lack is the host's queue, which obeys its limits for all
//! projects together, and a bound on the size of an answer.

use super::{
    Answer, PollError, TAGS_MAX,
    git::{Head, Refs},
    next_page, refused, send,
};
use crate::host::Host;
use auth::Auth;
use brain_core::release::Commit;
use reqwest::{
    Client, Method, RequestBuilder, StatusCode,
    header::{self, HeaderValue},
};
use serde::Deserialize;
use std::{collections::BTreeMap, sync::Arc};
use url::Url;

pub mod auth;

/// The API's version that this was written for.
const API_VERSION: &str = "2022-11-28";
/// Tags in a page, the most that GitHub gives.
const PAGE: usize = 100;
/// Commits that are listed of those ahead.
const COMMITS: usize = 20;

/// A repository on GitHub.
#[derive(Debug)]
pub struct GitHubSource {
    client: Client,
    host: Arc<Host>,
    name: String,
    api: Url,
    owner: String,
    repository: String,
    branch: String,
    auth: Arc<Auth>,
    pages: Vec<Page>,
    head: Option<Conditional<Option<String>>>,
    compared: Option<Compared>,
    moved: Option<Moved>,
}

/// What an ETag stands for.
#[derive(Debug, Clone)]
struct Conditional<T> {
    etag: Option<HeaderValue>,
    value: T,
}

/// One page of tags.
#[derive(Debug, Clone)]
struct Page {
    url: Url,
    tags: Conditional<Vec<(String, String)>>,
    next: Option<Url>,
}

#[derive(Debug)]
struct Compared {
    tag_commit: String,
    head: String,
    ahead: u32,
    newest: Vec<Commit>,
}

#[derive(Debug)]
struct Moved {
    /// Where the API redirects to.
    path: String,
    to: String,
}

#[derive(Deserialize)]
struct Tag {
    name: String,
    commit: CommitRef,
}

#[derive(Deserialize)]
struct CommitRef {
    sha: String,
}

#[derive(Deserialize)]
struct Branch {
    commit: CommitRef,
}

#[derive(Deserialize)]
struct Comparison {
    ahead_by: u32,
    commits: Vec<ComparedCommit>,
}

#[derive(Deserialize)]
struct ComparedCommit {
    sha: String,
    commit: CommitText,
}

#[derive(Deserialize)]
struct CommitText {
    message: String,
    author: Option<Author>,
}

#[derive(Deserialize)]
struct Author {
    name: String,
}

#[derive(Deserialize)]
struct Repository {
    html_url: String,
}

/// A reference, or an annotated tag: each names the object it stands on.
#[derive(Deserialize)]
struct GitRef {
    object: GitObject,
}

#[derive(Deserialize)]
struct GitObject {
    sha: String,
    #[serde(rename = "type", default)]
    kind: String,
}

impl GitHubSource {
    /// The repository at the clone address `url`, read through the API at `api`.
    pub fn new(
        client: Client,
        host: Arc<Host>,
        api: Url,
        auth: Arc<Auth>,
        url: &str,
        branch: &str,
    ) -> Result<Self, PollError> {
        let faulty =
            || PollError::new("the git address is none of a repository on GitHub: it ends in /OWNER/REPOSITORY");
        let url = Url::parse(url).map_err(|_| faulty())?;
        let path = url.path().trim_matches('/').trim_end_matches(".git").to_owned();
        let (owner, repository) = path.split_once('/').filter(|(_, name)| !name.contains('/')).ok_or_else(faulty)?;
        Ok(Self {
            client,
            host,
            name: url.host_str().unwrap_or_default().to_owned(),
            api,
            owner: owner.to_owned(),
            repository: repository.to_owned(),
            branch: branch.to_owned(),
            auth,
            pages: Vec::new(),
            head: None,
            compared: None,
            moved: None,
        })
    }

    /// Tags and head as they are now.
    pub async fn poll(&mut self) -> Result<Refs, PollError> {
        let (tags, seen_at) = self.tags().await?;
        let commit = self.branch_head().await?;
        let moved_to = self.moved_to(&seen_at).await?;
        let mut head = commit.map(|commit| Head { commit, ahead_of: None, newest: Vec::new() });
        if let (Some(head), Some((tag, tag_commit))) = (&mut head, super::git::latest_tag(&tags))
            && let Some((ahead, newest)) = self.compare(&tag_commit, &head.commit).await?
        {
            head.ahead_of = Some((tag, ahead));
            head.newest = newest;
        }
        Ok(Refs { tags, head, moved_to })
    }

    /// All tags, and the address at which the first page was found.
    async fn tags(&mut self) -> Result<(BTreeMap<String, String>, Url), PollError> {
        let mut url = self.url(&["tags"])?;
        url.query_pairs_mut().append_pair("per_page", &PAGE.to_string());
        let mut seen_at = None;
        let mut next = Some(url);
        let mut pages: Vec<Page> = Vec::new();
        while let Some(url) = next {
            if pages.len() > TAGS_MAX / PAGE || pages.iter().any(|page| page.url == url) {
                return Err(PollError::new(format!("{} has more than {TAGS_MAX} tags", self.peer())));
            }
            let known = self.pages.iter().find(|page| page.url == url).cloned();
            let etag = known.as_ref().and_then(|page| page.tags.etag.clone());
            let answer = self.read(url.clone(), etag).await?;
            seen_at.get_or_insert_with(|| answer.url.clone());
            let page = match (answer.status, known) {
                (StatusCode::NOT_MODIFIED, Some(known)) => known,
                (StatusCode::OK, _) => {
                    let tags: Vec<Tag> = self.parse(&answer)?;
                    let value = tags.into_iter().map(|tag| (tag.name, tag.commit.sha)).collect();
                    let following = next_page(&answer.url, &answer).filter(|next| next.origin() == self.api.origin());
                    Page { url, tags: Conditional { etag: etag_of(&answer), value }, next: following }
                }
                _ => return Err(self.refused(&answer)),
            };
            next = page.next.clone();
            pages.push(page);
        }
        self.pages = pages;
        let tags = self.pages.iter().flat_map(|page| page.tags.value.iter().cloned()).collect();
        let seen_at = seen_at.unwrap_or_else(|| self.api.clone());
        Ok((tags, seen_at))
    }

    /// The commit of the branch; `None` when there is no such branch.
    async fn branch_head(&mut self) -> Result<Option<String>, PollError> {
        let url = self.url(&["branches", &self.branch])?;
        let etag = self.head.as_ref().and_then(|head| head.etag.clone());
        let answer = self.read(url, etag).await?;
        let value = match answer.status {
            StatusCode::NOT_MODIFIED => return Ok(self.head.as_ref().and_then(|head| head.value.clone())),
            StatusCode::OK => Some(self.parse::<Branch>(&answer)?.commit.sha),
            StatusCode::NOT_FOUND => None,
            _ => return Err(self.refused(&answer)),
        };
        self.head = Some(Conditional { etag: etag_of(&answer), value: value.clone() });
        Ok(value)
    }

    /// Commits that `head` has and the tag has not; `None` when GitHub cannot tell, such as of commits without a common
    /// ancestor.
    async fn compare(&mut self, tag: &str, head: &str) -> Result<Option<(u32, Vec<Commit>)>, PollError> {
        if tag == head {
            return Ok(Some((0, Vec::new())));
        }
        if let Some(known) = self.compared.as_ref().filter(|known| known.tag_commit == tag && known.head == head) {
            return Ok(Some((known.ahead, known.newest.clone())));
        }
        let answer = self.read(self.url(&["compare", &format!("{tag}...{head}")])?, None).await;
        let answer = match answer {
            Ok(answer) if answer.status == StatusCode::OK => answer,
            // The rest is known all the same; it is asked again at the next poll.
            Ok(_) => return Ok(None),
            Err(error) if error.host_trouble => return Err(error),
            Err(_) => return Ok(None),
        };
        let Comparison { ahead_by, commits } = self.parse(&answer)?;
        // They come oldest first; of more than one page's worth the newest are not among them.
        let complete = usize::try_from(ahead_by).is_ok_and(|ahead| ahead == commits.len());
        let newest: Vec<Commit> =
            if complete { commits.into_iter().rev().take(COMMITS).map(commit).collect() } else { Vec::new() };
        let (tag_commit, head) = (tag.to_owned(), head.to_owned());
        self.compared = Some(Compared { tag_commit, head, ahead: ahead_by, newest: newest.clone() });
        Ok(Some((ahead_by, newest)))
    }

    /// Where the repository has moved to, if its address was redirected.
    async fn moved_to(&mut self, seen_at: &Url) -> Result<Option<String>, PollError> {
        let asked = self.url(&["tags"])?;
        let Some(path) = seen_at.path().strip_suffix("/tags").filter(|_| seen_at.path() != asked.path()) else {
            self.moved = None;
            return Ok(None);
        };
        if let Some(moved) = self.moved.as_ref().filter(|moved| moved.path == path) {
            return Ok(Some(moved.to.clone()));
        }
        let mut url = seen_at.clone();
        url.set_path(path);
        url.set_query(None);
        let answer = self.read(url, None).await?;
        if answer.status != StatusCode::OK {
            return Err(self.refused(&answer));
        }
        let to = self.parse::<Repository>(&answer)?.html_url;
        self.moved = Some(Moved { path: path.to_owned(), to: to.clone() });
        Ok(Some(to))
    }

    /// Makes a tag. One that stands on the same commit already is as good.
    pub async fn create_tag(&mut self, tag: &str, commit: &str) -> Result<(), PollError> {
        let body = serde_json::json!({"ref": format!("refs/tags/{tag}"), "sha": commit});
        let request = self.request(Method::POST, self.url(&["git", "refs"])?).await?.json(&body);
        let answer = send(&self.host, &self.peer(), request).await?;
        match answer.status {
            StatusCode::CREATED => Ok(()),
            StatusCode::UNPROCESSABLE_ENTITY => match self.commit_of(tag).await {
                Ok(at) if at == commit => Ok(()),
                Ok(at) => Err(PollError::new(format!("{} has {tag} at {at} already", self.peer()))),
                Err(error) if error.host_trouble => Err(error),
                Err(_) => Err(PollError::new(format!("{} does not know commit {commit}", self.peer()))),
            },
            StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {
                let code = answer.status.as_u16();
                let peer = self.peer();
                Err(PollError::new(format!("{peer} answers {code}: the watcher's credential needs to write contents")))
            }
            _ => Err(self.refused(&answer)),
        }
    }

    /// The commit that a tag stands on, through the annotation if it has one.
    async fn commit_of(&self, tag: &str) -> Result<String, PollError> {
        let reference = self.read(self.url(&["git", "ref", "tags", tag])?, None).await?;
        let GitObject { sha, kind } = self.parse::<GitRef>(&reference)?.object;
        if kind != "tag" {
            return Ok(sha);
        }
        let annotation = self.read(self.url(&["git", "tags", &sha])?, None).await?;
        Ok(self.parse::<GitRef>(&annotation)?.object.sha)
    }

    async fn read(&self, url: Url, etag: Option<HeaderValue>) -> Result<Answer, PollError> {
        let mut request = self.request(Method::GET, url).await?;
        if let Some(etag) = etag {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        send(&self.host, &self.peer(), request).await
    }

    async fn request(&self, method: Method, url: Url) -> Result<RequestBuilder, PollError> {
        let request = self
            .client
            .request(method, url)
            .header(header::ACCEPT, "application/vnd.github+json")
            .header("x-github-api-version", API_VERSION);
        self.auth.apply(&self.client, &self.host, &self.peer(), &self.api, request).await
    }

    /// Its host's queue.
    pub(super) fn queue(&self) -> Arc<Host> {
        Arc::clone(&self.host)
    }

    fn parse<T: serde::de::DeserializeOwned>(&self, answer: &Answer) -> Result<T, PollError> {
        serde_json::from_slice(&answer.body)
            .map_err(|_| PollError::new(format!("{} answers with what is not GitHub's API", self.peer())))
    }

    fn url(&self, segments: &[&str]) -> Result<Url, PollError> {
        let mut url = self.api.clone();
        let faulty = || PollError::new("the address of GitHub's API is faulty");
        let mut path = url.path_segments_mut().map_err(|()| faulty())?;
        path.pop_if_empty().extend(["repos", &self.owner, &self.repository]).extend(segments);
        drop(path);
        Ok(url)
    }

    fn refused(&self, answer: &Answer) -> PollError {
        let hint = format!(
            "check the credential of {} in the watcher's configuration, and that it may read {}/{}",
            self.name, self.owner, self.repository
        );
        refused(&self.peer(), answer, &hint)
    }

    fn peer(&self) -> String {
        self.name.clone()
    }
}

fn etag_of(answer: &Answer) -> Option<HeaderValue> {
    answer.headers.get(header::ETAG).cloned()
}

fn commit(commit: ComparedCommit) -> Commit {
    let ComparedCommit { sha, commit: CommitText { message, author } } = commit;
    let title = message.lines().next().unwrap_or_default().chars().take(200).collect();
    Commit { id: sha, title, author: author.map(|author| author.name.chars().take(100).collect()).unwrap_or_default() }
}
