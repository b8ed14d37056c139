//! What the steps of one deployment have seen, for as long as it may serve the next one. A look at AWS costs calls; two steps
//! that come right after each other need not ask the same again.
//!
//! What counts tasks is shared only until the worker sleeps, for two seconds at most, so that nothing is judged by an old
//! look twice. An act puts AWS's answer in place of what was seen before; an act that fails forgets it. What changes only
//! through brain's own acts, such as the hosts that have joined, is known for longer.

use super::{Context, health::Health};
use crate::cloud::{Group, Host, HostStatus, Result, Service, Task};
use brain_core::traffic::Weights;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// How long a look is shared by steps that follow each other.
const SHARED: Duration = Duration::from_secs(2);
/// How long the hosts of the cluster and the size of its group are known without another look. One that is lost meanwhile
/// is replaced by its group, and the shift waits for it as long as its own look says so.
const CAPACITY_KNOWN: Duration = Duration::from_mins(10);
/// How long tasks that were all seen healthy count as that when nothing was started since.
const WELL_FOR: Duration = Duration::from_mins(1);

/// How long a service is not asked for its stopped tasks when nothing says that some have: the longest that a failure which
/// AWS does not tell of goes unseen.
const UNSUSPECTED: Duration = Duration::from_secs(20);

/// What a worker waits for after an act. Waits of one kind take about the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// Instances that boot and join the cluster.
    Boot,
    /// Tasks that start on instances that were free.
    Start,
    /// Tasks that start where others have to drain first.
    Restart,
    /// Tasks that are taken away; others of the service stay.
    Lower,
    /// The last tasks of a service, until they have drained.
    Drain,
}

/// What a deployment's steps have seen.
#[derive(Debug, Default)]
pub(crate) struct Looks(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// What was seen before this is not shared.
    since: Option<Instant>,
    services: Option<(Instant, Vec<Service>)>,
    hosts: Option<(Instant, Vec<Host>)>,
    group: Option<(Instant, Group)>,
    /// Healthy tasks by service.
    health: Option<Health>,
    /// Weights of the rule.
    weights: Option<(Instant, Weights)>,
    suspects: Option<Suspects>,
    /// Tasks of each service that were seen to be all healthy.
    well: BTreeMap<String, (Instant, u32)>,
    /// The latest act that is waited for.
    acted: Option<(Instant, Kind)>,
    raised: Option<Raised>,
    lowered: bool,
    /// When instances were asked for.
    grown: Option<Instant>,
    /// Instances that were replaced since they never joined.
    replaced: u32,
    /// Services that are not there, and since when no look has shown them.
    absent: BTreeMap<String, Instant>,
}

/// A service that was raised.
#[derive(Debug)]
struct Raised {
    service: String,
    /// Tasks that it wants more than before.
    by: u32,
    /// What ECS had said of it before.
    said: BTreeSet<(i64, String)>,
}

/// Stopped tasks of the service that one step watches, and what led to the look at them.
#[derive(Debug)]
struct Suspects {
    began: Instant,
    service: String,
    step_began_ms: i64,
    suspicion: u32,
    tasks: Vec<Task>,
}

impl Seen {
    fn shares(&self, began: Instant) -> bool {
        self.since.is_none_or(|since| began >= since) && began.elapsed() < SHARED
    }
}

impl Looks {
    /// The worker has waited: what it sees next is looked at anew.
    pub(crate) fn forget(&self) {
        self.seen().since = Some(Instant::now());
    }

    /// The act that is waited for, and since when.
    pub(crate) fn acted(&self) -> Option<(Instant, Kind)> {
        self.seen().acted
    }

    /// What was waited for is there.
    pub(crate) fn settled(&self) {
        self.seen().acted = None;
    }

    /// Instances were asked for.
    pub(super) fn grown(&self, desired: u32) {
        let mut seen = self.seen();
        if let Some((_, group)) = &mut seen.group {
            group.desired = desired;
        }
        seen.acted = Some((Instant::now(), Kind::Boot));
        seen.grown = Some(Instant::now());
    }

