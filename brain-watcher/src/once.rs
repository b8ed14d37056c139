//! One poll of one project, for people: what would be observed, with the credentials of this watcher.

use crate::{
    config::Config,
    host::Hosts,
    source::{
        self,
        git::Refs,
        open::{Images, Repository},
    },
};
use anyhow::Context;
use brain_core::{image::Digest, version::compare_tags};
use brain_proto::{
    channel,
    v1::{GetProjectRequest, project_service_client::ProjectServiceClient},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    sync::Arc,
};

/// What to poll.
#[derive(Debug, Clone, Default)]
pub struct Subject {
    /// Clone address; empty: no git repository.
    pub git_url: String,
    /// Branch.
    pub branch: String,
    /// Image repository; empty: none.
    pub image_repository: String,
}

/// Reads a project's definition from the server.
pub async fn subject(config: &Config, project: &str) -> anyhow::Result<Subject> {
    let channel = channel::endpoint(config.server.clone()).connect().await.with_context(|| {
        format!("no server at {}; without one, give --git-url and --image-repository", config.server)
    })?;
    let request = GetProjectRequest { name: project.to_owned() };
    let answer = ProjectServiceClient::new(channel).get_project(request).await;
    let answer = answer.map_err(|status| anyhow::anyhow!("the server says: {}", status.message()))?;
    let project = answer.into_inner().project.context("the server answers without a project")?;
    let source = project.source.unwrap_or_default();
    Ok(Subject { git_url: source.git_url, branch: source.branch, image_repository: project.image_repository })
}

/// Polls once; answers what people read, and whether everything could be read.
pub async fn once(config: &Config, subject: &Subject) -> anyhow::Result<(String, bool)> {
    let client = source::client().context("no HTTP client")?;
    let hosts = Arc::new(Hosts::new(config.rates.clone()));
    let Subject { git_url, branch, image_repository } = subject;
    let refs = async {
        if git_url.is_empty() {
            return None;
        }
        let polled = async { Repository::open(&client, &hosts, config, git_url, branch)?.poll().await };
        Some(polled.await)
    };
    let images = async {
        if image_repository.is_empty() {
            return None;
        }
        let polled = async { Images::open(&client, &hosts, config, image_repository)?.poll(true).await };
        Some(polled.await)
    };
    let (refs, images) = tokio::join!(refs, images);
    let mut text = String::new();
    let mut whole = true;
    for (what, failure) in [
        ("git repository", refs.as_ref().and_then(|polled| polled.as_ref().err())),
        ("image repository", images.as_ref().and_then(|polled| polled.as_ref().err())),
    ] {
        if let Some(failure) = failure {
            whole = false;
            writeln!(text, "the {what} cannot be polled: {failure}")?;
        }
    }
    let refs = refs.and_then(Result::ok);
    let images = images.and_then(Result::ok);
    table(&mut text, refs.as_ref(), images.as_ref(), subject)?;
    Ok((text, whole))
}

fn table(
    text: &mut String,
    refs: Option<&Refs>,
    images: Option<&BTreeMap<String, Digest>>,
    subject: &Subject,
) -> std::fmt::Result {
    let Subject { branch, image_repository, .. } = subject;
    if let Some(refs) = refs {
        match &refs.head {
            None => writeln!(text, "{branch}: there is no such branch")?,
            Some(head) => {
                let ahead = head.ahead_of.as_ref();
                let ahead =
                    ahead.map(|(tag, commits)| format!(", {commits} commits ahead of {tag}")).unwrap_or_default();
                writeln!(text, "{branch}: {}{ahead}", head.commit)?;
                for commit in &head.newest {
                    writeln!(
                        text,
                        "  {} {} ({})",
                        commit.id.get(..8).unwrap_or(&commit.id),
                        commit.title,
                        commit.author
                    )?;
                }
            }
        }
        if let Some(moved_to) = &refs.moved_to {
            writeln!(text, "the git repository has moved to {moved_to}")?;
        }
    }
    let names = refs.into_iter().flat_map(|refs| refs.tags.keys());
    let names: BTreeSet<&String> = names.chain(images.into_iter().flat_map(BTreeMap::keys)).collect();
    let mut names: Vec<&String> = names.into_iter().collect();
    names.sort_by(|a, b| compare_tags(b, a));
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).max(3);
    writeln!(text, "{:width$}  {:8}  docker image", "tag", "commit")?;
    for name in names {
        let commit = refs.and_then(|refs| refs.tags.get(name)).map_or("-", |commit| commit.get(..8).unwrap_or(commit));
        let image = images.and_then(|images| images.get(name));
        let image = image.map_or_else(
            || brain_core::release::NOT_YET_AVAILABLE.to_owned(),
            |digest| format!("{image_repository}:{name} {digest}"),
        );
        writeln!(text, "{name:width$}  {commit:8}  {image}")?;
    }
    Ok(())
}
