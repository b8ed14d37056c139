//! The ports, on one process's way to the account.

use super::{Act, Client, TaskStage, TaskState, Treatment, World, error};
use crate::cloud::{
    Alarm, Cluster, ClusterCounts, ContainerPort, ErrorKind, Group, GroupPort, Host, InstancePort, Launch,
    LaunchSettings, LaunchTemplate, Network, NetworkPort, NewGroup, NewService, Result, Rule, SecurityGroup, Service,
    TagPort, Tagged, Tags, Task, TaskDefinition, WatchPort,
};
use async_trait::async_trait;
use brain_core::{
    capacity::Size,
    gate::metrics::{Ask, Points, Query},
};
use std::collections::{BTreeMap, BTreeSet};

/// The zones, with a subnet each, and the CPU of every host.
const ZONES: [&str; 2] = ["zone-1", "zone-2"];
const CPU_UNITS: u32 = 2_048;

#[async_trait]
impl NetworkPort for Client {
    async fn network(&self, _: Option<&str>, subnets: &[String]) -> Result<Result<Network, String>> {
        let subnets: Vec<String> = match subnets {
            [] => ZONES.iter().map(|zone| zone.replace("zone", "subnet")).collect(),
            named => named.to_vec(),
        };
        let cidr = "10.0.0.0/16".to_owned();
        let network = Network { vpc: "vpc-1".to_owned(), blocks: vec![cidr.clone()], cidr, subnets };
        self.look("DescribeVpcs", |_| Ok(network)).await
    }

    async fn security_group(&self, _: &str, name: &str) -> Result<Option<SecurityGroup>> {
        self.look("DescribeSecurityGroups", |world| world.security_groups.get(name).cloned()).await
    }

    async fn security_group_id(&self, vpc: &str, name: &str) -> Result<Option<String>> {
        Ok(self.security_group(vpc, name).await?.map(|group| group.id))
    }

    async fn create_security_group(&self, _: &str, name: &str, tags: &Tags) -> Result<()> {
        self.act(Act::CreateSecurityGroup { name: name.to_owned(), tags: tags.clone() }).await
    }

    async fn allow(&self, group: &str, rules: &[Rule]) -> Result<()> {
        self.act(Act::Allow { group: group.to_owned(), rules: rules.to_vec() }).await
    }

    async fn revoke(&self, group: &str, rules: &[Rule]) -> Result<()> {
        self.act(Act::Revoke { group: group.to_owned(), rules: rules.to_vec() }).await
    }
}

/// One type of instances, in every zone.
#[async_trait]
impl InstancePort for Client {
    async fn instance_size(&self, _: &str) -> Result<Option<Size>> {
        let size = |world: &World| Size { memory_mib: world.host_memory_mib(), cpu_units: CPU_UNITS };
        self.look("DescribeInstanceTypes", |world| Some(size(world))).await
    }

    async fn zones_offering(&self, _: &str) -> Result<BTreeSet<String>> {
        self.look("DescribeInstanceTypeOfferings", |_| ZONES.map(ToOwned::to_owned).into()).await
    }

    async fn zones_of(&self, subnets: &[String]) -> Result<BTreeMap<String, String>> {
        let zones = subnets.iter().map(|subnet| (subnet.clone(), subnet.replace("subnet", "zone"))).collect();
        self.look("DescribeSubnets", |_| zones).await
    }

    async fn launched(&self, _: &str, instances: &[String]) -> Result<BTreeMap<String, i64>> {
        let running = |world: &World| {
            let running = instances.iter().filter_map(|instance| Some((instance, world.hosts.get(instance)?)));
            running.map(|(instance, host)| (instance.clone(), host.launched_ms)).collect()
        };
        self.look("DescribeInstances", running).await
    }
}

#[async_trait]
impl GroupPort for Client {
    async fn ecs_image(&self) -> Result<String> {
        self.look("GetParameter", |_| "ami-1".to_owned()).await
    }

    async fn launch_template(&self, name: &str) -> Result<Option<LaunchTemplate>> {
        self.look("DescribeLaunchTemplates", |world| world.templates.get(name).cloned()).await
    }

