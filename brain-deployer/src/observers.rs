//! Observes the production of this deployer's projects, deploying or not.
//!
//! Projects of one region and role are observed together. Each round asks for the counts of all their clusters, a hundred in a
//! call; a project is looked at whole when its counts differ from those of its last whole look, while tasks start there, and
//! when that look has become old. With many projects whole looks become old later, so that they fit into the small part of
//! AWS's limits that idle observation may use.

use crate::{
    cloud::{Cloud, ClusterCounts, ErrorKind, idle},
    clouds::Clouds,
    reporter::Reporter,
};
use brain_core::names::ResourceNames;
use brain_proto::{
    convert::{duration_from_proto, names_from_proto},
    v1::ObservedProject,
};
use futures::{StreamExt, stream};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

/// Whole looks at the same time.
const AT_ONCE: usize = 8;
/// Shortest interval, whatever the server says.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// Time that each project adds to the age at which whole looks are old. Each asks a load balancer once, and a tenth of AWS's
/// limit allows nearly one such call a second.
const AGE_FOR_EACH: Duration = Duration::from_millis(1_250);

/// Region and role.
type Place = (String, String);

/// The observers of one stream.
pub(crate) struct Observers {
    clouds: Arc<dyn Clouds>,
    reporter: Arc<Reporter>,
    tasks: TaskTracker,
    end: CancellationToken,
    places: HashMap<Place, watch::Sender<Arc<[Observed]>>>,
}

/// A project to observe.
#[derive(Debug, Clone)]
struct Observed {
    project: String,
    names: ResourceNames,
    interval: Duration,
}

/// What was seen of a project.
struct Seen {
    /// Of its cluster; `None`: there is none.
    counts: Option<ClusterCounts>,
    /// When the last whole look began.
    at: Instant,
}

impl Observers {
    pub(crate) fn new(
        clouds: Arc<dyn Clouds>,
        reporter: Arc<Reporter>,
        tasks: TaskTracker,
        end: CancellationToken,
    ) -> Self {
        Self { clouds, reporter, tasks, end, places: HashMap::new() }
    }

    /// Observes these projects from now on, and no others.
    pub(crate) fn set(&mut self, projects: Vec<ObservedProject>) {
        let mut wanted: HashMap<Place, Vec<Observed>> = HashMap::new();
        for ObservedProject { project, region, names, interval, role_arn } in projects {
            let names = names_from_proto(names.unwrap_or_default());
            let interval = interval.map(duration_from_proto).unwrap_or_default().max(INTERVAL_MIN);
            wanted.entry((region, role_arn)).or_default().push(Observed { project, names, interval });
        }
        // A place without projects ends when its sender is dropped.
        self.places.retain(|place, _| wanted.contains_key(place));
        for (place, projects) in wanted {
            match self.places.get(&place) {
                Some(sender) => drop(sender.send_replace(projects.into())),
                None => {
                    let (sender, receiver) = watch::channel(projects.into());
                    self.start(place.clone(), receiver);
                    self.places.insert(place, sender);
                }
            }
        }
    }

    fn start(&self, (region, role): Place, projects: watch::Receiver<Arc<[Observed]>>) {
        let (clouds, reporter, end) = (Arc::clone(&self.clouds), Arc::clone(&self.reporter), self.end.clone());
        self.tasks.spawn(async move {
            let observe = async {
                let cloud = clouds.get(&region, &role).await;
                idle(observe(&*cloud, &reporter, projects)).await;
            };
            end.run_until_cancelled(observe).await;
        });
    }
}

/// Observes the projects of one place until the stream ends or no project is left there.
async fn observe(cloud: &dyn Cloud, reporter: &Reporter, mut projects: watch::Receiver<Arc<[Observed]>>) {
    let mut seen: HashMap<String, Seen> = HashMap::new();
    loop {
        let list = Arc::clone(&projects.borrow_and_update());
        seen.retain(|name, _| list.iter().any(|observed| observed.project == *name));
        round(cloud, reporter, &list, &mut seen).await;
        let interval = list.iter().map(|observed| observed.interval).min().unwrap_or(INTERVAL_MIN);
        tokio::select! {
            () = sleep(interval) => {}
            changed = projects.changed() => if changed.is_err() { return },
        }
        if projects.has_changed().is_err() {
            return;
        }
    }
}

