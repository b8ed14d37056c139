//! Set-up of the network: the project's security group, and where its resources are placed.

use super::{Context, Observed, blocked, resource::Resource, wait};
use crate::{
    cloud::{Network, Result, Rule, Tagged},
    difference::{difference, listed, missing_rule, unknown, unknown_rule},
};
use brain_core::{
    drift::{Drift, SetUp},
    traffic::LoadBalancerKind,
};
use std::{collections::BTreeSet, net::Ipv4Addr};

const SSH: u16 = 22;
const EVERYWHERE: &str = "0.0.0.0/0";

/// HTTP from everywhere, SSH from where the target says, and the host port from within the VPC, where the load balancer is.
/// Rules that others have added are told, and taken away where that is asked for.
pub(super) async fn security_group(context: &Context) -> Result<Observed> {
    let target = context.target();
    let network = match context.cloud.network(target.vpc_id.as_deref(), &target.subnet_ids).await? {
        Ok(network) => network,
        Err(why) => return Ok(blocked(why)),
    };
    let name = &context.names.security_group;
    let mut resource = Resource::new(context, "security group", name);
    let Some(group) = context.cloud.security_group(&network.vpc, name).await? else {
        return Ok(resource.make(|context| async move {
            let name = &context.names.security_group;
            context.cloud.create_security_group(&network.vpc, name, &context.tags()).await
        }));
    };
    if let Some(claim) = resource.claim(&group.tags, Tagged::SecurityGroup { id: group.id.clone() }, context.tags()) {
        return Ok(claim);
    }
    let wanted = rules(context, &network);
    let missing: Vec<Rule> = wanted.difference(&group.rules).cloned().collect();
    if !missing.is_empty()
        && let Some(drift) = resource.mends(missing.iter().map(missing_rule))
    {
        let what = format!("add {} rules to security group {name}", missing.len());
        let allow = |context: Context| async move { context.cloud.allow(&group.id, &missing).await };
        return Ok(context.ready(what, allow).telling(drift));
    }
    let others: Vec<Rule> = group.rules.difference(&wanted).cloned().collect();
    let listens = if others.is_empty() { BTreeSet::new() } else { others_listened(context).await? };
    let (left, others): (Vec<Rule>, Vec<Rule>) =
        others.into_iter().partition(|rule| listens.iter().any(|port| rule.opens(*port)));
    for rule in left {
        resource.leaves(unknown_rule(&rule));
    }
    if !others.is_empty()
        && let Some(drift) = resource.removes(others.iter().map(unknown_rule))
    {
        let what = format!("take {} rules from security group {name}", others.len());
        let revoke = |context: Context| async move { context.cloud.revoke(&group.id, &others).await };
        return Ok(context.ready(what, revoke).telling(drift));
    }
    Ok(resource.done())
}

/// Ports besides the definition's on which the load balancer still listens when rules are to be taken away: as long as it does,
/// requests may come by them.
async fn others_listened(context: &Context) -> Result<BTreeSet<u16>> {
    if context.set_up != SetUp::Repair {
        return Ok(BTreeSet::new());
    }
    let (name, target) = (&context.names.load_balancer, context.target());
    let ports: Vec<u16> = match target.load_balancer_kind {
        LoadBalancerKind::Classic => {
            let found = context.cloud.load_balancer(name).await?;
            found.map(|found| found.listeners.iter().map(|listener| listener.port).collect()).unwrap_or_default()
        }
        LoadBalancerKind::Application => context.cloud.fronts(name).await?.iter().map(|front| front.port).collect(),
    };
    Ok(ports.into_iter().filter(|port| *port != target.listener_port).collect())
}

/// What the project's security group is to let in.
fn rules(context: &Context, network: &Network) -> BTreeSet<Rule> {
    let target = context.target();
    let own = [network.cidr.clone()];
    let ssh = if target.ssh_cidrs.is_empty() { own.as_slice() } else { &target.ssh_cidrs };
    let mut wanted: BTreeSet<Rule> = ssh.iter().map(|cidr| Rule::tcp(SSH, &as_stored(cidr))).collect();
    wanted.insert(Rule::tcp(target.listener_port, EVERYWHERE));
    wanted.extend(network.blocks.iter().map(|block| Rule::tcp(target.host_port, block)));
    wanted
}

