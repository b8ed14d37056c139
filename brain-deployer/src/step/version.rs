//! What a version has: its task definition, and its service, made at desired count 0.

use super::{Context, Observed, blocked, done, resource::Resource, wait};
use crate::cloud::{Behind, NewService, Result, Service, ServiceStatus, Tagged};
use brain_core::traffic::TargetGroup;

/// The task definition. An equal revision is used again, so that a repeated step registers no second one.
pub(super) async fn task_definition(context: &Context, version: &str, image: &str) -> Result<Observed> {
    let definition = context.definition(image);
    if context.cloud.find_task_definition(&definition).await?.is_some() {
        return Ok(done());
    }
    let tags = context.version_tags(version);
    Ok(context.ready(format!("register task definition {} for {version}", definition.family), |context| async move {
        context.cloud.register_task_definition(&definition, &tags).await
    }))
}

/// The service.
pub(super) async fn service(
    context: &Context,
    name: &str,
    version: &str,
    image: &str,
    client_token: &str,
    group: Option<TargetGroup>,
) -> Result<Observed> {
    let behind = match context.target_group(group) {
        Ok(behind) => behind,
        Err(why) => return Ok(blocked(why)),
    };
    let Some(definition) = context.cloud.find_task_definition(&context.definition(image)).await? else {
        return Ok(wait(format!("the task definition of {version} does not show yet")));
    };
    let (_, services) = context.services(name).await?;
    match services.into_iter().find(|service| service.name == name) {
        Some(found) if found.status == ServiceStatus::Draining => {
            Ok(wait(format!("service {name} was deleted and is draining; its name is free afterwards")))
        }
        Some(found) if found.status == ServiceStatus::Active => {
            let tagged = Tagged::Service { arn: found.arn.clone() };
            let resource = Resource::new(context, "service", name);
            if let Some(claim) = resource.claim(&found.tags, tagged, context.version_tags(version)) {
                return Ok(claim);
            }
            // What comes back comes back as it was, though the project's definition has changed since: with the memory, the
            // environment and the command that it has served with. Its name holds its image.
            let stays = found.desired > 0 || context.keeps_definition;
            if found.task_definition == definition || (context.goes_back && stays) {
                return Ok(settled(context, &found, &behind));
            }
            if found.desired > 0 {
                // ECS would replace the tasks in place, past floor and gates.
                return Ok(blocked(format!(
                    "service {name} runs {} tasks with another task definition, {}, from before the project's definition \
                     changed: what changed comes with the next version",
                    found.desired, found.task_definition
                )));
            }
            let name = name.to_owned();
            Ok(context.ready(format!("set the task definition of {name}"), |context| async move {
                let set = context.cloud.set_task_definition(&context.names.cluster, &name, &definition).await;
                context.looks.forget_services();
                set
            }))
        }
        _ => {
            let service = NewService {
                cluster: context.names.cluster.clone(),
                name: name.to_owned(),
                task_definition: definition,
                behind,
                container: context.names.container.clone(),
                container_port: context.target().container_port,
                health_check_grace_seconds: grace_seconds(context),
                client_token: client_token.to_owned(),
                tags: context.version_tags(version),
            };
            Ok(context.ready(format!("create service {name}"), |context| async move {
                let created = context.cloud.create_service(&service).await;
                created
                    .map(|service| context.looks.service_answered(service))
                    .inspect_err(|_| context.looks.forget_services())
            }))
        }
    }
}

fn grace_seconds(context: &Context) -> u32 {
    u32::try_from(context.target().health_check_grace_period.as_secs()).unwrap_or(u32::MAX)
}

/// The service has its task definition. One that was made under another definition of the project, or by a brain that set no
/// grace period, gets today's: ECS replaces no task for that.
fn settled(context: &Context, found: &Service, behind: &Behind) -> Observed {
    let (is, seconds) = (found.health_check_grace_seconds, grace_seconds(context));
    if is == seconds {
        return in_group(context, found, behind);
    }
    let name = found.name.clone();
    context.ready(
        format!("set the health check grace period of {name} from {is} s to {seconds} s"),
        move |context| async move {
            let set = context.cloud.set_health_check_grace(&context.names.cluster, &name, seconds).await;
            context.looks.forget_services();
            set
        },
    )
}

/// The service has its task definition, and is in its target group or can be moved there.
fn in_group(context: &Context, found: &Service, behind: &Behind) -> Observed {
    let (Some(group), name) = (behind.target_group(), &found.name) else { return done() };
    if found.target_group.as_ref() == Some(group) {
        return done();
    }
    let is = found.target_group.as_deref().unwrap_or("none");
    if found.desired > 0 || found.running > 0 || found.pending > 0 {
        // ECS would replace the tasks, and they would get another part of the requests.
        return blocked(format!(
            "service {name} has tasks in target group {is}, and is to be in {group}: scale it to 0 first"
        ));
    }
    let (name, group) = (name.clone(), group.clone());
    context.ready(format!("move {name} from target group {is} to {group}"), |context| async move {
        let container = (context.names.container.as_str(), context.target().container_port);
        let set = context.cloud.set_target_group(&context.names.cluster, &name, &group, container).await;
        context.looks.forget_services();
        set
    })
}
