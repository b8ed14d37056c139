//! VPCs, subnets and security groups.

use super::{Aws, collect_tags};
use crate::cloud::{EVERY_PROTOCOL, Network, NetworkPort, Result, Rule, SecurityGroup, TAG_PROJECT, Tags};
use async_trait::async_trait;
use aws_sdk_ec2::types::{
    Filter, IpPermission, IpRange, Ipv6Range, PrefixListId, ResourceType, Tag, TagSpecification, UserIdGroupPair,
    VpcCidrBlockAssociation, VpcCidrBlockStateCode,
};
use std::{collections::BTreeSet, sync::PoisonError, time::Duration};
use tokio::time::Instant;

/// How long VPC and subnets are used again. A VPC's network does not change, and new subnets are for new resources.
const NETWORK_FOR: Duration = Duration::from_mins(60);
/// How long the id of a security group that was found is used again: the set-up steps of one deployment.
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
        let at = Instant::now();
        let request = self.ec2.describe_security_groups();
        let request = request.filters(filter("vpc-id", vpc)).filters(filter("group-name", name));
        let answer = self.call("DescribeSecurityGroups", request.send()).await?;
        let found = answer.security_groups().first().map(|group| SecurityGroup {
            id: group.group_id().unwrap_or_default().to_owned(),
            rules: group.ip_permissions().iter().flat_map(|permission| rules(permission, group.owner_id())).collect(),
            tags: collect_tags(group.tags().iter().map(|tag| (tag.key(), tag.value()))),
        });
        let key = (vpc.to_owned(), name.to_owned());
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        // Somebody else's may be taken away or given to brain at any moment.
        match found.as_ref().filter(|group| group.tags.contains_key(TAG_PROJECT)) {
            Some(group) => drop(groups.insert(key, (at, group.id.clone()))),
            None => drop(groups.remove(&key)),
        }
        drop(groups);
        Ok(found)
    }

    async fn security_group_id(&self, vpc: &str, name: &str) -> Result<Option<String>> {
        let key = (vpc.to_owned(), name.to_owned());
        let known = self.groups.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some((_, id)) = known.filter(|(at, _)| at.elapsed() < GROUP_FOR) {
            return Ok(Some(id));
        }
        Ok(self.security_group(vpc, name).await?.map(|group| group.id))
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
        let request = self.ec2.authorize_security_group_ingress().group_id(group);
        let request = request.set_ip_permissions(Some(rules.iter().map(permission).collect()));
        self.call("AuthorizeSecurityGroupIngress", request.send()).await.map(drop)
    }

    async fn revoke(&self, group: &str, rules: &[Rule]) -> Result<()> {
        let request = self.ec2.revoke_security_group_ingress().group_id(group);
        let request = request.set_ip_permissions(Some(rules.iter().map(permission).collect()));
        match self.call("RevokeSecurityGroupIngress", request.send()).await {
            // Somebody was faster; what is left of them is seen next.
            Err(error) if error.code == "InvalidPermission.NotFound" => Ok(()),
            revoked => revoked.map(drop),
        }
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
        let blocks: BTreeSet<String> = found.cidr_block_association_set().iter().filter_map(block_of).collect();
        let blocks = Vec::from_iter(blocks.into_iter().filter(|block| *block != cidr).chain([cidr.clone()]));
        if !subnets.is_empty() {
            return Ok(Ok(Network { vpc: id, cidr, blocks, subnets: subnets.to_vec() }));
        }
        let request = self.ec2.describe_subnets().filters(self::filter("vpc-id", &id));
        let answer = self.call("DescribeSubnets", request.send()).await?;
        let mut subnets: Vec<String> =
            answer.subnets().iter().filter_map(|subnet| subnet.subnet_id().map(ToOwned::to_owned)).collect();
        subnets.sort();
        if subnets.is_empty() {
            return Ok(Err(format!("VPC {id} has no subnets: name some in target.subnet_ids")));
        }
        Ok(Ok(Network { vpc: id, cidr, blocks, subnets }))
    }
}

/// A network of a VPC that is there.
fn block_of(association: &VpcCidrBlockAssociation) -> Option<String> {
    let state = association.cidr_block_state().and_then(|state| state.state());
    let is_there = state.is_none_or(|state| *state == VpcCidrBlockStateCode::Associated);
    association.cidr_block().filter(|_| is_there).map(ToOwned::to_owned)
}

pub(super) fn filter(name: &str, value: &str) -> Filter {
    Filter::builder().name(name).values(value).build()
}

