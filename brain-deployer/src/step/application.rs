//! Set-up of an application load balancer: the balancer, two target groups, a listener, and the one rule that is brain's.

use super::{
    Context, Observed, blocked,
    network::{guarded, lacking_subnets, places},
    preflight,
    resource::Resource,
    wait,
};
use crate::{
    cloud::{
        Application, Behind, DRAINING_SECONDS, Forward, Front, NewTargets, RequestRule, Result, TAG_PROJECT, Tagged,
        TargetCheck,
    },
    difference::{difference, front_text, listed, listens_text, target_check_differences, unknown},
};
use brain_core::{
    drift::{Drift, Remedy},
    names::TargetGroupNames,
    traffic::{TargetGroup, Weights},
};

/// The last place of a rule (an AWS limit). Brain's takes every request, so those of others come before it.
const LAST_PLACE: u32 = 50_000;
/// Zones that an application load balancer needs (an AWS limit).
const ZONES_MIN: usize = 2;
/// Without a path, whoever answers is well: a target group knows no check by a bare connection.
const ANY_PATH: &str = "/";
const ANY_ANSWER: &str = "200-499";
const OK: &str = "200";

impl Context {
    /// Names of the target groups.
    pub(super) fn groups(&self) -> Result<&TargetGroupNames, String> {
        self.names.target_groups.as_ref().ok_or_else(|| "the plan names no target groups: deploy again".to_owned())
    }

    /// What a service in that group is behind.
    pub(super) fn target_group(&self, group: Option<TargetGroup>) -> Result<Behind, String> {
        Ok(match group {
            None => Behind::LoadBalancer(self.names.load_balancer.clone()),
            Some(group) => Behind::TargetGroup(self.groups()?.of(group).to_owned()),
        })
    }

    pub(super) fn is_ours(&self, tags: &crate::cloud::Tags) -> bool {
        tags.get(TAG_PROJECT).is_some_and(|owner| owner == self.spec.id.as_str())
    }
}

/// Weights by the groups' names.
pub(crate) fn forward(groups: &TargetGroupNames, weights: Weights) -> Forward {
    TargetGroup::BOTH.into_iter().map(|group| (groups.of(group).to_owned(), weights.of(group))).collect()
}

/// The weights of a rule that takes every request and forwards to these groups alone; `None` for any other.
pub(crate) fn weights_of(rule: &RequestRule, groups: &TargetGroupNames) -> Option<Weights> {
    let weight = |group: TargetGroup| rule.forward.get(groups.of(group)).copied();
    let weights = Weights { a: weight(TargetGroup::A)?, b: weight(TargetGroup::B)? };
    (rule.everything && rule.forward.len() == TargetGroup::BOTH.len()).then_some(weights)
}

/// The load balancer, its target groups and its listener.
pub(super) async fn load_balancer(context: &Context) -> Result<Observed> {
    let name = &context.names.load_balancer;
    let mut resource = Resource::new(context, "load balancer", name);
    let Some(found) = context.cloud.application(name).await? else {
        let (subnets, group) = match places(context).await? {
            Ok(places) => places,
            Err(observed) => return Ok(observed),
        };
        let subnets = preflight::one_of_each_zone(context, &subnets).await?;
        if let Some(observed) = too_few_zones(&subnets) {
            return Ok(observed);
        }
        return Ok(resource.make(|context| async move {
            let name = &context.names.load_balancer;
            context.cloud.create_application(name, &subnets, &group, &context.tags()).await
        }));
    };
    let tagged = Tagged::Application { arn: found.arn.clone() };
    if let Some(claim) = resource.claim(&found.tags, tagged, context.tags()) {
        return Ok(claim);
    }
    let arn = found.arn.clone();
    let set = |context: Context, groups: Vec<String>| async move {
        context.cloud.set_application_groups(&arn, &groups).await
    };
    if let Some(observed) = guarded(context, &mut resource, &found.security_groups, set).await? {
        return Ok(observed);
    }
    if let Some(observed) = stands(context, &mut resource, &found).await? {
        return Ok(observed);
    }
    let mut told = resource;
    for group in TargetGroup::BOTH {
        let name = match context.groups() {
            Ok(names) => names.of(group),
            Err(why) => return Ok(blocked(why)),
        };
        let mut resource = Resource::new(context, "target group", name);
        if let Some(observed) = target_group(context, &mut resource, name).await? {
            return Ok(observed);
        }
        told.absorb(resource);
    }
    listener(context, told).await
}

/// Why one cannot be in these subnets, of one zone each.
fn too_few_zones(subnets: &[String]) -> Option<Observed> {
    if subnets.len() >= ZONES_MIN {
        return None;
    }
    Some(blocked(format!(
        "an application load balancer needs subnets in {ZONES_MIN} zones, and there are some in {}: name others in \
         target.subnet_ids",
        subnets.len()
    )))
}

