//! A project's row on the board, rendered once for all who see it.

use super::{
    part,
    view::{Health, Said, Share, health, said, shares},
};
use askama::Template;
use brain_core::{
    deployment::Phase,
    line::Moment,
    state::ProjectState,
    status::{Status, status},
    time::Timestamp,
};

/// A row, with what lists choose and sort by.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) html: String,
    /// What is searched in, in lower case.
    pub(super) searched: String,
    pub(super) deploying: bool,
    /// How much a person is wanted: 0 not at all.
    pub(super) attention: usize,
    /// When the latest of it began.
    pub(super) changed: Timestamp,
}

#[derive(Template)]
#[template(path = "row.html")]
struct RowPage<'a> {
    id: &'a str,
    title: &'a str,
    shares: &'a [Share],
    health: Health,
    sentences: &'a [Said],
}

impl Row {
    pub(super) fn new(state: &ProjectState, moment: &Moment) -> Self {
        let status = status(state, moment);
        let deploying = state.active().is_some();
        let latest = status.sentences.iter().map(|sentence| sentence.since).max();
        let changed = latest.max(state.production.as_ref().map(|production| production.since)).unwrap_or(state.created);
        let Status { title, .. } = status.clone();
        let id = state.spec.id.as_str();
        let sentences = said(status);
        let page = RowPage {
            id,
            title: &title,
            shares: &shares(state.production.as_ref()),
            health: health(state),
            sentences: &sentences,
        };
        Self {
            html: part(&page),
            searched: format!("{id} {title}").to_lowercase(),
            deploying,
            attention: attention(state, sentences.len()),
            changed,
        }
    }
}

/// How much a person is wanted: what is broken comes before what stands still, and that before what is merely said.
fn attention(state: &ProjectState, sentences: usize) -> usize {
    let latest = state.deployments.back();
    let active = state.active();
    let ill = state
        .production
        .as_ref()
        .is_some_and(|production| production.services.iter().any(|service| service.healthy < service.desired));
    let failed = latest.is_some_and(|latest| match latest.phase {
        Phase::RollingBack => !latest.cancelled,
        phase => phase == Phase::Failed,
    });
    let stands = active.is_some_and(|active| active.paused.is_some() || active.held || !active.awaits.is_empty());
    // Tasks that start are not ill, and that a deployment is under way is said of itself.
    let said = sentences - usize::from(active.is_some() && sentences > 0);
    if failed || state.unobserved.is_some() || (ill && active.is_none()) {
        3
    } else if stands {
        2
    } else {
        usize::from(said > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use brain_core::{
        looks::Unobserved,
        production::{Production, ServiceState},
        project::{ProjectDraft, TargetDraft},
    };

    fn project() -> ProjectState {
        let target =
            TargetDraft { region: "us-east-1".into(), container_port: 9000, desired_count: 3, ..Default::default() };
        let draft = ProjectDraft {
            id: "user".into(),
            git_url: "https://git.example/user".into(),
            image_repository: "flowcommerce/user".into(),
            target: Some(target),
            ..Default::default()
        };
        ProjectState::new(draft.validate(|_| Ok(6000)).unwrap(), Timestamp(1))
    }

    fn running(healthy: u32) -> ProjectState {
        let service = ServiceState {
            service: "user-ecs-service-0-0-4".into(),
            version: "0.0.4".into(),
            desired: 3,
            running: 3,
            healthy,
            route: None,
        };
        ProjectState { production: Some(Production::new(vec![service], Timestamp(1))), ..project() }
    }

    #[test]
    fn what_is_broken_comes_before_what_is_merely_said() {
        let wanted = |state: &ProjectState| Row::new(state, &Moment::default()).attention;
        assert_eq!((wanted(&project()), wanted(&running(3))), (0, 0));
        assert_eq!(wanted(&running(1)), 3, "tasks are ill");
        let unobserved = Some(Unobserved { why: "no deployer".into(), since: Timestamp(1) });
        assert_eq!(wanted(&ProjectState { unobserved, ..running(3) }), 3);
        let moved = Some(("https://git.example/users".to_owned(), Timestamp(1)));
        assert_eq!(wanted(&ProjectState { source_moved: moved, ..running(3) }), 1);
    }
}