    async fn create_launch_template(&self, name: &str, settings: &LaunchSettings, tags: &Tags) -> Result<()> {
        let (name, settings, tags) = (name.to_owned(), settings.clone(), tags.clone());
        self.act(Act::CreateLaunchTemplate { name, settings, tags }).await
    }

    async fn launch_configuration(&self, name: &str) -> Result<Option<LaunchSettings>> {
        self.look("DescribeLaunchConfigurations", |world| world.configurations.get(name).cloned()).await
    }

    async fn create_launch_configuration(&self, name: &str, settings: &LaunchSettings) -> Result<()> {
        self.act(Act::CreateLaunchConfiguration { name: name.to_owned(), settings: settings.clone() }).await
    }

    async fn set_group_launch(&self, group: &str, launch: &Launch) -> Result<()> {
        self.act(Act::SetGroupLaunch { group: group.to_owned(), launch: launch.clone() }).await
    }

    async fn create_launch_template_version(&self, id: &str, settings: &LaunchSettings) -> Result<()> {
        self.act(Act::CreateLaunchTemplateVersion { id: id.to_owned(), settings: settings.clone() }).await
    }

    async fn set_default_version(&self, id: &str, version: i64) -> Result<()> {
        self.act(Act::SetDefaultVersion { id: id.to_owned(), version }).await
    }

    async fn group(&self, name: &str) -> Result<Option<Group>> {
        self.look("DescribeAutoScalingGroups", |world| world.groups.get(name).cloned()).await
    }

    async fn create_group(&self, group: &NewGroup) -> Result<()> {
        self.act(Act::CreateGroup(group.clone())).await
    }

    async fn set_group_max(&self, name: &str, max: u32) -> Result<()> {
        self.act(Act::SetGroupMax { name: name.to_owned(), max }).await
    }

    async fn attach_load_balancer(&self, name: &str, balancer: &str) -> Result<()> {
        self.act(Act::AttachLoadBalancer { name: name.to_owned(), balancer: balancer.to_owned() }).await
    }

    async fn settle_group(&self, name: &str, subnets: &[String]) -> Result<()> {
        self.act(Act::SettleGroup { name: name.to_owned(), subnets: subnets.to_vec() }).await
    }

    async fn suspend_rebalancing(&self, name: &str) -> Result<()> {
        self.act(Act::SuspendRebalancing { name: name.to_owned() }).await
    }

    async fn set_group_desired(&self, name: &str, desired: u32) -> Result<()> {
        self.act(Act::SetGroupDesired { name: name.to_owned(), desired }).await
    }

    async fn terminate(&self, instance: &str) -> Result<()> {
        self.act(Act::Terminate { instance: instance.to_owned() }).await
    }

    async fn replace(&self, instance: &str) -> Result<()> {
        self.act(Act::Replace { instance: instance.to_owned() }).await
    }
}

#[async_trait]
impl ContainerPort for Client {
    async fn cluster(&self, name: &str) -> Result<Option<Cluster>> {
        let tagged = |world: &World| world.clusters.get(name).cloned();
        let tags = self.look("DescribeClusters", tagged).await?;
        Ok(tags.map(|tags| Cluster { arn: name.to_owned(), tags }))
    }

    async fn cluster_counts(&self, names: &[String]) -> Result<Vec<ClusterCounts>> {
        self.look("DescribeClusters", |world| counts(world, names)).await
    }

    async fn create_cluster(&self, name: &str, tags: &Tags) -> Result<()> {
        self.act(Act::CreateCluster { name: name.to_owned(), tags: tags.clone() }).await
    }

    async fn hosts(&self, cluster: &str) -> Result<Vec<Host>> {
        self.look("DescribeContainerInstances", |world| hosts(world, cluster)).await
    }

    async fn instances_of(&self, _: &str, hosts: &BTreeSet<String>) -> Result<BTreeMap<String, String>> {
        let wanted = |world: &World| {
            let wanted = world.hosts.iter().filter(|(_, host)| hosts.contains(&host.arn));
            wanted.map(|(instance, host)| (host.arn.clone(), instance.clone())).collect()
        };
        self.look("DescribeContainerInstances", wanted).await
    }