/// What is to be done about subnets that it lacks; `None`: nothing, or it is told.
async fn stands(context: &Context, resource: &mut Resource<'_>, found: &Application) -> Result<Option<Observed>> {
    let Some((lacking, drift)) = lacking_subnets(context, resource, &found.subnets).await? else { return Ok(None) };
    let (what, arn) = (format!("attach {} to {}", context.names.load_balancer, listed(&lacking)), found.arn.clone());
    let all: Vec<String> = found.subnets.iter().cloned().chain(lacking).collect();
    let set = |context: Context| async move { context.cloud.set_application_subnets(&arn, &all).await };
    Ok(Some(context.ready(what, set).telling(drift)))
}

/// What is to be done about a target group; `None`: it is as it has to be, or what differs is told.
async fn target_group(context: &Context, resource: &mut Resource<'_>, name: &str) -> Result<Option<Observed>> {
    let target = context.target();
    let check = match &target.health_check_path {
        Some(path) => TargetCheck { path: path.clone(), codes: OK.to_owned() },
        None => TargetCheck { path: ANY_PATH.to_owned(), codes: ANY_ANSWER.to_owned() },
    };
    let Some(found) = context.cloud.targets(name).await? else {
        let network = match context.cloud.network(target.vpc_id.as_deref(), &target.subnet_ids).await? {
            Ok(network) => network,
            Err(why) => return Ok(Some(blocked(why))),
        };
        let (name, port, tags) = (name.to_owned(), target.host_port, context.tags());
        let new = NewTargets { name, vpc: network.vpc, port, check, tags };
        let create = |context: Context| async move { context.cloud.create_targets(&new).await };
        return Ok(Some(resource.again().make(create)));
    };
    let tagged = Tagged::Application { arn: found.arn.clone() };
    if let Some(claim) = resource.claim(&found.tags, tagged, context.tags()) {
        return Ok(Some(claim));
    }
    let name = name.to_owned();
    let differences = target_check_differences(&found, &check);
    if !differences.is_empty()
        && let Some(drift) = resource.mends(differences)
    {
        let what = format!("set the health check of {name} to {check}");
        let set = |context: Context| async move { context.cloud.set_target_check(&name, &check).await };
        return Ok(Some(context.ready(what, set).telling(drift)));
    }
    if found.draining_seconds != DRAINING_SECONDS
        && let Some(drift) =
            resource.mends([difference("seconds of draining", found.draining_seconds, DRAINING_SECONDS)])
    {
        let what = format!("let targets of {name} drain for {DRAINING_SECONDS} s");
        let set = |context: Context| async move { context.cloud.set_target_draining(&name, DRAINING_SECONDS).await };
        return Ok(Some(context.ready(what, set).telling(drift)));
    }
    Ok(None)
}

/// The listener that is the project's, or would be: by its tag, wherever it listens, or by its port; and all others.
async fn fronts(context: &Context) -> Result<(Option<Front>, Vec<Front>)> {
    let mut fronts = context.cloud.fronts(&context.names.load_balancer).await?;
    let port = context.target().listener_port;
    let own = fronts.iter().position(|front| context.is_ours(&front.tags));
    let own = own.or_else(|| fronts.iter().position(|front| front.port == port));
    let own = own.map(|index| fronts.remove(index));
    Ok((own, fronts))
}

async fn listener(context: &Context, told: Resource<'_>) -> Result<Observed> {
    let (name, target) = (&context.names.load_balancer, context.target());
    let (port, certificate) = (target.listener_port, target.certificate_arn.clone());
    let mut resource = Resource::new(context, "listener of", name);
    resource.absorb(told);
    let (found, others) = fronts(context).await?;
    let Some(found) = found else {
        return Ok(resource.make(move |context| async move {
            let name = &context.names.load_balancer;
            context.cloud.create_front(name, port, certificate.as_deref(), &context.tags()).await
        }));
    };
    let tagged = Tagged::Application { arn: found.arn.clone() };
    if let Some(claim) = resource.claim(&found.tags, tagged, context.tags()) {
        return Ok(claim);
    }
    let is = listens_text(found.port, found.certificate.as_deref());
    let will_be = listens_text(port, certificate.as_deref());
    if is != will_be
        && let Some(drift) = resource.mends([difference("port", is, &will_be)])
    {
        let what = format!("let the listener of {name} listen on {will_be}");
        let set = move |context: Context| async move {
            context.cloud.set_front(&found.arn, port, certificate.as_deref()).await
        };
        return Ok(context.ready(what, set).telling(drift));
    }
    let mut balancer = Resource::new(context, "load balancer", name);
    if let Some(observed) = listens_besides(context, &mut balancer, others) {
        return Ok(observed);
    }
    resource.absorb(balancer);
    Ok(resource.done())
}

/// What is to be done about listeners that somebody has added; `None`: nothing, or it is told. Those that are tagged as a
/// project's are never taken away.
fn listens_besides(context: &Context, resource: &mut Resource<'_>, others: Vec<Front>) -> Option<Observed> {
    for other in others {
        let told = unknown(front_text(&other));
        if other.tags.contains_key(TAG_PROJECT) {
            resource.leaves(told);
            continue;
        }
        if let Some(drift) = resource.removes([told]) {
            let what = format!("remove the {} of {}", front_text(&other), context.names.load_balancer);
            let delete = |context: Context| async move { context.cloud.delete_front(&other.arn).await };
            return Some(context.ready(what, delete).telling(drift));
        }
    }
    None
}

