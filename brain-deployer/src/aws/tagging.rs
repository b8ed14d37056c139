//! Tags of resources that exist, each kind by its own call.

use super::{Aws, balancer::unbuilt, containers::aws_tags};
use crate::cloud::{Result, TagPort, Tagged, Tags};
use async_trait::async_trait;
use std::sync::PoisonError;

impl Aws {
    fn forget_tags(&self) {
        self.arns.forget();
        self.tagged.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.groups.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.clusters.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[async_trait]
impl TagPort for Aws {
    async fn tag(&self, resource: &Tagged, tags: &Tags) -> Result<()> {
        let call = resource.call();
        // Done or not: what was known of its tags is looked at anew.
        self.forget_tags();
        match resource {
            Tagged::SecurityGroup { id } | Tagged::LaunchTemplate { id } => {
                let tag = |(key, value)| aws_sdk_ec2::types::Tag::builder().key(key).value(value).build();
                let request = self.ec2.create_tags().resources(id).set_tags(Some(tags.iter().map(tag).collect()));
                self.call(call, request.send()).await.map(drop)
            }
            Tagged::LoadBalancer { name } => {
                let mut request = self.balancing.add_tags().load_balancer_names(name);
                for (key, value) in tags {
                    let tag = aws_sdk_elasticloadbalancing::types::Tag::builder().key(key).value(value);
                    request = request.tags(tag.build().map_err(unbuilt(call))?);
                }
                self.call(call, request.send()).await.map(drop)
            }
            Tagged::Application { arn } => {
                let request = self.applications.add_tags().resource_arns(arn);
                let request = request.set_tags(Some(super::application::aws_tags(tags)));
                self.call(call, request.send()).await.map(drop)
            }
            Tagged::AutoScalingGroup { name } => {
                let mut request = self.scaling.create_or_update_tags();
                for (key, value) in tags {
                    let tag = aws_sdk_autoscaling::types::Tag::builder().key(key).value(value).resource_id(name);
                    request = request.tags(tag.resource_type("auto-scaling-group").propagate_at_launch(true).build());
                }
                self.call(call, request.send()).await.map(drop)
            }
            Tagged::Cluster { arn } | Tagged::Service { arn } => {
                let request = self.ecs.tag_resource().resource_arn(arn).set_tags(Some(aws_tags(tags)));
                self.call(call, request.send()).await.map(drop)
            }
        }
    }
}
