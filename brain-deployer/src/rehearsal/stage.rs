//! A cloud to rehearse on: it reads AWS, notes what is to be changed, and shows it as if it were done. It never changes AWS.

use super::Call;
use crate::{
    cloud::{
        Alarm, BalancerPort, CHECKS, Cloud, Cluster, Group, GroupPort, Host, InstancePort, Launch, LaunchSettings,
        LaunchTemplate, Listener, LoadBalancer, Network, NetworkPort, NewGroup, Result, Rule, SecurityGroup, Service,
        TagPort, Tagged, Tags, TaskDefinition, WatchPort, health_check_text,
    },
    difference::{difference, launch_text, listener_text, settings_differences},
};
use async_trait::async_trait;
use brain_core::{
    capacity::Size,
    gate::metrics::{Ask, Points},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

mod application;
mod containers;

/// Stands for the id of what is not made yet.
const NEW: &str = "(new)";

/// The cloud as it would be.
pub(super) struct Stage {
    cloud: Arc<dyn Cloud>,
    made: Mutex<Made>,
}

/// What was made or changed, and the calls of the step under way. A project has one of each, so names need not be kept.
#[derive(Default)]
struct Made {
    calls: Vec<Call>,
    security_group: Option<SecurityGroup>,
    load_balancer: Option<LoadBalancer>,
    application: application::Made,
    template: Option<LaunchTemplate>,
    configuration: Option<(String, LaunchSettings)>,
    group: Option<Group>,
    cluster: Option<Cluster>,
    definition: Option<TaskDefinition>,
    services: BTreeMap<String, Service>,
    hosts: Option<Vec<Host>>,
}

impl Made {
    fn note(&mut self, call: &str, resource: &str, differences: Vec<String>) {
        self.calls.push(Call { call: call.to_owned(), resource: resource.to_owned(), differences });
    }
}

impl Stage {
    pub(super) fn new(cloud: Arc<dyn Cloud>) -> Self {
        Self { cloud, made: Mutex::default() }
    }

    /// The calls noted since the last time.
    pub(super) fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.made().calls)
    }

    fn made(&self) -> MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl WatchPort for Stage {
    async fn alarms(&self, names: &[String]) -> Result<Vec<Alarm>> {
        self.cloud.alarms(names).await
    }

    async fn metrics(&self, ask: &Ask) -> Result<Vec<Points>> {
        self.cloud.metrics(ask).await
    }
}

#[async_trait]
impl InstancePort for Stage {
    async fn instance_size(&self, kind: &str) -> Result<Option<Size>> {
        self.cloud.instance_size(kind).await
    }

    async fn zones_offering(&self, kind: &str) -> Result<BTreeSet<String>> {
        self.cloud.zones_offering(kind).await
    }

    async fn zones_of(&self, subnets: &[String]) -> Result<BTreeMap<String, String>> {
        self.cloud.zones_of(subnets).await
    }

    async fn launched(&self, project: &str, instances: &[String]) -> Result<BTreeMap<String, i64>> {
        self.cloud.launched(project, instances).await
    }
}

#[async_trait]
impl NetworkPort for Stage {
    async fn network(&self, vpc: Option<&str>, subnets: &[String]) -> Result<Result<Network, String>> {
        self.cloud.network(vpc, subnets).await
    }

    async fn security_group(&self, vpc: &str, name: &str) -> Result<Option<SecurityGroup>> {
        if let Some(group) = self.made().security_group.clone() {
            return Ok(Some(group));
        }
        let found = self.cloud.security_group(vpc, name).await?;
        self.made().security_group.clone_from(&found);
        Ok(found)
    }

    async fn create_security_group(&self, vpc: &str, name: &str, tags: &Tags) -> Result<()> {
        let mut made = self.made();
        made.note("CreateSecurityGroup", name, vec![difference("vpc", "none", vpc)]);
        made.security_group = Some(SecurityGroup { id: NEW.to_owned(), rules: BTreeSet::new(), tags: tags.clone() });
        Ok(())
    }

    async fn allow(&self, group: &str, rules: &[Rule]) -> Result<()> {
        let mut made = self.made();
        let text = |rule: &Rule| difference(&format!("rule for port {}", rule.port), "none", &rule.cidr);
        made.note("AuthorizeSecurityGroupIngress", group, rules.iter().map(text).collect());
        if let Some(group) = &mut made.security_group {
            group.rules.extend(rules.iter().cloned());
        }
        Ok(())
    }
}

#[async_trait]
impl BalancerPort for Stage {
    async fn load_balancer(&self, name: &str) -> Result<Option<LoadBalancer>> {
        if let Some(balancer) = self.made().load_balancer.clone() {
            return Ok(Some(balancer));
        }
        let found = self.cloud.load_balancer(name).await?;
        self.made().load_balancer.clone_from(&found);
        Ok(found)
    }

