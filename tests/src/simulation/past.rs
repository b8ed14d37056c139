//! What earlier versions have left in the account: work for housekeeping, and what it must not touch.

use brain_core::{id::ProjectId, image::Digest, names};
use brain_deployer::{
    cloud::{Service, ServiceStatus, TAG_PROJECT, Tags, TaskDefinition},
    simulated::{ServiceState, World},
};

/// A service of that project which is not tagged as its own.
pub(super) const FOREIGN: &str = "user-by-hand";
const CLUSTER: &str = "user-ecs-cluster";

/// Leaves services and task definitions of former versions, one of them of a version that is deployed again, and some that are
/// not brain's.
pub(super) fn leave(world: &mut World) {
    let ours: Tags = [(TAG_PROJECT.to_owned(), "user".to_owned())].into();
    world.clusters.insert(CLUSTER.to_owned(), ours.clone());
    for version in [1u8, 2, 3, 5] {
        let arn = define(world, version, ours.clone());
        serve(world, &service(version), &arn, ours.clone());
    }
    let arn = define(world, 9, Tags::new());
    serve(world, FOREIGN, &arn, Tags::new());
}

fn service(version: u8) -> String {
    let digest = Digest::parse(&super::digest(version)).expect("it is one");
    names::service(&ProjectId::parse("user").expect("it is one"), &format!("0.0.{version}"), &digest)
}

fn define(world: &mut World, version: u8, tags: Tags) -> String {
    let definition = TaskDefinition {
        family: "user-ecs-task".to_owned(),
        container: "user-ecs-container".to_owned(),
        image: format!("of-old/user:0.0.{version}"),
        host_port: 6041,
        container_port: 9000,
        memory_mib: 512,
        cpu_units: 0,
        command: Vec::new(),
        environment: [].into(),
    };
    let arn = format!("{}:{}", definition.family, world.definitions.len() + 1);
    world.definition_tags.insert(arn.clone(), tags);
    world.definitions.push((arn.clone(), definition));
    arn
}

fn serve(world: &mut World, name: &str, definition: &str, tags: Tags) {
    let shown = Service {
        name: name.to_owned(),
        arn: name.to_owned(),
        status: ServiceStatus::Active,
        desired: 0,
        running: 0,
        pending: 0,
        task_definition: definition.to_owned(),
        target_group: None,
        health_check_grace_seconds: 0,
        tags,
        events: Vec::new(),
    };
    let (cluster, client_token) = (CLUSTER.to_owned(), "of old".to_owned());
    world.services.insert(name.to_owned(), ServiceState { shown, cluster, client_token, deleted_ms: None });
}