    /// A group is made, and starts its first instances.
    pub(super) fn group_made(&self) {
        self.seen().grown = Some(Instant::now());
    }

    /// An instance was ended that the group replaces.
    pub(super) fn replaced(&self) {
        let mut seen = self.seen();
        (seen.group, seen.hosts) = (None, None);
        seen.acted = Some((Instant::now(), Kind::Boot));
        seen.replaced += 1;
    }

    /// How many were.
    pub(super) fn replacements(&self) -> u32 {
        self.seen().replaced
    }

    /// Whether instances were asked for within that time.
    pub(super) fn grown_within(&self, time: Duration) -> bool {
        self.seen().grown.is_some_and(|at| at.elapsed() < time)
    }

    /// A host is set to drain, or taken back.
    pub(super) fn host_answered(&self, answer: Host) {
        if let Some((_, hosts)) = &mut self.seen().hosts {
            for host in hosts.iter_mut().filter(|host| host.arn == answer.arn) {
                *host = answer.clone();
            }
        }
    }

    /// An instance was ended.
    pub(super) fn ended(&self, instance: &str) {
        let mut seen = self.seen();
        if let Some((_, group)) = &mut seen.group {
            group.desired = group.desired.saturating_sub(1);
            group.instances.retain(|other| other != instance);
        }
        if let Some((_, hosts)) = &mut seen.hosts {
            hosts.retain(|host| host.instance != instance);
        }
    }

    /// The auto-scaling group was seen in a look that began then.
    pub(super) fn seen_group(&self, began: Instant, group: Group) {
        self.seen().group = Some((began, group));
    }

    /// What is known of group and hosts is in doubt.
    pub(super) fn forget_capacity(&self) {
        let mut seen = self.seen();
        (seen.group, seen.hosts) = (None, None);
    }

    /// What is known of the services is in doubt: an act on them may have been done or not.
    pub(super) fn forget_services(&self) {
        let mut seen = self.seen();
        (seen.services, seen.health) = (None, None);
        seen.well.clear();
    }

    /// The rule was seen to have these weights.
    pub(super) fn seen_weights(&self, weights: Weights) {
        self.seen().weights = Some((Instant::now(), weights));
    }

    /// What is known of the weights is in doubt.
    pub(super) fn forget_weights(&self) {
        self.seen().weights = None;
    }

    /// AWS's answer to the making of a service, or to a new desired count.
    pub(super) fn service_answered(&self, mut answer: Service) {
        let mut seen = self.seen();
        seen.health = None;
        if let Some(well) = seen.well.get_mut(&answer.name) {
            well.1 = well.1.min(answer.desired);
        }
        let Some((_, services)) = &mut seen.services else { return };
        match services.iter_mut().find(|service| service.name == answer.name) {
            Some(before) => {
                // Only a description has tags.
                if answer.tags.is_empty() {
                    answer.tags = std::mem::take(&mut before.tags);
                }
                *before = answer;
            }
            None => services.push(answer),
        }
    }

    /// A service's desired count was changed.
    pub(super) fn scaled(&self, before: u32, answer: Service) {
        let mut seen = self.seen();
        let kind = match (answer.desired, seen.lowered) {
            (0, _) => Kind::Drain,
            (desired, _) if desired < before => Kind::Lower,
            (_, true) => Kind::Restart,
            (_, false) => Kind::Start,
        };
        seen.acted = Some((Instant::now(), kind));
        seen.lowered |= answer.desired < before;
        let said = answer.events.iter().map(|event| (event.at_ms, event.message.clone())).collect();
        seen.raised = Some(Raised { service: answer.name.clone(), by: answer.desired.saturating_sub(before), said });
        drop(seen);
        self.service_answered(answer);
    }