/// An IPv4 network as EC2 stores it, without the bits of a host: "10.1.2.3/8" is "10.0.0.0/8".
fn as_stored(cidr: &str) -> String {
    let network = || {
        let (address, length) = cidr.split_once('/')?;
        let (address, length): (Ipv4Addr, u32) = (address.parse().ok()?, length.parse().ok()?);
        let mask = u32::MAX.checked_shl(32_u32.checked_sub(length)?).unwrap_or(0);
        Some(format!("{}/{length}", Ipv4Addr::from_bits(address.to_bits() & mask)))
    };
    network().unwrap_or_else(|| cidr.to_owned())
}

/// Subnets and the project's security group.
pub(super) async fn places(context: &Context) -> Result<Result<(Vec<String>, String), Observed>> {
    let target = context.target();
    let network = match context.cloud.network(target.vpc_id.as_deref(), &target.subnet_ids).await? {
        Ok(network) => network,
        Err(why) => return Ok(Err(blocked(why))),
    };
    Ok(match context.cloud.security_group_id(&network.vpc, &context.names.security_group).await? {
        Some(id) => Ok((network.subnets, id)),
        None => Err(wait(format!("security group {} does not show yet", context.names.security_group))),
    })
}

/// What is to be done about a load balancer that lacks the project's security group, or has others besides: they say who reaches
/// it, and whom it reaches, so they are taken away only where that is asked for. `None`: nothing, or it is told.
pub(super) async fn guarded<F>(
    context: &Context,
    resource: &mut Resource<'_>,
    has: &BTreeSet<String>,
    set: impl FnOnce(Context, Vec<String>) -> F + Send,
) -> Result<Option<Observed>>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let group = match places(context).await? {
        Ok((_, group)) => group,
        Err(observed) => return Ok(Some(observed)),
    };
    let (mut groups, mut drift) = (has.clone(), Vec::new());
    if !has.contains(&group)
        && let Some(lacks) = resource.mends([difference("security group", "none", &group)])
    {
        drift.extend(lacks);
        groups.insert(group.clone());
    }
    let others = has.iter().filter(|other| **other != group);
    let others: Vec<String> = others.map(|other| unknown(format_args!("security group {other}"))).collect();
    if !others.is_empty()
        && let Some(besides) = resource.removes(others)
    {
        drift.extend(besides);
        groups.retain(|other| *other == group);
    }
    if groups == *has {
        return Ok(None);
    }
    let what = format!("set the security groups of {}: {}", context.names.load_balancer, listed(&groups));
    let groups = groups.into_iter().collect();
    Ok(Some(context.ready(what, |context| set(context, groups)).telling(drift)))
}

/// Subnets that the target names and a load balancer can have more, and what is told of them; `None`: none, or they are told. It
/// has one of each zone at most (AWS limits). One that it has besides is told and left: instances there may serve, and would get
/// nothing more. Where the target names none, those of the VPC may change without that.
pub(super) async fn lacking_subnets(
    context: &Context,
    resource: &mut Resource<'_>,
    has: &BTreeSet<String>,
) -> Result<Option<(Vec<String>, Vec<Drift>)>> {
    let named: BTreeSet<String> = context.target().subnet_ids.iter().cloned().collect();
    if named.is_empty() || named == *has {
        return Ok(None);
    }
    let all: Vec<String> = named.union(has).cloned().collect();
    let zones = context.cloud.zones_of(&all).await?;
    for other in has.difference(&named) {
        resource.leaves(unknown(format_args!("subnet {other}")));
    }
    let is_beside = |subnet: &String, other: &String| zones.get(subnet) == zones.get(other);
    let mut lacking: Vec<String> = Vec::new();
    for subnet in named.difference(has) {
        if lacking.iter().chain(has.intersection(&named)).any(|other| is_beside(subnet, other)) {
            continue;
        }
        if has.iter().any(|other| is_beside(subnet, other)) {
            resource.leaves(difference("subnet", "none", subnet));
        } else {
            lacking.push(subnet.clone());
        }
    }
    if lacking.is_empty() {
        return Ok(None);
    }
    let drift = resource.mends(lacking.iter().map(|subnet| difference("subnet", "none", subnet)));
    Ok(drift.map(|drift| (lacking, drift)))
}

#[cfg(test)]
mod tests;
