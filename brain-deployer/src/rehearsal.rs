//! A plan rehearsed: its own steps run on what AWS shows now, and what they do is noted instead of done.
//!
//! The set-up, the version and the capacity are observed and acted on as in a deployment, so that what is told is what will be
//! done. The shift depends on tasks that do not run yet: its calls come from the plan's counts.

use self::stage::Stage;
use crate::{
    cloud::{ApplicationPort, ContainerPort, GroupPort, Result, ServiceStatus},
    step::{self, Context, Observed, application},
};
use brain_core::{drift::Drift, plan::Step, traffic::Weights};
use std::sync::Arc;

mod stage;

/// Acts after which a step that still wants more is left: no step has half as many.
const ACTS_MAX: usize = 20;

/// What one step would do.
#[derive(Debug, Default)]
pub(crate) struct Rehearsed {
    /// Calls that would change something, in order.
    pub(crate) calls: Vec<Call>,
    /// What keeps the step from its goal.
    pub(crate) fault: Option<String>,
    /// What differs, and what it would do about it.
    pub(crate) drift: Vec<Drift>,
}

/// A call that would change something.
#[derive(Debug)]
pub(crate) struct Call {
    /// AWS's name of it.
    pub(crate) call: String,
    /// Name of the resource.
    pub(crate) resource: String,
    /// "field: is → will be".
    pub(crate) differences: Vec<String>,
}

/// What each of `steps` would do, if they were carried out now. Nothing is changed.
pub(crate) async fn rehearse(context: &Context, steps: &[Step]) -> Result<Vec<Rehearsed>> {
    let stage = Arc::new(Stage::new(Arc::clone(&context.cloud)));
    let mut context = context.clone();
    context.cloud = Arc::<Stage>::clone(&stage);
    context.looks = Arc::default();
    let mut rehearsed = Vec::new();
    for step in steps {
        let mut drift = Vec::new();
        let fault = match step {
            Step::Scale { service, desired, .. } => scale(&context, &stage, service, *desired).await?,
            Step::Weigh { group, percent, .. } => weigh(&context, &stage, Weights::percent(*group, *percent)).await?,
            Step::ReturnCapacity { instances } => give_back(&context, &stage, *instances).await?,
            Step::Verify { .. } | Step::Bake { .. } | Step::Gate { .. } | Step::Hold => None,
            _ => act_out(&mut context, step, &mut drift).await?,
        };
        rehearsed.push(Rehearsed { calls: stage.take_calls(), fault, drift });
    }
    Ok(rehearsed)
}

/// Observes and acts as the worker does, until there is nothing more to do.
async fn act_out(context: &mut Context, step: &Step, drift: &mut Vec<Drift>) -> Result<Option<String>> {
    for _ in 0..ACTS_MAX {
        match step::observe(context, step).await? {
            Observed::Ready(act) => {
                context.remember(&act.drift);
                drift.extend(act.drift);
                act.run.await?;
            }
            Observed::Blocked(why, _) => return Ok(Some(why)),
            Observed::Told(told) => {
                drift.extend(told);
                break;
            }
            // What the step would wait for comes with the steps before it.
            Observed::Done(_)
            | Observed::Wait(_)
            | Observed::NoRoom(_)
            | Observed::Watched { .. }
            | Observed::Hold { .. }
            | Observed::Failing { .. } => break,
        }
    }
    Ok(None)
}

async fn scale(context: &Context, stage: &Stage, name: &str, desired: u32) -> Result<Option<String>> {
    let cluster = &context.names.cluster;
    let found = stage.service(cluster, name).await?;
    match found.filter(|service| service.status == ServiceStatus::Active) {
        Some(service) if service.desired == desired => {}
        Some(_) => drop(stage.set_desired(cluster, name, desired).await?),
        // It has no tasks to take away, and no other step makes it: a deployment tells that, and goes on.
        None if desired == 0 || !(context.makes && context.wanted.iter().any(|wanted| wanted == name)) => {}
        None => return Ok(Some(format!("service {name} is not there"))),
    }
    Ok(None)
}

/// Who will be healthy then is not known, so the plan's weights are taken.
async fn weigh(context: &Context, stage: &Stage, weights: Weights) -> Result<Option<String>> {
    let (name, Some(groups)) = (&context.names.load_balancer, &context.names.target_groups) else { return Ok(None) };
    let Some(rule) = stage.rule(name, context.spec.id.as_str()).await? else {
        return Ok(Some(format!("the rule of {name} is not there")));
    };
    if application::weights_of(&rule, groups) != Some(weights) {
        stage.set_forward(&rule.arn, &application::forward(groups, weights)).await?;
    }
    Ok(None)
}

/// Which instances will be empty is not known before the shift.
async fn give_back(context: &Context, stage: &Stage, instances: u32) -> Result<Option<String>> {
    let names = &context.names;
    let Some(group) = stage.group(&names.auto_scaling_group).await? else { return Ok(None) };
    for _ in instances..group.desired {
        let empty = format!("an empty instance of {}", names.auto_scaling_group);
        stage.set_draining(&names.cluster, &empty, true).await?;
        stage.terminate(&empty).await?;
    }
    Ok(None)
}
