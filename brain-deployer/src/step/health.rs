//! How many tasks of each service are healthy: running, on an instance that is in service behind the load balancer.
//!
//! A classic load balancer knows instances, and each holds one task of the project, since all versions use the same host
//! port. So where as many tasks run as there are instances, and all of those are in service, all tasks are healthy, and
//! nobody need be asked which task runs where. Behind an application load balancer the same is so for each target group.

use super::{Context, application::weights_of};
use crate::cloud::{Cloud, Host, HostStatus, Result, Service, TAG_PROJECT, TAG_VERSION, Task};
use brain_core::{
    names::ResourceNames,
    production::ServiceState,
    traffic::{Route, Weights},
};
use std::collections::{BTreeMap, BTreeSet};
use tokio::time::Instant;

/// What was seen of a project's production at a time.
#[derive(Debug, Clone)]
pub struct Look {
    /// When the look began: what happened later may be missing.
    pub began: Instant,
    /// Every service of the project's cluster that brain made and that has a task or wants one.
    pub services: Vec<ServiceState>,
}

/// Tasks that are to run, and healthy ones among them, by service.
#[derive(Debug, Clone)]
pub(crate) struct Health {
    /// When the look began.
    pub(super) began: Instant,
    tasks: BTreeMap<String, (u32, u32)>,
}

impl Health {
    /// Tasks of a service that are to run, and healthy ones.
    pub(super) fn of(&self, service: &str) -> (u32, u32) {
        self.tasks.get(service).copied().unwrap_or_default()
    }

    /// Every running task is healthy.
    pub(super) fn all(began: Instant, services: &[Service]) -> Self {
        let all = |service: &Service| (service.name.clone(), (service.running, service.running));
        Self { began, tasks: services.iter().map(all).collect() }
    }

    fn counted(began: Instant, tasks: &[Task], healthy: &BTreeSet<String>) -> Self {
        let mut counted = BTreeMap::new();
        for task in tasks {
            let (live, well) = counted.entry(task.service.clone()).or_insert((0, 0));
            *live += 1;
            *well += u32::from(healthy.contains(&task.id));
        }
        Self { began, tasks: counted }
    }
}

/// Instances in service: by target group, or all behind a classic load balancer under no name.
struct InService(BTreeMap<Option<String>, BTreeSet<String>>);

impl InService {
    /// Looks at those that these services' tasks may be on.
    async fn look(cloud: &dyn Cloud, names: &ResourceNames, services: &[Service]) -> Result<Self> {
        if names.target_groups.is_none() {
            return Ok(Self([(None, cloud.healthy_instances(&names.load_balancer).await?)].into()));
        }
        let busy = services.iter().filter(|service| service.running > 0 || service.pending > 0);
        let groups: BTreeSet<&String> = busy.filter_map(|service| service.target_group.as_ref()).collect();
        let mut seen = BTreeMap::new();
        for group in groups {
            seen.insert(Some(group.clone()), cloud.healthy_targets(group).await?);
        }
        Ok(Self(seen))
    }

    /// Under which name a service's instances are found.
    fn place(&self, service: &Service) -> Option<String> {
        if self.0.contains_key(&None) { None } else { service.target_group.clone() }
    }

    /// Whether there are, in each place, just as many as tasks run there.
    fn are_as_many_as_tasks(&self, services: &[Service]) -> bool {
        let mut running: BTreeMap<Option<String>, usize> = self.0.keys().map(|place| (place.clone(), 0)).collect();
        for service in services {
            *running.entry(self.place(service)).or_default() += service.running as usize;
        }
        running.iter().all(|(place, count)| self.0.get(place).map_or(0, BTreeSet::len) == *count)
    }

    /// Whether all of these instances are among them, with as many tasks as they are.
    fn hold(&self, instances: &BTreeSet<String>, services: &[Service]) -> bool {
        let seen: BTreeSet<&String> = self.0.values().flatten().collect();
        let are_all = instances.iter().all(|instance| seen.contains(instance));
        // One instance may be in two target groups for a moment, and its task is in one.
        are_all && (self.0.contains_key(&None) || self.are_as_many_as_tasks(services))
    }

    fn has(&self, service: Option<&Service>, instance: &str) -> bool {
        let place = service.and_then(|service| self.place(service));
        self.0.get(&place).is_some_and(|seen| seen.contains(instance))
    }
}

/// The weights of the project's rule; `None` behind a classic load balancer, or without a rule that is brain's.
pub(super) async fn weights(cloud: &dyn Cloud, names: &ResourceNames, project: &str) -> Result<Option<Weights>> {
    let Some(groups) = &names.target_groups else { return Ok(None) };
    let rule = cloud.rule(&names.load_balancer, project).await?;
    Ok(rule.and_then(|rule| weights_of(&rule, groups)))
}

/// Looks at what runs in production.
pub async fn production(cloud: &dyn Cloud, names: &ResourceNames, project: &str) -> Result<Look> {
    let began = Instant::now();
    let services = ours(cloud.services(&names.cluster, &[]).await?, project);
    if services.is_empty() {
        return Ok(Look { began, services: Vec::new() });
    }
    let weights = weights(cloud, names, project).await?;
    let health = glance(cloud, names, began, &services).await?;
    Ok(Look { began, services: states(services, &health, names, weights) })
}

