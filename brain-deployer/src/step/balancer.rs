//! Set-up of a classic load balancer.

use super::{
    Context, Observed, blocked,
    network::{guarded, lacking_subnets, places},
    resource::Resource,
};
use crate::{
    cloud::{CHECKS, Listener, LoadBalancer, Result, Tagged, health_check_text},
    difference::{attribute_differences, difference, listed, listener_text, unknown},
};
use std::collections::BTreeSet;

/// The classic load balancer: listener, health check, connection draining, cross-zone, security group, and the subnets that the
/// target names.
pub(super) async fn load_balancer(context: &Context) -> Result<Observed> {
    let target = context.target();
    let name = &context.names.load_balancer;
    let listener = Listener {
        port: target.listener_port,
        instance_port: target.host_port,
        certificate: target.certificate_arn.clone(),
    };
    let mut resource = Resource::new(context, "load balancer", name);
    let Some(found) = context.cloud.load_balancer(name).await? else {
        let (subnets, group) = match places(context).await? {
            Ok((network, group)) => (network, group),
            Err(observed) => return Ok(observed),
        };
        return Ok(resource.make(|context| async move {
            let name = &context.names.load_balancer;
            context.cloud.create_load_balancer(name, &listener, &subnets, &group, &context.tags()).await
        }));
    };
    if let Some(claim) = resource.claim(&found.tags, Tagged::LoadBalancer { name: name.clone() }, context.tags()) {
        return Ok(claim);
    }
    let others: Vec<Listener> = found.listeners.iter().filter(|other| other.port != listener.port).cloned().collect();
    if let Some(observed) = listens(context, &mut resource, &found, listener) {
        return Ok(observed);
    }
    if let Some(observed) = checks(context, &mut resource, &found) {
        return Ok(observed);
    }
    let set = |context: Context, groups: Vec<String>| async move {
        context.cloud.set_balancer_groups(&context.names.load_balancer, &groups).await
    };
    if let Some(observed) = guarded(context, &mut resource, &found.security_groups, set).await? {
        return Ok(observed);
    }
    if let Some(observed) = stands(context, &mut resource, &found).await? {
        return Ok(observed);
    }
    if let Some(observed) = listens_besides(context, &mut resource, others) {
        return Ok(observed);
    }
    Ok(resource.done())
}

/// What is to be done about a load balancer that lacks the listener; `None`: nothing, or it is told.
fn listens(
    context: &Context,
    resource: &mut Resource<'_>,
    found: &LoadBalancer,
    listener: Listener,
) -> Option<Observed> {
    let name = &context.names.load_balancer;
    if found.listeners.contains(&listener) {
        return None;
    }
    if let Some(other) = found.listeners.iter().find(|other| other.port == listener.port) {
        return Some(blocked(format!(
            "the load balancer {name} forwards port {} to {}, not to {}: remove that listener, or set target.listener_port",
            other.port, other.instance_port, listener.instance_port
        )));
    }
    let drift = resource.mends([difference("listener", "none", listener_text(&listener))])?;
    let add =
        |context: Context| async move { context.cloud.create_listener(&context.names.load_balancer, &listener).await };
    Some(context.ready(format!("add a listener to load balancer {name}"), add).telling(drift))
}

/// The same of health check and attributes.
fn checks(context: &Context, resource: &mut Resource<'_>, found: &LoadBalancer) -> Option<Observed> {
    let (name, target) = (&context.names.load_balancer, context.target());
    let check = match &target.health_check_path {
        Some(path) => format!("HTTP:{}{path}", target.host_port),
        None => format!("TCP:{}", target.host_port),
    };
    let wanted = health_check_text(&check, CHECKS);
    if found.health_check != wanted
        && let Some(drift) = resource.mends([difference("health check", &found.health_check, &wanted)])
    {
        let what = format!("set the health check of {name} to {check}");
        let set = |context: Context| async move {
            context.cloud.set_health_check(&context.names.load_balancer, &check).await
        };
        return Some(context.ready(what, set).telling(drift));
    }
    let differences = attribute_differences(found);
    if differences.is_empty() {
        return None;
    }
    let drift = resource.mends(differences)?;
    let what = format!("set draining and cross-zone of {name}");
    let set = |context: Context| async move { context.cloud.set_attributes(&context.names.load_balancer).await };
    Some(context.ready(what, set).telling(drift))
}

/// The same of subnets that it lacks.
async fn stands(context: &Context, resource: &mut Resource<'_>, found: &LoadBalancer) -> Result<Option<Observed>> {
    let Some((lacking, drift)) = lacking_subnets(context, resource, &found.subnets).await? else { return Ok(None) };
    let what = format!("attach {} to {}", context.names.load_balancer, listed(&lacking));
    let attach =
        |context: Context| async move { context.cloud.attach_subnets(&context.names.load_balancer, &lacking).await };
    Ok(Some(context.ready(what, attach).telling(drift)))
}

/// The same of listeners that somebody has added.
fn listens_besides(context: &Context, resource: &mut Resource<'_>, others: Vec<Listener>) -> Option<Observed> {
    if others.is_empty() {
        return None;
    }
    let told = others.iter().map(|other| unknown(format_args!("listener {}", listener_text(other))));
    let drift = resource.removes(told)?;
    let ports: BTreeSet<u16> = others.iter().map(|other| other.port).collect();
    let what = format!("remove {} listeners of {}", ports.len(), context.names.load_balancer);
    let delete =
        |context: Context| async move { context.cloud.delete_listeners(&context.names.load_balancer, &ports).await };
    Some(context.ready(what, delete).telling(drift))
}

#[cfg(test)]
mod tests;
