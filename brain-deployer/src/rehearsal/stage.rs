//! A cloud to rehearse on: it reads AWS, notes what is to be changed, and shows it as if it were done. It never changes AWS.

use super::Call;
use crate::{
    cloud::{
        Alarm, BY_EC2, Cloud, Cluster, Group, GroupPort, Host, InstancePort, Launch, LaunchSettings, LaunchTemplate,
        LoadBalancer, NewGroup, Result, SecurityGroup, Service, TagPort, Tagged, Tags, TaskDefinition, WatchPort,
    },
    difference::{difference, group_differences, launch_text, settings_differences},
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
mod balancer;
mod containers;
mod network;

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
            min: 0,
            max,
            instances: Vec::new(),
            passing: BTreeSet::new(),
            subnets: subnets.clone(),
            rebalances: true,
            health_check: BY_EC2.to_owned(),
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

    async fn settle_group(&self, name: &str, subnets: &[String]) -> Result<()> {
        let mut made = self.made();
        let differences = made.group.as_ref().map(|group| group_differences(group, subnets)).unwrap_or_default();
        made.note("UpdateAutoScalingGroup", name, differences);
        if let Some(group) = &mut made.group {
            (group.min, group.health_check) = (0, BY_EC2.to_owned());
            if !subnets.is_empty() {
                group.subnets = subnets.to_vec();
            }
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
