//! Application load balancers.

use super::{Aws, collect_tags, count, port, signed};
use crate::cloud::{
    Application, ApplicationPort, CHECKS, CloudError, Forward, Front, NewTargets, RequestRule, Result, TAG_PROJECT,
    Tags, TargetCheck, Targets,
};
use async_trait::async_trait;
use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, Certificate, FixedResponseActionConfig, ForwardActionConfig, Listener, LoadBalancer,
    LoadBalancerTypeEnum, Matcher, PathPatternConditionConfig, ProtocolEnum, Rule, RuleCondition, Tag, TargetGroup,
    TargetGroupAttribute, TargetGroupTuple, TargetHealthStateEnum, TargetTypeEnum,
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
};

/// Name of the attribute with the seconds that a target drains.
const DRAINING: &str = "deregistration_delay.timeout_seconds";
/// What a listener answers to what no rule takes.
const NOBODY: &str = "503";
/// The path of every request.
const EVERY_PATH: &str = "/*";
/// Resources of which one DescribeTags tells (an AWS limit).
const TAGGED_AT_ONCE: usize = 20;
/// TLS policy of a listener with a certificate: AWS's recommended one, for TLS 1.2 and 1.3.
const TLS: &str = "ELBSecurityPolicy-TLS13-1-2-2021-06";

/// What an ARN was seen to belong to. An ARN is never used again; one that is gone is looked for anew. What a step looks at before
/// it acts is remembered here, so that no look comes between the lease's last check and the act.
#[derive(Debug, Default)]
pub(super) struct Arns {
    /// Load balancers by name.
    balancers: Mutex<HashMap<String, String>>,
    /// Target groups by name.
    groups: Mutex<HashMap<String, String>>,
    /// Brain's rules by load balancer, with their tags.
    rules: Mutex<HashMap<String, (String, Tags)>>,
}

impl Arns {
    pub(super) fn forget(&self) {
        self.balancers.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.groups.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.rules.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The target groups that rules forward to: as long as one does, no other has its name.
    fn forwarded(&self, rules: &[Rule]) {
        let configs = rules.iter().flat_map(|rule| rule.actions()).filter_map(|action| action.forward_config());
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        for arn in configs.flat_map(|config| config.target_groups()).filter_map(|group| group.target_group_arn()) {
            groups.insert(group_name(arn).to_owned(), arn.to_owned());
        }
    }
}

#[async_trait]
impl ApplicationPort for Aws {
    async fn application(&self, name: &str) -> Result<Option<Application>> {
        let Some(found) = self.describe_application(name).await? else { return Ok(None) };
        let arn = found.load_balancer_arn().unwrap_or_default().to_owned();
        let tags = self.tags_of(std::slice::from_ref(&arn)).await?.remove(&arn).unwrap_or_default();
        let subnets = found.availability_zones().iter().filter_map(|zone| zone.subnet_id().map(ToOwned::to_owned));
        Ok(Some(Application {
            arn,
            security_groups: found.security_groups().iter().cloned().collect(),
            subnets: subnets.collect(),
            tags,
        }))
    }

    async fn create_application(&self, name: &str, subnets: &[String], group: &str, tags: &Tags) -> Result<()> {
        let request = self.applications.create_load_balancer().name(name).security_groups(group);
        let request = request.r#type(LoadBalancerTypeEnum::Application).set_subnets(Some(subnets.to_vec()));
        self.call("CreateLoadBalancer", request.set_tags(Some(aws_tags(tags))).send()).await.map(drop)
    }

    async fn set_application_groups(&self, arn: &str, groups: &[String]) -> Result<()> {
        let request = self.applications.set_security_groups().load_balancer_arn(arn);
        let request = request.set_security_groups(Some(groups.to_vec()));
        self.call("SetSecurityGroups", request.send()).await.map(drop)
    }

    async fn set_application_subnets(&self, arn: &str, subnets: &[String]) -> Result<()> {
        let request = self.applications.set_subnets().load_balancer_arn(arn).set_subnets(Some(subnets.to_vec()));
        self.call("SetSubnets", request.send()).await.map(drop)
    }

