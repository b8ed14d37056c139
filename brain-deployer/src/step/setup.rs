//! Set-up: what a project has once. Each step looks at it again at every deployment: what is missing is made, and what
//! differs is mended or told, as the plan says.

use super::{Context, Observed, blocked, preflight, resource::Resource, wait};
use crate::{
    cloud::{CHECKS, Group, Launch, LaunchSettings, Listener, NewGroup, Result, Rule, Tagged, health_check_text},
    difference::{difference, launch_text, listener_text, settings_differences},
    user_data,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use brain_core::{drift::Drift, names, project::LaunchKind};
use std::collections::BTreeSet;
use tokio::time::Instant;

const SSH: u16 = 22;
const EVERYWHERE: &str = "0.0.0.0/0";

/// HTTP from everywhere, SSH from where the target says, and the host port from within the VPC, where the load balancer is.
/// Rules that others added are theirs.
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
    let rule = |port: u16, cidr: &str| Rule { port, cidr: cidr.to_owned() };
    let own = [network.cidr.clone()];
    let ssh = if target.ssh_cidrs.is_empty() { own.as_slice() } else { &target.ssh_cidrs };
    let mut wanted: BTreeSet<Rule> = ssh.iter().map(|cidr| rule(SSH, cidr)).collect();
    wanted.insert(rule(target.listener_port, EVERYWHERE));
    wanted.insert(rule(target.host_port, &network.cidr));
    let missing: Vec<Rule> = wanted.difference(&group.rules).cloned().collect();
    if missing.is_empty() {
        return Ok(resource.done());
    }
    let differences =
        missing.iter().map(|rule| difference(&format!("rule for port {}", rule.port), "none", &rule.cidr));
    let Some(drift) = resource.mends(differences) else { return Ok(resource.done()) };
    let what = format!("add {} rules to security group {name}", missing.len());
    let allow = |context: Context| async move { context.cloud.allow(&group.id, &missing).await };
    Ok(context.ready(what, allow).telling(drift))
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

/// Subnets and the project's security group.
pub(super) async fn places(context: &Context) -> Result<Result<(Vec<String>, String), Observed>> {
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
        LaunchKind::Configuration => launch_configuration(context).await,
    }
}

/// The launch configuration that there is to be, and what the group has instead.
struct Configuration {
    /// Named after its settings, since none of them can be changed.
    name: String,
    settings: LaunchSettings,
    exists: bool,
    /// The group's; `None` without a group, or where that has none.
    current: Option<LaunchSettings>,
    /// Whether there is a group.
    grouped: bool,
}

async fn configuration(context: &Context) -> Result<Result<Configuration, Observed>> {
    let group = context.cloud.group(&context.names.auto_scaling_group).await?;
    let grouped = group.is_some();
    let current = match group.and_then(|group| group.launch) {
        Some(Launch::Configuration(name)) => context.cloud.launch_configuration(&name).await?,
        _ => None,
    };
    let image = match (&context.target().ami_id, &current) {
        (Some(image), _) => image.clone(),
        // As with templates: a newer image of AWS's alone is no reason for another one.
        (None, Some(current)) => current.image.clone(),
        (None, None) => context.cloud.ecs_image().await?,
    };
    let settings = match settings(context, image).await? {
        Ok(settings) => settings,
        Err(observed) => return Ok(Err(observed)),
    };
    let name = names::launch_configuration(&context.spec.id, &format!("{settings:?}"));
    let exists = context.cloud.launch_configuration(&name).await?.is_some();
    Ok(Ok(Configuration { name, settings, exists, current, grouped }))
}

async fn launch_configuration(context: &Context) -> Result<Observed> {
    let Configuration { name, settings, exists, current, grouped } = match configuration(context).await? {
        Ok(configuration) => configuration,
        Err(observed) => return Ok(observed),
    };
    let resource = Resource::new(context, "launch configuration", &name);
    if exists {
        return Ok(resource.done());
    }
    let drift = Resource::launch_settings(context).takes(current.as_ref(), &settings);
    let create = |context: Context| async move { context.cloud.create_launch_configuration(&name, &settings).await };
    if !grouped {
        return Ok(resource.make(create));
    }
    // It is made for a group that is to be given it. What differs is told by the group's own step.
    match drift {
        Some(drift) => Ok(context.ready("create a launch configuration", create).telling(drift)),
        None => Ok(resource.done()),
    }
}

