//! The port to EC2's network: VPCs, and security groups with what they let in.

use super::{Result, Tags};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt};

/// Every protocol, as EC2 writes it.
pub const EVERY_PROTOCOL: &str = "-1";

/// VPC and subnets of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// VPC.
    pub vpc: String,
    /// Its first network.
    pub cidr: String,
    /// All of them: its load balancers may be in any.
    pub blocks: Vec<String>,
    /// Subnets to use.
    pub subnets: Vec<String>,
}

/// An ingress rule: one protocol, from one source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Rule {
    /// Port, or the first of several; ICMP's type. `None`: every one.
    pub port: Option<i32>,
    /// Network, security group (`sg-1`, or `123456789012/sg-1` of another account) or prefix list (`pl-1`).
    #[serde(alias = "cidr")]
    pub source: String,
    /// The last port, where that is another; so with ICMP's code.
    #[serde(default)]
    pub last: Option<i32>,
    /// `tcp`, `udp`, `icmp`, the number of another one, or [`EVERY_PROTOCOL`].
    #[serde(default = "tcp")]
    pub protocol: String,
}

fn tcp() -> String {
    "tcp".to_owned()
}

impl Rule {
    /// The kind that brain sets: TCP, one port, from one network.
    #[must_use]
    pub fn tcp(port: u16, cidr: &str) -> Self {
        Self { port: Some(port.into()), source: cidr.to_owned(), last: None, protocol: tcp() }
    }

    /// Whether it lets TCP to a port.
    #[must_use]
    pub fn opens(&self, port: u16) -> bool {
        let among = |first: i32| (first..=self.last.unwrap_or(first)).contains(&i32::from(port));
        (self.protocol == tcp() || self.protocol == EVERY_PROTOCOL) && self.port.is_none_or(among)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { port, source, last, protocol } = self;
        let protocol = if protocol == EVERY_PROTOCOL { "everything" } else { protocol };
        match (port, last) {
            (Some(port), Some(last)) => write!(f, "{protocol} {port} to {last} from {source}"),
            (Some(port), None) => write!(f, "{protocol} {port} from {source}"),
            (None, _) => write!(f, "{protocol} from {source}"),
        }
    }
}

/// A security group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "named by the fields")]
pub struct SecurityGroup {
    pub id: String,
    /// What it lets in.
    pub rules: BTreeSet<Rule>,
    pub tags: Tags,
}

/// EC2's network.
#[async_trait]
pub trait NetworkPort: Send + Sync {
    /// VPC and subnets: the given ones, or the account's defaults. `Err` of the inner result: why there are none.
    async fn network(&self, vpc: Option<&str>, subnets: &[String]) -> Result<Result<Network, String>>;
    /// The group of that name, as it is now.
    async fn security_group(&self, vpc: &str, name: &str) -> Result<Option<SecurityGroup>>;
    /// Id of the group of that name, which may have been seen some seconds ago.
    async fn security_group_id(&self, vpc: &str, name: &str) -> Result<Option<String>>;
    /// Makes a group.
    async fn create_security_group(&self, vpc: &str, name: &str, tags: &Tags) -> Result<()>;
    /// Adds rules.
    async fn allow(&self, group: &str, rules: &[Rule]) -> Result<()>;
    /// Takes rules away.
    async fn revoke(&self, group: &str, rules: &[Rule]) -> Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_told_as_a_person_would_write_them() {
        let rule = |protocol: &str, port, last, source: &str| {
            Rule { port, source: source.to_owned(), last, protocol: protocol.to_owned() }.to_string()
        };
        assert_eq!(Rule::tcp(22, "0.0.0.0/0").to_string(), "tcp 22 from 0.0.0.0/0");
        assert_eq!(rule("udp", Some(8_000), Some(8_100), "sg-1"), "udp 8000 to 8100 from sg-1");
        assert_eq!(rule(EVERY_PROTOCOL, None, None, "::/0"), "everything from ::/0");
    }

    #[test]
    fn a_rule_that_was_stored_before_there_were_others_is_one_of_brains() {
        let stored: Rule = serde_json::from_str(r#"{"port": 22, "cidr": "10.0.0.0/8"}"#).unwrap();
        assert_eq!(stored, Rule::tcp(22, "10.0.0.0/8"));
    }
}
