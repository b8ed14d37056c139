//! Application load balancers: they forward by weight to target groups, whose targets are the hosts of services' tasks.

use super::{Act, Client, TaskStage, TaskState, Treatment, World, act::new, balancer::DEFAULT_DRAINING_SECONDS};
use crate::cloud::{
    Application, ApplicationPort, CHECKS, Forward, Front, NewTargets, RequestRule, Result, TAG_PROJECT, Tags,
    TargetCheck, Targets,
};
use async_trait::async_trait;
use std::collections::{BTreeMap, BTreeSet};

impl World {
    /// Whether a rule forwards to a group, as ECS asks of one that a service is to be in.
    pub(super) fn is_forwarded_to(&self, group: &str) -> bool {
        self.rules.values().any(|(_, rule)| rule.forward.contains_key(group))
    }

    /// Healthy tasks of each target group.
    #[must_use]
    pub fn healthy_in(&self, group: &str) -> u32 {
        let healthy = self.healthy();
        let inside = self.services.values().filter(|service| service.shown.target_group.as_deref() == Some(group));
        inside.filter_map(|service| healthy.get(&service.shown.name)).sum()
    }

    fn application(&mut self, arn: &str) -> Result<&mut Application, &'static str> {
        self.applications.values_mut().find(|balancer| balancer.arn == arn).ok_or("LoadBalancerNotFound")
    }

    pub(super) fn application_tags(&mut self, arn: &str) -> Option<&mut Tags> {
        let balancers = self.applications.values_mut().map(|balancer| (&balancer.arn, &mut balancer.tags));
        let targets = self.targets.values_mut().map(|targets| (&targets.arn, &mut targets.tags));
        let fronts = self.fronts.values_mut().map(|(_, front)| (&front.arn, &mut front.tags));
        let rules = self.rules.values_mut().map(|(_, rule)| (&rule.arn, &mut rule.tags));
        let mut all = balancers.chain(targets).chain(fronts).chain(rules);
        all.find(|(known, _)| *known == arn).map(|(_, tags)| tags)
    }
}