/// The rules of a permission of a group of that account: one for each source.
fn rules(permission: &IpPermission, owner: Option<&str>) -> Vec<Rule> {
    let group = |pair: &UserIdGroupPair| {
        let id = pair.group_id()?;
        let other = pair.user_id().filter(|account| Some(*account) != owner);
        Some(other.map_or_else(|| id.to_owned(), |account| format!("{account}/{id}")))
    };
    let mut sources: Vec<String> =
        permission.ip_ranges().iter().filter_map(|range| range.cidr_ip().map(ToOwned::to_owned)).collect();
    sources.extend(permission.ipv6_ranges().iter().filter_map(|range| range.cidr_ipv6().map(ToOwned::to_owned)));
    sources.extend(permission.user_id_group_pairs().iter().filter_map(group));
    sources.extend(permission.prefix_list_ids().iter().filter_map(|list| list.prefix_list_id().map(ToOwned::to_owned)));
    let rule = |source| Rule {
        port: permission.from_port(),
        source,
        last: permission.to_port().filter(|last| Some(*last) != permission.from_port()),
        protocol: permission.ip_protocol().unwrap_or(EVERY_PROTOCOL).to_owned(),
    };
    sources.into_iter().map(rule).collect()
}

/// The permission that is one rule.
fn permission(rule: &Rule) -> IpPermission {
    let Rule { port, source, last, protocol } = rule;
    let permission = IpPermission::builder().ip_protocol(protocol).set_from_port(*port).set_to_port(last.or(*port));
    let permission = match source.split_once('/') {
        _ if source.starts_with("pl-") => {
            permission.prefix_list_ids(PrefixListId::builder().prefix_list_id(source).build())
        }
        _ if source.starts_with("sg-") => {
            permission.user_id_group_pairs(UserIdGroupPair::builder().group_id(source).build())
        }
        Some((account, group)) if group.starts_with("sg-") => {
            permission.user_id_group_pairs(UserIdGroupPair::builder().user_id(account).group_id(group).build())
        }
        _ if source.contains(':') => permission.ipv6_ranges(Ipv6Range::builder().cidr_ipv6(source).build()),
        _ => permission.ip_ranges(IpRange::builder().cidr_ip(source).build()),
    };
    permission.build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_ec2::types::VpcCidrBlockState;

    #[test]
    fn a_network_that_a_vpc_has_no_more_or_not_yet_is_none_of_it() {
        let block = |state: Option<VpcCidrBlockStateCode>| {
            let state = state.map(|state| VpcCidrBlockState::builder().state(state).build());
            block_of(
                &VpcCidrBlockAssociation::builder().cidr_block("100.64.0.0/16").set_cidr_block_state(state).build(),
            )
        };
        let there = Some("100.64.0.0/16".to_owned());
        assert_eq!([block(None), block(Some(VpcCidrBlockStateCode::Associated))], [there.clone(), there]);
        for other in [VpcCidrBlockStateCode::Associating, VpcCidrBlockStateCode::Disassociated] {
            assert_eq!(block(Some(other)), None);
        }
    }

    #[test]
    fn every_rule_is_read_and_written_as_ec2_has_it() {
        let ports = |protocol: &str, from: i32, to: i32| {
            IpPermission::builder().ip_protocol(protocol).from_port(from).to_port(to)
        };
        let (group, list) =
            (UserIdGroupPair::builder().group_id("sg-1"), PrefixListId::builder().prefix_list_id("pl-1"));
        let permissions = [
            (ports("tcp", 22, 22).ip_ranges(IpRange::builder().cidr_ip("0.0.0.0/0").build()), "tcp 22 from 0.0.0.0/0"),
            (
                ports("udp", 8_000, 8_100).ipv6_ranges(Ipv6Range::builder().cidr_ipv6("::/0").build()),
                "udp 8000 to 8100 from ::/0",
            ),
            (ports("tcp", 80, 80).user_id_group_pairs(group.clone().build()), "tcp 80 from sg-1"),
            (ports("tcp", 80, 80).user_id_group_pairs(group.user_id("2").build()), "tcp 80 from 2/sg-1"),
            (IpPermission::builder().ip_protocol("-1").prefix_list_ids(list.build()), "everything from pl-1"),
        ];
        for (permission, text) in permissions {
            let asked = permission.build();
            let read = rules(&asked, Some("1"));
            assert_eq!(read.iter().map(ToString::to_string).collect::<Vec<_>>(), [text]);
            assert_eq!(super::permission(&read[0]), asked, "{text}");
        }
        let own = UserIdGroupPair::builder().group_id("sg-1").user_id("1").build();
        let read = rules(&ports("tcp", 80, 80).user_id_group_pairs(own).build(), Some("1"));
        assert_eq!(read[0].source, "sg-1", "the group's own account is not named");
    }
}
