//! Whether there is room for a plan: the arithmetic of instances, ports, memory, CPU and zones, before anything is touched.

use crate::{project::Target, words::counted};
use std::collections::{BTreeMap, BTreeSet};

/// Instances that a reason names one by one; of more it tells how many.
const NAMED_MAX: usize = 3;

/// What a plan needs.
#[derive(Debug, Clone, Copy)]
pub struct Need<'a> {
    /// Where it is to run.
    pub target: &'a Target,
    /// Name of the auto-scaling group.
    pub group: &'a str,
    /// Most instances at a time, each with one task.
    pub instances: u32,
    /// What the definition says of the group's maximum.
    pub max_instances: u32,
    /// Whether the group's maximum becomes that; otherwise it is drift, which is told and left.
    pub raises: bool,
}

/// What there is.
#[derive(Debug, Clone, Default)]
pub struct Room {
    /// The group; `None`: it is to be made.
    pub group: Option<GroupRoom>,
    /// Hosts of the group that run and have joined the cluster.
    pub hosts: Vec<HostRoom>,
    /// What new instances are, and where they may be; `None`: the group is large enough.
    pub growth: Option<Growth>,
}

/// The size of a group.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs, reason = "named by the fields")]
pub struct GroupRoom {
    pub desired: u32,
    pub max: u32,
}

/// Memory and CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// MiB.
    pub memory_mib: u32,
    /// CPU units, of which a virtual CPU has 1,024.
    pub cpu_units: u32,
}

/// A host.
#[derive(Debug, Clone)]
pub struct HostRoom {
    /// EC2 instance.
    pub instance: String,
    /// All that it offers to tasks.
    pub whole: Size,
    /// What is left of that.
    pub left: Size,
    /// Who holds the host port.
    pub port: PortUse,
}

/// Who holds the host port of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortUse {
    /// Nobody.
    Free,
    /// A task of the project, which makes room for the next one.
    Own,
    /// Somebody else, in words.
    Other(String),
}

/// What new instances are, and where they may be.
#[derive(Debug, Clone)]
pub struct Growth {
    /// An instance of the target's type; `None`: there is no such type in the region.
    pub size: Option<Size>,
    /// Zones by subnet: of the group, or where it is to be made.
    pub zones: BTreeMap<String, String>,
    /// Subnets that are named and do not exist.
    pub missing: Vec<String>,
    /// Whether a person has named the subnets, so that all of them are used.
    pub named: bool,
    /// Zones that offer the type.
    pub offering: BTreeSet<String>,
}

/// Why there is no room: every reason, each with its arithmetic and what a person can do.
#[must_use]
pub fn faults(need: Need<'_>, room: &Room) -> Vec<String> {
    let mut faults = Vec::new();
    faults.extend(too_few(need, room));
    faults.extend(unusable(need, room));
    if let Some(growth) = &room.growth {
        faults.extend(wrong_type(need, growth));
        faults.extend(wrong_zones(need, growth));
    }
    faults
}

/// The group cannot become large enough.
fn too_few(need: Need<'_>, room: &Room) -> Option<String> {
    let Need { group, instances, max_instances, raises, .. } = need;
    let (desired, max) = room.group.map_or((0, 0), |group| (group.desired, group.max));
    let most = if raises { max.max(max_instances) } else { max };
    (instances > most).then(|| {
        let remedy = match (instances <= max_instances, raises) {
            (true, _) => format!("deploy with repair_drift to raise it to target.max_instances, {max_instances}"),
            (false, true) => format!("set target.max_instances to {instances}"),
            (false, false) => format!("set target.max_instances to {instances} and deploy with repair_drift"),
        };
        format!(
            "needs {} of {desired}, and the maximum of {group} is {most}: {remedy}",
            counted(instances - desired.min(instances), "more instance")
        )
    })
}

