//! The application load balancer as it would be.

use super::{NEW, Stage};
use crate::{
    cloud::{
        Application, ApplicationPort, CHECKS, Forward, Front, NewTargets, RequestRule, Result, Tags, TargetCheck,
        Targets,
    },
    difference::{difference, front_text, listed, listens_text, target_check_differences, unknown},
};
use async_trait::async_trait;
use std::collections::{BTreeMap, BTreeSet};

/// What was made or changed, or was seen to be there.
#[derive(Default)]
pub(super) struct Made {
    balancer: Option<Application>,
    /// By name.
    targets: BTreeMap<String, Targets>,
    fronts: Option<Vec<Front>>,
    rules: Option<Vec<RequestRule>>,
}

impl Made {
    pub(super) fn tags_of(&mut self, arn: &str) -> Option<&mut Tags> {
        let balancer = self.balancer.iter_mut().map(|balancer| (&balancer.arn, &mut balancer.tags));
        let targets = self.targets.values_mut().map(|targets| (&targets.arn, &mut targets.tags));
        let fronts = self.fronts.iter_mut().flatten().map(|front| (&front.arn, &mut front.tags));
        let rules = self.rules.iter_mut().flatten().map(|rule| (&rule.arn, &mut rule.tags));
        let mut all = balancer.chain(targets).chain(fronts).chain(rules);
        all.find(|(known, _)| *known == arn).map(|(_, tags)| tags)
    }
}

fn forward_text(forward: &Forward) -> String {
    forward.iter().map(|(name, weight)| format!("{name} {weight}")).collect::<Vec<_>>().join(", ")
}

/// An id of what is not made yet, told from others of its kind.
fn new_id(what: &str) -> String {
    format!("{NEW} {what}")
}

#[async_trait]
impl ApplicationPort for Stage {
    async fn application(&self, name: &str) -> Result<Option<Application>> {
        if let Some(balancer) = self.made().application.balancer.clone() {
            return Ok(Some(balancer));
        }
        let found = self.cloud.application(name).await?;
        self.made().application.balancer.clone_from(&found);
        Ok(found)
    }

    async fn create_application(&self, name: &str, subnets: &[String], group: &str, tags: &Tags) -> Result<()> {
        let mut made = self.made();
        let differences = vec![
            difference("type", "none", "application"),
            difference("subnets", "none", subnets.join(", ")),
            difference("security group", "none", group),
        ];
        made.note("CreateLoadBalancer", name, differences);
        made.application.balancer = Some(Application {
            arn: new_id(name),
            security_groups: [group.to_owned()].into(),
            subnets: subnets.iter().cloned().collect(),
            tags: tags.clone(),
        });
        Ok(())
    }

    async fn set_application_groups(&self, arn: &str, groups: &[String]) -> Result<()> {
        let mut made = self.made();
        let balancer = &mut made.application.balancer;
        let is = balancer.as_ref().map(|balancer| listed(&balancer.security_groups)).unwrap_or_default();
        if let Some(balancer) = balancer {
            balancer.security_groups = groups.iter().cloned().collect();
        }
        made.note("SetSecurityGroups", arn, vec![difference("security groups", is, listed(groups))]);
        Ok(())
    }

    async fn set_application_subnets(&self, arn: &str, subnets: &[String]) -> Result<()> {
        let mut made = self.made();
        let balancer = &mut made.application.balancer;
        let is = balancer.as_ref().map(|balancer| listed(&balancer.subnets)).unwrap_or_default();
        if let Some(balancer) = balancer {
            balancer.subnets = subnets.iter().cloned().collect();
        }
        made.note("SetSubnets", arn, vec![difference("subnets", is, listed(subnets))]);
        Ok(())
    }

    async fn targets(&self, name: &str) -> Result<Option<Targets>> {
        if let Some(targets) = self.made().application.targets.get(name).cloned() {
            return Ok(Some(targets));
        }
        let found = self.cloud.targets(name).await?;
        if let Some(targets) = &found {
            self.made().application.targets.insert(name.to_owned(), targets.clone());
        }
        Ok(found)
    }

    async fn create_targets(&self, targets: &NewTargets) -> Result<()> {
        /// AWS's default.
        const DRAINING_SECONDS: u32 = 300;
        let NewTargets { name, vpc, port, check, tags } = targets;
        let mut made = self.made();
        let differences = vec![
            difference("vpc", "none", vpc),
            difference("port", "none", port),
            difference("health check", "none", check),
        ];
        made.note("CreateTargetGroup", name, differences);
        let (arn, check, tags) = (new_id(name), check.clone(), tags.clone());
        let new = Targets { arn, check, checks: CHECKS, draining_seconds: DRAINING_SECONDS, tags };
        made.application.targets.insert(name.clone(), new);
        Ok(())
    }

