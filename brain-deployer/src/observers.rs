//! Observes the production of this deployer's projects, deploying or not.

use crate::{clouds::Clouds, reporter::Reporter};
use brain_proto::{
    convert::{duration_from_proto, names_from_proto},
    v1::ObservedProject,
};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::{sync::Semaphore, time::sleep};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

/// Observations at the same time: enough for a thousand projects, few beside AWS's limits.
const AT_ONCE: usize = 8;
/// Shortest interval, whatever the server says.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// The observers of one stream.
pub(crate) struct Observers {
    clouds: Arc<dyn Clouds>,
    reporter: Arc<Reporter>,
    tasks: TaskTracker,
    end: CancellationToken,
    turns: Arc<Semaphore>,
    running: HashMap<String, (ObservedProject, CancellationToken)>,
}

impl Observers {
    pub(crate) fn new(
        clouds: Arc<dyn Clouds>,
        reporter: Arc<Reporter>,
        tasks: TaskTracker,
        end: CancellationToken,
    ) -> Self {
        Self { clouds, reporter, tasks, end, turns: Arc::new(Semaphore::new(AT_ONCE)), running: HashMap::new() }
    }

    /// Observes these projects from now on, and no others.
    pub(crate) fn set(&mut self, projects: Vec<ObservedProject>) {
        let mut wanted: HashMap<String, ObservedProject> =
            projects.into_iter().map(|project| (project.project.clone(), project)).collect();
        self.running.retain(|name, (project, end)| {
            let stays = wanted.get(name) == Some(project);
            if stays {
                wanted.remove(name);
            } else {
                end.cancel();
            }
            stays
        });
        for (name, project) in wanted {
            let end = self.end.child_token();
            let observer =
                observe(project.clone(), Arc::clone(&self.clouds), Arc::clone(&self.reporter), Arc::clone(&self.turns));
            let ended = end.clone();
            self.tasks.spawn(async move { ended.run_until_cancelled(observer).await });
            self.running.insert(name, (project, end));
        }
    }
}

async fn observe(project: ObservedProject, clouds: Arc<dyn Clouds>, reporter: Arc<Reporter>, turns: Arc<Semaphore>) {
    let ObservedProject { project, region, names, interval, role_arn } = project;
    let names = names_from_proto(names.unwrap_or_default());
    let interval = interval.map(duration_from_proto).unwrap_or_default().max(INTERVAL_MIN);
    let cloud = clouds.get(&region, &role_arn).await;
    loop {
        let turn = turns.acquire().await;
        match reporter.observe(&*cloud, &names, &project, interval / 2).await {
            Ok(Ok(())) => debug!(project, "production observed"),
            Ok(Err(_)) => return,
            Err(error) => warn!(project, %error, "production could not be observed"),
        }
        drop(turn);
        // Spread by a hash of the name, so that a thousand projects are not observed at the same moment.
        let spread = project.bytes().fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into())) % 200;
        sleep(interval * (900 + spread) / 1000).await;
    }
}
