//! Order between projects: tells a deployment that waits for other projects once they run what it needs.

use crate::{directory::Directory, project::Project, project::Shared};
use brain_core::{dependency::Dependency, deployment::Fact, id::ProjectId};
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
    let active = project.read().state.active().map(|deployment| (deployment.number, deployment.awaits.clone()));
    let Some((number, awaits)) = active else { return Told::Everything };
    // All of them at one look: what was there before may have been taken back while others were waited for.
    let met = |dependency: &Dependency| {
        let runs = |other: Arc<Project>| dependency.is_met(other.read().state.production.as_ref());
        directory.get(&dependency.project).is_some_and(runs)
    };
    if !awaits.iter().all(met) {
        return Told::NotYet;
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
