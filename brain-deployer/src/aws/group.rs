//! Launch templates and auto-scaling groups.

use super::{Aws, collect_tags, count, signed};
use crate::cloud::{BY_EC2, Group, GroupPort, Launch, LaunchSettings, LaunchTemplate, NewGroup, Result, Tags};
use async_trait::async_trait;
use aws_sdk_autoscaling::types::{AutoScalingGroup, LaunchTemplateSpecification, LifecycleState, Tag as GroupTag};
use aws_sdk_ec2::types::{
    InstanceType, LaunchTemplateIamInstanceProfileSpecificationRequest, RequestLaunchTemplateData, ResourceType,
    ResponseLaunchTemplateData, Tag, TagSpecification,
};
use std::sync::PoisonError;

/// Where AWS publishes its ECS-optimized image.
const IMAGE_PARAMETER: &str = "/aws/service/ecs/optimized-ami/amazon-linux-2023/recommended/image_id";
/// The process that moves instances between zones, and ends live tasks with them.
const REBALANCE: &str = "AZRebalance";

#[async_trait]
impl GroupPort for Aws {
    async fn ecs_image(&self) -> Result<String> {
        let answer = self.call("GetParameter", self.ssm.get_parameter().name(IMAGE_PARAMETER).send()).await?;
        Ok(answer.parameter().and_then(|parameter| parameter.value()).unwrap_or_default().to_owned())
    }

