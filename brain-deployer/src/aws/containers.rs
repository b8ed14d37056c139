//! ECS: clusters, hosts, task definitions, services, tasks.

use super::{Aws, balancer::unbuilt, collect_tags, signed};
use crate::cloud::{
    Behind, CloudError, Cluster, ClusterCounts, ContainerPort, Host, NewService, Result, Service, Tags, Task,
    TaskDefinition,
};
use async_trait::async_trait;
use aws_sdk_ecs::types::{
    ClusterField, ContainerDefinition, ContainerInstanceStatus, DeploymentConfiguration, DesiredStatus, KeyValuePair,
    LoadBalancer, PortMapping, PropagateTags, SortOrder, Tag, TaskDefinitionField, TransportProtocol,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

mod read;

use read::{counts_of, definition_of, host_of, service_of, task_of};

/// Services that one DescribeServices takes (an AWS limit).
const SERVICES_AT_ONCE: usize = 10;
/// Tasks, hosts and clusters that one describe takes (an AWS limit).
const DESCRIBED_AT_ONCE: usize = 100;
/// How long the list of a cluster's services is used again. Brain's own services are asked for by name, so that the list only
/// matters for what others make there.
const LISTED_FOR: Duration = Duration::from_mins(5);
/// How long a task definition that was found or registered is not looked for again.
const FOUND_FOR: Duration = Duration::from_mins(1);
/// How long a cluster is taken to exist after it has answered a call about what is in it.
const EXISTS_FOR: Duration = Duration::from_mins(5);
/// Newest revisions of a family that are looked through for an equal one.
const REVISIONS_LOOKED_AT: i32 = 10;

#[async_trait]
impl ContainerPort for Aws {
    async fn cluster(&self, name: &str) -> Result<Option<Cluster>> {
        if self.answered(name)
            && let Some(known) = self.clusters.lock().unwrap_or_else(PoisonError::into_inner).get(name)
        {
            return Ok(Some(known.clone()));
        }
        let request = self.ecs.describe_clusters().clusters(name).include(ClusterField::Tags);
        let answer = self.call("DescribeClusters", request.send()).await?;
        let found = answer.clusters().iter().find(|cluster| cluster.status() == Some("ACTIVE"));
        let found = found.map(|cluster| Cluster {
            arn: cluster.cluster_arn().unwrap_or_default().to_owned(),
            tags: collect_tags(cluster.tags().iter().map(|tag| (tag.key(), tag.value()))),
        });
        let mut clusters = self.clusters.lock().unwrap_or_else(PoisonError::into_inner);
        match &found {
            Some(cluster) => drop(clusters.insert(name.to_owned(), cluster.clone())),
            None => drop(clusters.remove(name)),
        }
        Ok(found)
    }

    async fn cluster_counts(&self, names: &[String]) -> Result<Vec<ClusterCounts>> {
        let mut found = Vec::new();
        for names in names.chunks(DESCRIBED_AT_ONCE) {
            let request = self.ecs.describe_clusters().set_clusters(Some(names.to_vec()));
            let answer = self.call("DescribeClusters", request.send()).await?;
            let active = answer.clusters().iter().filter(|cluster| cluster.status() == Some("ACTIVE"));
            found.extend(active.map(counts_of));
        }
        for counts in &found {
            self.check_list(counts);
        }
        Ok(found)
    }

    async fn create_cluster(&self, name: &str, tags: &Tags) -> Result<()> {
        let request = self.ecs.create_cluster().cluster_name(name).set_tags(Some(aws_tags(tags)));
        self.call("CreateCluster", request.send()).await.map(drop)
    }

    async fn hosts(&self, cluster: &str) -> Result<Vec<Host>> {
        let arns = self.list_hosts(cluster).await?;
        self.describe_hosts(cluster, arns).await
    }

    async fn host_count(&self, cluster: &str) -> Result<usize> {
        Ok(self.list_hosts(cluster).await?.len())
    }

    async fn hosts_named(&self, cluster: &str, arns: &BTreeSet<String>) -> Result<Vec<Host>> {
        self.describe_hosts(cluster, arns.iter().cloned().collect()).await
    }

    async fn instances_of(&self, cluster: &str, hosts: &BTreeSet<String>) -> Result<BTreeMap<String, String>> {
        if hosts.iter().any(|host| !self.known_instances().contains_key(host)) {
            self.hosts(cluster).await?;
        }
        let known = self.known_instances();
        Ok(hosts.iter().filter_map(|host| Some((host.clone(), known.get(host)?.clone()))).collect())
    }

    async fn set_draining(&self, cluster: &str, host: &str, draining: bool) -> Result<Host> {
        let status = if draining { ContainerInstanceStatus::Draining } else { ContainerInstanceStatus::Active };
        let request = self.ecs.update_container_instances_state().cluster(cluster);
        let request = request.container_instances(host).status(status);
        let answer = self.call("UpdateContainerInstancesState", request.send()).await?;
        let answered = answer.container_instances().first().map(host_of);
        answered.ok_or("no host").map_err(unbuilt("UpdateContainerInstancesState"))
    }

    async fn find_task_definition(&self, definition: &TaskDefinition) -> Result<Option<String>> {
        if let Some(found) = self.found(definition) {
            return Ok(Some(found));
        }
        let request = self.ecs.list_task_definitions().family_prefix(&definition.family);
        let request = request.sort(SortOrder::Desc).max_results(REVISIONS_LOOKED_AT);
        let answer = self.call("ListTaskDefinitions", request.send()).await?;
        // The prefix also finds longer families.
        let own = format!("/{}:", definition.family);
        for arn in answer.task_definition_arns().iter().filter(|arn| arn.contains(&own)) {
            if *self.definition(arn).await? == *definition {
                self.remember_found(definition, arn);
                return Ok(Some(arn.clone()));
            }
        }
        Ok(None)
    }

    async fn register_task_definition(&self, definition: &TaskDefinition, tags: &Tags) -> Result<()> {
        let environment = definition.environment.iter();
        let environment = environment.map(|(name, value)| KeyValuePair::builder().name(name).value(value).build());
        let ports = PortMapping::builder()
            .host_port(definition.host_port.into())
            .container_port(definition.container_port.into())
            .protocol(TransportProtocol::Tcp);
        let container = ContainerDefinition::builder()
            .name(&definition.container)
            .image(&definition.image)
            .essential(true)
            .memory(signed(definition.memory_mib))
            .cpu(signed(definition.cpu_units))
            .port_mappings(ports.build())
            .set_environment(Some(environment.collect()))
            .set_command(Some(definition.command.clone()));
        let request = self.ecs.register_task_definition().family(&definition.family);
        let request = request.container_definitions(container.build()).set_tags(Some(aws_tags(tags)));
        let answer = self.call("RegisterTaskDefinition", request.send()).await?;
        if let Some(arn) = answer.task_definition().and_then(|definition| definition.task_definition_arn()) {
            self.remember_found(definition, arn);
            let mut known = self.definitions.lock().unwrap_or_else(PoisonError::into_inner);
            known.insert(arn.to_owned(), Arc::new(definition.clone()));
        }
        Ok(())
    }

    async fn task_definitions(&self, family: &str) -> Result<Vec<String>> {
        let (own, mut arns, mut token) = (format!("/{family}:"), Vec::new(), None);
        loop {
            let request = self.ecs.list_task_definitions().family_prefix(family).sort(SortOrder::Desc);
            let answer = self.call("ListTaskDefinitions", request.set_next_token(token).send()).await?;
            // The prefix also finds longer families.
            arns.extend(answer.task_definition_arns().iter().filter(|arn| arn.contains(&own)).cloned());
            token = answer.next_token().map(ToOwned::to_owned);
            if token.is_none() {
                return Ok(arns);
            }
        }
    }

    async fn task_definition(&self, arn: &str) -> Result<(TaskDefinition, Tags)> {
        let request = self.ecs.describe_task_definition().task_definition(arn).include(TaskDefinitionField::Tags);
        let answer = self.call("DescribeTaskDefinition", request.send()).await?;
        let described = answer.task_definition().and_then(definition_of);
        let described = described.ok_or("it has no container").map_err(unbuilt("DescribeTaskDefinition"))?;
        Ok((described, collect_tags(answer.tags().iter().map(|tag| (tag.key(), tag.value())))))
    }

    async fn deregister_task_definition(&self, arn: &str) -> Result<()> {
        // Done or not: it is looked for anew.
        self.found.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, (_, _, found)| found != arn);
        let request = self.ecs.deregister_task_definition().task_definition(arn);
        self.call("DeregisterTaskDefinition", request.send()).await.map(drop)
    }

    async fn services(&self, cluster: &str, also: &[String]) -> Result<Vec<Service>> {
        let mut listed = self.list_services(cluster).await?;
        for name in also {
            if !listed.iter().any(|arn| arn.rsplit('/').next() == Some(name.as_str())) {
                listed.push(name.clone());
            }
        }
        let mut services = Vec::new();
        for listed in listed.chunks(SERVICES_AT_ONCE) {
            services.extend(self.describe_services(cluster, listed.to_vec()).await?);
        }
        Ok(services)
    }

    async fn service(&self, cluster: &str, name: &str) -> Result<Option<Service>> {
        Ok(self.describe_services(cluster, vec![name.to_owned()]).await?.into_iter().next())
    }

    async fn create_service(&self, service: &NewService) -> Result<Service> {
        let balancer =
            LoadBalancer::builder().container_name(&service.container).container_port(service.container_port.into());
        let balancer = match &service.behind {
            Behind::LoadBalancer(name) => balancer.load_balancer_name(name),
            Behind::TargetGroup(name) => balancer.target_group_arn(self.group_arn(name).await?),
        };
        // Tasks of one version only, each on a host of its own: nothing may wait for a second one to start.
        let deployment = DeploymentConfiguration::builder().minimum_healthy_percent(0).maximum_percent(100);
        let request = self
            .ecs
            .create_service()
            .cluster(&service.cluster)
            .service_name(&service.name)
            .task_definition(&service.task_definition)
            .desired_count(0)
            .load_balancers(balancer.build())
            .deployment_configuration(deployment.build())
            .health_check_grace_period_seconds(signed(service.health_check_grace_seconds))
            .client_token(&service.client_token)
            .propagate_tags(PropagateTags::Service)
            .set_tags(Some(aws_tags(&service.tags)));
        let created = self.call("CreateService", request.send()).await;
        let arn = created.as_ref().ok().and_then(|created| created.service()?.service_arn().map(ToOwned::to_owned));
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        match (arn, listed.get_mut(&service.cluster)) {
            (Some(arn), Some((_, arns))) if !arns.contains(&arn) => arns.push(arn),
            (Some(_), _) => {}
            // Done or not: what is listed next has to show it.
            (None, _) => drop(listed.remove(&service.cluster)),
        }
        drop(listed);
        let made = created?.service().map(service_of).ok_or("no service").map_err(unbuilt("CreateService"))?;
        Ok(Service { tags: service.tags.clone(), ..made })
    }

    async fn delete_service(&self, cluster: &str, name: &str) -> Result<()> {
        let request = self.ecs.delete_service().cluster(cluster).service(name).force(false);
        let deleted = self.call("DeleteService", request.send()).await.map(drop);
        self.listed.lock().unwrap_or_else(PoisonError::into_inner).remove(cluster);
        deleted
    }

    async fn set_desired(&self, cluster: &str, service: &str, desired: u32) -> Result<Service> {
        let request = self.ecs.update_service().cluster(cluster).service(service).desired_count(signed(desired));
        let answer = self.call("UpdateService", request.send()).await?;
        answer.service().map(service_of).ok_or("no service").map_err(unbuilt("UpdateService"))
    }

    async fn set_task_definition(&self, cluster: &str, service: &str, definition: &str) -> Result<()> {
        let request = self.ecs.update_service().cluster(cluster).service(service).task_definition(definition);
        self.call("UpdateService", request.send()).await.map(drop)
    }

    async fn set_health_check_grace(&self, cluster: &str, service: &str, seconds: u32) -> Result<()> {
        let request = self.ecs.update_service().cluster(cluster).service(service);
        let request = request.health_check_grace_period_seconds(signed(seconds));
        self.call("UpdateService", request.send()).await.map(drop)
    }

    async fn set_target_group(
        &self,
        cluster: &str,
        service: &str,
        group: &str,
        (container, port): (&str, u16),
    ) -> Result<()> {
        let balancer = LoadBalancer::builder().container_name(container).container_port(port.into());
        let balancer = balancer.target_group_arn(self.group_arn(group).await?).build();
        let request = self.ecs.update_service().cluster(cluster).service(service).load_balancers(balancer);
        self.call("UpdateService", request.send()).await.map(drop)
    }

    async fn tasks(&self, cluster: &str, service: Option<&str>, stopped: bool) -> Result<Vec<Task>> {
        let status = if stopped { DesiredStatus::Stopped } else { DesiredStatus::Running };
        let mut arns = Vec::new();
        let mut token = None;
        loop {
            let request = self.ecs.list_tasks().cluster(cluster).desired_status(status.clone());
            let request = request.set_service_name(service.map(ToOwned::to_owned)).set_next_token(token);
            let Some(answer) = absent(self.call("ListTasks", request.send()).await)? else {
                return Ok(Vec::new());
            };
            arns.extend_from_slice(answer.task_arns());
            token = answer.next_token().map(ToOwned::to_owned);
            if token.is_none() {
                break;
            }
        }
        let mut tasks = Vec::new();
        for arns in arns.chunks(DESCRIBED_AT_ONCE) {
            let request = self.ecs.describe_tasks().cluster(cluster).set_tasks(Some(arns.to_vec()));
            let answer = self.call("DescribeTasks", request.send()).await?;
            tasks.extend(answer.tasks().iter().map(task_of));
        }
        Ok(tasks)
    }
}