    async fn targets(&self, name: &str) -> Result<Option<Targets>> {
        let Some(group) = self.describe_group(name).await? else { return Ok(None) };
        let arn = group.target_group_arn().unwrap_or_default().to_owned();
        let attributes = self.applications.describe_target_group_attributes().target_group_arn(&arn);
        let attributes = self.call("DescribeTargetGroupAttributes", attributes.send()).await?;
        let draining = attributes.attributes().iter().find(|attribute| attribute.key() == Some(DRAINING));
        let tags = self.tags_of(std::slice::from_ref(&arn)).await?.remove(&arn).unwrap_or_default();
        Ok(Some(Targets {
            arn,
            check: TargetCheck {
                path: group.health_check_path().unwrap_or_default().to_owned(),
                codes: group.matcher().and_then(|matcher| matcher.http_code()).unwrap_or_default().to_owned(),
            },
            checks: [
                group.health_check_interval_seconds(),
                group.health_check_timeout_seconds(),
                group.healthy_threshold_count(),
                group.unhealthy_threshold_count(),
            ]
            .map(Option::unwrap_or_default),
            draining_seconds: draining.and_then(|draining| draining.value()?.parse().ok()).unwrap_or_default(),
            tags,
        }))
    }

    async fn create_targets(&self, targets: &NewTargets) -> Result<()> {
        let NewTargets { name, vpc, port, check, tags } = targets;
        let [every, within, well, ill] = CHECKS;
        let request = self.applications.create_target_group().name(name).vpc_id(vpc).port((*port).into());
        let request = request
            .protocol(ProtocolEnum::Http)
            .target_type(TargetTypeEnum::Instance)
            .health_check_protocol(ProtocolEnum::Http)
            .health_check_path(&check.path)
            .matcher(Matcher::builder().http_code(&check.codes).build())
            .health_check_interval_seconds(every)
            .health_check_timeout_seconds(within)
            .healthy_threshold_count(well)
            .unhealthy_threshold_count(ill)
            .set_tags(Some(aws_tags(tags)));
        self.call("CreateTargetGroup", request.send()).await.map(drop)
    }

    async fn set_target_check(&self, name: &str, check: &TargetCheck) -> Result<()> {
        let [every, within, well, ill] = CHECKS;
        let request = self.applications.modify_target_group().target_group_arn(self.group_arn(name).await?);
        let request = request
            .health_check_protocol(ProtocolEnum::Http)
            .health_check_path(&check.path)
            .matcher(Matcher::builder().http_code(&check.codes).build())
            .health_check_interval_seconds(every)
            .health_check_timeout_seconds(within)
            .healthy_threshold_count(well)
            .unhealthy_threshold_count(ill);
        self.call("ModifyTargetGroup", request.send()).await.map(drop)
    }

    async fn set_target_draining(&self, name: &str, seconds: u32) -> Result<()> {
        let attribute = TargetGroupAttribute::builder().key(DRAINING).value(seconds.to_string()).build();
        let request = self.applications.modify_target_group_attributes();
        let request = request.target_group_arn(self.group_arn(name).await?).attributes(attribute);
        self.call("ModifyTargetGroupAttributes", request.send()).await.map(drop)
    }

    async fn healthy_targets(&self, name: &str) -> Result<BTreeSet<String>> {
        let Some(arn) = self.find_group_arn(name).await? else { return Ok(BTreeSet::new()) };
        let request = self.applications.describe_target_health().target_group_arn(arn);
        let Some(answer) = self.absent(self.call("DescribeTargetHealth", request.send()).await)? else {
            return Ok(BTreeSet::new());
        };
        let healthy = answer.target_health_descriptions().iter().filter(|described| {
            described.target_health().and_then(|health| health.state()) == Some(&TargetHealthStateEnum::Healthy)
        });
        Ok(healthy.filter_map(|described| described.target()?.id().map(ToOwned::to_owned)).collect())
    }

    async fn fronts(&self, balancer: &str) -> Result<Vec<Front>> {
        let Some(arn) = self.application_arn(balancer).await? else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        let mut marker = None;
        loop {
            let request = self.applications.describe_listeners().load_balancer_arn(&arn).set_marker(marker);
            let Some(answer) = self.absent(self.call("DescribeListeners", request.send()).await)? else {
                return Ok(Vec::new());
            };
            found.extend(answer.listeners().iter().map(front_of));
            marker = answer.next_marker().map(ToOwned::to_owned);
            if marker.is_none() {
                break;
            }
        }
        let arns: Vec<String> = found.iter().map(|front: &Front| front.arn.clone()).collect();
        let mut tags = self.tags_of(&arns).await?;
        for front in &mut found {
            front.tags = tags.remove(&front.arn).unwrap_or_default();
        }
        Ok(found)
    }