    /// Whether instances were asked for and there was no time yet for them to join.
    pub(super) fn just_grown(&self) -> bool {
        let seen = self.seen();
        seen.acted.is_some_and(|(at, kind)| kind == Kind::Boot && seen.shares(at))
    }

    /// A service is there.
    pub(super) fn is_there(&self, service: &str) {
        self.seen().absent.remove(service);
    }

    /// A service is not there; answers for how long.
    pub(super) fn is_absent(&self, service: &str) -> Duration {
        self.seen().absent.entry(service.to_owned()).or_insert_with(Instant::now).elapsed()
    }

    /// By how many tasks this worker has raised the service just now, and what ECS had not said of it before.
    pub(super) fn raised(&self, service: &Service, since_ms: i64) -> (u32, Vec<String>) {
        let seen = self.seen();
        let raised = seen.raised.as_ref().filter(|raised| raised.service == service.name);
        let fresh = service.events.iter().filter(|event| event.at_ms >= since_ms);
        let news = fresh.map(|event| (event.at_ms, event.message.clone()));
        let news = news.filter(|event| raised.is_none_or(|raised| !raised.said.contains(event)));
        (raised.map_or(0, |raised| raised.by), news.map(|(_, message)| message).collect())
    }

    /// Health that was looked at after the services were, and is shared still.
    pub(super) fn health(&self, services_began: Instant) -> Option<Health> {
        let seen = self.seen();
        seen.health.clone().filter(|health| health.began >= services_began && seen.shares(health.began))
    }

    /// The health of these services was looked at.
    pub(super) fn seen_health(&self, health: &Health, services: &[Service]) {
        let mut seen = self.seen();
        seen.health = Some(health.clone());
        for service in services {
            let (_, healthy) = health.of(&service.name);
            if healthy == service.running && service.pending == 0 {
                seen.well.insert(service.name.clone(), (health.began, healthy));
            } else {
                seen.well.remove(&service.name);
            }
        }
    }

