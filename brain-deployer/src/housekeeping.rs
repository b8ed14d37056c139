//! Housekeeping: old services, old task definitions and empty instances, removed one at a time.
//!
//! What is removed is looked at just before: only what is tagged as the project's, has no task, wants none, and is not to be
//! kept. A look changes nothing. Whoever acts does so under a lease that is not prolonged, and stops before its end, or as soon
//! as it is asked to leave; what is left is for the next time.

use crate::{
    cloud::{Result, Service, ServiceStatus, TAG_PROJECT},
    rehearsal,
    step::{
        Context,
        capacity::{self, Giving},
    },
};
use brain_core::{
    drift::{Drift, Remedy, SetUp},
    housekeeping::{Keep, REMOVED_MAX},
    plan::Step,
};
use std::{collections::BTreeSet, time::Duration};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Time between two acts: what was just done is to show when it is looked at next.
const PAUSE: Duration = Duration::from_millis(500);
/// Errors after which the rest is left for the next time.
const ERRORS_MAX: u32 = 5;

/// What a look has found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// What of the set-up differs.
    pub(crate) drift: Vec<Drift>,
    /// What may go, by kind and name.
    pub(crate) removable: Vec<String>,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Chore {
    DeleteService(String),
    Deregister(String),
    SetDraining { host: String, draining: bool },
    EndInstance(String),
}

impl Chore {
    /// What is gone when it is done, by kind and name; `None`: nothing yet.
    fn removes(&self) -> Option<String> {
        match self {
            Self::DeleteService(name) => Some(format!("service {name}")),
            Self::Deregister(arn) => Some(format!("task definition {}", revision(arn))),
            Self::EndInstance(instance) => Some(format!("instance {instance}")),
            Self::SetDraining { .. } => None,
        }
    }
}

