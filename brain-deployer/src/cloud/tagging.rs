//! Tags: by them brain knows what is its own, and by setting them it adopts what is not.

use super::{Result, Tags};
use async_trait::async_trait;

/// A resource as the call that tags it names it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "named by the variants")]
pub enum Tagged {
    SecurityGroup {
        id: String,
    },
    LoadBalancer {
        name: String,
    },
    /// A part of an application load balancer.
    Application {
        arn: String,
    },
    LaunchTemplate {
        id: String,
    },
    AutoScalingGroup {
        name: String,
    },
    Cluster {
        arn: String,
    },
    Service {
        arn: String,
    },
}

impl Tagged {
    /// Name of the call that tags it.
    #[must_use]
    pub fn call(&self) -> &'static str {
        match self {
            Self::SecurityGroup { .. } | Self::LaunchTemplate { .. } => "CreateTags",
            Self::LoadBalancer { .. } | Self::Application { .. } => "AddTags",
            Self::AutoScalingGroup { .. } => "CreateOrUpdateTags",
            Self::Cluster { .. } | Self::Service { .. } => "TagResource",
        }
    }

    /// How the call names it.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::SecurityGroup { id } | Self::LaunchTemplate { id } => id,
            Self::LoadBalancer { name } | Self::AutoScalingGroup { name } => name,
            Self::Cluster { arn } | Self::Service { arn } | Self::Application { arn } => arn,
        }
    }
}

/// Tags of resources that exist.
#[async_trait]
pub trait TagPort: Send + Sync {
    /// Adds tags; those of other keys stay.
    async fn tag(&self, resource: &Tagged, tags: &Tags) -> Result<()>;
}
