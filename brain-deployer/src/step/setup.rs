//! Set-up: what a project has once. Each step is looked at again at every deployment, and mends what drifted.

use super::{Context, Observed, blocked, done, wait};
use crate::{
    cloud::{Launch, LaunchSettings, Listener, NewGroup, Result, Rule},
    user_data,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use brain_core::{names, project::LaunchKind};
use std::collections::BTreeSet;

const SSH: u16 = 22;
const EVERYWHERE: &str = "0.0.0.0/0";

/// HTTP from everywhere, SSH from where the target says, and the host port from within the VPC, where the load balancer is.
pub(super) async fn security_group(context: &Context) -> Result<Observed> {
    let target = context.target();
    let network = match context.cloud.network(target.vpc_id.as_deref(), &target.subnet_ids).await? {
        Ok(network) => network,
        Err(why) => return Ok(blocked(why)),
    };
    let name = &context.names.security_group;
    let Some(group) = context.cloud.security_group(&network.vpc, name).await? else {
        return Ok(context.ready(format!("create security group {name}"), |context| async move {
            let name = &context.names.security_group;
            context.cloud.create_security_group(&network.vpc, name, &context.tags()).await
        }));
    };
    if let Some(foreign) = context.foreign("security group", name, &group.tags) {
        return Ok(foreign);
    }
    let rule = |port: u16, cidr: &str| Rule { port, cidr: cidr.to_owned() };
    let own = [network.cidr.clone()];
    let ssh = if target.ssh_cidrs.is_empty() { own.as_slice() } else { &target.ssh_cidrs };
    let mut wanted: BTreeSet<Rule> = ssh.iter().map(|cidr| rule(SSH, cidr)).collect();
    wanted.insert(rule(target.listener_port, EVERYWHERE));
    wanted.insert(rule(target.host_port, &network.cidr));
    let missing: Vec<Rule> = wanted.difference(&group.rules).cloned().collect();
    if missing.is_empty() {
        return Ok(done());
    }
    Ok(context.ready(format!("add {} rules to security group {name}", missing.len()), |context| async move {
        context.cloud.allow(&group.id, &missing).await
    }))
}

/// The classic load balancer: listener, health check, connection draining, cross-zone.
pub(super) async fn load_balancer(context: &Context) -> Result<Observed> {
    let target = context.target();
    let name = &context.names.load_balancer;
    let listener = Listener {
        port: target.listener_port,
        instance_port: target.host_port,
        certificate: target.certificate_arn.clone(),
    };
    let Some(found) = context.cloud.load_balancer(name).await? else {
        let (subnets, group) = match places(context).await? {
            Ok((network, group)) => (network, group),
            Err(observed) => return Ok(observed),
        };
        return Ok(context.ready(format!("create load balancer {name}"), |context| async move {
            let name = &context.names.load_balancer;
            context.cloud.create_load_balancer(name, &listener, &subnets, &group, &context.tags()).await
        }));
    };
    if let Some(foreign) = context.foreign("load balancer", name, &found.tags) {
        return Ok(foreign);
    }
    if !found.listeners.contains(&listener) {
        if let Some(other) = found.listeners.iter().find(|other| other.port == listener.port) {
            return Ok(blocked(format!(
                "the load balancer {name} forwards port {} to {}, not to {}: remove that listener, or set target.listener_port",
                other.port, other.instance_port, listener.instance_port
            )));
        }
        return Ok(context.ready(format!("add a listener to load balancer {name}"), |context| async move {
            context.cloud.create_listener(&context.names.load_balancer, &listener).await
        }));
    }
    let check = match &target.health_check_path {
        Some(path) => format!("HTTP:{}{path}", target.host_port),
        None => format!("TCP:{}", target.host_port),
    };
    if found.health_check != check {
        return Ok(context.ready(format!("set the health check of {name} to {check}"), |context| async move {
            context.cloud.set_health_check(&context.names.load_balancer, &check).await
        }));
    }
    if !found.draining || !found.cross_zone {
        return Ok(context.ready(format!("switch draining and cross-zone of {name} on"), |context| async move {
            context.cloud.set_attributes(&context.names.load_balancer).await
        }));
    }
    Ok(done())
}

/// Subnets and the project's security group.
async fn places(context: &Context) -> Result<Result<(Vec<String>, String), Observed>> {
    let target = context.target();
    let network = match context.cloud.network(target.vpc_id.as_deref(), &target.subnet_ids).await? {
        Ok(network) => network,
        Err(why) => return Ok(Err(blocked(why))),
    };
    Ok(match context.cloud.security_group(&network.vpc, &context.names.security_group).await? {
        Some(group) => Ok((network.subnets, group.id)),
        None => Err(wait(format!("security group {} does not show yet", context.names.security_group))),
    })
}

/// What instances are launched from, with the user data that joins them to the cluster.
pub(super) async fn launch(context: &Context) -> Result<Observed> {
    match context.target().launch_kind {
        LaunchKind::Template => launch_template(context).await,
        LaunchKind::Configuration => Ok(match launch_configuration(context).await? {
            Ok(_) => done(),
            Err(observed) => observed,
        }),
    }
}

/// The launch configuration's name, once it is there. It is named after its settings, since none of them can be changed.
async fn launch_configuration(context: &Context) -> Result<Result<String, Observed>> {
    let group = context.cloud.group(&context.names.auto_scaling_group).await?;
    let current = match group.and_then(|group| group.launch) {
        Some(Launch::Configuration(name)) => context.cloud.launch_configuration(&name).await?,
        _ => None,
    };
    let image = match (&context.target().ami_id, current) {
        (Some(image), _) => image.clone(),
        // As with templates: a newer image of AWS's alone is no reason for another one.
        (None, Some(current)) => current.image,
        (None, None) => context.cloud.ecs_image().await?,
    };
    let settings = match settings(context, image).await? {
        Ok(settings) => settings,
        Err(observed) => return Ok(Err(observed)),
    };
    let name = names::launch_configuration(&context.spec.id, &format!("{settings:?}"));
    if context.cloud.launch_configuration(&name).await?.is_some() {
        return Ok(Ok(name));
    }
    Ok(Err(context.ready(format!("create launch configuration {name}"), |context| async move {
        context.cloud.create_launch_configuration(&name, &settings).await
    })))
}

async fn launch_template(context: &Context) -> Result<Observed> {
    let target = context.target();
    let name = &context.names.launch_template;
    let found = context.cloud.launch_template(name).await?;
    if let Some(found) = &found
        && let Some(foreign) = context.foreign("launch template", name, &found.tags)
    {
        return Ok(foreign);
    }
    let image = match (&target.ami_id, &found) {
        (Some(image), _) => image.clone(),
        // AWS publishes a new image every few weeks; that alone is no reason for another version of the template.
        (None, Some(found)) => found.latest.1.image.clone(),
        (None, None) => context.cloud.ecs_image().await?,
    };
    let settings = match settings(context, image).await? {
        Ok(settings) => settings,
        Err(observed) => return Ok(observed),
    };
    let Some(found) = found else {
        return Ok(context.ready(format!("create launch template {name}"), |context| async move {
            context.cloud.create_launch_template(&context.names.launch_template, &settings, &context.tags()).await
        }));
    };
    let (latest, has) = &found.latest;
    if *has != settings {
        return Ok(context.ready(format!("add a version to launch template {name}"), |context| async move {
            context.cloud.create_launch_template_version(&found.id, &settings).await
        }));
    }
    if found.default_version != *latest {
        let latest = *latest;
        return Ok(context.ready(format!("make version {latest} of {name} the default"), |context| async move {
            context.cloud.set_default_version(&found.id, latest).await
        }));
    }
    Ok(done())
}

async fn settings(context: &Context, image: String) -> Result<Result<LaunchSettings, Observed>> {
    let target = context.target();
    let auth = match &target.registry_credential {
        None => None,
        Some(name) => match context.credentials.get(name) {
            Some(auth) => Some(auth),
            None => {
                return Ok(Err(blocked(format!(
                    "this deployer has no registry credential {name:?}: add [registry_credential.{name}] to its configuration"
                ))));
            }
        },
    };
    let script = match user_data::script(&context.names.cluster, auth, &target.ecs_agent_settings) {
        Ok(script) => script,
        Err(error) => return Ok(Err(blocked(error.to_string()))),
    };
    let group = match places(context).await? {
        Ok((_, group)) => group,
        Err(observed) => return Ok(Err(observed)),
    };
    let security_groups = std::iter::once(group).chain(target.services_security_group_id.clone()).collect();
    Ok(Ok(LaunchSettings {
        image,
        instance_type: target.instance_type.clone(),
        instance_profile: target.instance_profile.clone(),
        security_groups,
        user_data: BASE64_STANDARD.encode(script),
    }))
}

/// The auto-scaling group. The size of one that exists is left alone; its upper bound is only raised.
pub(super) async fn auto_scaling_group(context: &Context, instances: u32, max_instances: u32) -> Result<Observed> {
    let name = &context.names.auto_scaling_group;
    let launch = match context.target().launch_kind {
        LaunchKind::Template => Launch::Template(context.names.launch_template.clone()),
        LaunchKind::Configuration => match launch_configuration(context).await? {
            Ok(name) => Launch::Configuration(name),
            Err(observed) => return Ok(observed),
        },
    };
    let Some(group) = context.cloud.group(name).await? else {
        let subnets = match places(context).await? {
            Ok((subnets, _)) => subnets,
            Err(observed) => return Ok(observed),
        };
        return Ok(context.ready(format!("create auto-scaling group {name}"), |context| async move {
            let names = &context.names;
            let group = NewGroup {
                name: names.auto_scaling_group.clone(),
                launch,
                load_balancer: names.load_balancer.clone(),
                subnets,
                desired: instances,
                max: max_instances,
                tags: context.tags(),
            };
            context.cloud.create_group(&group).await
        }));
    };
    if let Some(foreign) = context.foreign("auto-scaling group", name, &group.tags) {
        return Ok(foreign);
    }
    if group.max < max_instances {
        return Ok(context.ready(format!("raise the maximum of {name} to {max_instances}"), |context| async move {
            context.cloud.set_group_max(&context.names.auto_scaling_group, max_instances).await
        }));
    }
    if group.launch.as_ref() != Some(&launch) {
        return Ok(context.ready(format!("set what {name} launches its instances from"), |context| async move {
            context.cloud.set_group_launch(&context.names.auto_scaling_group, &launch).await
        }));
    }
    if group.rebalances {
        return Ok(context.ready(format!("keep {name} from moving instances between zones"), |context| async move {
            context.cloud.suspend_rebalancing(&context.names.auto_scaling_group).await
        }));
    }
    Ok(done())
}

/// The cluster.
pub(super) async fn cluster(context: &Context) -> Result<Observed> {
    let name = &context.names.cluster;
    if context.cloud.cluster_exists(name).await? {
        return Ok(done());
    }
    Ok(context.ready(format!("create cluster {name}"), |context| async move {
        context.cloud.create_cluster(&context.names.cluster, &context.tags()).await
    }))
}
