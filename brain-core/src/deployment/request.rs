//! What a new deployment is made of, as the log keeps it.

use crate::{dependency::Dependency, image::Digest, plan::Plan, policy::RolloutPolicy};
use serde::{Deserialize, Serialize};

/// What a new deployment is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Number within the project.
    pub number: u64,
    /// Tag of the release.
    pub tag: String,
    /// Digest of its image.
    pub digest: Digest,
    /// Who asks.
    pub requested_by: String,
    /// Id of the request; may be empty.
    pub request_id: String,
    /// The plan.
    pub plan: Plan,
    /// The policy, where it is not the project's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<RolloutPolicy>,
    /// What has to run first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub awaits: Vec<Dependency>,
    /// Whether it brings back what was deployed before: then what holds everything new does not hold it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub back: bool,
    /// Whether something is missing before it may begin.
    #[serde(default, skip_serializing_if = "is_false")]
    pub held: bool,
    /// Approvals that it needs to begin.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub approvals_required: u32,
    /// Why it may begin outside of every deploy window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside_windows: Option<String>,
    /// Why it was asked for, in the words of whoever did; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}
