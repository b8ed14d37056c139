//! Set-up: what a project has once, here its instances and its cluster. Each step looks at it again at every deployment:
//! what is missing is made, and what differs is mended or told, as the plan says.

use super::{Context, Observed, blocked, network::places, preflight, resource::Resource, wait};
use crate::{
    cloud::{Group, Launch, LaunchSettings, NewGroup, Result, Tagged},
    difference::{difference, group_differences, launch_text, settings_differences},
    user_data,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use brain_core::{
    drift::{Drift, SetUp},
    names,
    project::LaunchKind,
};
use tokio::time::Instant;

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
    if let Some(observed) = settled(context, &mut resource, &group) {
        return Ok(observed);
    }
    if let Some(observed) = attached_to(context, &mut resource, &group) {
        return Ok(observed);
    }
    // How many instances there are is asked for next.
    context.looks.seen_group(began, group);
    Ok(resource.done())
}

/// What is to be done about a group with a minimum, other health checks, or other subnets than the target names; `None`: nothing,
/// or it is told. It no longer moves instances between zones by then, so those that it has stay where they are.
fn settled(context: &Context, resource: &mut Resource<'_>, group: &Group) -> Option<Observed> {
    let mut subnets = context.target().subnet_ids.clone();
    // Those of a group that is adopted are taken away only where that is asked for.
    if resource.is_being_made() && context.set_up != SetUp::Repair && !subnets.is_empty() {
        subnets.extend(group.subnets.iter().filter(|other| !context.target().subnet_ids.contains(other)).cloned());
    }
    let differences = group_differences(group, &subnets);
    if differences.is_empty() {
        return None;
    }
    let drift = resource.mends(differences)?;
    let what = format!("set minimum, health check and subnets of {}", context.names.auto_scaling_group);
    let settle =
        |context: Context| async move { context.cloud.settle_group(&context.names.auto_scaling_group, &subnets).await };
    Some(context.ready(what, settle).telling(drift))
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

#[cfg(test)]
mod tests;
