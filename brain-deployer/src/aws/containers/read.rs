//! ECS's answers in the words of the ports.

use crate::{
    aws::{application::group_name, collect_tags, count, port},
    cloud::{ClusterCounts, Host, HostStatus, Service, ServiceEvent, ServiceStatus, Stopped, Task, TaskDefinition},
};
use aws_sdk_ecs::types::{ContainerInstance, Resource};

pub(super) fn counts_of(cluster: &aws_sdk_ecs::types::Cluster) -> ClusterCounts {
    ClusterCounts {
        name: cluster.cluster_name().unwrap_or_default().to_owned(),
        services: count(cluster.active_services_count()),
        running: count(cluster.running_tasks_count()),
        pending: count(cluster.pending_tasks_count()),
        hosts: count(cluster.registered_container_instances_count()),
    }
}

pub(super) fn host_of(host: &ContainerInstance) -> Host {
    let resource = |of: &[Resource], name: &str| {
        let found = of.iter().find(|resource| resource.name() == Some(name));
        found.map(|resource| count(resource.integer_value())).unwrap_or_default()
    };
    let (whole, left) = (host.registered_resources(), host.remaining_resources());
    // Among what is left ECS lists the ports that are not.
    let ports = left.iter().filter(|resource| resource.name() == Some("PORTS"));
    Host {
        arn: host.container_instance_arn().unwrap_or_default().to_owned(),
        instance: host.ec2_instance_id().unwrap_or_default().to_owned(),
        status: match host.status() {
            Some("ACTIVE") => HostStatus::Active,
            Some("DRAINING") => HostStatus::Draining,
            _ => HostStatus::Other,
        },
        connected: host.agent_connected(),
        tasks: count(host.running_tasks_count()) + count(host.pending_tasks_count()),
        memory_mib: resource(whole, "MEMORY"),
        cpu_units: resource(whole, "CPU"),
        memory_left_mib: resource(left, "MEMORY"),
        cpu_left_units: resource(left, "CPU"),
        ports: ports.flat_map(|ports| ports.string_set_value()).filter_map(|port| port.parse().ok()).collect(),
    }
}

pub(super) fn service_of(service: &aws_sdk_ecs::types::Service) -> Service {
    Service {
        name: service.service_name().unwrap_or_default().to_owned(),
        arn: service.service_arn().unwrap_or_default().to_owned(),
        status: match service.status() {
            Some("ACTIVE") => ServiceStatus::Active,
            Some("DRAINING") => ServiceStatus::Draining,
            _ => ServiceStatus::Inactive,
        },
        desired: count(service.desired_count()),
        running: count(service.running_count()),
        pending: count(service.pending_count()),
        task_definition: service.task_definition().unwrap_or_default().to_owned(),
        target_group: service
            .load_balancers()
            .iter()
            .find_map(|balancer| balancer.target_group_arn())
            .map(|arn| group_name(arn).to_owned()),
        health_check_grace_seconds: count(service.health_check_grace_period_seconds().unwrap_or_default()),
        tags: collect_tags(service.tags().iter().map(|tag| (tag.key(), tag.value()))),
        events: service.events().iter().map(event_of).collect(),
    }
}

fn event_of(event: &aws_sdk_ecs::types::ServiceEvent) -> ServiceEvent {
    ServiceEvent {
        at_ms: event.created_at().and_then(|at| at.to_millis().ok()).unwrap_or_default(),
        message: event.message().unwrap_or_default().to_owned(),
    }
}

pub(super) fn task_of(task: &aws_sdk_ecs::types::Task) -> Task {
    let container = task.containers().first();
    let times = [task.stopping_at(), task.execution_stopped_at(), task.stopped_at()];
    let times = times.into_iter().flatten().filter_map(|at| at.to_millis().ok());
    let created_ms = task.created_at().and_then(|at| at.to_millis().ok()).unwrap_or_default();
    let stopped = (task.desired_status() == Some("STOPPED")).then(|| Stopped {
        at_ms: times.min().unwrap_or(created_ms),
        code: task.stop_code().map(|code| code.as_str().to_owned()).unwrap_or_default(),
        reason: task.stopped_reason().unwrap_or_default().to_owned(),
        exit_code: container.and_then(|container| container.exit_code()),
        container_reason: container.and_then(|container| container.reason()).map(ToOwned::to_owned),
    });
    Task {
        id: task.task_arn().unwrap_or_default().rsplit('/').next().unwrap_or_default().to_owned(),
        service: task.group().and_then(|group| group.strip_prefix("service:")).unwrap_or_default().to_owned(),
        running: task.last_status() == Some("RUNNING") && task.desired_status() == Some("RUNNING"),
        host: task.container_instance_arn().map(ToOwned::to_owned),
        created_ms,
        stopped,
        ended: task.last_status() == Some("STOPPED"),
    }
}

pub(super) fn definition_of(definition: &aws_sdk_ecs::types::TaskDefinition) -> Option<TaskDefinition> {
    let container = definition.container_definitions().first()?;
    let ports = container.port_mappings().first();
    let environment = container.environment().iter();
    let environment = environment.filter_map(|pair| Some((pair.name()?.to_owned(), pair.value()?.to_owned())));
    Some(TaskDefinition {
        family: definition.family()?.to_owned(),
        container: container.name()?.to_owned(),
        image: container.image()?.to_owned(),
        host_port: port(ports.and_then(|ports| ports.host_port()).unwrap_or_default()),
        container_port: port(ports.and_then(|ports| ports.container_port()).unwrap_or_default()),
        memory_mib: count(container.memory().unwrap_or_default()),
        cpu_units: count(container.cpu()),
        command: container.command().to_vec(),
        environment: environment.collect(),
    })
}
