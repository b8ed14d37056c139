//! Observes the production of this deployer's projects, deploying or not.
//!
//! Projects of one region and role are observed together. Each round asks for the counts of all their clusters, a hundred in a
//! call; a project is looked at whole when its counts differ from those of its last whole look, while tasks start there, and
//! when that look has become old. With many projects whole looks become old later, so that they fit into the small part of
//! AWS's limits that idle observation may use. Each look is told to the server, also one that shows nothing new, and one that
//! failed with why: what nobody has seen lately is not to be taken for current. What counts alone show again is told with the age
//! of the whole look, which saw the health that counts do not show.

use crate::{
    cloud::{self, Cloud, CloudError, ClusterCounts, ErrorKind, idle},
    clouds::Clouds,
    reporter::{Leave, Observation, Reporter},
};
use brain_core::names::ResourceNames;
use brain_proto::{
    convert::{duration_from_proto, names_from_proto},
    v1::ObservedProject,
};
use futures::{StreamExt, stream::FuturesUnordered};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

/// Whole looks at the same time.
const AT_ONCE: usize = 8;
/// Shortest interval, whatever the server says.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// Time that each project adds to the age at which whole looks are old. Each asks a load balancer once, and a tenth of AWS's
/// limit allows nearly one such call a second, to all deployers together.
const AGE_FOR_EACH: Duration = Duration::from_millis(1_250);
/// How much older than that a look still counts, as long as counts say that all is as it was: others may need the calls for a
/// while, as hundreds of deployments at once do.
const LATE_MAX: Duration = Duration::from_mins(5);

/// Region and role.
type Place = (String, String);

/// The observers of one stream.
pub(crate) struct Observers {
    clouds: Arc<dyn Clouds>,
    reporter: Arc<Reporter>,
    tasks: TaskTracker,
    end: CancellationToken,
    places: HashMap<Place, watch::Sender<Arc<[Observed]>>>,
    /// Deployers that share AWS's limits, this one among them.
    sharers: Arc<AtomicU32>,
}

/// A project to observe.
#[derive(Debug, Clone)]
struct Observed {
    of: Observation,
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
        Self { clouds, reporter, tasks, end, places: HashMap::new(), sharers: Arc::new(AtomicU32::new(1)) }
    }

    /// So many deployers share AWS's limits from now on.
    pub(crate) fn shared_by(&self, deployers: u32) {
        self.sharers.store(deployers.max(1), Ordering::Relaxed);
    }

    /// Observes these projects from now on, and no others.
    pub(crate) fn set(&mut self, projects: Vec<ObservedProject>) {
        let mut wanted: HashMap<Place, Vec<Observed>> = HashMap::new();
        for ObservedProject { project, region, names, interval, role_arn, generation } in projects {
            let names = names_from_proto(names.unwrap_or_default());
            let interval = interval.map(duration_from_proto).unwrap_or_default().max(INTERVAL_MIN);
            let of = Observation { project, deployment: String::new(), generation };
            wanted.entry((region, role_arn)).or_default().push(Observed { of, names, interval });
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
        let sharers = Arc::clone(&self.sharers);
        self.tasks.spawn(async move {
            let observe = async {
                let cloud = clouds.get(&region, &role).await;
                idle(observe(&*cloud, &reporter, projects, &sharers)).await;
            };
            end.run_until_cancelled(observe).await;
        });
    }
}

