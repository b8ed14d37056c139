//! Classic load balancers.

use super::{Aws, collect_tags, count, port, signed};
use crate::cloud::{
    BalancerPort, CHECKS, DRAINING_SECONDS, ErrorKind, Listener, LoadBalancer, Result, TAG_PROJECT, Tags,
    health_check_text,
};
use async_trait::async_trait;
use aws_sdk_elasticloadbalancing::types::{
    ConnectionDraining, CrossZoneLoadBalancing, HealthCheck, Listener as AwsListener, LoadBalancerAttributes, Tag,
};
use std::{collections::BTreeSet, sync::PoisonError};

#[async_trait]
impl BalancerPort for Aws {
    async fn load_balancer(&self, name: &str) -> Result<Option<LoadBalancer>> {
        let found = self.balancing.describe_load_balancers().load_balancer_names(name);
        let answer = match self.call("DescribeLoadBalancers", found.send()).await {
            Ok(answer) => answer,
            Err(error) if matches!(error.code.as_str(), "LoadBalancerNotFound" | "AccessPointNotFound") => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let Some(found) = answer.load_balancer_descriptions().first() else { return Ok(None) };
        let attributes = self.balancing.describe_load_balancer_attributes().load_balancer_name(name);
        let attributes = self.call("DescribeLoadBalancerAttributes", attributes.send()).await?;
        let attributes = attributes.load_balancer_attributes();
        let draining = attributes.and_then(|attributes| attributes.connection_draining());
        let made = found.created_time().map(|at| at.to_string()).unwrap_or_default();
        let tags = self.balancer_tags(name, made).await?;
        let listeners = found.listener_descriptions().iter().filter_map(|described| described.listener());
        Ok(Some(LoadBalancer {
            listeners: listeners.map(listener_of).collect(),
            health_check: found.health_check().map(told).unwrap_or_default(),
            draining: draining.is_some_and(|draining| draining.enabled()),
            draining_seconds: count(draining.and_then(|draining| draining.timeout()).unwrap_or_default()),
            cross_zone: attributes
                .and_then(|attributes| attributes.cross_zone_load_balancing())
                .is_some_and(|cross_zone| cross_zone.enabled()),
            security_groups: found.security_groups().iter().cloned().collect(),
            subnets: found.subnets().iter().cloned().collect(),
            tags,
        }))
    }

    async fn create_load_balancer(
        &self,
        name: &str,
        listener: &Listener,
        subnets: &[String],
        group: &str,
        tags: &Tags,
    ) -> Result<()> {
        let mut request = self.balancing.create_load_balancer().load_balancer_name(name).security_groups(group);
        request = request.listeners(aws_listener(listener)?).set_subnets(Some(subnets.to_vec()));
        for (key, value) in tags {
            let tag = Tag::builder().key(key).value(value).build().map_err(unbuilt("CreateLoadBalancer"))?;
            request = request.tags(tag);
        }
        self.call("CreateLoadBalancer", request.send()).await.map(drop)
    }

    async fn create_listener(&self, name: &str, listener: &Listener) -> Result<()> {
        let request = self.balancing.create_load_balancer_listeners().load_balancer_name(name);
        let request = request.listeners(aws_listener(listener)?);
        self.call("CreateLoadBalancerListeners", request.send()).await.map(drop)
    }

    async fn delete_listeners(&self, name: &str, ports: &BTreeSet<u16>) -> Result<()> {
        let request = self.balancing.delete_load_balancer_listeners().load_balancer_name(name);
        let request = request.set_load_balancer_ports(Some(ports.iter().map(|port| i32::from(*port)).collect()));
        self.call("DeleteLoadBalancerListeners", request.send()).await.map(drop)
    }

    async fn set_balancer_groups(&self, name: &str, groups: &[String]) -> Result<()> {
        let request = self.balancing.apply_security_groups_to_load_balancer().load_balancer_name(name);
        let request = request.set_security_groups(Some(groups.to_vec()));
        self.call("ApplySecurityGroupsToLoadBalancer", request.send()).await.map(drop)
    }

    async fn attach_subnets(&self, name: &str, subnets: &[String]) -> Result<()> {
        let request = self.balancing.attach_load_balancer_to_subnets().load_balancer_name(name);
        let request = request.set_subnets(Some(subnets.to_vec()));
        self.call("AttachLoadBalancerToSubnets", request.send()).await.map(drop)
    }

    async fn set_health_check(&self, name: &str, target: &str) -> Result<()> {
        let [every, within, well, ill] = CHECKS;
        let check = HealthCheck::builder()
            .target(target)
            .interval(every)
            .timeout(within)
            .healthy_threshold(well)
            .unhealthy_threshold(ill)
            .build()
            .map_err(unbuilt("ConfigureHealthCheck"))?;
        let request = self.balancing.configure_health_check().load_balancer_name(name).health_check(check);
        self.call("ConfigureHealthCheck", request.send()).await.map(drop)
    }

    async fn set_attributes(&self, name: &str) -> Result<()> {
        let draining = ConnectionDraining::builder().enabled(true).timeout(signed(DRAINING_SECONDS)).build();
        let attributes = LoadBalancerAttributes::builder()
            .cross_zone_load_balancing(CrossZoneLoadBalancing::builder().enabled(true).build())
            .connection_draining(draining)
            .build();
        let request = self.balancing.modify_load_balancer_attributes().load_balancer_name(name);
        let request = request.load_balancer_attributes(attributes);
        self.call("ModifyLoadBalancerAttributes", request.send()).await.map(drop)
    }

    async fn healthy_instances(&self, name: &str) -> Result<BTreeSet<String>> {
        let health = self.balancing.describe_instance_health().load_balancer_name(name);
        let answer = match self.call("DescribeInstanceHealth", health.send()).await {
            Ok(answer) => answer,
            Err(error) if matches!(error.code.as_str(), "LoadBalancerNotFound" | "AccessPointNotFound") => {
                return Ok(BTreeSet::new());
            }
            Err(error) => return Err(error),
        };
        let healthy = answer.instance_states().iter().filter(|state| state.state() == Some("InService"));
        Ok(healthy.filter_map(|state| state.instance_id().map(ToOwned::to_owned)).collect())
    }
}

impl Aws {
    /// Tags of a load balancer. Nobody takes brain's away from one that is made once; another of its name was made later.
    async fn balancer_tags(&self, name: &str, made: String) -> Result<Tags> {
        let known = self.tagged.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        if let Some((_, tags)) = known.filter(|(known, _)| *known == made && !made.is_empty()) {
            return Ok(tags);
        }
        let tags = self.call("DescribeTags", self.balancing.describe_tags().load_balancer_names(name).send()).await?;
        let tags = tags.tag_descriptions().iter().flat_map(|described| described.tags());
        let tags = collect_tags(tags.map(|tag| (Some(tag.key()), tag.value())));
        if tags.contains_key(TAG_PROJECT) {
            self.tagged.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), (made, tags.clone()));
        }
        Ok(tags)
    }
}