impl Aws {
    /// Hosts of a cluster by ARN.
    async fn list_hosts(&self, cluster: &str) -> Result<Vec<String>> {
        let mut arns = Vec::new();
        let mut token = None;
        loop {
            let request = self.ecs.list_container_instances().cluster(cluster).set_next_token(token);
            let Some(answer) = absent(self.call("ListContainerInstances", request.send()).await)? else {
                return Ok(Vec::new());
            };
            arns.extend_from_slice(answer.container_instance_arns());
            token = answer.next_token().map(ToOwned::to_owned);
            if token.is_none() {
                return Ok(arns);
            }
        }
    }

    async fn describe_hosts(&self, cluster: &str, arns: Vec<String>) -> Result<Vec<Host>> {
        let mut hosts = Vec::new();
        for arns in arns.chunks(DESCRIBED_AT_ONCE) {
            let request = self.ecs.describe_container_instances().cluster(cluster);
            let request = request.set_container_instances(Some(arns.to_vec()));
            let answer = self.call("DescribeContainerInstances", request.send()).await?;
            hosts.extend(answer.container_instances().iter().map(host_of));
        }
        self.remember(&hosts);
        Ok(hosts)
    }

    /// Forgets the list of a cluster's services when their number is another one.
    fn check_list(&self, counts: &ClusterCounts) {
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        if listed.get(&counts.name).is_some_and(|(_, arns)| arns.len() != counts.services as usize) {
            listed.remove(&counts.name);
        }
    }