    /// Whether every service runs no more tasks than were all healthy a short time ago, with none on its way.
    pub(super) fn still_well(&self, services: &[Service]) -> bool {
        let seen = self.seen();
        services.iter().all(|service| {
            let known = seen.well.get(&service.name).filter(|(began, _)| began.elapsed() < WELL_FOR);
            service.pending == 0 && (service.running == 0 || known.is_some_and(|(_, count)| service.running <= *count))
        })
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Context {
    /// The services of the cluster, and when the look at them began.
    pub(super) async fn services(&self, name: &str) -> Result<(Instant, Vec<Service>)> {
        {
            let seen = self.looks.seen();
            if let Some((began, services)) = &seen.services
                && seen.shares(*began)
                && services.iter().any(|service| service.name == name)
            {
                return Ok((*began, services.clone()));
            }
        }
        let began = Instant::now();
        let mut names = self.services.to_vec();
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
        let services = self.cloud.services(&self.names.cluster, &names).await?;
        self.looks.seen().services = Some((began, services.clone()));
        Ok((began, services))
    }

    /// The auto-scaling group as it is now, but for what was seen within this moment.
    pub(super) async fn group(&self) -> Result<Option<Group>> {
        self.group_within(SHARED).await
    }

    /// The auto-scaling group, as far as only brain's own acts change it.
    pub(super) async fn group_known(&self) -> Result<Option<Group>> {
        self.group_within(CAPACITY_KNOWN).await
    }

    async fn group_within(&self, age: Duration) -> Result<Option<Group>> {
        {
            let seen = self.looks.seen();
            if let Some((began, group)) = &seen.group
                && began.elapsed() < age
                && (age > SHARED || seen.shares(*began))
            {
                return Ok(Some(group.clone()));
            }
        }
        let began = Instant::now();
        let group = self.cloud.group(&self.names.auto_scaling_group).await?;
        self.looks.seen().group = group.clone().map(|group| (began, group));
        Ok(group)
    }

    /// The hosts as they are now, but for what was seen within this moment.
    pub(super) async fn hosts(&self) -> Result<Vec<Host>> {
        {
            let seen = self.looks.seen();
            if let Some((began, hosts)) = &seen.hosts
                && seen.shares(*began)
            {
                return Ok(hosts.clone());
            }
        }
        let began = Instant::now();
        let hosts = self.cloud.hosts(&self.names.cluster).await?;
        self.looks.seen().hosts = Some((began, hosts.clone()));
        Ok(hosts)
    }

    /// The weights, which only brain's own acts change while it deploys; `None` behind a classic load balancer, or without a
    /// rule that is brain's.
    pub(super) async fn weights(&self) -> Result<Option<Weights>> {
        let known = self.looks.seen().weights;
        if let Some((_, weights)) = known.filter(|(at, _)| at.elapsed() < WELL_FOR) {
            return Ok(Some(weights));
        }
        let weights = super::health::weights(&*self.cloud, &self.names, self.spec.id.as_str()).await?;
        self.looks.seen().weights = weights.map(|weights| (Instant::now(), weights));
        Ok(weights)
    }

    /// The hosts that were there a while ago.
    pub(super) fn hosts_known(&self) -> Option<Vec<Host>> {
        let seen = self.looks.seen();
        seen.hosts.as_ref().filter(|(began, _)| began.elapsed() < CAPACITY_KNOWN).map(|(_, hosts)| hosts.clone())
    }

    /// Those hosts as they are now; `None` where none are known, or not all of them are there any more.
    pub(super) async fn hosts_again(&self) -> Result<Option<Vec<Host>>> {
        let Some(known) = self.hosts_known() else { return Ok(None) };
        {
            let seen = self.looks.seen();
            if seen.hosts.as_ref().is_some_and(|(began, _)| seen.shares(*began)) {
                return Ok(Some(known));
            }
        }
        let began = Instant::now();
        let arns: BTreeSet<String> = known.iter().map(|host| host.arn.clone()).collect();
        let hosts = self.cloud.hosts_named(&self.names.cluster, &arns).await?;
        let joined = hosts.iter().filter(|host| host.status != HostStatus::Other).count();
        let mut seen = self.looks.seen();
        if joined < known.len() {
            seen.hosts = None;
            return Ok(None);
        }
        seen.hosts = Some((began, hosts.clone()));
        Ok(Some(hosts))
    }

    /// Tasks of the cluster that are to stop or have stopped, as they are now.
    pub(super) async fn stopped(&self) -> Result<Vec<Task>> {
        self.cloud.tasks(&self.names.cluster, None, true).await
    }

    /// Stopped tasks of the service that the step watches. They are looked at when more is suspected than before, and once in a
    /// while without.
    pub(super) async fn stopped_of(&self, service: &str, suspicion: u32, watched: bool) -> Result<Vec<Task>> {
        let began = Instant::now();
        let suspects = |suspicion, tasks| {
            let step_began_ms = self.step_began_ms;
            Some(Suspects { began, service: service.to_owned(), step_began_ms, suspicion, tasks })
        };
        {
            let mut seen = self.looks.seen();
            let same = |known: &&Suspects| known.service == service && known.step_began_ms == self.step_began_ms;
            match seen.suspects.as_ref().filter(same) {
                Some(known) if suspicion <= known.suspicion && known.began.elapsed() < UNSUSPECTED => {
                    return Ok(known.tasks.clone());
                }
                None if suspicion == 0 => {
                    seen.suspects = suspects(0, Vec::new());
                    return Ok(Vec::new());
                }
                _ => {}
            }
        }
        let looked = self.looks_for_failures();
        let tasks = self.cloud.tasks(&self.names.cluster, Some(service), true).await?;
        if watched {
            looked();
        }
        self.looks.seen().suspects = suspects(suspicion, tasks.clone());
        Ok(tasks)
    }
}