    async fn create_front(&self, balancer: &str, port: u16, certificate: Option<&str>, tags: &Tags) -> Result<()> {
        let known = self.arns.balancers.lock().unwrap_or_else(PoisonError::into_inner).get(balancer).cloned();
        let arn = match known {
            Some(arn) => Some(arn),
            None => self.application_arn(balancer).await?,
        };
        let Some(arn) = arn else {
            return Err(gone("CreateListener", format!("load balancer {balancer}")));
        };
        let nobody = FixedResponseActionConfig::builder().status_code(NOBODY).build();
        let nobody = Action::builder().r#type(ActionTypeEnum::FixedResponse).fixed_response_config(nobody).build();
        let request = self.applications.create_listener().load_balancer_arn(arn).port(port.into());
        let request = request
            .protocol(protocol(certificate))
            .set_certificates(certificate.map(certificates))
            .set_ssl_policy(certificate.map(|_| TLS.to_owned()))
            .default_actions(nobody)
            .set_tags(Some(aws_tags(tags)));
        self.call("CreateListener", request.send()).await.map(drop)
    }

    async fn set_front(&self, front: &str, port: u16, certificate: Option<&str>) -> Result<()> {
        let request = self.applications.modify_listener().listener_arn(front).port(port.into());
        let request = request
            .protocol(protocol(certificate))
            .set_certificates(certificate.map(certificates))
            .set_ssl_policy(certificate.map(|_| TLS.to_owned()));
        self.call("ModifyListener", request.send()).await.map(drop)
    }

    async fn delete_front(&self, front: &str) -> Result<()> {
        let request = self.applications.delete_listener().listener_arn(front);
        // Where it is gone, somebody was faster.
        self.absent(self.call("DeleteListener", request.send()).await).map(drop)
    }

    async fn rules(&self, front: &str) -> Result<Vec<RequestRule>> {
        let mut found = Vec::new();
        let mut marker = None;
        loop {
            let request = self.applications.describe_rules().listener_arn(front).set_marker(marker);
            let Some(answer) = self.absent(self.call("DescribeRules", request.send()).await)? else {
                return Ok(Vec::new());
            };
            self.arns.forwarded(answer.rules());
            found.extend(answer.rules().iter().map(rule_of));
            marker = answer.next_marker().map(ToOwned::to_owned);
            if marker.is_none() {
                break;
            }
        }
        // The default one is the listener's, and has no tags.
        let arns: Vec<String> =
            found.iter().filter(|rule| rule.priority.is_some()).map(|rule| rule.arn.clone()).collect();
        let mut tags = self.tags_of(&arns).await?;
        for rule in &mut found {
            rule.tags = tags.remove(&rule.arn).unwrap_or_default();
        }
        Ok(found)
    }

    async fn rule(&self, balancer: &str, project: &str) -> Result<Option<RequestRule>> {
        let known = self.arns.rules.lock().unwrap_or_else(PoisonError::into_inner).get(balancer).cloned();
        if let Some((arn, tags)) = known {
            let request = self.applications.describe_rules().rule_arns(&arn);
            let answer = self.absent(self.call("DescribeRules", request.send()).await)?;
            if let Some(rule) = answer.as_ref().and_then(|answer| answer.rules().first()) {
                self.arns.forwarded(std::slice::from_ref(rule));
                return Ok(Some(RequestRule { tags, ..rule_of(rule) }));
            }
        }
        for front in self.fronts(balancer).await? {
            let ours = |rule: &RequestRule| rule.tags.get(TAG_PROJECT).is_some_and(|owner| owner == project);
            if let Some(rule) = self.rules(&front.arn).await?.into_iter().find(ours) {
                let mut rules = self.arns.rules.lock().unwrap_or_else(PoisonError::into_inner);
                rules.insert(balancer.to_owned(), (rule.arn.clone(), rule.tags.clone()));
                return Ok(Some(rule));
            }
        }
        Ok(None)
    }

    async fn create_rule(&self, front: &str, priority: u32, forward: &Forward, tags: &Tags) -> Result<()> {
        let request = self.applications.create_rule().listener_arn(front).priority(signed(priority));
        let request = request.conditions(every_path()).actions(self.forwarding(forward).await?);
        self.call("CreateRule", request.set_tags(Some(aws_tags(tags))).send()).await.map(drop)
    }

