//! Names of AWS resources, the app's name first as in the seed.

use crate::{
    id::ProjectId,
    image::Digest,
    project::ProjectSpec,
    traffic::{LoadBalancerKind, TargetGroup},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// Longest name of a load balancer of either kind, and of a target group (an AWS limit).
const LOAD_BALANCER_MAX: usize = 32;
/// Longest AWS client token (an AWS limit: 36 ASCII characters).
const CLIENT_TOKEN_MAX: usize = 36;

/// Names of a project's AWS resources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceNames {
    /// ECS cluster.
    pub cluster: String,
    /// Security group.
    pub security_group: String,
    /// Load balancer.
    pub load_balancer: String,
    /// Launch template.
    pub launch_template: String,
    /// Auto-scaling group.
    pub auto_scaling_group: String,
    /// Task definition family.
    pub task_family: String,
    /// Container in the task definition.
    pub container: String,
    /// Target groups of an application load balancer; `None` behind a classic one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_groups: Option<TargetGroupNames>,
}

/// Names of the two target groups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "named by the fields")]
pub struct TargetGroupNames {
    pub a: String,
    pub b: String,
}

impl TargetGroupNames {
    /// The name of a group.
    #[must_use]
    pub fn of(&self, group: TargetGroup) -> &str {
        match group {
            TargetGroup::A => &self.a,
            TargetGroup::B => &self.b,
        }
    }

    /// The group of that name.
    #[must_use]
    pub fn group(&self, name: &str) -> Option<TargetGroup> {
        TargetGroup::BOTH.into_iter().find(|group| self.of(*group) == name)
    }
}

impl ResourceNames {
    /// The names for a project of that definition.
    #[must_use]
    pub fn for_spec(spec: &ProjectSpec) -> Self {
        Self::behind(&spec.id, spec.target.load_balancer_kind)
    }

    /// The names for `project` behind a load balancer of that kind.
    #[must_use]
    pub fn behind(project: &ProjectId, kind: LoadBalancerKind) -> Self {
        let group = |group: TargetGroup| shortened(project.as_str(), &format!("-ecs-tg-{group}"), LOAD_BALANCER_MAX);
        let target_groups = match kind {
            LoadBalancerKind::Classic => None,
            LoadBalancerKind::Application => {
                Some(TargetGroupNames { a: group(TargetGroup::A), b: group(TargetGroup::B) })
            }
        };
        Self { target_groups, ..Self::of(project) }
    }

    /// The names for `project` behind a classic load balancer. Two projects' names differ, load balancers' shortened ones up to
    /// a hash collision, which the server refuses.
    #[must_use]
    pub fn of(project: &ProjectId) -> Self {
        let named = |suffix: &str| format!("{project}-ecs-{suffix}");
        Self {
            cluster: named("cluster"),
            security_group: named("sg"),
            load_balancer: shortened(project.as_str(), "-ecs-lb", LOAD_BALANCER_MAX),
            launch_template: named("lt"),
            auto_scaling_group: named("asg"),
            task_family: named("task"),
            container: named("container"),
            target_groups: None,
        }
    }
}

/// Name of the ECS service that runs `tag` with the image `digest`. The digest is part of it, so that a tag that moved gets
/// a service of its own and never replaces tasks in place.
#[must_use]
pub fn service(project: &ProjectId, tag: &str, digest: &Digest) -> String {
    let tag: String = tag.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    format!("{project}-ecs-service-{tag}-{}", digest.short())
}

/// Name of the launch configuration with these settings. It can never be changed, so other settings are another one.
#[must_use]
pub fn launch_configuration(project: &ProjectId, settings: &str) -> String {
    format!("{project}-ecs-lc-{}", &hash_hex(settings)[..8])
}

/// Idempotency token for AWS, the same whenever the same deployment creates the same service.
#[must_use]
pub fn client_token(project: &ProjectId, deployment: u64, service: &str) -> String {
    let mut token = hash_hex(&format!("{project}/{deployment}/{service}"));
    token.truncate(CLIENT_TOKEN_MAX);
    token
}

fn shortened(name: &str, suffix: &str, max: usize) -> String {
    if name.len() + suffix.len() <= max {
        return format!("{name}{suffix}");
    }
    let hash = &hash_hex(name)[..8];
    let kept = &name[..max - suffix.len() - hash.len() - 1];
    format!("{}-{hash}{suffix}", kept.trim_end_matches('-'))
}

/// Hexadecimal SHA-256: the same on every machine and in every release, unlike the standard library's hasher.
pub(crate) fn hash_hex(text: &str) -> String {
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(text.as_bytes()) {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_seeds() {
        let names = ResourceNames::of(&ProjectId::parse("splashpage-api").unwrap());
        assert_eq!(names.cluster, "splashpage-api-ecs-cluster");
        assert_eq!(names.task_family, "splashpage-api-ecs-task");
        assert_eq!(names.container, "splashpage-api-ecs-container");
        assert_eq!(names.load_balancer, "splashpage-api-ecs-lb");
    }

    #[test]
    fn a_long_load_balancer_name_is_shortened_to_a_stable_one() {
        let name = |id: &str| ResourceNames::of(&ProjectId::parse(id).unwrap()).load_balancer;
        let long = name("a-service-with-quite-a-long-name-one");
        assert!(long.len() <= 32 && long.ends_with("-ecs-lb"), "{long}");
        assert_ne!(long, name("a-service-with-quite-a-long-name-two"));
        assert_eq!(long, name("a-service-with-quite-a-long-name-one"));
        let id = ProjectId::parse("a-service-with-quite-a-long-name-one").unwrap();
        let groups = ResourceNames::behind(&id, LoadBalancerKind::Application).target_groups.unwrap();
        assert!(
            groups.a.len() <= 32 && groups.a.ends_with("-ecs-tg-a") && groups.b.ends_with("-ecs-tg-b"),
            "{groups:?}"
        );
    }
}