/// The health of services that were seen when a look began, where nothing is decided by it: as many instances in service as
/// tasks run, with none on its way, are those tasks'.
pub(super) async fn glance(
    cloud: &dyn Cloud,
    names: &ResourceNames,
    began: Instant,
    services: &[Service],
) -> Result<Health> {
    let settled = |service: &Service| service.running == service.desired && service.pending == 0;
    let mut in_service = None;
    if services.iter().all(settled) {
        let seen = InService::look(cloud, names, services).await?;
        if seen.are_as_many_as_tasks(services) {
            return Ok(Health::all(began, services));
        }
        in_service = Some(seen);
    }
    by_task(cloud, names, began, services, in_service).await
}

/// What is so of the project's services.
pub(super) async fn look(
    context: &Context,
    services_began: Instant,
    services: Vec<Service>,
    health: &Health,
) -> Result<Look> {
    let weights = context.weights().await?;
    let services = ours(services, context.spec.id.as_str());
    Ok(Look { began: services_began, services: states(services, health, &context.names, weights) })
}

/// Looks at the health of the services that were seen when a look began.
pub(super) async fn health(context: &Context, services_began: Instant, services: &[Service]) -> Result<Health> {
    if let Some(health) = context.looks.health(services_began) {
        return Ok(health);
    }
    let began = Instant::now();
    let running: u32 = services.iter().map(|service| service.running).sum();
    let pending = services.iter().any(|service| service.pending > 0);
    let mut in_service = None;
    let mut health = (running == 0 && !pending).then(|| Health::all(began, services));
    if health.is_none()
        && !pending
        && let Some(instances) = instances_with_tasks(context, running).await?
    {
        let seen = InService::look(&*context.cloud, &context.names, services).await?;
        health = seen.hold(&instances, services).then(|| Health::all(began, services));
        in_service = Some(seen);
    }
    let health = match health {
        Some(health) => health,
        None => by_task(&*context.cloud, &context.names, began, services, in_service).await?,
    };
    context.looks.seen_health(&health, services);
    Ok(health)
}

/// The instances that run one task each, if there are just `running` of them.
async fn instances_with_tasks(context: &Context, running: u32) -> Result<Option<BTreeSet<String>>> {
    let instances = |hosts: Vec<Host>| hosts.into_iter().map(|host| host.instance).collect::<BTreeSet<_>>();
    let are_all = |hosts: &Vec<Host>| u32::try_from(hosts.len()).is_ok_and(|hosts| hosts == running);
    let Some(known) = context.hosts_known() else { return Ok(None) };
    if known.iter().any(|host| host.status == HostStatus::Other) {
        return Ok(None);
    }
    if are_all(&known) {
        return Ok(Some(instances(known)));
    }
    let Some(hosts) = context.hosts_again().await? else { return Ok(None) };
    let busy: Vec<Host> = hosts.into_iter().filter(|host| host.tasks > 0).collect();
    Ok(Some(busy).filter(|busy| are_all(busy) && busy.iter().all(|host| host.tasks == 1)).map(instances))
}

async fn by_task(
    cloud: &dyn Cloud,
    names: &ResourceNames,
    began: Instant,
    services: &[Service],
    in_service: Option<InService>,
) -> Result<Health> {
    let tasks = cloud.tasks(&names.cluster, None, false).await?;
    let running: Vec<&Task> = tasks.iter().filter(|task| task.running).collect();
    if running.is_empty() {
        return Ok(Health::counted(began, &tasks, &BTreeSet::new()));
    }
    let hosts: BTreeSet<String> = running.iter().filter_map(|task| task.host.clone()).collect();
    let instances = cloud.instances_of(&names.cluster, &hosts).await?;
    let in_service = match in_service {
        Some(in_service) => in_service,
        None => InService::look(cloud, names, services).await?,
    };
    let is_healthy = |task: &&&Task| {
        let instance = task.host.as_ref().and_then(|host| instances.get(host));
        let service = services.iter().find(|service| service.name == task.service);
        instance.is_some_and(|instance| in_service.has(service, instance))
    };
    let healthy = running.iter().filter(is_healthy).map(|task| task.id.clone()).collect();
    Ok(Health::counted(began, &tasks, &healthy))
}

/// Those services that are the project's, and have a task or want one.
fn ours(services: Vec<Service>, project: &str) -> Vec<Service> {
    let ours = |service: &Service| service.tags.get(TAG_PROJECT).is_some_and(|owner| owner == project);
    let busy = |service: &Service| service.desired > 0 || service.running > 0 || service.pending > 0;
    services.into_iter().filter(|service| ours(service) && busy(service)).collect()
}

fn states(
    services: Vec<Service>,
    health: &Health,
    names: &ResourceNames,
    weights: Option<Weights>,
) -> Vec<ServiceState> {
    // Without a rule that forwards to the groups nobody gets any request by them.
    let route = |service: &Service| {
        let group = names.target_groups.as_ref()?.group(service.target_group.as_ref()?)?;
        Some(Route { group, weight: weights.map(|weights| weights.of(group)).unwrap_or_default() })
    };
    let state = |service: Service| ServiceState {
        version: service.tags.get(TAG_VERSION).cloned().unwrap_or_default(),
        desired: service.desired,
        running: service.running,
        healthy: health.of(&service.name).1,
        route: route(&service),
        service: service.name,
    };
    services.into_iter().map(state).collect()
}