    async fn set_target_check(&self, name: &str, check: &TargetCheck) -> Result<()> {
        let mut made = self.made();
        let is = made.application.targets.get(name);
        let differences = is.map(|targets| target_check_differences(targets, check)).unwrap_or_default();
        made.note("ModifyTargetGroup", name, differences);
        if let Some(targets) = made.application.targets.get_mut(name) {
            (targets.check, targets.checks) = (check.clone(), CHECKS);
        }
        Ok(())
    }

    async fn set_target_draining(&self, name: &str, seconds: u32) -> Result<()> {
        let mut made = self.made();
        let is = made.application.targets.get(name).map(|targets| targets.draining_seconds).unwrap_or_default();
        made.note("ModifyTargetGroupAttributes", name, vec![difference("seconds of draining", is, seconds)]);
        if let Some(targets) = made.application.targets.get_mut(name) {
            targets.draining_seconds = seconds;
        }
        Ok(())
    }

    async fn healthy_targets(&self, name: &str) -> Result<BTreeSet<String>> {
        self.cloud.healthy_targets(name).await
    }

    async fn fronts(&self, balancer: &str) -> Result<Vec<Front>> {
        if let Some(fronts) = self.made().application.fronts.clone() {
            return Ok(fronts);
        }
        let found = self.cloud.fronts(balancer).await?;
        self.made().application.fronts = Some(found.clone());
        Ok(found)
    }

    async fn create_front(&self, balancer: &str, port: u16, certificate: Option<&str>, tags: &Tags) -> Result<()> {
        let mut made = self.made();
        let listens = difference("port", "none", listens_text(port, certificate));
        made.note("CreateListener", balancer, vec![listens]);
        let (arn, certificate, tags) = (new_id("listener"), certificate.map(ToOwned::to_owned), tags.clone());
        made.application.fronts.get_or_insert_default().push(Front { arn, port, certificate, tags });
        Ok(())
    }

    async fn set_front(&self, front: &str, port: u16, certificate: Option<&str>) -> Result<()> {
        let mut made = self.made();
        let mut fronts = made.application.fronts.take().unwrap_or_default();
        let mut is = String::new();
        for found in fronts.iter_mut().filter(|found| found.arn == front) {
            is = listens_text(found.port, found.certificate.as_deref());
            (found.port, found.certificate) = (port, certificate.map(ToOwned::to_owned));
        }
        made.application.fronts = Some(fronts);
        made.note("ModifyListener", front, vec![difference("port", is, listens_text(port, certificate))]);
        Ok(())
    }

    async fn delete_front(&self, front: &str) -> Result<()> {
        let mut made = self.made();
        let mut fronts = made.application.fronts.take().unwrap_or_default();
        let gone = fronts.iter().filter(|found| found.arn == front).map(|found| unknown(front_text(found))).collect();
        fronts.retain(|found| found.arn != front);
        made.application.fronts = Some(fronts);
        made.note("DeleteListener", front, gone);
        Ok(())
    }

    async fn rules(&self, front: &str) -> Result<Vec<RequestRule>> {
        if let Some(rules) = self.made().application.rules.clone() {
            return Ok(rules);
        }
        let found = if front.starts_with(NEW) { Vec::new() } else { self.cloud.rules(front).await? };
        self.made().application.rules = Some(found.clone());
        Ok(found)
    }

    async fn rule(&self, balancer: &str, project: &str) -> Result<Option<RequestRule>> {
        let ours = |rule: &&RequestRule| rule.tags.get(crate::cloud::TAG_PROJECT).is_some_and(|owner| owner == project);
        if let Some(rules) = &self.made().application.rules {
            return Ok(rules.iter().find(ours).cloned());
        }
        let found = self.cloud.rule(balancer, project).await?;
        self.made().application.rules = Some(found.clone().into_iter().collect());
        Ok(found)
    }

    async fn create_rule(&self, front: &str, priority: u32, forward: &Forward, tags: &Tags) -> Result<()> {
        let mut made = self.made();
        let differences = vec![
            difference("place", "none", priority),
            difference("path", "none", "/*"),
            difference("weights", "none", forward_text(forward)),
        ];
        made.note("CreateRule", front, differences);
        let (arn, priority, forward, tags) = (new_id("rule"), Some(priority), forward.clone(), tags.clone());
        let new = RequestRule { arn, priority, everything: true, forward, tags };
        made.application.rules.get_or_insert_default().push(new);
        Ok(())
    }

    async fn set_forward(&self, rule: &str, forward: &Forward) -> Result<()> {
        let mut made = self.made();
        let mut rules = made.application.rules.take().unwrap_or_default();
        let mut is = String::new();
        for found in rules.iter_mut().filter(|found| found.arn == rule) {
            is = forward_text(&found.forward);
            (found.everything, found.forward) = (true, forward.clone());
        }
        made.application.rules = Some(rules);
        made.note("ModifyRule", rule, vec![difference("weights", is, forward_text(forward))]);
        Ok(())
    }
}