    async fn set_forward(&self, rule: &str, forward: &Forward) -> Result<()> {
        let request = self.applications.modify_rule().rule_arn(rule).conditions(every_path());
        self.call("ModifyRule", request.actions(self.forwarding(forward).await?).send()).await.map(drop)
    }
}

impl Aws {
    async fn describe_application(&self, name: &str) -> Result<Option<LoadBalancer>> {
        let request = self.applications.describe_load_balancers().names(name);
        let answer = self.absent(self.call("DescribeLoadBalancers", request.send()).await)?;
        let found = answer.and_then(|answer| answer.load_balancers().first().cloned());
        if let Some(arn) = found.as_ref().and_then(|found| found.load_balancer_arn()) {
            let mut balancers = self.arns.balancers.lock().unwrap_or_else(PoisonError::into_inner);
            balancers.insert(name.to_owned(), arn.to_owned());
        }
        Ok(found)
    }

    async fn application_arn(&self, name: &str) -> Result<Option<String>> {
        let found = self.describe_application(name).await?;
        Ok(found.and_then(|found| found.load_balancer_arn().map(ToOwned::to_owned)))
    }

    async fn describe_group(&self, name: &str) -> Result<Option<TargetGroup>> {
        let request = self.applications.describe_target_groups().names(name);
        let answer = self.absent(self.call("DescribeTargetGroups", request.send()).await)?;
        let found = answer.and_then(|answer| answer.target_groups().first().cloned());
        if let Some(arn) = found.as_ref().and_then(|found| found.target_group_arn()) {
            let mut groups = self.arns.groups.lock().unwrap_or_else(PoisonError::into_inner);
            groups.insert(name.to_owned(), arn.to_owned());
        }
        Ok(found)
    }

    async fn find_group_arn(&self, name: &str) -> Result<Option<String>> {
        let known = self.arns.groups.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        if known.is_some() {
            return Ok(known);
        }
        let found = self.describe_group(name).await?;
        Ok(found.and_then(|found| found.target_group_arn().map(ToOwned::to_owned)))
    }

    /// The ARN of a target group.
    pub(super) async fn group_arn(&self, name: &str) -> Result<String> {
        let found = self.find_group_arn(name).await?;
        found.ok_or_else(|| gone("DescribeTargetGroups", format!("target group {name}")))
    }

