//! Everything that changes the account, as values: so that an act can be recorded, refused, repeated and compared.

use super::world::ServiceState;
use super::{error, world::World};
use crate::cloud::{
    BY_EC2, ErrorKind, Forward, Group, HostStatus, Launch, LaunchSettings, LaunchTemplate, Listener, NewGroup,
    NewService, NewTargets, Result, Rule, SecurityGroup, Service, ServiceStatus, Tagged, Tags, TargetCheck,
    TaskDefinition,
};
use std::collections::BTreeSet;

/// A call that changes something; see the ports.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the ports say it")]
pub enum Act {
    CreateSecurityGroup { name: String, tags: Tags },
    Allow { group: String, rules: Vec<Rule> },
    Revoke { group: String, rules: Vec<Rule> },
    CreateLoadBalancer { name: String, listener: Listener, subnets: Vec<String>, group: String, tags: Tags },
    CreateListener { name: String, listener: Listener },
    DeleteListeners { name: String, ports: BTreeSet<u16> },
    SetBalancerGroups { name: String, groups: Vec<String> },
    AttachSubnets { name: String, subnets: Vec<String> },
    SetHealthCheck { name: String, target: String },
    SetAttributes { name: String },
    CreateLaunchTemplate { name: String, settings: LaunchSettings, tags: Tags },
    CreateLaunchTemplateVersion { id: String, settings: LaunchSettings },
    SetDefaultVersion { id: String, version: i64 },
    CreateLaunchConfiguration { name: String, settings: LaunchSettings },
    SetGroupLaunch { group: String, launch: Launch },
    CreateGroup(NewGroup),
    SetGroupMax { name: String, max: u32 },
    SettleGroup { name: String, subnets: Vec<String> },
    AttachLoadBalancer { name: String, balancer: String },
    SuspendRebalancing { name: String },
    SetGroupDesired { name: String, desired: u32 },
    Terminate { instance: String },
    Replace { instance: String },
    CreateCluster { name: String, tags: Tags },
    SetDraining { host: String, draining: bool },
    RegisterTaskDefinition { definition: TaskDefinition, tags: Tags },
    DeregisterTaskDefinition { arn: String },
    CreateService(NewService),
    DeleteService { name: String },
    SetDesired { service: String, desired: u32 },
    SetTaskDefinition { service: String, definition: String },
    SetHealthCheckGrace { service: String, seconds: u32 },
    Tag { resource: Tagged, tags: Tags },
    SetTargetGroup { service: String, group: String },
    CreateApplication { name: String, subnets: Vec<String>, group: String, tags: Tags },
    SetApplicationGroups { arn: String, groups: Vec<String> },
    SetApplicationSubnets { arn: String, subnets: Vec<String> },
    CreateTargets(NewTargets),
    SetTargetCheck { name: String, check: TargetCheck },
    SetTargetDraining { name: String, seconds: u32 },
    CreateFront { balancer: String, port: u16, certificate: Option<String>, tags: Tags },
    SetFront { front: String, port: u16, certificate: Option<String> },
    DeleteFront { front: String },
    CreateRule { front: String, priority: u32, forward: Forward, tags: Tags },
    SetForward { rule: String, forward: Forward },
}

