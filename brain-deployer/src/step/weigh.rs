//! Requests are weighted: the rule's weights are set while those who gain are healthy, and read back.

use super::{Context, Observed, application, blocked, done, shift, wait};
use crate::cloud::{RequestRule, Result};
use brain_core::traffic::{TargetGroup, Weights};

/// What is to be so.
#[derive(Debug, Clone, Copy)]
pub(super) struct Goal {
    /// The group.
    pub(super) group: TargetGroup,
    /// Percent of all requests that it gets; the other one gets the rest.
    pub(super) percent: u32,
    /// Healthy targets that it has to have before it gets more.
    pub(super) healthy: u32,
}

/// The rule has these weights. Who gains is waited for, unless nobody else is healthy. Where it `follows_health`, that is not waited for: a group without a healthy target gets
/// nothing while the other has some, and nothing is changed where the group has none.
pub(super) async fn weigh(context: &Context, service: &str, goal: Goal, follows_health: bool) -> Result<Observed> {
    let Goal { group, percent, healthy } = goal;
    let (name, groups) = match context.groups() {
        Ok(groups) => (&context.names.load_balancer, groups),
        Err(why) => return Ok(blocked(why)),
    };
    let Some(rule) = context.cloud.rule(name, context.spec.id.as_str()).await? else {
        return Ok(wait(format!("the rule of {name} does not show")));
    };
    let mut wanted = Weights::percent(group, percent);
    let Some(has) = application::weights_of(&rule, groups) else {
        if context.goes_back {
            return Ok(application::forwards_again(context, &rule, groups, wanted));
        }
        return Ok(blocked(format!(
            "the rule of {name} does not forward every request to {} and {}: deploy with repair_drift",
            groups.a, groups.b
        )));
    };
    context.looks.seen_weights(has);
    if has == wanted {
        return Ok(done());
    }
    let own = context.cloud.healthy_targets(groups.of(group)).await?.len();
    if follows_health {
        if own == 0 {
            return Ok(done());
        }
        if percent < 100 && context.cloud.healthy_targets(groups.of(group.other())).await?.is_empty() {
            wanted = Weights::percent(group, 100);
            if has == wanted {
                return Ok(done());
            }
        }
    } else if gains(group, has, wanted) && own < healthy as usize {
        // Requests stay where they are when what they were to come back to is gone.
        if !context.makes
            && let Some(told) = shift::gone(context, service).await?
        {
            return Ok(told);
        }
        // Where nobody else answers them either, nothing is lost, and whoever gets well has them; but a version that is to prove
        // itself gets none before it answers.
        let proves_itself = own == 0 && context.makes && context.wanted.iter().any(|wanted| wanted == service);
        if proves_itself || !context.cloud.healthy_targets(groups.of(group.other())).await?.is_empty() {
            return Ok(wait(format!("{own} of {healthy} healthy targets of {} to send requests to", groups.of(group))));
        }
    } else if !gains(group, has, wanted) && context.cloud.healthy_targets(groups.of(group.other())).await?.is_empty() {
        return Ok(wait(format!("no healthy target of {} to send requests to", groups.of(group.other()))));
    }
    Ok(set(context, service, rule, wanted, wanted.of(group)))
}

/// Whether a group gets a larger part of the requests than it has.
fn gains(group: TargetGroup, has: Weights, wanted: Weights) -> bool {
    let part = |of: Weights, all: Weights| u64::from(of.of(group)) * u64::from((all.a + all.b).max(1));
    part(wanted, has) > part(has, wanted)
}

fn set(context: &Context, service: &str, rule: RequestRule, wanted: Weights, percent: u32) -> Observed {
    context.ready(format!("send {percent}% of requests to {service}"), move |context| async move {
        let Some(groups) = &context.names.target_groups else { return Ok(()) };
        context.looks.forget_weights();
        context.cloud.set_forward(&rule.arn, &application::forward(groups, wanted)).await
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_compared_whatever_the_weights_add_up_to() {
        let ten = Weights::percent(TargetGroup::B, 10);
        assert!(gains(TargetGroup::B, Weights { a: 999, b: 1 }, ten));
        assert!(!gains(TargetGroup::B, Weights { a: 1, b: 1 }, ten));
        assert!(gains(TargetGroup::B, Weights { a: 0, b: 0 }, ten), "nobody gets anything");
    }
}
