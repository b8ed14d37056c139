//! Cluster, hosts, task definitions and services as they would be.

use super::{NEW, Stage};
use crate::{
    cloud::{
        Behind, Cluster, ClusterCounts, ContainerPort, Host, HostStatus, NewService, Result, Service, ServiceStatus,
        Tags, Task, TaskDefinition,
    },
    difference::difference,
};
use async_trait::async_trait;
use std::collections::{BTreeMap, BTreeSet};

/// How its differences are told.
const GRACE: &str = "seconds of health check grace";

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
        health_check_grace_seconds: 0,
        tags: tags.clone(),
        events: Vec::new(),
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
            difference(GRACE, "none", service.health_check_grace_seconds),
        ];
        made.note("CreateService", &service.name, differences);
        let target_group = service.behind.target_group().cloned();
        let health_check_grace_seconds = service.health_check_grace_seconds;
        let new = new_service(&service.name, &service.task_definition, &service.tags);
        let new = Service { target_group, health_check_grace_seconds, ..new };
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

    async fn set_health_check_grace(&self, _cluster: &str, service: &str, seconds: u32) -> Result<()> {
        let mut made = self.made();
        let is = made.services.get(service).map(|service| service.health_check_grace_seconds).unwrap_or_default();
        made.note("UpdateService", service, vec![difference(GRACE, is, seconds)]);
        if let Some(service) = made.services.get_mut(service) {
            service.health_check_grace_seconds = seconds;
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