/// `user-ecs-task:7` of an ARN.
fn revision(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

/// How housekeeping of that number is named among what is done.
pub(crate) fn named(id: u64) -> String {
    format!("housekeeping {id}")
}

/// Looks at a project and changes nothing: what may go, and what of these set-up steps differs.
pub(crate) async fn look(context: &Context, keep: &Keep, set_up: &[Step]) -> Result<Found> {
    let none = BTreeSet::new();
    let mut found = Found::default();
    let (services, rest) = services(context, keep, &none).await?;
    let mut chores = services;
    chores.extend(task_definitions(context, keep, &rest, &none).await?);
    found.removable = chores.iter().filter_map(Chore::removes).collect();
    if let Giving::SetDraining { instance, draining: true, .. } | Giving::End { instance } =
        giving(context, keep, &rest).await?
    {
        found.removable.push(format!("instance {instance}"));
    }
    found.removable.truncate(REMOVED_MAX);
    if keep.looks_for_drift {
        found.drift = drift(context, set_up).await?;
    }
    Ok(found)
}

/// Removes what may go, until `until` or until it is asked to leave; answers what it has removed.
pub(crate) async fn run(context: Context, keep: Keep, until: Instant, leave: CancellationToken) -> Vec<String> {
    let (mut removed, mut tried, mut errors) = (Vec::new(), BTreeSet::new(), 0);
    while removed.len() < REMOVED_MAX && errors < ERRORS_MAX {
        context.looks.forget();
        let next = tokio::time::timeout_at(until, leave.run_until_cancelled(next(&context, &keep, &tried)));
        let Ok(Some(next)) = next.await else { break };
        let outcome = match next {
            Ok(None) => break,
            Ok(Some(chore)) if Instant::now() < until && !leave.is_cancelled() => {
                info!(?chore, "housekeeping");
                let outcome = act(&context, &chore).await;
                if outcome.is_ok() {
                    removed.extend(chore.removes());
                }
                // Each is tried once: what AWS does not show yet, or refuses, is for the next time.
                tried.insert(chore);
                outcome
            }
            Ok(Some(_)) => break,
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            warn!(%error, kind = ?error.kind, "housekeeping: an AWS call did not succeed");
            errors += 1;
        }
        let pause = tokio::time::timeout_at(until, leave.run_until_cancelled(sleep(PAUSE)));
        if !matches!(pause.await, Ok(Some(()))) {
            break;
        }
    }
    removed
}

async fn next(context: &Context, keep: &Keep, tried: &BTreeSet<Chore>) -> Result<Option<Chore>> {
    let (services, rest) = services(context, keep, tried).await?;
    if let Some(first) = services.into_iter().next() {
        return Ok(Some(first));
    }
    if let Some(first) = task_definitions(context, keep, &rest, tried).await?.into_iter().next() {
        return Ok(Some(first));
    }
    let chore = match giving(context, keep, &rest).await? {
        Giving::SetDraining { host, draining, .. } => Chore::SetDraining { host, draining },
        Giving::End { instance } => Chore::EndInstance(instance),
        Giving::Wait(_) | Giving::Done => return Ok(None),
    };
    Ok(Some(chore).filter(|chore| !tried.contains(chore)))
}

async fn act(context: &Context, chore: &Chore) -> Result<()> {
    let (cloud, cluster) = (&context.cloud, &context.names.cluster);
    match chore {
        Chore::DeleteService(name) => cloud.delete_service(cluster, name).await,
        Chore::Deregister(arn) => cloud.deregister_task_definition(arn).await,
        Chore::SetDraining { host, draining } => capacity::drain(context, host, *draining).await,
        Chore::EndInstance(instance) => capacity::end(context, instance).await,
    }
}

/// Services that may go, and all others of the cluster.
async fn services(context: &Context, keep: &Keep, tried: &BTreeSet<Chore>) -> Result<(Vec<Chore>, Vec<Service>)> {
    let cluster = &context.names.cluster;
    let (mut chores, mut rest) = (Vec::new(), Vec::new());
    for service in context.cloud.services(cluster, &[]).await? {
        if service.status != ServiceStatus::Active {
            continue;
        }
        let chore = Chore::DeleteService(service.name.clone());
        let mut goes = may_go(context, keep, &service) && !tried.contains(&chore);
        if goes {
            // Tasks on their way out are no longer counted, and may still be serving their last requests.
            let stopped = context.cloud.tasks(cluster, Some(&service.name), true).await?;
            goes = !stopped.iter().any(crate::cloud::Task::is_stopping);
        }
        if goes {
            chores.push(chore);
        } else {
            rest.push(service);
        }
    }
    Ok((chores, rest))
}

fn may_go(context: &Context, keep: &Keep, service: &Service) -> bool {
    let project = context.spec.id.as_str();
    let ours = service.tags.get(TAG_PROJECT).is_some_and(|owner| owner == project);
    let idle = service.desired == 0 && service.running == 0 && service.pending == 0;
    ours && idle && !keep.services.contains(&service.name)
}

/// Revisions that may go: beyond the newest ones, of no kept image, and used by no service that stays.
async fn task_definitions(
    context: &Context,
    keep: &Keep,
    services: &[Service],
    tried: &BTreeSet<Chore>,
) -> Result<Vec<Chore>> {
    let project = context.spec.id.as_str();
    let revisions = context.cloud.task_definitions(&context.names.task_family).await?;
    let mut chores = Vec::new();
    for arn in revisions.into_iter().skip(keep.task_definitions as usize) {
        let used = services.iter().any(|service| revision(&service.task_definition) == revision(&arn));
        let chore = Chore::Deregister(arn);
        if used || tried.contains(&chore) || chores.len() >= REMOVED_MAX {
            continue;
        }
        let Chore::Deregister(arn) = &chore else { continue };
        let (definition, tags) = context.cloud.task_definition(arn).await?;
        let ours = tags.get(TAG_PROJECT).is_some_and(|owner| owner == project);
        if ours && !keep.images.contains(&definition.image) {
            chores.push(chore);
        }
    }
    Ok(chores)
}

/// Of the instances beyond those that are kept and those that the services want.
async fn giving(context: &Context, keep: &Keep, services: &[Service]) -> Result<Giving> {
    if context
        .cloud
        .group(&context.names.auto_scaling_group)
        .await?
        .is_none_or(|group| group.tags.get(TAG_PROJECT).is_none_or(|owner| owner != context.spec.id.as_str()))
    {
        return Ok(Giving::Done);
    }
    let wanted: u32 = services.iter().map(|service| service.desired).sum();
    capacity::giving(context, keep.instances.max(wanted)).await
}

/// What of these set-up steps differs, rehearsed.
async fn drift(context: &Context, set_up: &[Step]) -> Result<Vec<Drift>> {
    let mut context = context.clone();
    (context.set_up, context.adopt) = (SetUp::Check, false);
    let mut found = Vec::new();
    for (step, rehearsed) in set_up.iter().zip(rehearsal::rehearse(&context, set_up).await?) {
        // A credential that changed at this deployer is followed by the next deployment, and is no drift.
        let drift = rehearsed.drift.into_iter().filter(|drift| drift.remedy != Remedy::Followed);
        found.extend(drift.map(|drift| Drift { remedy: Remedy::Told, ..drift }));
        found.extend(rehearsed.fault.map(|difference| {
            let step = step.to_string();
            let resource = step.strip_prefix("set up the ").unwrap_or(&step).to_owned();
            Drift { resource, difference, remedy: Remedy::Told }
        }));
    }
    Ok(found)
}