    /// Whether the cluster has answered a call a short time ago.
    fn answered(&self, cluster: &str) -> bool {
        let known = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(cluster).is_some_and(|at| at.elapsed() < EXISTS_FOR)
    }

    /// The revision of a task definition that was found or registered a short time ago.
    fn found(&self, definition: &TaskDefinition) -> Option<String> {
        let known = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let found =
            known.get(&definition.family).filter(|(at, found, _)| at.elapsed() < FOUND_FOR && found == definition);
        found.map(|(_, _, arn)| arn.clone())
    }

    fn remember_found(&self, definition: &TaskDefinition, arn: &str) {
        let mut known = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(definition.family.clone(), (Instant::now(), definition.clone(), arn.to_owned()));
    }

    /// Services of a cluster by ARN. The list changes only when a version comes or goes, so it is kept for a while.
    async fn list_services(&self, cluster: &str) -> Result<Vec<String>> {
        let known = self.listed.lock().unwrap_or_else(PoisonError::into_inner).get(cluster).cloned();
        if let Some((at, arns)) = known
            && at.elapsed() < LISTED_FOR
        {
            return Ok(arns);
        }
        let at = Instant::now();
        let mut arns = Vec::new();
        let mut token = None;
        loop {
            let request = self.ecs.list_services().cluster(cluster).max_results(100).set_next_token(token);
            let Some(answer) = absent(self.call("ListServices", request.send()).await)? else {
                return Ok(Vec::new());
            };
            arns.extend_from_slice(answer.service_arns());
            token = answer.next_token().map(ToOwned::to_owned);
            if token.is_none() {
                break;
            }
        }
        // An empty list is not kept: the first service makes the difference between nothing and production.
        if !arns.is_empty() {
            let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
            listed.insert(cluster.to_owned(), (at, arns.clone()));
        }
        Ok(arns)
    }

