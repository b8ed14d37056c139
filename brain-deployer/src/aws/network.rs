//! VPCs, subnets and security groups.

use super::{Aws, collect_tags, port};
use crate::cloud::{Network, NetworkPort, Result, Rule, SecurityGroup, TAG_PROJECT, Tags};
use async_trait::async_trait;
use aws_sdk_ec2::types::{Filter, IpPermission, IpRange, ResourceType, Tag, TagSpecification};
use std::{sync::PoisonError, time::Duration};
use tokio::time::Instant;

/// How long VPC and subnets are used again. A VPC's network does not change, and new subnets are for new resources.
const NETWORK_FOR: Duration = Duration::from_mins(60);
/// How long a security group that was found is used again: the set-up steps of one deployment.
const GROUP_FOR: Duration = Duration::from_secs(10);

#[async_trait]
impl NetworkPort for Aws {
    async fn network(&self, vpc: Option<&str>, subnets: &[String]) -> Result<Result<Network, String>> {
        let asked = (vpc.map(ToOwned::to_owned), subnets.to_vec());
        let known = self.networks.lock().unwrap_or_else(PoisonError::into_inner).get(&asked).cloned();
        if let Some((at, network)) = known
            && at.elapsed() < NETWORK_FOR
        {
            return Ok(Ok(network));
        }
        let at = Instant::now();
        let found = self.find_network(vpc, subnets).await?;
        if let Ok(network) = &found {
            let mut networks = self.networks.lock().unwrap_or_else(PoisonError::into_inner);
            networks.insert(asked, (at, network.clone()));
        }
        Ok(found)
    }

    async fn security_group(&self, vpc: &str, name: &str) -> Result<Option<SecurityGroup>> {
        let key = (vpc.to_owned(), name.to_owned());
        let known = self.groups.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some((_, group)) = known.filter(|(at, _)| at.elapsed() < GROUP_FOR) {
            return Ok(Some(group));
        }
        let at = Instant::now();
        let request = self.ec2.describe_security_groups();
        let request = request.filters(filter("vpc-id", vpc)).filters(filter("group-name", name));
        let answer = self.call("DescribeSecurityGroups", request.send()).await?;
        let found = answer.security_groups().first().map(|group| SecurityGroup {
            id: group.group_id().unwrap_or_default().to_owned(),
            rules: group.ip_permissions().iter().flat_map(rules).collect(),
            tags: collect_tags(group.tags().iter().map(|tag| (tag.key(), tag.value()))),
        });
        // Somebody else's may be taken away or given to brain at any moment.
        if let Some(group) = found.as_ref().filter(|group| group.tags.contains_key(TAG_PROJECT)) {
            self.groups.lock().unwrap_or_else(PoisonError::into_inner).insert(key, (at, group.clone()));
        }
        Ok(found)
    }

    async fn create_security_group(&self, vpc: &str, name: &str, tags: &Tags) -> Result<()> {
        let specification = TagSpecification::builder()
            .resource_type(ResourceType::SecurityGroup)
            .set_tags(Some(tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()))
            .build();
        let request = self.ec2.create_security_group().group_name(name).description(format!("{name}, made by brain"));
        let request = request.vpc_id(vpc).tag_specifications(specification);
        let created = self.call("CreateSecurityGroup", request.send()).await.map(drop);
        if created.is_err() {
            // The VPC may be another one by now.
            self.networks.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
        created
    }

    async fn allow(&self, group: &str, rules: &[Rule]) -> Result<()> {
        let permission = |rule: &Rule| {
            IpPermission::builder()
                .ip_protocol("tcp")
                .from_port(rule.port.into())
                .to_port(rule.port.into())
                .ip_ranges(IpRange::builder().cidr_ip(&rule.cidr).build())
                .build()
        };
        let request = self.ec2.authorize_security_group_ingress().group_id(group);
        let request = request.set_ip_permissions(Some(rules.iter().map(permission).collect()));
        let allowed = self.call("AuthorizeSecurityGroupIngress", request.send()).await.map(drop);
        self.groups.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, (_, known)| known.id != group);
        allowed
    }
}

impl Aws {
    async fn find_network(&self, vpc: Option<&str>, subnets: &[String]) -> Result<Result<Network, String>> {
        let filter = match vpc {
            Some(vpc) => filter("vpc-id", vpc),
            None => filter("is-default", "true"),
        };
        let answer = self.call("DescribeVpcs", self.ec2.describe_vpcs().filters(filter).send()).await?;
        let Some(found) = answer.vpcs().first() else {
            let missing = vpc.map_or_else(
                || "the account has no default VPC: name one in target.vpc_id".to_owned(),
                |vpc| format!("there is no VPC {vpc}: check target.vpc_id"),
            );
            return Ok(Err(missing));
        };
        let id = found.vpc_id().unwrap_or_default().to_owned();
        let cidr = found.cidr_block().unwrap_or_default().to_owned();
        if !subnets.is_empty() {
            return Ok(Ok(Network { vpc: id, cidr, subnets: subnets.to_vec() }));
        }
        let request = self.ec2.describe_subnets().filters(self::filter("vpc-id", &id));
        let answer = self.call("DescribeSubnets", request.send()).await?;
        let mut subnets: Vec<String> =
            answer.subnets().iter().filter_map(|subnet| subnet.subnet_id().map(ToOwned::to_owned)).collect();
        subnets.sort();
        if subnets.is_empty() {
            return Ok(Err(format!("VPC {id} has no subnets: name some in target.subnet_ids")));
        }
        Ok(Ok(Network { vpc: id, cidr, subnets }))
    }
}

pub(super) fn filter(name: &str, value: &str) -> Filter {
    Filter::builder().name(name).values(value).build()
}

/// The single-port TCP rules among a permission's.
fn rules(permission: &IpPermission) -> Vec<Rule> {
    let (Some(from), Some(to)) = (permission.from_port(), permission.to_port()) else { return Vec::new() };
    if permission.ip_protocol() != Some("tcp") || from != to {
        return Vec::new();
    }
    let ranges = permission.ip_ranges().iter().filter_map(|range| range.cidr_ip());
    ranges.map(|cidr| Rule { port: port(from), cidr: cidr.to_owned() }).collect()
}