    async fn host_count(&self, cluster: &str) -> Result<usize> {
        self.look("ListContainerInstances", |world| hosts(world, cluster).len()).await
    }

    async fn hosts_named(&self, cluster: &str, arns: &BTreeSet<String>) -> Result<Vec<Host>> {
        let mut found = self.look("DescribeContainerInstances", |world| hosts(world, cluster)).await?;
        found.retain(|host| arns.contains(&host.arn));
        Ok(found)
    }

    async fn set_draining(&self, _: &str, host: &str, draining: bool) -> Result<Host> {
        let after = |world: &World| {
            let cluster = world.hosts.values().find(|other| other.arn == host).map(|host| host.cluster.clone());
            hosts(world, &cluster.unwrap_or_default()).into_iter().find(|other| other.arn == host)
        };
        let answer = self.act_and_see(Act::SetDraining { host: host.to_owned(), draining }, after).await?;
        answer.ok_or_else(|| error("UpdateContainerInstancesState", ErrorKind::Terminal, "InvalidParameter"))
    }

    async fn find_task_definition(&self, definition: &TaskDefinition) -> Result<Option<String>> {
        let newest = |world: &World| {
            let active = |arn: &String| !world.deregistered.contains(arn);
            let found = world.definitions.iter().rev().find(|(arn, other)| other == definition && active(arn));
            found.map(|(arn, _)| arn.clone())
        };
        self.look("DescribeTaskDefinition", newest).await
    }

    async fn register_task_definition(&self, definition: &TaskDefinition, tags: &Tags) -> Result<()> {
        self.act(Act::RegisterTaskDefinition { definition: definition.clone(), tags: tags.clone() }).await
    }

    async fn task_definitions(&self, family: &str) -> Result<Vec<String>> {
        let active = |world: &World| {
            let here = world.definitions.iter().rev().filter(|(_, definition)| definition.family == family);
            here.map(|(arn, _)| arn.clone()).filter(|arn| !world.deregistered.contains(arn)).collect()
        };
        self.look("ListTaskDefinitions", active).await
    }

    async fn task_definition(&self, arn: &str) -> Result<(TaskDefinition, Tags)> {
        let described = |world: &World| {
            let found = world.definitions.iter().find(|(other, _)| other == arn)?;
            Some((found.1.clone(), world.definition_tags.get(arn).cloned().unwrap_or_default()))
        };
        let unknown = || super::error("DescribeTaskDefinition", ErrorKind::Terminal, "ClientException");
        self.look("DescribeTaskDefinition", described).await?.ok_or_else(unknown)
    }

    async fn deregister_task_definition(&self, arn: &str) -> Result<()> {
        self.act(Act::DeregisterTaskDefinition { arn: arn.to_owned() }).await
    }

    async fn services(&self, cluster: &str, _: &[String]) -> Result<Vec<Service>> {
        let here = |world: &World| {
            let here = world.services.values().filter(|service| service.cluster == cluster);
            here.map(|service| service.shown.clone()).collect()
        };
        self.look("DescribeServices", here).await
    }

    async fn service(&self, _: &str, name: &str) -> Result<Option<Service>> {
        self.look("DescribeServices", |world| world.services.get(name).map(|service| service.shown.clone())).await
    }

    async fn create_service(&self, service: &NewService) -> Result<Service> {
        let after = |world: &World| world.services.get(&service.name).map(|service| service.shown.clone());
        let answer = self.act_and_see(Act::CreateService(service.clone()), after).await?;
        answer.ok_or_else(|| error("CreateService", ErrorKind::Transient, "ServiceNotFoundException"))
    }

    async fn delete_service(&self, _: &str, name: &str) -> Result<()> {
        self.act(Act::DeleteService { name: name.to_owned() }).await
    }

    async fn set_desired(&self, _: &str, service: &str, desired: u32) -> Result<Service> {
        let after = |world: &World| world.services.get(service).map(|service| service.shown.clone());
        let answer = self.act_and_see(Act::SetDesired { service: service.to_owned(), desired }, after).await?;
        answer.ok_or_else(|| error("UpdateService", ErrorKind::Transient, "ServiceNotFoundException"))
    }