    async fn describe_services(&self, cluster: &str, services: Vec<String>) -> Result<Vec<Service>> {
        let request = self.ecs.describe_services().cluster(cluster).set_services(Some(services));
        let request = request.include(aws_sdk_ecs::types::ServiceField::Tags);
        let answer = absent(self.call("DescribeServices", request.send()).await)?;
        let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        match &answer {
            Some(_) => answered.insert(cluster.to_owned(), Instant::now()),
            None => answered.remove(cluster),
        };
        drop(answered);
        Ok(answer.map(|answer| answer.services().iter().map(service_of).collect()).unwrap_or_default())
    }

    async fn definition(&self, arn: &str) -> Result<Arc<TaskDefinition>> {
        if let Some(known) = self.definitions.lock().unwrap_or_else(PoisonError::into_inner).get(arn) {
            return Ok(Arc::clone(known));
        }
        let request = self.ecs.describe_task_definition().task_definition(arn);
        let answer = self.call("DescribeTaskDefinition", request.send()).await?;
        let described = answer.task_definition().and_then(definition_of);
        let described = described.ok_or("it has no container").map_err(unbuilt("DescribeTaskDefinition"))?;
        let described = Arc::new(described);
        let mut known = self.definitions.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(arn.to_owned(), Arc::clone(&described));
        Ok(described)
    }

    fn known_instances(&self) -> BTreeMap<String, String> {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn remember(&self, hosts: &[Host]) {
        let mut known = self.instances.lock().unwrap_or_else(PoisonError::into_inner);
        known.extend(hosts.iter().map(|host| (host.arn.clone(), host.instance.clone())));
    }
}

/// A cluster that does not exist has nothing in it.
fn absent<T>(answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(CloudError { code, .. }) if code == "ClusterNotFoundException" => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn aws_tags(tags: &Tags) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()
}
