//! What people read: projects, releases, production, the board.

use super::{
    drift::{known_drift_to_proto, removed_to_proto},
    duration_to_proto,
    plan::group_to_proto,
    project::spec_to_proto,
    timestamp_to_proto,
};
use crate::{name, v1};
use brain_core::{
    hold::{Frozen, Held, Holds, Pinned, Quarantined},
    id::ProjectId,
    line::{Line, Stop},
    looks::Unobserved,
    production::{Production, ServiceState},
    release::{Commit, Moved, Release},
    state::ProjectState,
    status::{Sentence, Status, production_line},
    time::Timestamp,
    window::Window,
};

/// A project with its output-only fields.
#[must_use]
pub fn project_to_proto(state: &ProjectState) -> v1::Project {
    let project = spec_to_proto(&state.spec);
    v1::Project {
        etag: state.spec.etag(),
        create_time: Some(timestamp_to_proto(state.created)),
        head: head_to_proto(state),
        holds: holds_to_proto(&state.holds),
        drift: state.drift.iter().map(known_drift_to_proto).collect(),
        housekeeping: state.removed.as_ref().map(removed_to_proto),
        production_unobserved: state.unobserved.as_ref().map(unobserved_to_proto),
        ..project
    }
}

fn holds_to_proto(holds: &Holds) -> Option<v1::Holds> {
    if *holds == Holds::default() {
        return None;
    }
    let Holds { pin, freeze, quarantines, windows, approvals } = holds.clone();
    let quarantine = |held: Held<Quarantined>| {
        let (Quarantined { tag, digest }, origin) = origin(held);
        v1::Quarantine { version: tag, image_digest: digest.to_string(), origin }
    };
    Some(v1::Holds {
        pin: pin.map(|held| {
            let (Pinned { tag, digest }, origin) = origin(held);
            v1::Pin { version: tag, image_digest: digest.to_string(), origin }
        }),
        freeze: freeze.map(|held| {
            let (Frozen { until }, origin) = origin(held);
            v1::Freeze { end_time: until.map(timestamp_to_proto), origin }
        }),
        quarantines: quarantines.into_iter().map(quarantine).collect(),
        deploy_windows: windows.map(|held| {
            let (windows, origin) = origin(held);
            v1::DeployWindows { windows: windows.into_iter().map(window_to_proto).collect(), origin }
        }),
        required_approvals: approvals.map(|held| {
            let (count, origin) = origin(held);
            v1::RequiredApprovals { count, origin }
        }),
    })
}

fn window_to_proto(window: Window) -> v1::DeployWindow {
    let Window { cron, duration, zone } = window;
    v1::DeployWindow { cron, duration: Some(duration_to_proto(duration)), time_zone: zone }
}

/// How the line stands.
#[must_use]
pub fn line_to_proto(line: Line) -> v1::Line {
    let Line { stopped } = line;
    let Some(held) = stopped else { return v1::Line::default() };
    let (Stop { pause_running }, origin) = origin(held);
    v1::Line { stopped: true, pause_running, origin }
}

fn origin<T>(held: Held<T>) -> (T, Option<v1::HoldOrigin>) {
    let Held { hold, by, why, since } = held;
    (hold, Some(v1::HoldOrigin { set_by: by, reason: why, set_time: Some(timestamp_to_proto(since)) }))
}

/// The head of the branch.
#[must_use]
pub fn head_to_proto(state: &ProjectState) -> Option<v1::Head> {
    let head = state.head.as_ref()?;
    let latest = state.latest_tag();
    Some(v1::Head {
        commit: head.commit.clone(),
        label: head.label(latest),
        ahead: head.is_ahead(latest),
        commits_ahead: head.commits_ahead(latest),
        untagged_commits: head.untagged_commits(latest).iter().map(commit).collect(),
        observe_time: Some(timestamp_to_proto(head.since)),
    })
}

fn commit(commit: &Commit) -> v1::Commit {
    let Commit { id, title, author } = commit.clone();
    v1::Commit { id, title, author }
}

fn moved(moved: &Moved) -> v1::Move {
    let Moved { from, at } = moved;
    v1::Move { from: from.clone(), observe_time: Some(timestamp_to_proto(*at)) }
}

/// A release.
#[must_use]
pub fn release_to_proto(state: &ProjectState, release: &Release<'_>) -> v1::Release {
    let repository = &state.spec.image_repository;
    v1::Release {
        name: name::release(&state.spec.id, release.tag),
        tag: release.tag.to_owned(),
        version: brain_core::version::version_of(release.tag).map(|version| version.to_string()).unwrap_or_default(),
        commit: release.git.map(|tag| tag.commit.clone()).unwrap_or_default(),
        docker_image: release.image.map(|_| repository.with_tag(release.tag)).unwrap_or_default(),
        image_digest: release.image.map(|image| image.digest.to_string()).unwrap_or_default(),
        create_time: Some(timestamp_to_proto(release.since())),
        summary: release.summary(repository),
        image_move: release.image.and_then(|image| image.moved.as_deref()).map(moved),
        tag_move: release.git.and_then(|tag| tag.moved.as_deref()).map(moved),
    }
}

/// What runs, as it was last seen, `seen` at.
#[must_use]
pub fn production_to_proto(
    project: &ProjectId,
    production: Option<&Production>,
    unobserved: Option<&Unobserved>,
    seen: Option<Timestamp>,
) -> v1::Production {
    let services = production.iter().flat_map(|production| production.services.iter().zip(production.shares()));
    let with_share = |(service, share): (&ServiceState, u32)| v1::VersionProduction {
        share_percent: share,
        ..service_state_to_proto(service)
    };
    v1::Production {
        name: name::production(project),
        versions: services.map(with_share).collect(),
        observe_time: production.map(|production| timestamp_to_proto(production.since)),
        summary: production_line(production, unobserved),
        seen_time: seen.map(timestamp_to_proto),
        unobserved: unobserved.map(unobserved_to_proto),
    }
}

fn unobserved_to_proto(unobserved: &Unobserved) -> v1::ProductionUnobserved {
    let Unobserved { why, since } = unobserved.clone();
    v1::ProductionUnobserved { reason: why, start_time: Some(timestamp_to_proto(since)) }
}

/// One service, without its share.
#[must_use]
pub fn service_state_to_proto(state: &ServiceState) -> v1::VersionProduction {
    let ServiceState { service, version, desired, running, healthy, route } = state.clone();
    v1::VersionProduction {
        version,
        service,
        desired,
        running,
        healthy,
        share_percent: 0,
        target_group: group_to_proto(route.map(|route| route.group)).into(),
        target_group_weight: route.map(|route| route.weight).unwrap_or_default(),
    }
}

/// A project on the board.
#[must_use]
pub fn status_to_proto(state: &ProjectState, status: Status) -> v1::ProjectStatus {
    let Status { title, production, sentences } = status;
    let sentence = |sentence: Sentence| {
        let Sentence { text, since, waits_for, freed_by } = sentence;
        v1::Sentence { text, since: Some(timestamp_to_proto(since)), waits_for, freed_by }
    };
    v1::ProjectStatus {
        project: name::project(&state.spec.id),
        title,
        production,
        sentences: sentences.into_iter().map(sentence).collect(),
        production_observe_time: state.production.as_ref().map(|production| timestamp_to_proto(production.since)),
        production_unobserved: state.unobserved.as_ref().map(unobserved_to_proto),
    }
}