    async fn launch_template(&self, name: &str) -> Result<Option<LaunchTemplate>> {
        let request = self.ec2.describe_launch_templates().launch_template_names(name);
        let answer = match self.call("DescribeLaunchTemplates", request.send()).await {
            Ok(answer) => answer,
            Err(error) if error.code.starts_with("InvalidLaunchTemplateName.NotFound") => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some(template) = answer.launch_templates().first() else { return Ok(None) };
        let id = template.launch_template_id().unwrap_or_default().to_owned();
        let number = template.latest_version_number().unwrap_or_default();
        let Some(latest) = self.template_version(&id, number).await? else { return Ok(None) };
        Ok(Some(LaunchTemplate {
            id,
            tags: collect_tags(template.tags().iter().map(|tag| (tag.key(), tag.value()))),
            default_version: template.default_version_number().unwrap_or_default(),
            latest: (number, latest),
        }))
    }

    async fn create_launch_template(&self, name: &str, settings: &LaunchSettings, tags: &Tags) -> Result<()> {
        let tags = tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect();
        let specification =
            TagSpecification::builder().resource_type(ResourceType::LaunchTemplate).set_tags(Some(tags)).build();
        let request = self.ec2.create_launch_template().launch_template_name(name);
        let request = request.launch_template_data(data(settings)).tag_specifications(specification);
        self.call("CreateLaunchTemplate", request.send()).await.map(drop)
    }

    async fn create_launch_template_version(&self, id: &str, settings: &LaunchSettings) -> Result<()> {
        let request = self.ec2.create_launch_template_version().launch_template_id(id);
        let request = request.launch_template_data(data(settings));
        self.call("CreateLaunchTemplateVersion", request.send()).await.map(drop)
    }

    async fn set_default_version(&self, id: &str, version: i64) -> Result<()> {
        let request = self.ec2.modify_launch_template().launch_template_id(id).default_version(version.to_string());
        self.call("ModifyLaunchTemplate", request.send()).await.map(drop)
    }

    async fn group(&self, name: &str) -> Result<Option<Group>> {
        let request = self.scaling.describe_auto_scaling_groups().auto_scaling_group_names(name);
        let answer = self.call("DescribeAutoScalingGroups", request.send()).await?;
        // A group that is being deleted is still described, with a status.
        let mut groups = answer.auto_scaling_groups().iter().filter(|group| group.status().is_none());
        Ok(groups.next().map(|group| Group {
            desired: count(group.desired_capacity().unwrap_or_default()),
            min: count(group.min_size().unwrap_or_default()),
            max: count(group.max_size().unwrap_or_default()),
            instances: group
                .instances()
                .iter()
                .filter_map(|instance| instance.instance_id())
                .map(ToOwned::to_owned)
                .collect(),
            passing: group
                .instances()
                .iter()
                .filter(|instance| instance.lifecycle_state() != Some(&LifecycleState::InService))
                .filter_map(|instance| instance.instance_id())
                .map(ToOwned::to_owned)
                .collect(),
            subnets: group
                .vpc_zone_identifier()
                .unwrap_or_default()
                .split(',')
                .filter(|subnet| !subnet.is_empty())
                .map(ToOwned::to_owned)
                .collect(),
            rebalances: !group.suspended_processes().iter().any(|process| process.process_name() == Some(REBALANCE)),
            health_check: group.health_check_type().unwrap_or(BY_EC2).to_owned(),
            load_balancers: group.load_balancer_names().to_vec(),
            tags: collect_tags(group.tags().iter().map(|tag| (tag.key(), tag.value()))),
            launch: launch_of(group),
            template_id: group
                .launch_template()
                .and_then(|template| template.launch_template_id())
                .map(ToOwned::to_owned),
        }))
    }

    async fn launch_configuration(&self, name: &str) -> Result<Option<LaunchSettings>> {
        let request = self.scaling.describe_launch_configurations().launch_configuration_names(name);
        let answer = self.call("DescribeLaunchConfigurations", request.send()).await?;
        Ok(answer.launch_configurations().first().map(|found| LaunchSettings {
            image: found.image_id().unwrap_or_default().to_owned(),
            instance_type: found.instance_type().unwrap_or_default().to_owned(),
            instance_profile: found.iam_instance_profile().unwrap_or_default().to_owned(),
            security_groups: found.security_groups().to_vec(),
            user_data: found.user_data().unwrap_or_default().to_owned(),
        }))
    }

    async fn create_launch_configuration(&self, name: &str, settings: &LaunchSettings) -> Result<()> {
        let request = self
            .scaling
            .create_launch_configuration()
            .launch_configuration_name(name)
            .image_id(&settings.image)
            .instance_type(&settings.instance_type)
            .iam_instance_profile(&settings.instance_profile)
            .set_security_groups(Some(settings.security_groups.clone()))
            .user_data(&settings.user_data);
        self.call("CreateLaunchConfiguration", request.send()).await.map(drop)
    }

    async fn set_group_launch(&self, group: &str, launch: &Launch) -> Result<()> {
        let request = self.scaling.update_auto_scaling_group().auto_scaling_group_name(group);
        let request = match launch {
            Launch::Template(name) => request.launch_template(template(name)),
            Launch::Configuration(name) => request.launch_configuration_name(name),
        };
        self.call("UpdateAutoScalingGroup", request.send()).await.map(drop)
    }

    async fn create_group(&self, group: &NewGroup) -> Result<()> {
        let request = self.scaling.create_auto_scaling_group().auto_scaling_group_name(&group.name);
        let request = match &group.launch {
            Launch::Template(name) => request.launch_template(template(name)),
            Launch::Configuration(name) => request.launch_configuration_name(name),
        };
        let mut request = request
            .min_size(0)
            .desired_capacity(signed(group.desired))
            .max_size(signed(group.max))
            .vpc_zone_identifier(group.subnets.join(","))
            .set_load_balancer_names(group.load_balancer.clone().map(|name| vec![name]))
            .health_check_type(BY_EC2);
        for (key, value) in &group.tags {
            let tag = GroupTag::builder()
                .key(key)
                .value(value)
                .resource_id(&group.name)
                .resource_type("auto-scaling-group")
                .propagate_at_launch(true);
            request = request.tags(tag.build());
        }
        self.call("CreateAutoScalingGroup", request.send()).await.map(drop)
    }

    async fn set_group_max(&self, name: &str, max: u32) -> Result<()> {
        let request = self.scaling.update_auto_scaling_group().auto_scaling_group_name(name).max_size(signed(max));
        self.call("UpdateAutoScalingGroup", request.send()).await.map(drop)
    }

    async fn attach_load_balancer(&self, name: &str, balancer: &str) -> Result<()> {
        let request = self.scaling.attach_load_balancers().auto_scaling_group_name(name);
        let request = request.load_balancer_names(balancer);
        self.call("AttachLoadBalancers", request.send()).await.map(drop)
    }

    async fn settle_group(&self, name: &str, subnets: &[String]) -> Result<()> {
        let request = self.scaling.update_auto_scaling_group().auto_scaling_group_name(name);
        let request = request.min_size(0).health_check_type(BY_EC2);
        let request = request.set_vpc_zone_identifier((!subnets.is_empty()).then(|| subnets.join(",")));
        self.call("UpdateAutoScalingGroup", request.send()).await.map(drop)
    }

    async fn suspend_rebalancing(&self, name: &str) -> Result<()> {
        let request = self.scaling.suspend_processes().auto_scaling_group_name(name).scaling_processes(REBALANCE);
        self.call("SuspendProcesses", request.send()).await.map(drop)
    }

    async fn set_group_desired(&self, name: &str, desired: u32) -> Result<()> {
        let request = self.scaling.set_desired_capacity().auto_scaling_group_name(name);
        let request = request.desired_capacity(signed(desired));
        self.call("SetDesiredCapacity", request.send()).await.map(drop)
    }

    async fn terminate(&self, instance: &str) -> Result<()> {
        self.end_instance(instance, true).await
    }

    async fn replace(&self, instance: &str) -> Result<()> {
        self.end_instance(instance, false).await
    }
}

impl Aws {
    /// Ends an instance, and lets its group want one less or start another.
    async fn end_instance(&self, instance: &str, less: bool) -> Result<()> {
        let request = self.scaling.terminate_instance_in_auto_scaling_group().instance_id(instance);
        let request = request.should_decrement_desired_capacity(less);
        self.call("TerminateInstanceInAutoScalingGroup", request.send()).await.map(drop)
    }