/// To where a rule forwards that is no more as brain made it.
fn forwards_text(rule: &RequestRule) -> String {
    let to = if rule.everything { "" } else { "not every request " };
    format!("{to}to {}", rule.forward.keys().cloned().collect::<Vec<_>>().join(", "))
}

/// What is told of a rule that is set on a way back, whoever has changed it.
fn repaired(context: &Context, rule: &RequestRule, groups: &TargetGroupNames) -> Vec<Drift> {
    let difference = difference("forwards", forwards_text(rule), format!("to {}, {}", groups.a, groups.b));
    let resource = format!("rule of {}", context.names.load_balancer);
    vec![Drift { resource, difference, remedy: Remedy::Repaired }]
}

/// Lets a rule that somebody has changed forward every request to both groups again, with the weights that they still have: a
/// group that no rule forwards to is not checked, so who could get more is seen only then. Where neither has any, as `wanted`.
pub(super) fn forwards_again(
    context: &Context,
    rule: &RequestRule,
    groups: &TargetGroupNames,
    wanted: Weights,
) -> Observed {
    let weight = |group: TargetGroup| rule.forward.get(groups.of(group)).copied().unwrap_or_default();
    let has = Weights { a: weight(TargetGroup::A), b: weight(TargetGroup::B) };
    let weights = if has.a + has.b == 0 { wanted } else { has };
    let (arn, forward) = (rule.arn.clone(), forward(groups, weights));
    let what = format!("let the rule of {} forward to {}, {} again", context.names.load_balancer, groups.a, groups.b);
    let set = move |context: Context| async move { context.cloud.set_forward(&arn, &forward).await };
    context.ready(what, set).telling(repaired(context, rule, groups))
}

/// The rule. A new one sends everything to `group`, where the tasks are; one that exists does so once that is `settled`.
pub(super) async fn rule(context: &Context, group: TargetGroup, settled: bool) -> Result<Observed> {
    let name = &context.names.load_balancer;
    let groups = match context.groups() {
        Ok(groups) => groups,
        Err(why) => return Ok(blocked(why)),
    };
    let (Some(front), _) = fronts(context).await? else {
        return Ok(wait(format!("the listener of {name} does not show yet")));
    };
    let rules = context.cloud.rules(&front.arn).await?;
    let own = rules.iter().find(|rule| context.is_ours(&rule.tags));
    let own = own.or_else(|| rules.iter().find(|rule| rule.priority.is_some() && weights_of(rule, groups).is_some()));
    let mut resource = Resource::new(context, "rule of", name);
    let wanted = Weights::percent(group, 100);
    let forward = forward(groups, wanted);
    let Some(found) = own.cloned() else {
        let taken = |place: &u32| rules.iter().any(|rule| rule.priority == Some(*place));
        let Some(place) = (1..=LAST_PLACE).rev().find(|place| !taken(place)) else {
            return Ok(blocked(format!("the listener of {name} has no place for a rule: remove one")));
        };
        return Ok(resource.make(move |context| async move {
            context.cloud.create_rule(&front.arn, place, &forward, &context.tags()).await
        }));
    };
    if let Some(claim) = resource.claim(&found.tags, Tagged::Application { arn: found.arn.clone() }, context.tags()) {
        return Ok(claim);
    }
    let set = |arn: String| move |context: Context| async move { context.cloud.set_forward(&arn, &forward).await };
    let Some(weights) = weights_of(&found, groups) else {
        let (is, both) = (forwards_text(&found), format!("to {}, {}", groups.a, groups.b));
        let told = [difference("forwards", &is, &both)];
        let mended = if context.goes_back { Some(repaired(context, &found, groups)) } else { resource.mends(told) };
        return Ok(match mended {
            Some(drift) => {
                context.ready(format!("let the rule of {name} forward {both}"), set(found.arn)).telling(drift)
            }
            // Without it no weight can be set, so nothing is begun.
            None => blocked(format!(
                "the rule of {name} forwards {is}, and not every request {both}: deploy with repair_drift"
            )),
        });
    };
    if settled && weights != wanted {
        let difference = difference("weights", weights, wanted);
        let healthy = context.cloud.healthy_targets(groups.of(group)).await?;
        if healthy.is_empty() && !context.cloud.healthy_targets(groups.of(group.other())).await?.is_empty() {
            resource.leaves(difference);
            return Ok(resource.done());
        }
        // Weights are what deployments set, so this one begins from those that its plan knows, whoever has changed them.
        let drift = resource.sets(difference);
        return Ok(context
            .ready(format!("set the weights of the rule of {name} to {wanted}"), set(found.arn))
            .telling(drift));
    }
    Ok(resource.done())
}

#[cfg(test)]
mod tests;
