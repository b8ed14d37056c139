//! Webhooks: each one makes watchers poll what it is about, at once, and does nothing else.

use super::{Port, payload};
use crate::{metrics::WEBHOOKS, project::Project};
use axum::{
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use brain_core::{id::ProjectId, observation::PollTarget, project::repository_key};
use metrics::counter;
use std::sync::Arc;
use tracing::{info, warn};

/// What a webhook is answered.
enum Answer {
    /// Polls were asked for.
    Polled,
    /// It is about nothing that brain watches, or an event that tells nothing.
    Ignored,
    /// Who sends it has not shown that he may.
    Unauthorized,
    /// There is no such path.
    NotFound,
    /// It is not what its kind looks like.
    Malformed(&'static str),
    /// There are too many.
    TooMany,
}

impl Answer {
    /// The answer, counted.
    fn to(self, sender: &'static str) -> Response {
        counter!(WEBHOOKS, "sender" => sender, "outcome" => self.name()).increment(1);
        self.into_response()
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Polled => "polled",
            Self::Ignored => "ignored",
            Self::Unauthorized => "unauthorized",
            Self::NotFound => "not_found",
            Self::Malformed(_) => "malformed",
            Self::TooMany => "too_many",
        }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let wait = [(header::RETRY_AFTER, HeaderValue::from_static("1"))];
        match self {
            Self::Polled => (StatusCode::ACCEPTED, "polling\n").into_response(),
            Self::Ignored => (StatusCode::ACCEPTED, "nothing to poll\n").into_response(),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "the signature is missing or wrong\n").into_response(),
            Self::NotFound => StatusCode::NOT_FOUND.into_response(),
            Self::Malformed(why) => (StatusCode::BAD_REQUEST, why).into_response(),
            Self::TooMany => (StatusCode::TOO_MANY_REQUESTS, wait).into_response(),
        }
    }
}

/// GitHub.
pub(super) async fn github(State(port): State<Arc<Port>>, headers: HeaderMap, body: Bytes) -> Response {
    take_github(&port, &headers, &body).await.to("github")
}

/// Docker Hub.
pub(super) async fn docker_hub(
    State(port): State<Arc<Port>>,
    Path((project, token)): Path<(String, String)>,
    body: Bytes,
) -> Response {
    take_docker_hub(&port, &project, &token, &body).await.to("docker_hub")
}

/// A registry.
pub(super) async fn registry(State(port): State<Arc<Port>>, Path(token): Path<String>, body: Bytes) -> Response {
    take_registry(&port, &token, &body).await.to("registry")
}

/// GitHub's push, create and delete.
async fn take_github(port: &Port, headers: &HeaderMap, body: &[u8]) -> Answer {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !port.hooks.admits() {
        return Answer::TooMany;
    }
    if !port.hooks.is_github(text("x-hub-signature-256"), body) {
        warn!("a GitHub webhook without the right signature was refused");
        return Answer::Unauthorized;
    }
    let event = text("x-github-event");
    if !matches!(event, "push" | "create" | "delete") {
        info!(event, "a GitHub event that tells nothing of tags or branches");
        return Answer::Ignored;
    }
    let is_form = text("content-type").starts_with("application/x-www-form-urlencoded");
    let Some(repository) = payload::github(is_form, body) else {
        return Answer::Malformed("this is no GitHub event of a repository\n");
    };
    port.poll_git(&repository).await
}

/// Docker Hub's push.
async fn take_docker_hub(port: &Port, project: &str, token: &str, body: &[u8]) -> Answer {
    if !port.hooks.admits() {
        return Answer::TooMany;
    }
    if !port.hooks.is_docker_hub(project, token) {
        warn!("a Docker Hub webhook on a path that is nobody's was refused");
        return Answer::NotFound;
    }
    let Some(repository) = payload::docker_hub(body) else {
        return Answer::Malformed("this is no Docker Hub webhook\n");
    };
    let project = ProjectId::parse(project).ok().and_then(|id| port.directory.get(&id));
    let Some(project) = project.filter(|project| project.read().routes.images == repository) else {
        info!(repository, "a Docker Hub webhook of a repository that is not its path's project's");
        return Answer::Ignored;
    };
    port.watchers.poll(&project.id, PollTarget::Images, "a Docker Hub webhook").await;
    Answer::Polled
}

/// Notifications of a CNCF Distribution registry. What is understood is answered 2xx: anything else is sent again for ever.
async fn take_registry(port: &Port, token: &str, body: &[u8]) -> Answer {
    if !port.hooks.admits() {
        return Answer::TooMany;
    }
    if !port.hooks.is_registry(token) {
        warn!("a registry's notification on a path that is nobody's was refused");
        return Answer::NotFound;
    }
    let Some(repositories) = payload::registry(body) else {
        return Answer::Malformed("these are no registry notifications\n");
    };
    let mut answer = Answer::Ignored;
    for repository in repositories {
        let projects = port.projects(|project| project.read().routes.images == repository);
        if projects.is_empty() {
            info!(repository, "a registry's notification of a repository that no project has");
        }
        for project in projects {
            port.watchers.poll(&project.id, PollTarget::Images, "a registry's notification").await;
            answer = Answer::Polled;
        }
    }
    answer
}

impl Port {
    fn projects(&self, fits: impl Fn(&Project) -> bool) -> Vec<Arc<Project>> {
        self.directory.all().into_iter().filter(|project| fits(project)).collect()
    }

    async fn poll_git(&self, repository: &str) -> Answer {
        let is_here = |project: &Project| {
            let inner = project.read();
            let moved = inner.state.source_moved.as_ref();
            inner.routes.git == repository
                || moved.is_some_and(|(to, _)| repository_key(to).as_deref() == Some(repository))
        };
        let projects = self.projects(is_here);
        if projects.is_empty() {
            info!(repository, "a GitHub webhook of a repository that no project has");
            return Answer::Ignored;
        }
        for project in projects {
            self.watchers.poll(&project.id, PollTarget::Source, "a GitHub webhook").await;
        }
        Answer::Polled
    }
}