/// Hosts that cannot take a task leave too few.
fn unusable(need: Need<'_>, room: &Room) -> Option<String> {
    let Need { group, instances, .. } = need;
    let size = room.group?.desired.max(instances);
    let why_not = |host: &HostRoom| Some(format!("instance {} {}", host.instance, obstacle(need, host)?));
    let unusable: Vec<String> = room.hosts.iter().filter_map(why_not).collect();
    let usable = size.saturating_sub(u32::try_from(unusable.len()).unwrap_or(u32::MAX));
    if usable >= instances {
        return None;
    }
    let mut named = unusable.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", ");
    if unusable.len() > NAMED_MAX {
        named += &format!(", and {} more", unusable.len() - NAMED_MAX);
    }
    Some(format!(
        "needs {} for {}, and of the {size} of {group} only {usable} can take one: {named}",
        counted(instances, "instance"),
        task(need)
    ))
}

/// What keeps the project's task from a host, now or once the task that it replaces is gone.
fn obstacle(need: Need<'_>, host: &HostRoom) -> Option<String> {
    let HostRoom { instance: _, whole, left, port } = host;
    if !fits(need, *whole) {
        return Some(format!("offers {}: set target.instance_type or target.memory_mib", size_text(*whole)));
    }
    match port {
        PortUse::Other(who) => Some(format!("has port {} in use by {who}: stop that", need.target.host_port)),
        PortUse::Free if !fits(need, *left) => Some(format!("has {} left: stop what uses the rest", size_text(*left))),
        // What the project's own task gives back is not known here, nor is it needed elsewhere.
        PortUse::Free | PortUse::Own => None,
    }
}

fn wrong_type(need: Need<'_>, growth: &Growth) -> Option<String> {
    let kind = &need.target.instance_type;
    match growth.size {
        None => Some(format!("there is no instance type {kind} in {}: set target.instance_type", need.target.region)),
        // What the host itself needs is not known before it has joined: this much is certain.
        Some(size) if !fits(need, size) => Some(format!(
            "{}, and an instance of type {kind} offers {}: set target.instance_type or target.memory_mib",
            task(need),
            size_text(size)
        )),
        Some(_) => None,
    }
}

fn wrong_zones(need: Need<'_>, growth: &Growth) -> Vec<String> {
    let Growth { size, zones, missing, named, offering } = growth;
    let kind = &need.target.instance_type;
    let mut faults: Vec<String> =
        missing.iter().map(|subnet| format!("there is no subnet {subnet}: check target.subnet_ids")).collect();
    // Of a type that does not exist there is nothing more to say.
    if size.is_none() || zones.is_empty() {
        return faults;
    }
    let without = |zone: &String| !offering.contains(zone);
    let offered = offering.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    if zones.values().all(without) {
        let tried: BTreeSet<&str> = zones.values().map(String::as_str).collect();
        let tried = tried.into_iter().collect::<Vec<_>>().join(", ");
        faults.push(format!(
            "no zone of the subnets offers instances of type {kind}: there is {tried}, and {offered} would do; set \
             target.subnet_ids or target.instance_type"
        ));
    } else if *named {
        for (subnet, zone) in zones.iter().filter(|(_, zone)| without(zone)) {
            faults.push(format!(
                "{subnet} is in {zone}, which does not offer instances of type {kind}, as {offered} do: leave it out of \
                 target.subnet_ids"
            ));
        }
    }
    faults
}

fn fits(need: Need<'_>, size: Size) -> bool {
    size.memory_mib >= need.target.memory_mib && size.cpu_units >= need.target.cpu_units
}

fn task(need: Need<'_>) -> String {
    let Target { memory_mib, cpu_units, .. } = need.target;
    let size = Size { memory_mib: *memory_mib, cpu_units: *cpu_units };
    format!("a task that needs {}", size_text(size))
}

fn size_text(size: Size) -> String {
    let Size { memory_mib, cpu_units } = size;
    format!("{memory_mib} MiB and {cpu_units} CPU units")
}

#[cfg(test)]
mod tests;
