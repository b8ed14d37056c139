//! Classic load balancers.

use super::{Act, Client, TaskStage, TaskState, Treatment, World, act::new};
use crate::cloud::{BalancerPort, CHECKS, DRAINING_SECONDS, Listener, LoadBalancer, Result, Tags, health_check_text};
use async_trait::async_trait;
use std::collections::BTreeSet;

/// AWS's default, of any load balancer.
pub(super) const DEFAULT_DRAINING_SECONDS: u32 = 300;

impl World {
    fn balancer(&mut self, name: &str) -> Result<&mut LoadBalancer, &'static str> {
        self.balancers.get_mut(name).ok_or("LoadBalancerNotFound")
    }
}

impl Act {
    pub(super) fn apply_to_balancer(&self, world: &mut World) -> Result<(), &'static str> {
        match self.clone() {
            Self::CreateLoadBalancer { name, listener, subnets, group, tags } => {
                let balancer = LoadBalancer {
                    listeners: [listener].into(),
                    health_check: String::new(),
                    draining: false,
                    draining_seconds: DEFAULT_DRAINING_SECONDS,
                    cross_zone: false,
                    security_groups: [group].into(),
                    subnets: subnets.into_iter().collect(),
                    tags,
                };
                return new(world.balancers.insert(name, balancer), "DuplicateLoadBalancerName");
            }
            Self::CreateListener { name, listener } => {
                world.balancer(&name)?.listeners.insert(listener);
            }
            Self::DeleteListeners { name, ports } => {
                world.balancer(&name)?.listeners.retain(|listener| !ports.contains(&listener.port));
            }
            Self::SetBalancerGroups { name, groups } => {
                world.balancer(&name)?.security_groups = groups.into_iter().collect();
            }
            Self::AttachSubnets { name, subnets } => world.balancer(&name)?.subnets.extend(subnets),
            Self::SetHealthCheck { name, target } => {
                world.balancer(&name)?.health_check = health_check_text(&target, CHECKS);
            }
            Self::SetAttributes { name } => {
                let balancer = world.balancer(&name)?;
                (balancer.draining, balancer.draining_seconds, balancer.cross_zone) = (true, DRAINING_SECONDS, true);
            }
            _ => {}
        }
        Ok(())
    }
}

#[async_trait]
impl BalancerPort for Client {
    async fn load_balancer(&self, name: &str) -> Result<Option<LoadBalancer>> {
        self.look("DescribeLoadBalancers", |world| world.balancers.get(name).cloned()).await
    }

    async fn create_load_balancer(
        &self,
        name: &str,
        listener: &Listener,
        subnets: &[String],
        group: &str,
        tags: &Tags,
    ) -> Result<()> {
        let (name, listener, tags) = (name.to_owned(), listener.clone(), tags.clone());
        let (subnets, group) = (subnets.to_vec(), group.to_owned());
        self.act(Act::CreateLoadBalancer { name, listener, subnets, group, tags }).await
    }

    async fn create_listener(&self, name: &str, listener: &Listener) -> Result<()> {
        self.act(Act::CreateListener { name: name.to_owned(), listener: listener.clone() }).await
    }

    async fn delete_listeners(&self, name: &str, ports: &BTreeSet<u16>) -> Result<()> {
        self.act(Act::DeleteListeners { name: name.to_owned(), ports: ports.clone() }).await
    }

    async fn set_balancer_groups(&self, name: &str, groups: &[String]) -> Result<()> {
        self.act(Act::SetBalancerGroups { name: name.to_owned(), groups: groups.to_vec() }).await
    }

    async fn attach_subnets(&self, name: &str, subnets: &[String]) -> Result<()> {
        self.act(Act::AttachSubnets { name: name.to_owned(), subnets: subnets.to_vec() }).await
    }

    async fn set_health_check(&self, name: &str, target: &str) -> Result<()> {
        self.act(Act::SetHealthCheck { name: name.to_owned(), target: target.to_owned() }).await
    }

    async fn set_attributes(&self, name: &str) -> Result<()> {
        self.act(Act::SetAttributes { name: name.to_owned() }).await
    }

    async fn healthy_instances(&self, _: &str) -> Result<BTreeSet<String>> {
        let healthy = |world: &World, treatment: &Treatment| {
            let taken = |task: &&TaskState| task.healthy || treatment.credulous && task.stage == TaskStage::Running;
            world.tasks.values().filter(taken).map(|task| task.instance.clone()).collect()
        };
        self.look_treated("DescribeInstanceHealth", healthy).await
    }
}