impl Act {
    pub(super) fn apply_to_application(&self, world: &mut World) -> Result<(), &'static str> {
        match self.clone() {
            Self::CreateApplication { name, subnets, group, tags } => {
                let (arn, subnets) = (format!("alb/{name}"), subnets.into_iter().collect());
                let balancer = Application { arn, security_groups: [group].into(), subnets, tags };
                new(world.applications.insert(name, balancer), "DuplicateLoadBalancerName")
            }
            Self::SetApplicationGroups { arn, groups } => {
                world.application(&arn)?.security_groups = groups.into_iter().collect();
                Ok(())
            }
            Self::SetApplicationSubnets { arn, subnets } => {
                world.application(&arn)?.subnets = subnets.into_iter().collect();
                Ok(())
            }
            Self::CreateTargets(NewTargets { name, check, tags, .. }) => {
                let arn = format!("tg/{name}");
                let targets = Targets { arn, check, checks: CHECKS, draining_seconds: DEFAULT_DRAINING_SECONDS, tags };
                new(world.targets.insert(name, targets), "DuplicateTargetGroupName")
            }
            Self::SetTargetCheck { name, check } => {
                let targets = world.targets.get_mut(&name).ok_or("TargetGroupNotFound")?;
                (targets.check, targets.checks) = (check, CHECKS);
                Ok(())
            }
            Self::SetTargetDraining { name, seconds } => {
                world.targets.get_mut(&name).ok_or("TargetGroupNotFound")?.draining_seconds = seconds;
                Ok(())
            }
            Self::CreateFront { balancer, port, certificate, tags } => {
                world.applications.get(&balancer).ok_or("LoadBalancerNotFound")?;
                let arn = format!("{balancer}/{port}");
                let front = Front { arn: arn.clone(), port, certificate, tags };
                new(world.fronts.insert(arn, (balancer, front)), "DuplicateListener")
            }
            Self::SetFront { front, port, certificate } => {
                let (_, front) = world.fronts.get_mut(&front).ok_or("ListenerNotFound")?;
                (front.port, front.certificate) = (port, certificate);
                Ok(())
            }
            Self::DeleteFront { front } => {
                world.fronts.remove(&front);
                world.rules.retain(|_, (owner, _)| *owner != front);
                Ok(())
            }
            Self::CreateRule { front, priority, forward, tags } => {
                world.fronts.get(&front).ok_or("ListenerNotFound")?;
                let arn = format!("{front}/{priority}");
                let rule = RequestRule { arn: arn.clone(), priority: Some(priority), everything: true, forward, tags };
                new(world.rules.insert(arn, (front, rule)), "PriorityInUse")
            }
            Self::SetForward { rule, forward } => {
                let (_, rule) = world.rules.get_mut(&rule).ok_or("RuleNotFound")?;
                (rule.everything, rule.forward) = (true, forward);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl ApplicationPort for Client {
    async fn application(&self, name: &str) -> Result<Option<Application>> {
        self.look("DescribeLoadBalancers", |world| world.applications.get(name).cloned()).await
    }

    async fn create_application(&self, name: &str, subnets: &[String], group: &str, tags: &Tags) -> Result<()> {
        let (name, subnets, group, tags) = (name.to_owned(), subnets.to_vec(), group.to_owned(), tags.clone());
        self.act(Act::CreateApplication { name, subnets, group, tags }).await
    }

    async fn set_application_groups(&self, arn: &str, groups: &[String]) -> Result<()> {
        self.act(Act::SetApplicationGroups { arn: arn.to_owned(), groups: groups.to_vec() }).await
    }

    async fn set_application_subnets(&self, arn: &str, subnets: &[String]) -> Result<()> {
        self.act(Act::SetApplicationSubnets { arn: arn.to_owned(), subnets: subnets.to_vec() }).await
    }

    async fn targets(&self, name: &str) -> Result<Option<Targets>> {
        self.look("DescribeTargetGroups", |world| world.targets.get(name).cloned()).await
    }

    async fn create_targets(&self, targets: &NewTargets) -> Result<()> {
        self.act(Act::CreateTargets(targets.clone())).await
    }

    async fn set_target_check(&self, name: &str, check: &TargetCheck) -> Result<()> {
        self.act(Act::SetTargetCheck { name: name.to_owned(), check: check.clone() }).await
    }

    async fn set_target_draining(&self, name: &str, seconds: u32) -> Result<()> {
        self.act(Act::SetTargetDraining { name: name.to_owned(), seconds }).await
    }

    async fn healthy_targets(&self, name: &str) -> Result<BTreeSet<String>> {
        let healthy = |world: &World, treatment: &Treatment| {
            let inside = |task: &&TaskState| {
                let service = world.services.get(&task.service);
                service.is_some_and(|service| service.shown.target_group.as_deref() == Some(name))
            };
            let taken = |task: &&TaskState| task.healthy || treatment.credulous && task.stage == TaskStage::Running;
            world.tasks.values().filter(inside).filter(taken).map(|task| task.instance.clone()).collect()
        };
        self.look_treated("DescribeTargetHealth", healthy).await
    }

    async fn fronts(&self, balancer: &str) -> Result<Vec<Front>> {
        let of = |world: &World| {
            let here = world.fronts.values().filter(|(owner, _)| owner == balancer);
            here.map(|(_, front)| front.clone()).collect()
        };
        self.look("DescribeListeners", of).await
    }

    async fn create_front(&self, balancer: &str, port: u16, certificate: Option<&str>, tags: &Tags) -> Result<()> {
        let (balancer, certificate) = (balancer.to_owned(), certificate.map(ToOwned::to_owned));
        self.act(Act::CreateFront { balancer, port, certificate, tags: tags.clone() }).await
    }

    async fn set_front(&self, front: &str, port: u16, certificate: Option<&str>) -> Result<()> {
        let (front, certificate) = (front.to_owned(), certificate.map(ToOwned::to_owned));
        self.act(Act::SetFront { front, port, certificate }).await
    }

    async fn delete_front(&self, front: &str) -> Result<()> {
        self.act(Act::DeleteFront { front: front.to_owned() }).await
    }

    async fn rules(&self, front: &str) -> Result<Vec<RequestRule>> {
        let of = |world: &World| {
            let here = world.rules.values().filter(|(owner, _)| owner == front);
            here.map(|(_, rule)| rule.clone()).collect()
        };
        self.look("DescribeRules", of).await
    }

    async fn rule(&self, balancer: &str, project: &str) -> Result<Option<RequestRule>> {
        let own = |world: &World| {
            let fronts: BTreeMap<&String, &String> =
                world.fronts.iter().map(|(arn, (owner, _))| (arn, owner)).collect();
            let here = |front: &String| fronts.get(front).is_some_and(|owner| *owner == balancer);
            let ours = |rule: &RequestRule| rule.tags.get(TAG_PROJECT).is_some_and(|owner| owner == project);
            let found = world.rules.values().find(|(front, rule)| here(front) && ours(rule));
            found.map(|(_, rule)| rule.clone())
        };
        self.look("DescribeRules", own).await
    }

    async fn create_rule(&self, front: &str, priority: u32, forward: &Forward, tags: &Tags) -> Result<()> {
        let (front, forward, tags) = (front.to_owned(), forward.clone(), tags.clone());
        self.act(Act::CreateRule { front, priority, forward, tags }).await
    }

    async fn set_forward(&self, rule: &str, forward: &Forward) -> Result<()> {
        self.act(Act::SetForward { rule: rule.to_owned(), forward: forward.clone() }).await
    }
}