    async fn create_load_balancer(
        &self,
        name: &str,
        listener: &Listener,
        subnets: &[String],
        group: &str,
        tags: &Tags,
    ) -> Result<()> {
        let mut made = self.made();
        let differences = vec![
            difference("listener", "none", listener_text(listener)),
            difference("subnets", "none", subnets.join(", ")),
            difference("security group", "none", group),
        ];
        made.note("CreateLoadBalancer", name, differences);
        made.load_balancer = Some(LoadBalancer {
            listeners: [listener.clone()].into(),
            health_check: "AWS's default".to_owned(),
            draining: false,
            cross_zone: false,
            tags: tags.clone(),
        });
        Ok(())
    }

    async fn create_listener(&self, name: &str, listener: &Listener) -> Result<()> {
        let mut made = self.made();
        let differences = vec![difference("listener", "none", listener_text(listener))];
        made.note("CreateLoadBalancerListeners", name, differences);
        if let Some(balancer) = &mut made.load_balancer {
            balancer.listeners.insert(listener.clone());
        }
        Ok(())
    }

    async fn set_health_check(&self, name: &str, target: &str) -> Result<()> {
        let mut made = self.made();
        let is = made.load_balancer.as_ref().map(|balancer| balancer.health_check.clone()).unwrap_or_default();
        let check = health_check_text(target, CHECKS);
        made.note("ConfigureHealthCheck", name, vec![difference("health check", is, &check)]);
        if let Some(balancer) = &mut made.load_balancer {
            balancer.health_check = check;
        }
        Ok(())
    }

    async fn set_attributes(&self, name: &str) -> Result<()> {
        let mut made = self.made();
        let mut differences = Vec::new();
        if let Some(balancer) = &mut made.load_balancer {
            for (field, on) in
                [("connection draining", &mut balancer.draining), ("cross-zone balancing", &mut balancer.cross_zone)]
            {
                if !std::mem::replace(on, true) {
                    differences.push(difference(field, "off", "on"));
                }
            }
        }
        made.note("ModifyLoadBalancerAttributes", name, differences);
        Ok(())
    }

    async fn healthy_instances(&self, name: &str) -> Result<BTreeSet<String>> {
        self.cloud.healthy_instances(name).await
    }
}

#[async_trait]
impl GroupPort for Stage {
    async fn ecs_image(&self) -> Result<String> {
        self.cloud.ecs_image().await
    }

    async fn launch_template(&self, name: &str) -> Result<Option<LaunchTemplate>> {
        if let Some(template) = self.made().template.clone() {
            return Ok(Some(template));
        }
        let found = self.cloud.launch_template(name).await?;
        self.made().template.clone_from(&found);
        Ok(found)
    }

    async fn create_launch_template(&self, name: &str, settings: &LaunchSettings, tags: &Tags) -> Result<()> {
        let mut made = self.made();
        made.note("CreateLaunchTemplate", name, settings_differences(None, settings));
        let latest = (1, settings.clone());
        made.template = Some(LaunchTemplate { id: NEW.to_owned(), tags: tags.clone(), default_version: 1, latest });
        Ok(())
    }

    async fn create_launch_template_version(&self, id: &str, settings: &LaunchSettings) -> Result<()> {
        let mut made = self.made();
        let is = made.template.as_ref().map(|template| template.latest.1.clone());
        made.note("CreateLaunchTemplateVersion", id, settings_differences(is.as_ref(), settings));
        if let Some(template) = &mut made.template {
            template.latest = (template.latest.0 + 1, settings.clone());
        }
        Ok(())
    }

    async fn set_default_version(&self, id: &str, version: i64) -> Result<()> {
        let mut made = self.made();
        let is = made.template.as_ref().map(|template| template.default_version).unwrap_or_default();
        made.note("ModifyLaunchTemplate", id, vec![difference("default version", is, version)]);
        if let Some(template) = &mut made.template {
            template.default_version = version;
        }
        Ok(())
    }

    async fn launch_configuration(&self, name: &str) -> Result<Option<LaunchSettings>> {
        if let Some((_, settings)) = self.made().configuration.clone().filter(|(made, _)| made == name) {
            return Ok(Some(settings));
        }
        self.cloud.launch_configuration(name).await
    }

    async fn create_launch_configuration(&self, name: &str, settings: &LaunchSettings) -> Result<()> {
        let mut made = self.made();
        made.note("CreateLaunchConfiguration", name, settings_differences(None, settings));
        made.configuration = Some((name.to_owned(), settings.clone()));
        Ok(())
    }

    async fn set_group_launch(&self, name: &str, launch: &Launch) -> Result<()> {
        let mut made = self.made();
        let is = made.group.as_ref().and_then(|group| group.launch.as_ref()).map_or("none".to_owned(), launch_text);
        let template_id = made.template.as_ref().map(|template| template.id.clone());
        made.note("UpdateAutoScalingGroup", name, vec![difference("launch", is, launch_text(launch))]);
        if let Some(group) = &mut made.group {
            group.launch = Some(launch.clone());
            group.template_id = template_id;
        }
        Ok(())
    }