async fn launch_template(context: &Context) -> Result<Observed> {
    let target = context.target();
    let name = &context.names.launch_template;
    let mut resource = Resource::new(context, "launch template", name);
    let found = context.cloud.launch_template(name).await?;
    if let Some(found) = &found
        && let Some(claim) =
            resource.claim(&found.tags, Tagged::LaunchTemplate { id: found.id.clone() }, context.tags())
    {
        return Ok(claim);
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
        return Ok(resource.make(|context| async move {
            context.cloud.create_launch_template(&context.names.launch_template, &settings, &context.tags()).await
        }));
    };
    let (latest, has) = &found.latest;
    if *has != settings
        && let Some(drift) = resource.takes(Some(has), &settings)
    {
        let add =
            |context: Context| async move { context.cloud.create_launch_template_version(&found.id, &settings).await };
        return Ok(context.ready(format!("add a version to launch template {name}"), add).telling(drift));
    }
    if found.default_version != *latest
        && let Some(drift) = resource.mends([difference("default version", found.default_version, latest)])
    {
        let latest = *latest;
        let set = move |context: Context| async move { context.cloud.set_default_version(&found.id, latest).await };
        return Ok(context.ready(format!("make version {latest} of {name} the default"), set).telling(drift));
    }
    Ok(resource.done())
}

impl<'a> Resource<'a> {
    /// What the group launches its instances from, where that is a launch configuration.
    fn launch_settings(context: &'a Context) -> Self {
        Self::new(context, "launch settings of", &context.names.auto_scaling_group)
    }

    /// Whether it is now to take other launch settings than it has, and what is then told of that. A registry credential that
    /// changed at this deployer is followed in any case: the instances to come could pull nothing with the former one.
    fn takes(&mut self, has: Option<&LaunchSettings>, wanted: &LaunchSettings) -> Option<Vec<Drift>> {
        if let Some(has) = has
            && user_data::differ_in_credential(&has.user_data, &wanted.user_data)
            && (LaunchSettings { user_data: wanted.user_data.clone(), ..has.clone() }) == *wanted
        {
            return Some(self.follows(difference("registry credential", "another", "the deployer's")));
        }
        self.mends(settings_differences(has, wanted))
    }
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
    let configuration = match context.target().launch_kind {
        LaunchKind::Template => None,
        LaunchKind::Configuration => match configuration(context).await? {
            Ok(configuration) => Some(configuration),
            Err(observed) => return Ok(observed),
        },
    };
    let launch = match &configuration {
        None => Launch::Template(context.names.launch_template.clone()),
        Some(configuration) => Launch::Configuration(configuration.name.clone()),
    };
    let template = matches!(launch, Launch::Template(_)).then(|| context.names.launch_template.clone());
    let mut resource = Resource::new(context, "auto-scaling group", name);
    let began = Instant::now();
    let Some(group) = context.cloud.group(name).await? else {
        if let Some(Configuration { name, exists: false, .. }) = configuration {
            return Ok(wait(format!("launch configuration {name} does not show yet")));
        }
        let subnets = match places(context).await? {
            Ok((subnets, _)) => preflight::subnets_of_a_group(context, subnets).await?,
            Err(observed) => return Ok(observed),
        };
        return Ok(resource.make(|context| async move {
            let names = &context.names;
            let group = NewGroup {
                name: names.auto_scaling_group.clone(),
                launch,
                load_balancer: names.target_groups.is_none().then(|| names.load_balancer.clone()),
                subnets,
                desired: instances,
                max: max_instances,
                tags: context.tags(),
            };
            context.looks.group_made();
            context.cloud.create_group(&group).await
        }));
    };
    if let Some(claim) = resource.claim(&group.tags, Tagged::AutoScalingGroup { name: name.clone() }, context.tags()) {
        return Ok(claim);
    }
    if group.max < max_instances
        && let Some(drift) = resource.mends([difference("maximum", group.max, max_instances)])
    {
        let raise = move |context: Context| async move {
            context.cloud.set_group_max(&context.names.auto_scaling_group, max_instances).await
        };
        return Ok(context.ready(format!("raise the maximum of {name} to {max_instances}"), raise).telling(drift));
    }
    if group.launch.as_ref() != Some(&launch)
        && let Some(observed) = launched_from(context, &mut resource, group.launch.as_ref(), launch, configuration)
    {
        return Ok(observed);
    }
    if let Some(template) = template
        && Resource::new(context, "launch template", &template).is_being_made()
        && let Some(found) = context.cloud.launch_template(&template).await?
        && group.template_id.as_ref() != Some(&found.id)
    {
        // Another template of that name than the one which is gone, and which the group still means.
        let what = format!("let {name} launch its instances from the new {template}");
        return Ok(context.ready(what, |context| async move {
            let group = &context.names.auto_scaling_group;
            context.cloud.set_group_launch(group, &Launch::Template(template)).await
        }));
    }
    if group.rebalances
        && let Some(drift) = resource.mends([difference("rebalancing between zones", "on", "off")])
    {
        let what = format!("keep {name} from moving instances between zones");
        let suspend = |context: Context| async move {
            context.cloud.suspend_rebalancing(&context.names.auto_scaling_group).await
        };
        return Ok(context.ready(what, suspend).telling(drift));
    }
    if let Some(observed) = attached_to(context, &mut resource, &group) {
        return Ok(observed);
    }
    // How many instances there are is asked for next.
    context.looks.seen_group(began, group);
    Ok(resource.done())
}

