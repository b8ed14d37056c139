//! The network as it would be.

use super::{NEW, Stage};
use crate::{
    cloud::{Network, NetworkPort, Result, Rule, SecurityGroup, Tags},
    difference::{difference, missing_rule, unknown_rule},
};
use async_trait::async_trait;
use std::collections::BTreeSet;

#[async_trait]
impl NetworkPort for Stage {
    async fn network(&self, vpc: Option<&str>, subnets: &[String]) -> Result<Result<Network, String>> {
        self.cloud.network(vpc, subnets).await
    }

    async fn security_group(&self, vpc: &str, name: &str) -> Result<Option<SecurityGroup>> {
        if let Some(group) = self.made().security_group.clone() {
            return Ok(Some(group));
        }
        let found = self.cloud.security_group(vpc, name).await?;
        self.made().security_group.clone_from(&found);
        Ok(found)
    }

    async fn security_group_id(&self, vpc: &str, name: &str) -> Result<Option<String>> {
        if let Some(group) = &self.made().security_group {
            return Ok(Some(group.id.clone()));
        }
        self.cloud.security_group_id(vpc, name).await
    }

    async fn create_security_group(&self, vpc: &str, name: &str, tags: &Tags) -> Result<()> {
        let mut made = self.made();
        made.note("CreateSecurityGroup", name, vec![difference("vpc", "none", vpc)]);
        made.security_group = Some(SecurityGroup { id: NEW.to_owned(), rules: BTreeSet::new(), tags: tags.clone() });
        Ok(())
    }

    async fn allow(&self, group: &str, rules: &[Rule]) -> Result<()> {
        let mut made = self.made();
        made.note("AuthorizeSecurityGroupIngress", group, rules.iter().map(missing_rule).collect());
        if let Some(group) = &mut made.security_group {
            group.rules.extend(rules.iter().cloned());
        }
        Ok(())
    }

    async fn revoke(&self, group: &str, rules: &[Rule]) -> Result<()> {
        let mut made = self.made();
        made.note("RevokeSecurityGroupIngress", group, rules.iter().map(unknown_rule).collect());
        if let Some(group) = &mut made.security_group {
            group.rules.retain(|rule| !rules.contains(rule));
        }
        Ok(())
    }
}
