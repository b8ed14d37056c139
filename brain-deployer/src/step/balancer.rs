//! Set-up of a classic load balancer.

use super::{Context, Observed, blocked, network::places, resource::Resource};
use crate::{
    cloud::{CHECKS, Listener, Result, Tagged, health_check_text},
    difference::{difference, listener_text},
};

/// The classic load balancer: listener, health check, connection draining, cross-zone.
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
    if !found.listeners.contains(&listener) {
        if let Some(other) = found.listeners.iter().find(|other| other.port == listener.port) {
            return Ok(blocked(format!(
                "the load balancer {name} forwards port {} to {}, not to {}: remove that listener, or set target.listener_port",
                other.port, other.instance_port, listener.instance_port
            )));
        }
        if let Some(drift) = resource.mends([difference("listener", "none", listener_text(&listener))]) {
            let add = |context: Context| async move {
                context.cloud.create_listener(&context.names.load_balancer, &listener).await
            };
            return Ok(context.ready(format!("add a listener to load balancer {name}"), add).telling(drift));
        }
    }
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
        return Ok(context.ready(what, set).telling(drift));
    }
    let attributes = [("connection draining", found.draining), ("cross-zone balancing", found.cross_zone)];
    let off = attributes.iter().filter(|(_, on)| !on).map(|(attribute, _)| difference(attribute, "off", "on"));
    if (!found.draining || !found.cross_zone)
        && let Some(drift) = resource.mends(off)
    {
        let what = format!("switch draining and cross-zone of {name} on");
        let set = |context: Context| async move { context.cloud.set_attributes(&context.names.load_balancer).await };
        return Ok(context.ready(what, set).telling(drift));
    }
    Ok(resource.done())
}