/// What is to be done about a group whose instances do not come behind the classic load balancer; `None`: nothing, or it is
/// told. Other load balancers that it has are others' business.
fn attached_to<'a>(context: &'a Context, resource: &mut Resource<'a>, group: &Group) -> Option<Observed> {
    let (name, balancer) = (&context.names.auto_scaling_group, &context.names.load_balancer);
    if context.names.target_groups.is_some() || group.load_balancers.contains(balancer) {
        return None;
    }
    let drift = resource.mends([difference("load balancer", "none", balancer)])?;
    let attach = |context: Context| async move {
        let names = &context.names;
        context.cloud.attach_load_balancer(&names.auto_scaling_group, &names.load_balancer).await
    };
    Some(context.ready(format!("attach {name} to load balancer {balancer}"), attach).telling(drift))
}

/// What is to be done about a group that launches its instances from something else; `None`: it is told.
fn launched_from<'a>(
    context: &'a Context,
    resource: &mut Resource<'a>,
    is: Option<&Launch>,
    launch: Launch,
    configuration: Option<Configuration>,
) -> Option<Observed> {
    let name = &context.names.auto_scaling_group;
    let drift = match &configuration {
        Some(Configuration { settings, current: Some(current), .. }) => {
            let mut launched = Resource::launch_settings(context);
            let drift = launched.takes(Some(current), settings);
            resource.absorb(launched);
            drift?
        }
        _ => {
            let is = is.map_or_else(|| "none".to_owned(), launch_text);
            resource.mends([difference("launch", is, launch_text(&launch))])?
        }
    };
    if let Some(Configuration { name, exists: false, .. }) = configuration {
        return Some(wait(format!("launch configuration {name} does not show yet")));
    }
    let set = |context: Context| async move {
        context.cloud.set_group_launch(&context.names.auto_scaling_group, &launch).await
    };
    Some(context.ready(format!("set what {name} launches its instances from"), set).telling(drift))
}

/// The cluster.
pub(super) async fn cluster(context: &Context) -> Result<Observed> {
    let name = &context.names.cluster;
    let resource = Resource::new(context, "cluster", name);
    let Some(found) = context.cloud.cluster(name).await? else {
        return Ok(resource.make(|context| async move {
            context.cloud.create_cluster(&context.names.cluster, &context.tags()).await
        }));
    };
    let claim = resource.claim(&found.tags, Tagged::Cluster { arn: found.arn }, context.tags());
    Ok(claim.unwrap_or_else(|| resource.done()))
}