async fn round(cloud: &dyn Cloud, reporter: &Reporter, list: &[Observed], seen: &mut HashMap<String, Seen>) {
    let began = Instant::now();
    let clusters: Vec<String> = list.iter().map(|observed| observed.names.cluster.clone()).collect();
    let counts = match cloud.cluster_counts(&clusters).await {
        Ok(counts) => counts,
        Err(error) => return warn!(%error, "clusters could not be observed"),
    };
    let mut counts: HashMap<String, ClusterCounts> =
        counts.into_iter().map(|counts| (counts.name.clone(), counts)).collect();
    let many = u32::try_from(list.len()).unwrap_or(u32::MAX);
    let due = list.iter().filter_map(|observed| {
        let counts = counts.remove(&observed.names.cluster);
        let age = observed.interval.max(AGE_FOR_EACH * many);
        is_due(observed, seen.get(&observed.project), counts.as_ref(), age).then(|| (observed.clone(), counts))
    });
    let due: Vec<_> = due.collect();
    let looks = stream::iter(due).map(|(observed, counts)| async move {
        let Observed { project, names, interval } = observed;
        match reporter.observe(cloud, &names, &project, interval / 2).await {
            Ok(Ok(())) => debug!(project, "production observed"),
            Ok(Err(_)) => return None,
            Err(error) if error.kind == ErrorKind::Limited => {
                debug!(project, "others need the calls");
                return None;
            }
            Err(error) => {
                warn!(project, %error, "production could not be observed");
                return None;
            }
        }
        Some((project, Seen { counts, at: began }))
    });
    seen.extend(looks.buffer_unordered(AT_ONCE).filter_map(|seen| async { seen }).collect::<Vec<_>>().await);
}

/// Whether a project is to be looked at whole.
fn is_due(observed: &Observed, seen: Option<&Seen>, counts: Option<&ClusterCounts>, age: Duration) -> bool {
    let Some(seen) = seen else { return true };
    // Spread by a hash of the name, so that a thousand projects do not become old at the same moment.
    let hash = observed.project.bytes().fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    let starting = counts.is_some_and(|counts| counts.pending > 0);
    starting || seen.counts.as_ref() != counts || seen.at.elapsed() >= age * (900 + hash % 200) / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use brain_core::id::ProjectId;

    #[tokio::test(start_paused = true)]
    async fn a_project_is_looked_at_whole_when_its_counts_differ_or_the_last_look_is_old() {
        let names = ResourceNames::of(&ProjectId::parse("user").unwrap());
        let interval = Duration::from_secs(15);
        let observed = Observed { project: "projects/user".to_owned(), names, interval };
        let counts = ClusterCounts { name: "c".into(), services: 2, running: 3, pending: 0, hosts: 3 };
        let seen = Seen { counts: Some(counts.clone()), at: Instant::now() };
        let age = Duration::from_secs(100);
        assert!(is_due(&observed, None, Some(&counts), age), "never seen");
        assert!(!is_due(&observed, Some(&seen), Some(&counts), age));
        assert!(is_due(&observed, Some(&seen), None, age), "the cluster is gone");
        for (running, pending, hosts, services) in [(2, 0, 3, 2), (3, 1, 3, 2), (3, 0, 4, 2), (3, 0, 3, 3)] {
            let other = ClusterCounts { name: "c".into(), services, running, pending, hosts };
            assert!(is_due(&observed, Some(&seen), Some(&other), age), "{other:?}");
        }
        tokio::time::advance(Duration::from_secs(89)).await;
        assert!(!is_due(&observed, Some(&seen), Some(&counts), age));
        tokio::time::advance(Duration::from_secs(22)).await;
        assert!(is_due(&observed, Some(&seen), Some(&counts), age));
    }
}
