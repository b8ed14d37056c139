//! Order between projects: tells a deployment that waits for other projects once they are seen to run what it needs, and while
//! nobody sees what one of them runs.

use crate::{
    directory::Directory,
    project::{CommandError, Project, Shared},
};
use brain_core::{
    dependency::Dependency,
    deployment::{Deployment, Fact},
    id::ProjectId,
    looks::Unobserved,
};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::sync::broadcast::error::RecvError;
use tracing::{info, warn};

/// Who is named in the log.
const DEPENDENCIES: &str = "depends_on";
/// Pause before what the store did not take is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Looks at every change of a project until the server ends.
pub(crate) async fn run(directory: Arc<Directory>, shared: Arc<Shared>) {
    let shutdown = shared.shutdown.clone();
    let mut changed = shared.changed.subscribe();
    let watch = async {
        let mut waiting = all(&directory);
        loop {
            let mut failed = false;
            for id in waiting.clone() {
                match tell(&directory, &id).await {
                    Told::Everything => drop(waiting.remove(&id)),
                    Told::NotYet => {}
                    Told::Failed => failed = true,
                }
            }
            let next = tokio::select! {
                next = changed.recv() => next,
                () = tokio::time::sleep(RETRY), if failed => continue,
            };
            match next {
                Ok(id) => {
                    if directory.get(&id).is_some_and(|project| waits(&project)) {
                        waiting.insert(id);
                    }
                }
                Err(RecvError::Lagged(_)) => waiting = all(&directory),
                Err(RecvError::Closed) => return,
            }
        }
    };
    shutdown.run_until_cancelled(watch).await;
}

/// Tells a deployment that waits which of the projects it waits for cannot be observed, or that all can again.
async fn tell_unseen(directory: &Directory, project: &Arc<Project>, active: &Deployment) -> Told {
    let unseen = |dependency: &Dependency| {
        let other = directory.get(&dependency.project)?;
        let Unobserved { why, since } = other.read().state.unobserved.clone()?;
        Some(format!("production of projects/{} not observed since {since}: {why}", other.id))
    };
    let why = active.awaits.iter().find_map(unseen);
    if active.waiting == why || active.awaits.is_empty() || active.paused.is_some() {
        return Told::NotYet;
    }
    let fact = Fact::HeldBack { why: why.unwrap_or_default() };
    match project.fact(DEPENDENCIES.into(), active.number, fact).await.await {
        Ok(Err(CommandError::Store(_))) | Err(_) => Told::Failed,
        // Steered meanwhile: that is looked at when it is told of.
        Ok(_) => Told::NotYet,
    }
}

enum Told {
    Everything,
    NotYet,
    Failed,
}

fn all(directory: &Directory) -> BTreeSet<ProjectId> {
    directory.all().iter().filter(|project| waits(project)).map(|project| project.id.clone()).collect()
}

fn waits(project: &Project) -> bool {
    project.read().state.active().is_some_and(|deployment| !deployment.awaits.is_empty())
}

/// Tells a project's deployment that the projects it waits for are there, once all are.
async fn tell(directory: &Directory, id: &ProjectId) -> Told {
    let Some(project) = directory.get(id) else { return Told::Everything };
    let Some(active) = project.read().state.active().cloned() else { return Told::Everything };
    let (number, awaits) = (active.number, active.awaits.clone());
    // All of them at one look: what was there before may have been taken back while others were waited for, and what was seen
    // before the latest look says nothing.
    let met = |dependency: &Dependency| {
        let runs = |other: Arc<Project>| {
            other.production_is_current() && dependency.is_met(other.read().state.production.as_ref())
        };
        directory.get(&dependency.project).is_some_and(runs)
    };
    if !awaits.iter().all(met) {
        return tell_unseen(directory, &project, &active).await;
    }
    for dependency in awaits {
        info!(project = %id, deployment = number, "{dependency}: it does");
        let fact = Fact::DependencyMet(dependency.project.clone());
        match project.fact(DEPENDENCIES.into(), number, fact).await.await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                warn!(project = %id, deployment = number, %error, "it could not be told");
                return Told::Failed;
            }
            Err(_) => return Told::Failed,
        }
    }
    Told::Everything
}
