//! What webhooks say. Only what a hint needs is read, and nothing of it is believed: the poll is the truth.

use brain_core::project::repository_key;
use serde::Deserialize;

/// Most events of one notification that are looked at.
const EVENTS_MAX: usize = 1_000;

#[derive(Deserialize)]
struct GitHub {
    repository: GitHubRepository,
}

#[derive(Deserialize)]
struct GitHubRepository {
    clone_url: String,
}

#[derive(Deserialize)]
struct DockerHub {
    repository: DockerHubRepository,
}

#[derive(Deserialize)]
struct DockerHubRepository {
    repo_name: String,
}

#[derive(Deserialize)]
struct Notification {
    events: Vec<NotificationEvent>,
}

#[derive(Deserialize)]
struct NotificationEvent {
    action: String,
    target: NotificationTarget,
}

#[derive(Deserialize)]
struct NotificationTarget {
    repository: String,
}

/// Key of the repository that a GitHub event is about. The body may also be a form, which is GitHub's default.
pub(super) fn github(is_form: bool, body: &[u8]) -> Option<String> {
    let payload: GitHub = if is_form {
        let (_, payload) = url::form_urlencoded::parse(body).find(|(name, _)| name == "payload")?;
        serde_json::from_str(&payload).ok()?
    } else {
        serde_json::from_slice(body).ok()?
    };
    repository_key(&payload.repository.clone_url)
}

/// Path of the repository that a Docker Hub webhook is about.
pub(super) fn docker_hub(body: &[u8]) -> Option<String> {
    serde_json::from_slice::<DockerHub>(body).ok().map(|payload| payload.repository.repo_name)
}

/// Paths of the repositories in which something was pushed or deleted, each once.
pub(super) fn registry(body: &[u8]) -> Option<Vec<String>> {
    let notification: Notification = serde_json::from_slice(body).ok()?;
    let changes = notification.events.into_iter().take(EVENTS_MAX).filter(|event| event.action != "pull");
    let mut repositories: Vec<String> = changes.map(|event| event.target.repository).collect();
    repositories.sort();
    repositories.dedup();
    Some(repositories)
}
