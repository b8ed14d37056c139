//! The classic load balancer as it would be.

use super::Stage;
use crate::{
    cloud::{BalancerPort, CHECKS, DRAINING_SECONDS, Listener, LoadBalancer, Result, Tags, health_check_text},
    difference::{attribute_differences, difference, listed, listener_text, unknown},
};
use async_trait::async_trait;
use std::collections::BTreeSet;

#[async_trait]
impl BalancerPort for Stage {
    async fn load_balancer(&self, name: &str) -> Result<Option<LoadBalancer>> {
        if let Some(balancer) = self.made().load_balancer.clone() {
            return Ok(Some(balancer));
        }
        let found = self.cloud.load_balancer(name).await?;
        self.made().load_balancer.clone_from(&found);
        Ok(found)
    }

    async fn create_load_balancer(
        &self,
        name: &str,
        listener: &Listener,
        subnets: &[String],
        group: &str,
        tags: &Tags,
    ) -> Result<()> {
        let mut made = self.made();
        let differences = vec![
            difference("listener", "none", listener_text(listener)),
            difference("subnets", "none", subnets.join(", ")),
            difference("security group", "none", group),
        ];
        made.note("CreateLoadBalancer", name, differences);
        made.load_balancer = Some(LoadBalancer {
            listeners: [listener.clone()].into(),
            health_check: "AWS's default".to_owned(),
            draining: false,
            draining_seconds: 0,
            cross_zone: false,
            security_groups: [group.to_owned()].into(),
            subnets: subnets.iter().cloned().collect(),
            tags: tags.clone(),
        });
        Ok(())
    }

    async fn create_listener(&self, name: &str, listener: &Listener) -> Result<()> {
        let mut made = self.made();
        let differences = vec![difference("listener", "none", listener_text(listener))];
        made.note("CreateLoadBalancerListeners", name, differences);
        if let Some(balancer) = &mut made.load_balancer {
            balancer.listeners.insert(listener.clone());
        }
        Ok(())
    }

    async fn delete_listeners(&self, name: &str, ports: &BTreeSet<u16>) -> Result<()> {
        let mut made = self.made();
        let mut differences = Vec::new();
        if let Some(balancer) = &mut made.load_balancer {
            let goes = |listener: &&Listener| ports.contains(&listener.port);
            let gone = balancer.listeners.iter().filter(goes);
            differences.extend(gone.map(|listener| unknown(format_args!("listener {}", listener_text(listener)))));
            balancer.listeners.retain(|listener| !ports.contains(&listener.port));
        }
        made.note("DeleteLoadBalancerListeners", name, differences);
        Ok(())
    }

    async fn set_balancer_groups(&self, name: &str, groups: &[String]) -> Result<()> {
        let mut made = self.made();
        let is = made.load_balancer.as_ref().map(|balancer| listed(&balancer.security_groups)).unwrap_or_default();
        made.note("ApplySecurityGroupsToLoadBalancer", name, vec![difference("security groups", is, listed(groups))]);
        if let Some(balancer) = &mut made.load_balancer {
            balancer.security_groups = groups.iter().cloned().collect();
        }
        Ok(())
    }

    async fn attach_subnets(&self, name: &str, subnets: &[String]) -> Result<()> {
        let mut made = self.made();
        made.note("AttachLoadBalancerToSubnets", name, vec![difference("subnets", "none", listed(subnets))]);
        if let Some(balancer) = &mut made.load_balancer {
            balancer.subnets.extend(subnets.iter().cloned());
        }
        Ok(())
    }

    async fn set_health_check(&self, name: &str, target: &str) -> Result<()> {
        let mut made = self.made();
        let is = made.load_balancer.as_ref().map(|balancer| balancer.health_check.clone()).unwrap_or_default();
        let check = health_check_text(target, CHECKS);
        made.note("ConfigureHealthCheck", name, vec![difference("health check", is, &check)]);
        if let Some(balancer) = &mut made.load_balancer {
            balancer.health_check = check;
        }
        Ok(())
    }

    async fn set_attributes(&self, name: &str) -> Result<()> {
        let mut made = self.made();
        let mut differences = Vec::new();
        if let Some(balancer) = &mut made.load_balancer {
            differences = attribute_differences(balancer);
            (balancer.draining, balancer.draining_seconds, balancer.cross_zone) = (true, DRAINING_SECONDS, true);
        }
        made.note("ModifyLoadBalancerAttributes", name, differences);
        Ok(())
    }

    async fn healthy_instances(&self, name: &str) -> Result<BTreeSet<String>> {
        self.cloud.healthy_instances(name).await
    }
}
