//! The classic load balancer as it would be.

use super::Stage;
use crate::{
    cloud::{BalancerPort, CHECKS, Listener, LoadBalancer, Result, Tags, health_check_text},
    difference::{difference, listener_text},
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
            cross_zone: false,
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
            for (field, on) in
                [("connection draining", &mut balancer.draining), ("cross-zone balancing", &mut balancer.cross_zone)]
            {
                if !std::mem::replace(on, true) {
                    differences.push(difference(field, "off", "on"));
                }
            }
        }
        made.note("ModifyLoadBalancerAttributes", name, differences);
        Ok(())
    }

    async fn healthy_instances(&self, name: &str) -> Result<BTreeSet<String>> {
        self.cloud.healthy_instances(name).await
    }
}