    async fn forwarding(&self, forward: &Forward) -> Result<Action> {
        let mut config = ForwardActionConfig::builder();
        for (name, weight) in forward {
            let arn = self.group_arn(name).await?;
            let group = TargetGroupTuple::builder().target_group_arn(arn).weight(signed(*weight)).build();
            config = config.target_groups(group);
        }
        Ok(Action::builder().r#type(ActionTypeEnum::Forward).forward_config(config.build()).build())
    }

    async fn tags_of(&self, arns: &[String]) -> Result<BTreeMap<String, Tags>> {
        let mut found = BTreeMap::new();
        for arns in arns.chunks(TAGGED_AT_ONCE) {
            let request = self.applications.describe_tags().set_resource_arns(Some(arns.to_vec()));
            let Some(answer) = self.absent(self.call("DescribeTags", request.send()).await)? else { continue };
            for described in answer.tag_descriptions() {
                let tags = collect_tags(described.tags().iter().map(|tag| (tag.key(), tag.value())));
                found.insert(described.resource_arn().unwrap_or_default().to_owned(), tags);
            }
        }
        Ok(found)
    }

    /// What is asked for by a name or an ARN that is no more is not there, and is not known under it any longer.
    fn absent<T>(&self, answer: Result<T>) -> Result<Option<T>> {
        match answer {
            Ok(answer) => Ok(Some(answer)),
            Err(CloudError { code, .. })
                if matches!(
                    code.as_str(),
                    "LoadBalancerNotFound" | "TargetGroupNotFound" | "ListenerNotFound" | "RuleNotFound"
                ) =>
            {
                self.arns.forget();
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

fn gone(action: &'static str, what: String) -> CloudError {
    let message = format!("{what} does not show");
    CloudError { action, code: "NotFound".to_owned(), message, kind: crate::cloud::ErrorKind::Transient }
}

fn protocol(certificate: Option<&str>) -> ProtocolEnum {
    if certificate.is_some() { ProtocolEnum::Https } else { ProtocolEnum::Http }
}

fn certificates(arn: &str) -> Vec<Certificate> {
    vec![Certificate::builder().certificate_arn(arn).build()]
}

fn every_path() -> RuleCondition {
    let paths = PathPatternConditionConfig::builder().values(EVERY_PATH).build();
    RuleCondition::builder().field("path-pattern").path_pattern_config(paths).build()
}

pub(super) fn aws_tags(tags: &Tags) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()
}

fn front_of(listener: &Listener) -> Front {
    let certificate = listener.certificates().first().and_then(|certificate| certificate.certificate_arn());
    Front {
        arn: listener.listener_arn().unwrap_or_default().to_owned(),
        port: port(listener.port().unwrap_or_default()),
        certificate: certificate.map(ToOwned::to_owned),
        tags: Tags::new(),
    }
}

fn rule_of(rule: &Rule) -> RequestRule {
    let [only] = rule.actions() else { return not_ours(rule) };
    let mut forward = Forward::new();
    match (only.forward_config(), only.target_group_arn()) {
        (Some(config), _) => {
            for group in config.target_groups() {
                let name = group_name(group.target_group_arn().unwrap_or_default());
                forward.insert(name.to_owned(), count(group.weight().unwrap_or_default()));
            }
        }
        // The short form for one group.
        (None, Some(arn)) => drop(forward.insert(group_name(arn).to_owned(), 1)),
        (None, None) => {}
    }
    RequestRule { forward, ..not_ours(rule) }
}

/// A rule, but for where it forwards.
fn not_ours(rule: &Rule) -> RequestRule {
    let everything = match rule.conditions() {
        [only] => {
            let config = only.path_pattern_config().map(|config| config.values()).unwrap_or_default();
            let values = if config.is_empty() { only.values() } else { config };
            only.field() == Some("path-pattern") && values.iter().map(String::as_str).eq([EVERY_PATH])
        }
        _ => false,
    };
    RequestRule {
        arn: rule.rule_arn().unwrap_or_default().to_owned(),
        priority: rule.priority().and_then(|priority| priority.parse().ok()),
        everything,
        forward: Forward::new(),
        tags: Tags::new(),
    }
}

/// The name in a target group's ARN, `…:targetgroup/NAME/ID`.
pub(super) fn group_name(arn: &str) -> &str {
    arn.split('/').nth(1).unwrap_or(arn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_read_as_it_was_written_and_another_one_is_not_taken_for_it() {
        let tuple = |name: &str, weight| {
            let arn = format!("arn:aws:elasticloadbalancing:us-east-1:1:targetgroup/{name}/0123");
            TargetGroupTuple::builder().target_group_arn(arn).weight(weight).build()
        };
        let config = ForwardActionConfig::builder().target_groups(tuple("a", 90)).target_groups(tuple("b", 10)).build();
        let action = Action::builder().r#type(ActionTypeEnum::Forward).forward_config(config).build();
        let rule = Rule::builder().rule_arn("r").priority("50000").actions(action.clone());
        let read = rule_of(&rule.clone().conditions(every_path()).build());
        assert_eq!(read.forward, [("a".to_owned(), 90), ("b".to_owned(), 10)].into());
        assert_eq!((read.priority, read.everything), (Some(50_000), true));
        let other = RuleCondition::builder().field("path-pattern").values("/admin/*").build();
        assert!(!rule_of(&rule.clone().conditions(other.clone()).build()).everything);
        assert!(!rule_of(&rule.clone().conditions(every_path()).conditions(other).build()).everything);
        assert!(rule_of(&rule.actions(action).build()).forward.is_empty(), "two actions are not brain's");
    }

    #[test]
    fn the_groups_of_a_rule_that_was_seen_are_known_when_its_weights_are_set() {
        let arn = "arn:aws:elasticloadbalancing:us-east-1:1:targetgroup/a/0123";
        let group = TargetGroupTuple::builder().target_group_arn(arn).weight(1).build();
        let config = ForwardActionConfig::builder().target_groups(group).build();
        let action = Action::builder().r#type(ActionTypeEnum::Forward).forward_config(config).build();
        let arns = Arns::default();
        arns.forwarded(&[Rule::builder().actions(action).build()]);
        assert_eq!(arns.groups.lock().unwrap().get("a").map(String::as_str), Some(arn));
    }
}
