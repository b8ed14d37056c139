//! `brain dev push` and `brain dev commit`: what a developer and a build do, at the hosts of a `brain dev` that runs.

use super::{
    arguments::{Commit, Push},
    forge, hosts,
};
use crate::{client::ask, exit::Exit, failure::Failure, name::project, session::Session};
use brain_proto::v1::{GetProjectRequest, ListReleasesRequest};
use brain_watcher::source::client_of_this_machine;
use reqwest::{Client, StatusCode};
use serde::{Serialize, de::DeserializeOwned};
use std::time::Duration;
use tokio::time::{sleep, timeout};
use url::Url;

/// Time within which brain sees a new image: `brain dev` polls twice a second.
const SEEN: Duration = Duration::from_secs(15);
/// Pause between two looks whether it has.
const PAUSE: Duration = Duration::from_millis(100);
/// Releases that are looked through, newest first: all that a local registry may have.
const RELEASES: u32 = 1_000;

impl Push {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let Self { version, bad, project } = self;
        let there = Hosts::of(session, &project).await?;
        let push = forge::Push {
            repository: there.repository.clone(),
            image_repository: there.image_repository.clone(),
            version: version.clone(),
            bad,
        };
        let forge::Pushed { commit, digest } = there.ask(hosts::PUSH, &push).await?;
        let commit = commit.get(..8).unwrap_or(&commit);
        let image = format!("{}:{version}", there.image_repository);
        let how = if bad { "; its tasks crash" } else { "" };
        seen(session, &project, &version, &digest).await?;
        session.out.line(format!("{commit} is tagged {version}, and {image} is in the registry as {digest}{how}"))?;
        session.out.line(format!("  next: brain deploy {project} {version} --watch"))?;
        Ok(Exit::Done)
    }
}

impl Commit {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let there = Hosts::of(session, &self.project).await?;
        let wished = hosts::Commit { repository: there.repository.clone() };
        let hosts::Committed { commit } = there.ask(hosts::COMMIT, &wished).await?;
        session.out.line(format!("master is at {}, which has no tag", commit.get(..8).unwrap_or(&commit)))?;
        session.out.line(format!("  next: brain tag {} --bump patch", self.project))?;
        Ok(Exit::Done)
    }
}

/// Waits until brain has seen an image, so that what is said next can be to deploy it.
async fn seen(session: &Session, project: &str, version: &str, digest: &str) -> Result<(), Failure> {
    let parent = crate::name::project(project)?;
    let request = ListReleasesRequest { parent, page_size: RELEASES, page_token: String::new() };
    let look = async {
        loop {
            let answer = session.client.projects().list_releases(ask(request.clone())).await?.into_inner();
            if answer.releases.iter().any(|release| release.tag == version && release.image_digest == digest) {
                return Ok(());
            }
            sleep(PAUSE).await;
        }
    };
    let late = || {
        let text = format!("brain has not seen {version} within {} s\n  next: brain board", SEEN.as_secs());
        Failure::new(Exit::Unavailable, text)
    };
    timeout(SEEN, look).await.unwrap_or_else(|_| Err(late()))
}

/// The local hosts that a project names.
struct Hosts {
    client: Client,
    address: Url,
    repository: String,
    image_repository: String,
}

impl Hosts {
    async fn of(session: &Session, typed: &str) -> Result<Self, Failure> {
        let request = GetProjectRequest { name: project(typed)? };
        let answer = session.client.projects().get_project(ask(request)).await?.into_inner();
        let project = answer.project.ok_or_else(|| Failure::odd("project"))?;
        let git_url = project.source.unwrap_or_default().git_url;
        let elsewhere = || Failure::new(Exit::Refused, format!("{git_url} is no git repository of `brain dev`"));
        let address = Url::parse(&git_url).map_err(|_| elsewhere())?;
        // A password or a token of somebody's real host must not get here, and is not sent anywhere.
        let is_local = address.scheme() == "http" && address.host_str() == Some("127.0.0.1");
        let name = address.path().trim_start_matches('/').strip_suffix(".git").map(ToOwned::to_owned);
        let repository = name.filter(|_| is_local).ok_or_else(elsewhere)?;
        // The same as the agents have; a second call would fail, and there is none.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = client_of_this_machine().map_err(|error| Failure::usage(format!("no HTTP client: {error}")))?;
        Ok(Self { client, address, repository, image_repository: project.image_repository })
    }

    async fn ask<T: DeserializeOwned>(&self, path: &str, wished: &impl Serialize) -> Result<T, Failure> {
        let mut url = self.address.clone();
        url.set_path(path);
        let away = |error: reqwest::Error| {
            let host = self.address.authority();
            let text = format!("the git host {host} does not answer: {error}\n  next: is its `brain dev` running?");
            Failure::new(Exit::Unavailable, text)
        };
        let answer = self.client.post(url).json(wished).send().await.map_err(away)?;
        match answer.status() {
            StatusCode::OK => answer.json().await.map_err(away),
            StatusCode::BAD_REQUEST => Err(Failure::usage(answer.text().await.map_err(away)?)),
            _ => Err(Failure::new(Exit::Refused, format!("{} is no git host of `brain dev`", self.address))),
        }
    }
}
