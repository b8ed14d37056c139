//! The scheduler of services: tasks are started where there is room, and stopped where there are too many.
//!
//! ECS spreads tasks over zones and chooses as it likes beyond that. Here an instance has no zone, so that any may be the one:
//! which service comes first, on which host a task is placed and which one is stopped is the account's chance.

use super::{HostState, ServiceState, TaskStage, TaskState, World};
use crate::cloud::{HostStatus, ServiceEvent};
use std::collections::BTreeMap;

/// Events that ECS keeps of a service.
const EVENTS_KEPT: usize = 100;

/// Tasks of a service that are to run.
#[derive(Clone, Copy, Default)]
struct Live {
    pending: u32,
    running: u32,
}

impl Live {
    fn all(self) -> u32 {
        self.pending + self.running
    }
}

/// Tasks that are to run, by service.
fn live(tasks: &BTreeMap<String, TaskState>) -> BTreeMap<&str, Live> {
    let mut counts: BTreeMap<&str, Live> = BTreeMap::new();
    for task in tasks.values() {
        match task.stage {
            TaskStage::Pending => counts.entry(&task.service).or_default().pending += 1,
            TaskStage::Running => counts.entry(&task.service).or_default().running += 1,
            TaskStage::Stopping | TaskStage::Ended => {}
        }
    }
    counts
}

fn of(counts: &BTreeMap<&str, Live>, service: &str) -> Live {
    counts.get(service).copied().unwrap_or_default()
}

impl World {
    /// Services get the tasks that they want, as far as there is room, and no more.
    pub(super) fn schedule(&mut self, now_ms: i64) {
        self.place(now_ms);
        self.scale_in(now_ms);
        self.tell(now_ms);
    }

    /// One task after the other, as long as one that is wanted has room.
    fn place(&mut self, now_ms: i64) {
        loop {
            let wanting = self.wanting();
            if wanting.is_empty() {
                return;
            }
            let (name, cluster) = &wanting[self.chance.choose(wanting.len())];
            let hosts: Vec<String> = self.free_hosts(cluster).cloned().collect();
            let instance = &hosts[self.chance.choose(hosts.len())];
            self.start(name, instance, now_ms);
        }
    }

    /// Services that want more tasks and have room for one, with their clusters.
    fn wanting(&self) -> Vec<(String, String)> {
        let counts = live(&self.tasks);
        let wants = |(name, service): &(&String, &ServiceState)| {
            of(&counts, name).all() < service.shown.desired && self.free_hosts(&service.cluster).next().is_some()
        };
        let wanting = self.services.iter().filter(wants);
        wanting.map(|(name, service)| (name.clone(), service.cluster.clone())).collect()
    }

    /// Hosts that can take a task.
    fn free_hosts<'a>(&'a self, cluster: &'a str) -> impl Iterator<Item = &'a String> {
        let takes = move |host: &HostState| {
            host.cluster == cluster && host.joined && host.status == HostStatus::Active && !host.small
        };
        let hosts = self.hosts.iter().filter(move |(_, host)| takes(host));
        hosts.map(|(instance, _)| instance).filter(move |instance| self.tasks_on(instance).next().is_none())
    }

    fn start(&mut self, name: &str, instance: &str, now_ms: i64) {
        let Some(service) = self.services.get(name) else { return };
        let sick = self.sick.get(name).copied();
        let behaviour = sick.unwrap_or_else(|| self.behaviour(&service.shown.task_definition));
        self.made += 1;
        let id = format!("task-{:04}", self.made);
        let task = TaskState {
            service: name.to_owned(),
            instance: instance.to_owned(),
            stage: TaskStage::Pending,
            since_ms: now_ms,
            created_ms: now_ms,
            behaviour,
            healthy: false,
            stopped: None,
        };
        let message = format!("(service {name}) has started 1 tasks: (task {id}).");
        self.tasks.insert(id, task);
        if let Some(service) = self.services.get_mut(name) {
            service.shown.events.insert(0, ServiceEvent { at_ms: now_ms, message });
        }
    }

    /// Of those that are too many some are stopped: healthy ones, sick ones, and ones that have not started.
    fn scale_in(&mut self, now_ms: i64) {
        for (name, excess) in self.excess() {
            let is_live = |task: &TaskState| {
                task.service == name && matches!(task.stage, TaskStage::Pending | TaskStage::Running)
            };
            // Without a seed the newest go.
            let newest = self.tasks.iter().rev().filter(|(_, task)| is_live(task));
            let mut here: Vec<String> = newest.map(|(id, _)| id.clone()).collect();
            for _ in 0..excess {
                let id = here.remove(self.chance.choose(here.len()));
                if let Some(task) = self.tasks.get_mut(&id) {
                    let reason = "Scaling activity initiated by (deployment 1)";
                    task.stop("ServiceSchedulerInitiated", reason, None, now_ms);
                }
            }
        }
    }

    /// Services that have more tasks than they want, with how many more.
    fn excess(&self) -> Vec<(String, u32)> {
        let counts = live(&self.tasks);
        let excess = |(name, service): (&String, &ServiceState)| {
            (name.clone(), of(&counts, name).all().saturating_sub(service.shown.desired))
        };
        self.services.iter().map(excess).filter(|(_, excess)| *excess > 0).collect()
    }

    /// What services show of it.
    fn tell(&mut self, now_ms: i64) {
        let counts = live(&self.tasks);
        for (name, service) in &mut self.services {
            let (live, shown) = (of(&counts, name), &mut service.shown);
            (shown.running, shown.pending) = (live.running, live.pending);
            if live.all() < shown.desired {
                let message = format!("(service {name}) was unable to place a task: a port is in use on every host");
                // ECS repeats an event only after hours.
                if shown.events.first().is_none_or(|last| last.message != message) {
                    shown.events.insert(0, ServiceEvent { at_ms: now_ms, message });
                }
            }
            shown.events.truncate(EVENTS_KEPT);
        }
    }
}