    /// What a version of a launch template says, which never changes.
    async fn template_version(&self, id: &str, number: i64) -> Result<Option<LaunchSettings>> {
        let key = (id.to_owned(), number);
        if let Some(known) = self.versions.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(Some(known.clone()));
        }
        let request = self.ec2.describe_launch_template_versions().launch_template_id(id).versions(number.to_string());
        let versions = self.call("DescribeLaunchTemplateVersions", request.send()).await?;
        let Some(found) = versions.launch_template_versions().first() else { return Ok(None) };
        let settings = found.launch_template_data().map(settings_of).unwrap_or_else(no_settings);
        self.versions.lock().unwrap_or_else(PoisonError::into_inner).insert(key, settings.clone());
        Ok(Some(settings))
    }
}

fn template(name: &str) -> LaunchTemplateSpecification {
    LaunchTemplateSpecification::builder().launch_template_name(name).version("$Default").build()
}

fn launch_of(group: &AutoScalingGroup) -> Option<Launch> {
    let template = group.launch_template().and_then(|template| template.launch_template_name());
    let configuration = group.launch_configuration_name();
    let template = template.map(|name| Launch::Template(name.to_owned()));
    template.or_else(|| configuration.map(|name| Launch::Configuration(name.to_owned())))
}

fn data(settings: &LaunchSettings) -> RequestLaunchTemplateData {
    let profile = LaunchTemplateIamInstanceProfileSpecificationRequest::builder().name(&settings.instance_profile);
    RequestLaunchTemplateData::builder()
        .image_id(&settings.image)
        .instance_type(InstanceType::from(settings.instance_type.as_str()))
        .iam_instance_profile(profile.build())
        .set_security_group_ids(Some(settings.security_groups.clone()))
        .user_data(&settings.user_data)
        .build()
}

fn settings_of(data: &ResponseLaunchTemplateData) -> LaunchSettings {
    LaunchSettings {
        image: data.image_id().unwrap_or_default().to_owned(),
        instance_type: data.instance_type().map(|kind| kind.as_str().to_owned()).unwrap_or_default(),
        instance_profile: data.iam_instance_profile().and_then(|profile| profile.name()).unwrap_or_default().to_owned(),
        security_groups: data.security_group_ids().to_vec(),
        user_data: data.user_data().unwrap_or_default().to_owned(),
    }
}

fn no_settings() -> LaunchSettings {
    LaunchSettings {
        image: String::new(),
        instance_type: String::new(),
        instance_profile: String::new(),
        security_groups: Vec::new(),
        user_data: String::new(),
    }
}