impl Act {
    /// Name of the call.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::CreateSecurityGroup { .. } => "CreateSecurityGroup",
            Self::Allow { .. } => "AuthorizeSecurityGroupIngress",
            Self::Revoke { .. } => "RevokeSecurityGroupIngress",
            Self::CreateLoadBalancer { .. } => "CreateLoadBalancer",
            Self::CreateListener { .. } => "CreateLoadBalancerListeners",
            Self::DeleteListeners { .. } => "DeleteLoadBalancerListeners",
            Self::SetBalancerGroups { .. } => "ApplySecurityGroupsToLoadBalancer",
            Self::AttachSubnets { .. } => "AttachLoadBalancerToSubnets",
            Self::SetHealthCheck { .. } => "ConfigureHealthCheck",
            Self::SetAttributes { .. } => "ModifyLoadBalancerAttributes",
            Self::CreateLaunchTemplate { .. } => "CreateLaunchTemplate",
            Self::CreateLaunchTemplateVersion { .. } => "CreateLaunchTemplateVersion",
            Self::SetDefaultVersion { .. } => "ModifyLaunchTemplate",
            Self::CreateLaunchConfiguration { .. } => "CreateLaunchConfiguration",
            Self::CreateGroup(_) => "CreateAutoScalingGroup",
            Self::SetGroupMax { .. } | Self::SetGroupLaunch { .. } | Self::SettleGroup { .. } => {
                "UpdateAutoScalingGroup"
            }
            Self::AttachLoadBalancer { .. } => "AttachLoadBalancers",
            Self::SuspendRebalancing { .. } => "SuspendProcesses",
            Self::SetGroupDesired { .. } => "SetDesiredCapacity",
            Self::Terminate { .. } | Self::Replace { .. } => "TerminateInstanceInAutoScalingGroup",
            Self::CreateCluster { .. } => "CreateCluster",
            Self::SetDraining { .. } => "UpdateContainerInstancesState",
            Self::RegisterTaskDefinition { .. } => "RegisterTaskDefinition",
            Self::DeregisterTaskDefinition { .. } => "DeregisterTaskDefinition",
            Self::DeleteService { .. } => "DeleteService",
            Self::CreateService(_) => "CreateService",
            Self::SetDesired { .. }
            | Self::SetTaskDefinition { .. }
            | Self::SetHealthCheckGrace { .. }
            | Self::SetTargetGroup { .. } => "UpdateService",
            Self::CreateApplication { .. } => "CreateLoadBalancer",
            Self::SetApplicationGroups { .. } => "SetSecurityGroups",
            Self::SetApplicationSubnets { .. } => "SetSubnets",
            Self::CreateTargets(_) => "CreateTargetGroup",
            Self::SetTargetCheck { .. } => "ModifyTargetGroup",
            Self::SetTargetDraining { .. } => "ModifyTargetGroupAttributes",
            Self::CreateFront { .. } => "CreateListener",
            Self::SetFront { .. } => "ModifyListener",
            Self::DeleteFront { .. } => "DeleteListener",
            Self::CreateRule { .. } => "CreateRule",
            Self::SetForward { .. } => "ModifyRule",
            Self::Tag { resource, .. } => resource.call(),
        }
    }

    /// Takes effect.
    pub(super) fn apply(&self, world: &mut World, now_ms: i64) -> Result<()> {
        let applied = match self {
            Self::CreateService(_)
            | Self::DeleteService { .. }
            | Self::SetDesired { .. }
            | Self::SetTargetGroup { .. }
            | Self::SetHealthCheckGrace { .. }
            | Self::SetTaskDefinition { .. } => self.apply_to_services(world, now_ms),
            Self::CreateGroup(_)
            | Self::SetGroupMax { .. }
            | Self::SetGroupLaunch { .. }
            | Self::SettleGroup { .. }
            | Self::AttachLoadBalancer { .. }
            | Self::SuspendRebalancing { .. }
            | Self::SetGroupDesired { .. }
            | Self::Terminate { .. }
            | Self::Replace { .. }
            | Self::SetDraining { .. } => self.apply_to_capacity(world, now_ms),
            Self::CreateLoadBalancer { .. }
            | Self::CreateListener { .. }
            | Self::DeleteListeners { .. }
            | Self::SetBalancerGroups { .. }
            | Self::AttachSubnets { .. }
            | Self::SetHealthCheck { .. }
            | Self::SetAttributes { .. } => self.apply_to_balancer(world),
            Self::CreateApplication { .. }
            | Self::CreateTargets(_)
            | Self::SetTargetCheck { .. }
            | Self::SetTargetDraining { .. }
            | Self::CreateFront { .. }
            | Self::SetFront { .. }
            | Self::DeleteFront { .. }
            | Self::SetApplicationGroups { .. }
            | Self::SetApplicationSubnets { .. }
            | Self::CreateRule { .. }
            | Self::SetForward { .. } => self.apply_to_application(world),
            _ => self.apply_to_setup(world),
        };
        applied.map_err(|code| error(self.name(), kind(code), code))
    }

    fn apply_to_setup(&self, world: &mut World) -> Result<(), &'static str> {
        match self.clone() {
            Self::CreateSecurityGroup { name, tags } => {
                let group = SecurityGroup { id: format!("sg-{name}"), rules: [].into(), tags };
                new(world.security_groups.insert(name, group), "InvalidGroup.Duplicate")
            }
            Self::Allow { group, rules } => {
                world.security_group(&group)?.rules.extend(rules);
                Ok(())
            }
            Self::Revoke { group, rules } => {
                world.security_group(&group)?.rules.retain(|rule| !rules.contains(rule));
                Ok(())
            }
            Self::CreateLaunchTemplate { name, settings, tags } => {
                let template =
                    LaunchTemplate { id: format!("lt-{name}"), tags, default_version: 1, latest: (1, settings) };
                new(world.templates.insert(name, template), "InvalidLaunchTemplateName.AlreadyExistsException")
            }
            Self::CreateLaunchTemplateVersion { id, settings } => {
                let template = world.templates.values_mut().find(|other| other.id == id).ok_or("NotFound")?;
                template.latest = (template.latest.0 + 1, settings);
                Ok(())
            }
            Self::CreateLaunchConfiguration { name, settings } => {
                new(world.configurations.insert(name, settings), "AlreadyExists")
            }
            Self::SetDefaultVersion { id, version } => {
                world.templates.values_mut().find(|other| other.id == id).ok_or("NotFound")?.default_version = version;
                Ok(())
            }
            Self::CreateCluster { name, tags } => {
                world.clusters.entry(name).or_insert(tags);
                Ok(())
            }
            Self::Tag { resource, tags } => {
                world.tags_of(&resource).ok_or("NotFound")?.extend(tags);
                Ok(())
            }
            Self::RegisterTaskDefinition { definition, tags } => {
                let arn = format!("{}:{}", definition.family, world.definitions.len() + 1);
                world.definition_tags.insert(arn.clone(), tags);
                world.definitions.push((arn, definition));
                Ok(())
            }
            Self::DeregisterTaskDefinition { arn } => {
                world.definitions.iter().find(|(other, _)| *other == arn).ok_or("ClientException")?;
                world.deregistered.insert(arn);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn apply_to_capacity(&self, world: &mut World, now_ms: i64) -> Result<(), &'static str> {
        match self.clone() {
            Self::CreateGroup(group) => {
                let NewGroup { name, desired, max, tags, launch, subnets, load_balancer } = group;
                let group = Group {
                    desired,
                    min: 0,
                    max,
                    instances: Vec::new(),
                    passing: [].into(),
                    subnets,
                    rebalances: true,
                    health_check: BY_EC2.to_owned(),
                    load_balancers: load_balancer.into_iter().collect(),
                    tags,
                    launch: Some(launch),
                    template_id: world.template_id(),
                };
                new(world.groups.insert(name, group), "AlreadyExists")
            }
            Self::SetGroupMax { name, max } => {
                world.groups.get_mut(&name).ok_or("ValidationError")?.max = max;
                Ok(())
            }
            Self::SetGroupLaunch { group, launch } => {
                let template_id = world.template_id();
                let group = world.groups.get_mut(&group).ok_or("ValidationError")?;
                (group.launch, group.template_id) = (Some(launch), template_id);
                Ok(())
            }
            Self::SettleGroup { name, subnets } => {
                let group = world.groups.get_mut(&name).ok_or("ValidationError")?;
                (group.min, group.health_check) = (0, BY_EC2.to_owned());
                if !subnets.is_empty() {
                    group.subnets = subnets;
                }
                Ok(())
            }
            Self::AttachLoadBalancer { name, balancer } => {
                let known = world.balancers.contains_key(&balancer);
                let group = world.groups.get_mut(&name).filter(|_| known).ok_or("ValidationError")?;
                if !group.load_balancers.contains(&balancer) {
                    group.load_balancers.push(balancer);
                }
                Ok(())
            }
            Self::SuspendRebalancing { name } => {
                world.groups.get_mut(&name).ok_or("ValidationError")?.rebalances = false;
                Ok(())
            }
            Self::SetGroupDesired { name, desired } => {
                let group = world.groups.get_mut(&name).ok_or("ValidationError")?;
                if desired > group.max {
                    return Err("ValidationError");
                }
                group.desired = desired;
                Ok(())
            }
            Self::Terminate { instance } => {
                let mut groups = world.groups.values_mut();
                let group = groups.find(|group| group.instances.contains(&instance)).ok_or("ValidationError")?;
                group.desired = group.desired.saturating_sub(1);
                group.instances.retain(|other| *other != instance);
                world.end_host(&instance, now_ms);
                Ok(())
            }
            Self::Replace { instance } => {
                if !world.groups.values().any(|group| group.instances.contains(&instance)) {
                    return Err("ValidationError");
                }
                world.kill_host(&instance, now_ms);
                Ok(())
            }
            Self::SetDraining { host, draining } => {
                let host = world.hosts.values_mut().find(|other| other.arn == host).ok_or("InvalidParameter")?;
                host.status = if draining { HostStatus::Draining } else { HostStatus::Active };
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn apply_to_services(&self, world: &mut World, now_ms: i64) -> Result<(), &'static str> {
        match self.clone() {
            Self::CreateService(service) => {
                let health_check_grace_seconds = service.health_check_grace_seconds;
                let NewService { cluster, name, task_definition, behind, client_token, tags, .. } = service;
                let target_group = behind.target_group().cloned();
                if target_group.as_ref().is_some_and(|group| !world.is_forwarded_to(group)) {
                    return Err("InvalidParameterException");
                }
                if !world.clusters.contains_key(&cluster) {
                    return Err("ClusterNotFoundException");
                }
                if world.deregistered.contains(&task_definition) {
                    return Err("ClientException");
                }
                let there = world.services.get(&name);
                if let Some(there) = there.filter(|there| there.shown.status != ServiceStatus::Inactive) {
                    if there.shown.status == ServiceStatus::Draining {
                        return Err("InvalidParameterException");
                    }
                    return if there.client_token == client_token { Ok(()) } else { Err("InvalidParameterException") };
                }
                let shown = Service {
                    arn: name.clone(),
                    name: name.clone(),
                    status: ServiceStatus::Active,
                    desired: 0,
                    running: 0,
                    pending: 0,
                    task_definition,
                    target_group,
                    health_check_grace_seconds,
                    tags,
                    events: Vec::new(),
                };
                world.services.insert(name, ServiceState { shown, cluster, client_token, deleted_ms: None });
                Ok(())
            }
            Self::DeleteService { name } => {
                let service = active(world, &name)?;
                if service.shown.desired > 0 {
                    return Err("InvalidParameterException");
                }
                (service.shown.status, service.deleted_ms) = (ServiceStatus::Draining, Some(now_ms));
                Ok(())
            }
            Self::SetDesired { service, desired } => {
                active(world, &service)?.shown.desired = desired;
                Ok(())
            }
            Self::SetTargetGroup { service, group } => {
                if !world.is_forwarded_to(&group) {
                    return Err("InvalidParameterException");
                }
                active(world, &service)?.shown.target_group = Some(group);
                Ok(())
            }
            Self::SetTaskDefinition { service, definition } => {
                active(world, &service)?.shown.task_definition = definition;
                Ok(())
            }
            Self::SetHealthCheckGrace { service, seconds } => {
                active(world, &service)?.shown.health_check_grace_seconds = seconds;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl World {
    /// Id of the template; there is one.
    fn template_id(&self) -> Option<String> {
        self.templates.values().next().map(|template| template.id.clone())
    }

    /// The security group of an id.
    fn security_group(&mut self, id: &str) -> Result<&mut SecurityGroup, &'static str> {
        self.security_groups.values_mut().find(|group| group.id == id).ok_or("InvalidGroup.NotFound")
    }

    /// The tags of a resource.
    fn tags_of(&mut self, resource: &Tagged) -> Option<&mut Tags> {
        match resource {
            Tagged::SecurityGroup { id } => {
                self.security_groups.values_mut().find(|group| group.id == *id).map(|group| &mut group.tags)
            }
            Tagged::LaunchTemplate { id } => {
                self.templates.values_mut().find(|template| template.id == *id).map(|template| &mut template.tags)
            }
            Tagged::Application { arn } => self.application_tags(arn),
            Tagged::LoadBalancer { name } => self.balancers.get_mut(name).map(|balancer| &mut balancer.tags),
            Tagged::AutoScalingGroup { name } => self.groups.get_mut(name).map(|group| &mut group.tags),
            Tagged::Cluster { arn } => self.clusters.get_mut(arn),
            Tagged::Service { arn } => self.services.get_mut(arn).map(|service| &mut service.shown.tags),
        }
    }
}

/// A service that was not deleted.
fn active<'a>(world: &'a mut World, name: &str) -> Result<&'a mut ServiceState, &'static str> {
    let service = world.services.get_mut(name).ok_or("ServiceNotFoundException")?;
    if service.shown.status == ServiceStatus::Active { Ok(service) } else { Err("ServiceNotActiveException") }
}

/// What is made must not have been there.
pub(super) fn new<T>(former: Option<T>, code: &'static str) -> Result<(), &'static str> {
    former.map_or(Ok(()), |_| Err(code))
}

fn kind(code: &str) -> ErrorKind {
    match code {
        "ClusterNotFoundException" | "ServiceNotFoundException" => ErrorKind::Transient,
        _ => ErrorKind::Terminal,
    }
}