fn told(check: &HealthCheck) -> String {
    let numbers = [check.interval(), check.timeout(), check.healthy_threshold(), check.unhealthy_threshold()];
    health_check_text(check.target(), numbers)
}

fn listener_of(listener: &AwsListener) -> Listener {
    Listener {
        port: port(listener.load_balancer_port()),
        instance_port: port(listener.instance_port()),
        certificate: listener.ssl_certificate_id().filter(|id| !id.is_empty() && *id != "None").map(ToOwned::to_owned),
    }
}

fn aws_listener(listener: &Listener) -> Result<AwsListener> {
    let protocol = if listener.certificate.is_some() { "HTTPS" } else { "HTTP" };
    AwsListener::builder()
        .protocol(protocol)
        .load_balancer_port(listener.port.into())
        .instance_protocol("HTTP")
        .instance_port(listener.instance_port.into())
        .set_ssl_certificate_id(listener.certificate.clone())
        .build()
        .map_err(unbuilt("CreateLoadBalancerListeners"))
}

/// A request that lacks what AWS requires: a fault of ours.
pub(super) fn unbuilt<E: std::fmt::Display>(action: &'static str) -> impl FnOnce(E) -> crate::cloud::CloudError {
    move |error| crate::cloud::CloudError {
        action,
        code: "BadRequest".to_owned(),
        message: error.to_string(),
        kind: ErrorKind::Terminal,
    }
}