/// Observes the projects of one place until the stream ends or no project is left there. Rounds go on while whole looks wait
/// for their turn.
async fn observe(
    cloud: &dyn Cloud,
    reporter: &Reporter,
    projects: watch::Receiver<Arc<[Observed]>>,
    sharers: &AtomicU32,
) {
    let mut place = Looking {
        reporter,
        sharers,
        list: Arc::default(),
        seen: HashMap::new(),
        waiting: VecDeque::new(),
        looking: HashSet::new(),
    };
    let mut looks = FuturesUnordered::new();
    let mut round = Box::pin(count(cloud, projects, Instant::now()));
    loop {
        while looks.len() < AT_ONCE
            && let Some((observed, counts)) = place.next()
        {
            looks.push(look(cloud, reporter, observed, counts));
        }
        tokio::select! {
            // In one order, so that a simulation's seed runs the same way each time.
            biased;
            counted = &mut round => {
                let Some(Counted { projects, began, list, counts }) = counted else { return };
                let interval = list.iter().map(|observed| observed.interval).min().unwrap_or(INTERVAL_MIN);
                let told = place.round(list, counts).await;
                if told.is_err() {
                    return;
                }
                round = Box::pin(count(cloud, projects, began + interval));
            }
            Some(looked) = looks.next(), if !looks.is_empty() => {
                if place.looked(looked).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// The counts of a round.
struct Counted {
    projects: watch::Receiver<Arc<[Observed]>>,
    began: Instant,
    list: Arc<[Observed]>,
    counts: cloud::Result<HashMap<String, ClusterCounts>>,
}

/// Waits for the next round, or for another list, and asks for the counts of all clusters. `None`: no project is left.
async fn count(cloud: &dyn Cloud, mut projects: watch::Receiver<Arc<[Observed]>>, at: Instant) -> Option<Counted> {
    tokio::select! {
        biased;
        () = sleep_until(at) => {}
        changed = projects.changed() => changed.ok()?,
    }
    projects.has_changed().ok()?;
    let began = Instant::now();
    let list = Arc::clone(&projects.borrow_and_update());
    let clusters: Vec<String> = list.iter().map(|observed| observed.names.cluster.clone()).collect();
    let counts = cloud.cluster_counts(&clusters).await;
    let by_name = |counts: ClusterCounts| (counts.name.clone(), counts);
    let counts = counts.map(|counts| counts.into_iter().map(by_name).collect());
    Some(Counted { projects, began, list, counts })
}

/// What a whole look came to.
struct Looked {
    observed: Observed,
    counts: Option<ClusterCounts>,
    began: Instant,
    outcome: cloud::Result<Result<(), Leave>>,
}

async fn look(cloud: &dyn Cloud, reporter: &Reporter, observed: Observed, counts: Option<ClusterCounts>) -> Looked {
    let began = Instant::now();
    let outcome = reporter.observe(cloud, &observed.names, &observed.of, observed.interval / 2).await;
    Looked { observed, counts, began, outcome }
}

/// The looks at one place.
struct Looking<'a> {
    reporter: &'a Reporter,
    sharers: &'a AtomicU32,
    list: Arc<[Observed]>,
    /// Projects that a whole look has seen and that none has failed to see since.
    seen: HashMap<String, Seen>,
    /// Projects that wait for a whole look, or are looked at, by name; the counts are those for which they wait.
    waiting: VecDeque<(String, Option<ClusterCounts>)>,
    looking: HashSet<String>,
}

impl Looking<'_> {
    /// Takes the counts of a round: tells again of what is as it was, and has the rest looked at.
    async fn round(
        &mut self,
        list: Arc<[Observed]>,
        counts: cloud::Result<HashMap<String, ClusterCounts>>,
    ) -> Result<(), Leave> {
        self.list = Arc::clone(&list);
        let listed: HashSet<&str> = list.iter().map(|observed| observed.of.project.as_str()).collect();
        self.seen.retain(|project, _| listed.contains(project.as_str()));
        self.waiting.retain(|(project, _)| listed.contains(project.as_str()));
        let waiting: HashSet<String> = self.waiting.iter().map(|(project, _)| project.clone()).collect();
        let mut counts = match counts {
            Ok(counts) => counts,
            Err(error) => {
                warn!(%error, "clusters could not be observed");
                for observed in list.iter() {
                    self.reporter.unseen(&observed.of, why_unseen(&error)).await?;
                }
                return Ok(());
            }
        };
        let sharers = self.sharers.load(Ordering::Relaxed);
        for observed in list.iter() {
            let counts = counts.remove(&observed.names.cluster);
            let project = &observed.of.project;
            let age = old_at(observed.interval, list.len(), sharers);
            let due = due(observed, self.seen.get(project), counts.as_ref(), age);
            if due != Due::Now && self.seen.get(project).is_some_and(|seen| seen.at.elapsed() < counts_for(age)) {
                self.reporter.seen_again(&observed.of).await?;
            }
            if due != Due::No && !self.looking.contains(project) && !waiting.contains(project) {
                self.waiting.push_back((project.clone(), counts));
            }
        }
        Ok(())
    }

    /// The next project to look at whole.
    fn next(&mut self) -> Option<(Observed, Option<ClusterCounts>)> {
        loop {
            let (project, counts) = self.waiting.pop_front()?;
            if let Some(observed) = self.list.iter().find(|observed| observed.of.project == project) {
                self.looking.insert(project);
                return Some((observed.clone(), counts));
            }
        }
    }

    /// Takes what a whole look came to.
    async fn looked(&mut self, looked: Looked) -> Result<(), Leave> {
        let Looked { observed, counts, began, outcome } = looked;
        let project = &observed.of.project;
        self.looking.remove(project);
        match outcome {
            Ok(told) => {
                debug!(project, "production observed");
                self.seen.insert(project.clone(), Seen { counts, at: began });
                told
            }
            Err(error) if error.kind == ErrorKind::Limited && self.seen.contains_key(project) => {
                // The next round tells again of what is as it was, until that is too old.
                debug!(project, "others need the calls");
                Ok(())
            }
            Err(error) => {
                warn!(project, %error, "production could not be observed");
                // Not by its counts either, until it was seen whole.
                self.seen.remove(project);
                self.reporter.unseen(&observed.of, why_unseen(&error)).await
            }
        }
    }
}

/// Why a look failed, and what a person can do. The same error reads the same each time.
fn why_unseen(error: &CloudError) -> String {
    let CloudError { action, code, message, kind } = error;
    let answer = || format!("AWS answers {action} with {code}: {message}");
    match kind {
        ErrorKind::Limited => "other calls need all that AWS's limits allow; it is looked again".to_owned(),
        ErrorKind::Throttled => format!("AWS throttles {action}; it is looked again"),
        ErrorKind::Transient => format!("{}; it is looked again", answer()),
        ErrorKind::Terminal => {
            format!("{}; give the deployer's credentials, or the role that the project names, what they need", answer())
        }
    }
}

/// Whether a project is to be looked at whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    /// It is as it was.
    No,
    /// It is as it was, as far as the counts tell, and the last look is old.
    Old,
    /// It is not as it was, or was not seen.
    Now,
}

/// The age at which a whole look is old, where one deployer of so many looks at so many projects.
fn old_at(interval: Duration, projects: usize, sharers: u32) -> Duration {
    let each = AGE_FOR_EACH.saturating_mul(sharers);
    interval.max(each.saturating_mul(u32::try_from(projects).unwrap_or(u32::MAX)))
}

/// How long a whole look counts, where one is old at that age. What nobody has looked at for longer is told no more.
fn counts_for(age: Duration) -> Duration {
    age + age.min(LATE_MAX)
}

fn due(observed: &Observed, seen: Option<&Seen>, counts: Option<&ClusterCounts>, age: Duration) -> Due {
    let Some(seen) = seen else { return Due::Now };
    let starting = counts.is_some_and(|counts| counts.pending > 0);
    if starting || seen.counts.as_ref() != counts {
        return Due::Now;
    }
    // Spread by a hash of the name, so that a thousand projects do not become old at the same moment.
    let hash = observed.of.project.bytes().fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    if seen.at.elapsed() >= age * (900 + hash % 200) / 1_000 { Due::Old } else { Due::No }
}

#[cfg(test)]
mod tests {
    use super::*;
    use brain_core::id::ProjectId;

    #[tokio::test(start_paused = true)]
    async fn a_project_is_looked_at_whole_when_its_counts_differ_or_the_last_look_is_old() {
        let names = ResourceNames::of(&ProjectId::parse("user").unwrap());
        let interval = Duration::from_secs(15);
        let of = Observation { project: "projects/user".to_owned(), deployment: String::new(), generation: 1 };
        let observed = Observed { of, names, interval };
        let counts = ClusterCounts { name: "c".into(), services: 2, running: 3, pending: 0, hosts: 3 };
        let seen = Seen { counts: Some(counts.clone()), at: Instant::now() };
        let age = Duration::from_secs(100);
        assert_eq!(due(&observed, None, Some(&counts), age), Due::Now, "never seen");
        assert_eq!(due(&observed, Some(&seen), Some(&counts), age), Due::No);
        assert_eq!(due(&observed, Some(&seen), None, age), Due::Now, "the cluster is gone");
        for (running, pending, hosts, services) in [(2, 0, 3, 2), (3, 1, 3, 2), (3, 0, 4, 2), (3, 0, 3, 3)] {
            let other = ClusterCounts { name: "c".into(), services, running, pending, hosts };
            assert_eq!(due(&observed, Some(&seen), Some(&other), age), Due::Now, "{other:?}");
        }
        tokio::time::advance(Duration::from_secs(89)).await;
        assert_eq!(due(&observed, Some(&seen), Some(&counts), age), Due::No);
        tokio::time::advance(Duration::from_secs(22)).await;
        assert_eq!(due(&observed, Some(&seen), Some(&counts), age), Due::Old);
    }

    #[test]
    fn a_look_counts_until_its_turn_has_come_again_and_not_for_long_beyond() {
        let counts = |projects, sharers| counts_for(old_at(Duration::from_secs(15), projects, sharers));
        assert_eq!(counts(10, 1), Duration::from_secs(30));
        assert_eq!(counts(1_000, 1), Duration::from_secs(1_250) + LATE_MAX);
        assert_eq!(counts(500, 2), counts(1_000, 1), "each has half of the projects, and half of the calls");
        // All of them are looked at in that time with what idle looks may use: one call to the load balancer a second.
        assert!(counts(1_000, 1) > Duration::from_secs(1_000 * 11 / 10));
    }
}
