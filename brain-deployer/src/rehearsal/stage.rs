//! A cloud to rehearse on: it reads AWS, notes what is to be changed, and shows it as if it were done. It never changes AWS.

use super::Call;
use crate::{
    cloud::{
        Alarm, BalancerPort, Behind, Cloud, Cluster, ClusterCounts, ContainerPort, Group, GroupPort, Host, HostStatus,
        InstancePort, Launch, LaunchSettings, LaunchTemplate, Listener, LoadBalancer, Network, NetworkPort, NewGroup,
        NewService, Result, Rule, SecurityGroup, Service, ServiceStatus, TagPort, Tagged, Tags, Task, TaskDefinition,
        WatchPort,
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

fn new_service(name: &str, task_definition: &str, tags: &Tags) -> Service {
    Service {
        name: name.to_owned(),
        arn: NEW.to_owned(),
        status: ServiceStatus::Active,
        desired: 0,
        running: 0,
        pending: 0,
        task_definition: task_definition.to_owned(),
        target_group: None,
        tags: tags.clone(),
        events: Vec::new(),
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
        made.note("ConfigureHealthCheck", name, vec![difference("health check", is, target)]);
        if let Some(balancer) = &mut made.load_balancer {
            target.clone_into(&mut balancer.health_check);
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
        let (instances, subnets, rebalances) = (Vec::new(), subnets.clone(), true);
        made.group = Some(Group { desired, max, instances, subnets, rebalances, tags, launch, template_id });
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
}

#[async_trait]
impl ContainerPort for Stage {
    async fn cluster(&self, name: &str) -> Result<Option<Cluster>> {
        if let Some(cluster) = self.made().cluster.clone() {
            return Ok(Some(cluster));
        }
        let found = self.cloud.cluster(name).await?;
        self.made().cluster.clone_from(&found);
        Ok(found)
    }

    async fn cluster_counts(&self, names: &[String]) -> Result<Vec<ClusterCounts>> {
        self.cloud.cluster_counts(names).await
    }

    async fn create_cluster(&self, name: &str, tags: &Tags) -> Result<()> {
        let mut made = self.made();
        made.note("CreateCluster", name, Vec::new());
        made.cluster = Some(Cluster { arn: NEW.to_owned(), tags: tags.clone() });
        made.hosts = Some(Vec::new());
        Ok(())
    }

    async fn hosts(&self, cluster: &str) -> Result<Vec<Host>> {
        if let Some(hosts) = self.made().hosts.clone() {
            return Ok(hosts);
        }
        let hosts = self.cloud.hosts(cluster).await?;
        self.made().hosts = Some(hosts.clone());
        Ok(hosts)
    }

    async fn instances_of(&self, cluster: &str, hosts: &BTreeSet<String>) -> Result<BTreeMap<String, String>> {
        self.cloud.instances_of(cluster, hosts).await
    }

    async fn host_count(&self, cluster: &str) -> Result<usize> {
        Ok(self.hosts(cluster).await?.len())
    }

    async fn hosts_named(&self, cluster: &str, arns: &BTreeSet<String>) -> Result<Vec<Host>> {
        let mut hosts = self.hosts(cluster).await?;
        hosts.retain(|host| arns.contains(&host.arn));
        Ok(hosts)
    }

    async fn set_draining(&self, _cluster: &str, host: &str, draining: bool) -> Result<Host> {
        let mut made = self.made();
        let (is, will_be) = if draining { ("ACTIVE", "DRAINING") } else { ("DRAINING", "ACTIVE") };
        made.note("UpdateContainerInstancesState", host, vec![difference("status", is, will_be)]);
        let status = if draining { HostStatus::Draining } else { HostStatus::Active };
        for known in made.hosts.iter_mut().flatten().filter(|known| known.arn == host) {
            known.status = status;
        }
        let known = made.hosts.iter().flatten().find(|known| known.arn == host).cloned();
        // Which instance will be empty is not known yet.
        Ok(known.unwrap_or_else(|| Host {
            arn: host.to_owned(),
            instance: host.to_owned(),
            status,
            connected: true,
            tasks: 0,
            memory_mib: 0,
            cpu_units: 0,
            memory_left_mib: 0,
            cpu_left_units: 0,
            ports: BTreeSet::new(),
        }))
    }

    async fn find_task_definition(&self, definition: &TaskDefinition) -> Result<Option<String>> {
        if self.made().definition.as_ref() == Some(definition) {
            return Ok(Some(NEW.to_owned()));
        }
        self.cloud.find_task_definition(definition).await
    }

    async fn register_task_definition(&self, definition: &TaskDefinition, _tags: &Tags) -> Result<()> {
        let mut made = self.made();
        let differences = vec![difference("image", "none", &definition.image)];
        made.note("RegisterTaskDefinition", &definition.family, differences);
        made.definition = Some(definition.clone());
        Ok(())
    }

    async fn task_definitions(&self, family: &str) -> Result<Vec<String>> {
        self.cloud.task_definitions(family).await
    }

    async fn task_definition(&self, arn: &str) -> Result<(TaskDefinition, Tags)> {
        self.cloud.task_definition(arn).await
    }

    async fn deregister_task_definition(&self, arn: &str) -> Result<()> {
        self.made().note("DeregisterTaskDefinition", arn, vec![difference("status", "ACTIVE", "INACTIVE")]);
        Ok(())
    }

    async fn services(&self, cluster: &str, also: &[String]) -> Result<Vec<Service>> {
        let new = self.made().cluster.as_ref().is_some_and(|cluster| cluster.arn == NEW);
        let mut services = if new { Vec::new() } else { self.cloud.services(cluster, also).await? };
        let mut made = self.made();
        services.retain(|service| !made.services.contains_key(&service.name));
        for service in &services {
            made.services.insert(service.name.clone(), service.clone());
        }
        Ok(made.services.values().cloned().collect())
    }

    async fn service(&self, cluster: &str, name: &str) -> Result<Option<Service>> {
        {
            let made = self.made();
            let new = made.cluster.as_ref().is_some_and(|cluster| cluster.arn == NEW);
            if new || made.services.contains_key(name) {
                return Ok(made.services.get(name).cloned());
            }
        }
        let found = self.cloud.service(cluster, name).await?;
        if let Some(service) = &found {
            self.made().services.insert(name.to_owned(), service.clone());
        }
        Ok(found)
    }

    async fn create_service(&self, service: &NewService) -> Result<Service> {
        let mut made = self.made();
        let differences = vec![
            difference("desired count", "none", 0),
            difference("task definition", "none", &service.task_definition),
            match &service.behind {
                Behind::LoadBalancer(name) => difference("load balancer", "none", name),
                Behind::TargetGroup(name) => difference("target group", "none", name),
            },
        ];
        made.note("CreateService", &service.name, differences);
        let target_group = service.behind.target_group().cloned();
        let new = Service { target_group, ..new_service(&service.name, &service.task_definition, &service.tags) };
        made.services.insert(service.name.clone(), new.clone());
        Ok(new)
    }

    async fn delete_service(&self, _cluster: &str, name: &str) -> Result<()> {
        let mut made = self.made();
        made.note("DeleteService", name, vec![difference("status", "ACTIVE", "DRAINING")]);
        if let Some(service) = made.services.get_mut(name) {
            service.status = ServiceStatus::Draining;
        }
        Ok(())
    }

    async fn set_desired(&self, _cluster: &str, name: &str, desired: u32) -> Result<Service> {
        let mut made = self.made();
        let is = made.services.get(name).map(|service| service.desired).unwrap_or_default();
        made.note("UpdateService", name, vec![difference("desired count", is, desired)]);
        let service = made.services.entry(name.to_owned()).or_insert_with(|| new_service(name, "", &Tags::new()));
        service.desired = desired;
        Ok(service.clone())
    }

    async fn set_task_definition(&self, _cluster: &str, service: &str, definition: &str) -> Result<()> {
        let mut made = self.made();
        let is = made.services.get(service).map(|service| service.task_definition.clone()).unwrap_or_default();
        made.note("UpdateService", service, vec![difference("task definition", is, definition)]);
        if let Some(service) = made.services.get_mut(service) {
            definition.clone_into(&mut service.task_definition);
        }
        Ok(())
    }

    async fn set_target_group(&self, _: &str, service: &str, group: &str, _: (&str, u16)) -> Result<()> {
        let mut made = self.made();
        let is = made.services.get(service).and_then(|service| service.target_group.clone());
        let difference = difference("target group", is.as_deref().unwrap_or("none"), group);
        made.note("UpdateService", service, vec![difference]);
        if let Some(service) = made.services.get_mut(service) {
            service.target_group = Some(group.to_owned());
        }
        Ok(())
    }

    async fn tasks(&self, cluster: &str, service: Option<&str>, stopped: bool) -> Result<Vec<Task>> {
        self.cloud.tasks(cluster, service, stopped).await
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
