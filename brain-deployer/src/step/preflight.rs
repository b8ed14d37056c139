//! The preflight: whether there is room for the whole plan, before anything is touched. It reads, and acts on nothing.

use super::{Context, Observed, blocked, done, resource};
use crate::cloud::{Group, Host, HostStatus, Result, TAG_PROJECT, Task};
use brain_core::capacity::{GroupRoom, Growth, HostRoom, Need, PortUse, Room, Size, faults};
use std::collections::{BTreeMap, BTreeSet};

/// There is room for `instances` with a task each, or every reason why there is none. `serving`: tasks that the project has
/// for certain.
pub(super) async fn preflight(context: &Context, instances: u32, max_instances: u32, serving: u32) -> Result<Observed> {
    let name = &context.names.auto_scaling_group;
    let group = context.cloud.group(name).await?;
    let hosts = match &group {
        Some(group) => hosts(context, group, serving).await?,
        None => Vec::new(),
    };
    let grows = group.as_ref().is_none_or(|group| group.desired < instances);
    let growth = if grows {
        match growth(context, group.as_ref()).await? {
            Ok(growth) => Some(growth),
            Err(why) => return Ok(blocked(why)),
        }
    } else {
        None
    };
    let raises = group.is_none() || resource::Resource::new(context, "auto-scaling group", name).is_mended();
    let group = group.map(|Group { desired, max, .. }| GroupRoom { desired, max });
    let room = Room { group, hosts, growth };
    let faults = faults(Need { target: context.target(), group: name, instances, max_instances, raises }, &room);
    Ok(if faults.is_empty() { done() } else { blocked(faults.join("; ")) })
}

/// The group's hosts on which tasks are placed.
async fn hosts(context: &Context, group: &Group, serving: u32) -> Result<Vec<HostRoom>> {
    let hosts = context.hosts().await?;
    let ours = |host: &Host| {
        // One that drains is taken back by the capacity step.
        let placed = matches!(host.status, HostStatus::Active | HostStatus::Draining);
        placed && host.connected && group.instances.contains(&host.instance)
    };
    let hosts: Vec<Host> = hosts.into_iter().filter(ours).collect();
    let port = context.target().host_port;
    let holding: BTreeSet<&str> =
        hosts.iter().filter(|host| host.ports.contains(&port)).map(|host| host.arn.as_str()).collect();
    // As many ports as own tasks: nobody else has one, and nobody need be asked.
    let others = if holding.len() > serving as usize { others(context, &holding).await? } else { BTreeMap::new() };
    let room = |host: Host| {
        let Host { arn, instance, memory_mib, cpu_units, memory_left_mib, cpu_left_units, ports, .. } = host;
        let port = match others.get(&arn) {
            Some(who) => PortUse::Other(who.clone()),
            None if ports.contains(&port) => PortUse::Own,
            None => PortUse::Free,
        };
        let (whole, left) =
            (Size { memory_mib, cpu_units }, Size { memory_mib: memory_left_mib, cpu_units: cpu_left_units });
        HostRoom { instance, whole, left, port }
    };
    Ok(hosts.into_iter().map(room).collect())
}

/// Who holds the port of hosts that no task of the project is on.
async fn others(context: &Context, holding: &BTreeSet<&str>) -> Result<BTreeMap<String, String>> {
    let cluster = &context.names.cluster;
    let project = context.spec.id.as_str();
    let services = context.cloud.services(cluster, &[]).await?;
    let own: BTreeSet<&str> = services
        .iter()
        .filter(|service| service.tags.get(TAG_PROJECT).is_some_and(|owner| owner == project))
        .map(|service| service.name.as_str())
        .collect();
    let mut tasks = context.cloud.tasks(cluster, None, false).await?;
    // One that is being stopped holds its port until it is gone.
    tasks.extend(context.cloud.tasks(cluster, None, true).await?.into_iter().filter(Task::is_stopping));
    let mut others = BTreeMap::new();
    for host in holding {
        let on_it: Vec<&Task> = tasks.iter().filter(|task| task.host.as_deref() == Some(*host)).collect();
        if on_it.iter().any(|task| own.contains(task.service.as_str())) {
            continue;
        }
        let who = match on_it.first() {
            Some(Task { id, service, .. }) if service.is_empty() => format!("task {id}"),
            Some(Task { id, service, .. }) => format!("task {id} of service {service}"),
            None => "the host itself".to_owned(),
        };
        others.insert((*host).to_owned(), who);
    }
    Ok(others)
}

/// What new instances are, and where they may be; or why that cannot be told.
async fn growth(context: &Context, group: Option<&Group>) -> Result<Result<Growth, String>> {
    let target = context.target();
    let kind = &target.instance_type;
    let subnets = match group {
        Some(group) => group.subnets.clone(),
        None => match context.cloud.network(target.vpc_id.as_deref(), &target.subnet_ids).await? {
            Ok(network) => network.subnets,
            Err(why) => return Ok(Err(why)),
        },
    };
    let size = context.cloud.instance_size(kind).await?;
    let offering = if size.is_some() { context.cloud.zones_offering(kind).await? } else { BTreeSet::new() };
    let zones = context.cloud.zones_of(&subnets).await?;
    let named = group.is_none() && !target.subnet_ids.is_empty();
    let missing = subnets.into_iter().filter(|subnet| named && !zones.contains_key(subnet)).collect();
    Ok(Ok(Growth { size, zones, missing, named, offering }))
}

/// The first of these subnets in each zone.
pub(super) async fn one_of_each_zone(context: &Context, subnets: &[String]) -> Result<Vec<String>> {
    let zones = context.cloud.zones_of(subnets).await?;
    let mut seen = BTreeSet::new();
    let first = |subnet: &&String| zones.get(*subnet).is_some_and(|zone| seen.insert(zone.clone()));
    Ok(subnets.iter().filter(first).cloned().collect())
}

/// Subnets of a new group: where a person has named none, those in zones that offer its instances.
pub(super) async fn subnets_of_a_group(context: &Context, subnets: Vec<String>) -> Result<Vec<String>> {
    let target = context.target();
    if !target.subnet_ids.is_empty() {
        return Ok(subnets);
    }
    let offering = context.cloud.zones_offering(&target.instance_type).await?;
    let zones = context.cloud.zones_of(&subnets).await?;
    let offered = |subnet: &String| zones.get(subnet).is_some_and(|zone| offering.contains(zone));
    Ok(subnets.into_iter().filter(offered).collect())
}
