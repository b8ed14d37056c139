//! Housekeeping on a schedule: each project in its turn, when nothing is being done to it.
//!
//! A deployer looks first, which changes nothing. Where it finds something to remove, that is recorded with the deployer's
//! lease, so that a server which starts meanwhile knows who may be acting; then the deployer is let. What a look finds of
//! drift becomes part of the project.

use crate::{
    directory::Directory,
    project::{Project, Shared},
};
use brain_core::{
    event::Change,
    housekeeping::{HouseNews, Keep, turn},
    plan,
};
use brain_proto::{
    convert::{drift_from_proto, plan_to_proto, removed_from_proto, spec_to_proto},
    v1::{HousekeepingFound, HousekeepingRequest},
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::Semaphore,
    time::{Instant, MissedTickBehavior, interval},
};
use tracing::{debug, warn};

/// How often is looked whose turn it is.
const TICK: Duration = Duration::from_secs(1);
/// Projects that are looked at at the same time: few beside AWS's limits, which deployments need.
const AT_ONCE: usize = 4;

/// Keeps house of every project once in each `every`; never where that is zero. Runs until it is dropped.
pub(crate) async fn run(directory: Arc<Directory>, shared: Arc<Shared>, every: Duration) {
    if every.is_zero() {
        return;
    }
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let began = Instant::now();
    let mut before = Duration::ZERO;
    let mut tick = interval(TICK.min(every));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let now = began.elapsed();
        for project in directory.all() {
            let turn = turn(&project.id, every);
            if turns_by(now, turn, every) == turns_by(before, turn, every) {
                continue;
            }
            let (shared, turns) = (Arc::clone(&shared), Arc::clone(&turns));
            let ended = shared.shutdown.clone();
            shared.tasks.clone().spawn(async move {
                let keep = async {
                    let _turn = turns.acquire().await;
                    keep_house(&project, &shared).await;
                };
                ended.run_until_cancelled(keep).await;
            });
        }
        before = now;
    }
}

/// How many turns a project has had by a time.
fn turns_by(time: Duration, turn: Duration, every: Duration) -> u128 {
    time.checked_sub(turn).map_or(0, |since| 1 + since.as_nanos() / every.as_nanos())
}

async fn keep_house(project: &Arc<Project>, shared: &Shared) {
    if project.read().state.housekeeper.is_some() {
        // Somebody is at it, or may be.
        return;
    }
    let Some((keep, asked)) = request(project) else { return };
    let (found, lease) = match shared.deployers.look_after(&project.id, asked).await {
        Ok(answer) => answer,
        Err(why) => return debug!(project = %project.id, why, "nobody has kept house"),
    };
    let HousekeepingFound { id: _, drift, removable, note } = found;
    if !note.is_empty() {
        return warn!(project = %project.id, note, "a deployer could not keep house");
    }
    let drift = keep.looks_for_drift.then(|| drift_from_proto(drift));
    let removable = removed_from_proto(removable);
    let news = HouseNews::Looked { after: keep.after, drift, removable, lease: lease.clone() };
    let changes = match project.keep_house(format!("deployer {}", lease.agent), news).await {
        Ok(changes) => changes,
        Err(error) => return warn!(project = %project.id, %error, "what housekeeping found was not stored"),
    };
    // What is kept may be more by now.
    if changes.iter().any(|change| matches!(change, Change::HousekeepingBegan { .. }))
        && let Some((_, asked)) = request(project)
    {
        shared.deployers.keep_house(&project.id, lease, asked).await;
    }
}

/// What a deployer is asked to look at; `None` when it is not the time.
fn request(project: &Project) -> Option<(Keep, HousekeepingRequest)> {
    let state = &project.read().state;
    let keep = state.keep()?;
    let Keep { services, images, task_definitions, instances, looks_for_drift, after: _ } = keep.clone();
    let request = HousekeepingRequest {
        id: 0,
        project: Some(spec_to_proto(&state.spec)),
        plan: Some(plan_to_proto(&plan::look_at_set_up(&state.spec, &state.serving))),
        keep_services: services.into_iter().collect(),
        keep_images: images.into_iter().collect(),
        keep_task_definitions: task_definitions,
        instances,
        look_for_drift: looks_for_drift,
        remove: false,
    };
    Some((keep, request))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_project_has_one_turn_in_each_interval() {
        let every = Duration::from_secs(60);
        for turn in [0, 1, 30, 59].map(Duration::from_secs) {
            let mut turns = Vec::new();
            for second in 1..=300u64 {
                let (before, now) = (Duration::from_secs(second - 1), Duration::from_secs(second));
                if turns_by(now, turn, every) != turns_by(before, turn, every) {
                    turns.push(second);
                }
            }
            assert!(turns.windows(2).all(|pair| pair[1] - pair[0] == 60), "{turns:?}");
            assert!(turns.len() >= 4 && turns[0] <= 60, "{turns:?}");
        }
    }
}