    async fn set_task_definition(&self, _: &str, service: &str, definition: &str) -> Result<()> {
        let (service, definition) = (service.to_owned(), definition.to_owned());
        self.act(Act::SetTaskDefinition { service, definition }).await
    }

    async fn set_health_check_grace(&self, _: &str, service: &str, seconds: u32) -> Result<()> {
        self.act(Act::SetHealthCheckGrace { service: service.to_owned(), seconds }).await
    }

    async fn set_target_group(&self, _: &str, service: &str, group: &str, _: (&str, u16)) -> Result<()> {
        self.act(Act::SetTargetGroup { service: service.to_owned(), group: group.to_owned() }).await
    }

    async fn tasks(&self, cluster: &str, service: Option<&str>, stopped: bool) -> Result<Vec<Task>> {
        let seen = |world: &World, treatment: &Treatment| {
            if stopped && treatment.forgets { Vec::new() } else { tasks(world, cluster, service, stopped) }
        };
        self.look_treated("DescribeTasks", seen).await
    }
}

fn counts(world: &World, names: &[String]) -> Vec<ClusterCounts> {
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let count = |name: &String| {
        let services = world.services.values().filter(|service| service.cluster == *name);
        let shown: Vec<_> = services.map(|service| &service.shown).collect();
        ClusterCounts {
            name: name.clone(),
            services: number(shown.len()),
            running: shown.iter().map(|service| service.running).sum(),
            pending: shown.iter().map(|service| service.pending).sum(),
            hosts: number(hosts(world, name).len()),
        }
    };
    names.iter().filter(|name| world.clusters.contains_key(*name)).map(count).collect()
}

fn hosts(world: &World, cluster: &str) -> Vec<Host> {
    let mut hosts = Vec::new();
    for (instance, host) in world.hosts.iter().filter(|(_, host)| host.cluster == cluster && host.joined) {
        let counted = |task: &TaskState| matches!(task.stage, TaskStage::Pending | TaskStage::Running);
        let tasks = world.tasks_on(instance).filter(|(_, task)| counted(task)).count();
        hosts.push(Host {
            arn: host.arn.clone(),
            instance: instance.clone(),
            status: host.status,
            connected: true,
            tasks: u32::try_from(tasks).unwrap_or(u32::MAX),
            memory_mib: world.memory_of(host),
            cpu_units: CPU_UNITS,
            memory_left_mib: world.memory_of(host),
            cpu_left_units: CPU_UNITS,
            ports: world.ports_on(instance),
        });
    }
    hosts
}

fn tasks(world: &World, cluster: &str, service: Option<&str>, stopped: bool) -> Vec<Task> {
    let mut tasks = Vec::new();
    for (id, task) in &world.tasks {
        let here = world.services.get(&task.service).is_some_and(|service| service.cluster == cluster);
        if !here || service.is_some_and(|service| service != task.service) || task.stopped.is_some() != stopped {
            continue;
        }
        tasks.push(Task {
            id: id.clone(),
            service: task.service.clone(),
            running: task.stage == TaskStage::Running,
            host: Some(format!("arn:host/{}", task.instance)),
            created_ms: task.created_ms,
            stopped: task.stopped.clone(),
            ended: task.stage == TaskStage::Ended,
        });
    }
    tasks
}

#[async_trait]
impl TagPort for Client {
    async fn tag(&self, resource: &Tagged, tags: &Tags) -> Result<()> {
        self.act(Act::Tag { resource: resource.clone(), tags: tags.clone() }).await
    }
}

/// The account has no alarms, and two metrics.
#[async_trait]
impl WatchPort for Client {
    async fn alarms(&self, _: &[String]) -> Result<Vec<Alarm>> {
        self.look("DescribeAlarms", |_| Vec::new()).await
    }

    async fn metrics(&self, ask: &Ask) -> Result<Vec<Points>> {
        let points = ask.to.since(ask.from).as_secs() / ask.period.as_secs().max(1);
        let answer = |world: &World| {
            let point = |query: &Query| world.metric(&query.name, query.dimensions.values().next()?);
            let series = |query| (0..points).filter_map(|_| point(query)).collect();
            ask.queries.iter().map(|query| Ok(series(query))).collect()
        };
        self.look("GetMetricData", answer).await
    }
}