    async fn group(&self, name: &str) -> Result<Option<Group>> {
        if let Some(group) = self.made().group.clone() {
            return Ok(Some(group));
        }
        let found = self.cloud.group(name).await?;
        self.made().group.clone_from(&found);
        Ok(found)
    }

    async fn create_group(&self, group: &NewGroup) -> Result<()> {
        let NewGroup { name, launch, load_balancer, subnets, desired, max, tags } = group;
        let mut made = self.made();
        let differences = vec![
            difference("launch", "none", launch_text(launch)),
            difference("load balancer", "none", load_balancer.as_deref().unwrap_or("by target groups")),
            difference("subnets", "none", subnets.join(", ")),
            difference("desired capacity", "none", desired),
            difference("maximum", "none", max),
        ];
        made.note("CreateAutoScalingGroup", name, differences);
        let (desired, max, tags, launch) = (*desired, *max, tags.clone(), Some(launch.clone()));
        let template_id = made.template.as_ref().map(|template| template.id.clone());
        made.group = Some(Group {
            desired,
            max,
            instances: Vec::new(),
            passing: BTreeSet::new(),
            subnets: subnets.clone(),
            rebalances: true,
            load_balancers: load_balancer.iter().cloned().collect(),
            tags,
            launch,
            template_id,
        });
        Ok(())
    }

    async fn set_group_max(&self, name: &str, max: u32) -> Result<()> {
        let mut made = self.made();
        let is = made.group.as_ref().map(|group| group.max).unwrap_or_default();
        made.note("UpdateAutoScalingGroup", name, vec![difference("maximum", is, max)]);
        if let Some(group) = &mut made.group {
            group.max = max;
        }
        Ok(())
    }

    async fn attach_load_balancer(&self, name: &str, balancer: &str) -> Result<()> {
        let mut made = self.made();
        made.note("AttachLoadBalancers", name, vec![difference("load balancer", "none", balancer)]);
        if let Some(group) = &mut made.group {
            group.load_balancers.push(balancer.to_owned());
        }
        Ok(())
    }

    async fn suspend_rebalancing(&self, name: &str) -> Result<()> {
        let mut made = self.made();
        made.note("SuspendProcesses", name, vec![difference("rebalancing between zones", "on", "off")]);
        if let Some(group) = &mut made.group {
            group.rebalances = false;
        }
        Ok(())
    }

    async fn set_group_desired(&self, name: &str, desired: u32) -> Result<()> {
        let mut made = self.made();
        let is = made.group.as_ref().map(|group| group.desired).unwrap_or_default();
        made.note("SetDesiredCapacity", name, vec![difference("desired capacity", is, desired)]);
        if let Some(group) = &mut made.group {
            group.desired = desired;
        }
        Ok(())
    }

    async fn terminate(&self, instance: &str) -> Result<()> {
        let mut made = self.made();
        let is = made.group.as_ref().map(|group| group.desired).unwrap_or_default();
        let differences = vec![difference("desired capacity", is, is.saturating_sub(1))];
        made.note("TerminateInstanceInAutoScalingGroup", instance, differences);
        if let Some(group) = &mut made.group {
            group.desired = is.saturating_sub(1);
        }
        Ok(())
    }

    async fn replace(&self, instance: &str) -> Result<()> {
        let mut made = self.made();
        let differences = vec![difference("instance", "never joined the cluster", "another of the group's")];
        made.note("TerminateInstanceInAutoScalingGroup", instance, differences);
        if let Some(group) = &mut made.group {
            group.instances.retain(|other| other != instance);
        }
        Ok(())
    }
}

#[async_trait]
impl TagPort for Stage {
    async fn tag(&self, resource: &Tagged, tags: &Tags) -> Result<()> {
        let mut made = self.made();
        let differences = tags.iter().map(|(key, value)| difference(key, "none", value)).collect();
        made.note(resource.call(), resource.name(), differences);
        let tagged = match resource {
            Tagged::SecurityGroup { .. } => made.security_group.as_mut().map(|group| &mut group.tags),
            Tagged::Application { arn } => made.application.tags_of(arn),
            Tagged::LoadBalancer { .. } => made.load_balancer.as_mut().map(|balancer| &mut balancer.tags),
            Tagged::LaunchTemplate { .. } => made.template.as_mut().map(|template| &mut template.tags),
            Tagged::AutoScalingGroup { .. } => made.group.as_mut().map(|group| &mut group.tags),
            Tagged::Cluster { .. } => made.cluster.as_mut().map(|cluster| &mut cluster.tags),
            Tagged::Service { arn } => {
                made.services.values_mut().find(|service| service.arn == *arn).map(|service| &mut service.tags)
            }
        };
        if let Some(tagged) = tagged {
            tagged.extend(tags.clone());
        }
        Ok(())
    }
}
