//! Project definitions.

use super::{
    ConvertError, duration_to_proto,
    gate::{gate_from_proto, gate_to_proto},
    milliseconds,
};
use crate::{
    name,
    v1::{self, rollout_step},
};
use brain_core::{
    dependency::Dependency,
    policy::{OnFailure, Preset, RolloutPolicy, RolloutStep, Size},
    project::{
        DependencyDraft, DeployMode, LaunchKind, ProjectDraft, ProjectSpec, RolloutPolicyDraft, RolloutStepDraft,
        SizeDraft, Source, Target, TargetDraft,
    },
    traffic::LoadBalancerKind,
    version::VersionPart,
};

/// The definition as a person wrote it. Output-only fields are ignored.
#[must_use]
pub fn draft_from_proto(project: v1::Project) -> ProjectDraft {
    let v1::Project {
        name,
        source,
        image_repository,
        target,
        rollout_policy,
        etag: _,
        create_time: _,
        head: _,
        depends_on,
        deploy,
        holds: _,
        drift: _,
        housekeeping: _,
        production_unobserved: _,
    } = project;
    let v1::DeployMode { automatic } = deploy.unwrap_or_default();
    let dependency = |v1::Dependency { project, version }| DependencyDraft {
        project: project.strip_prefix("projects/").unwrap_or(&project).to_owned(),
        version,
    };
    let v1::Source { git_url, branch, auto_tag } = source.unwrap_or_default();
    let auto_tag = version_part_from_proto(auto_tag);
    ProjectDraft {
        id: name.strip_prefix("projects/").unwrap_or(&name).to_owned(),
        git_url,
        branch,
        auto_tag,
        image_repository,
        target: target.map(target_from_proto),
        rollout_policy: rollout_policy.map(policy_from_proto),
        depends_on: depends_on.into_iter().map(dependency).collect(),
        deploy: DeployMode { automatic },
    }
}

/// A part of a version; `None` when it is unspecified or unknown.
#[must_use]
pub fn version_part_from_proto(part: i32) -> Option<VersionPart> {
    match v1::VersionPart::try_from(part) {
        Ok(v1::VersionPart::Patch) => Some(VersionPart::Patch),
        Ok(v1::VersionPart::Minor) => Some(VersionPart::Minor),
        Ok(v1::VersionPart::Major) => Some(VersionPart::Major),
        Ok(v1::VersionPart::Unspecified) | Err(_) => None,
    }
}

fn version_part_to_proto(part: Option<VersionPart>) -> v1::VersionPart {
    match part {
        None => v1::VersionPart::Unspecified,
        Some(VersionPart::Patch) => v1::VersionPart::Patch,
        Some(VersionPart::Minor) => v1::VersionPart::Minor,
        Some(VersionPart::Major) => v1::VersionPart::Major,
    }
}

fn target_from_proto(target: v1::Target) -> TargetDraft {
    let load_balancer_kind = match target.load_balancer_kind() {
        v1::LoadBalancerKind::Unspecified | v1::LoadBalancerKind::Classic => LoadBalancerKind::Classic,
        v1::LoadBalancerKind::Application => LoadBalancerKind::Application,
    };
    let launch_kind = match target.launch_kind() {
        v1::LaunchKind::Unspecified | v1::LaunchKind::Template => LaunchKind::Template,
        v1::LaunchKind::Configuration => LaunchKind::Configuration,
    };
    let v1::Target {
        region,
        host_port,
        container_port,
        desired_count,
        max_instances,
        instance_type,
        memory_mib,
        cpu_units,
        command,
        environment,
        listener_port,
        certificate_arn,
        health_check_path,
        vpc_id,
        subnet_ids,
        services_security_group_id,
        ssh_cidrs,
        instance_profile,
        ami_id,
        ecs_agent_settings,
        registry_credential,
        role_arn,
        launch_kind: _,
        load_balancer_kind: _,
        health_check_grace_period,
    } = target;
    TargetDraft {
        region,
        host_port,
        container_port,
        desired_count,
        max_instances,
        instance_type,
        memory_mib,
        cpu_units,
        command,
        environment: environment.into_iter().collect(),
        listener_port,
        certificate_arn,
        health_check_path,
        vpc_id,
        subnet_ids,
        services_security_group_id,
        ssh_cidrs,
        instance_profile,
        ami_id,
        ecs_agent_settings: ecs_agent_settings.into_iter().collect(),
        registry_credential,
        role_arn,
        launch_kind,
        load_balancer_kind,
        health_check_grace_period_ms: health_check_grace_period.map(milliseconds),
    }
}

/// A rollout policy as a person sends it.
#[must_use]
pub fn policy_from_proto(policy: v1::RolloutPolicy) -> RolloutPolicyDraft {
    let preset = match policy.preset() {
        v1::RolloutPreset::Unspecified => None,
        v1::RolloutPreset::OneByOne => Some(Preset::OneByOne),
        v1::RolloutPreset::Canary => Some(Preset::Canary),
        v1::RolloutPreset::BlueGreen => Some(Preset::BlueGreen),
        v1::RolloutPreset::AllAtOnce => Some(Preset::AllAtOnce),
    };
    let on_failure = match policy.on_failure() {
        v1::OnFailure::Unspecified => None,
        v1::OnFailure::RollBack => Some(OnFailure::RollBack),
        v1::OnFailure::Pause => Some(OnFailure::Pause),
    };
    let v1::RolloutPolicy {
        floor_percent,
        surge,
        step_timeout,
        max_task_failures,
        steps,
        keep_services,
        keep_task_definitions,
        ..
    } = policy;
    let step = |step: v1::RolloutStep| RolloutStepDraft {
        size: step.size.map(|size| match size {
            rollout_step::Size::Percent(percent) => SizeDraft::Percent(percent),
            rollout_step::Size::Count(count) => SizeDraft::Count(count),
        }),
        bake_ms: step.bake.map(milliseconds).unwrap_or_default(),
        gates: step.gates.into_iter().map(gate_from_proto).collect(),
        hold: step.hold,
    };
    RolloutPolicyDraft {
        preset,
        steps: steps.into_iter().map(step).collect(),
        floor_percent,
        surge,
        step_timeout_ms: step_timeout.map(milliseconds),
        max_task_failures,
        on_failure,
        keep_services,
        keep_task_definitions,
    }
}

/// A definition that brain sent itself, checked again.
pub fn spec_from_proto(project: v1::Project) -> Result<ProjectSpec, ConvertError> {
    draft_from_proto(project)
        .validate(|port| port.ok_or_else(|| "is missing".to_owned()))
        .map_err(|faults| ConvertError::new(&faults[0].field, &faults[0].description))
}

/// The definition, complete. Output-only fields are left empty.
#[must_use]
pub fn spec_to_proto(spec: &ProjectSpec) -> v1::Project {
    let ProjectSpec { id, source, image_repository, target, rollout_policy, depends_on, deploy } = spec;
    let DeployMode { automatic } = *deploy;
    let Source { git_url, branch, auto_tag } = source;
    let auto_tag = version_part_to_proto(*auto_tag).into();
    v1::Project {
        name: name::project(id),
        source: Some(v1::Source { git_url: git_url.clone(), branch: branch.clone(), auto_tag }),
        image_repository: image_repository.to_string(),
        target: Some(target_to_proto(target)),
        rollout_policy: Some(policy_to_proto(rollout_policy)),
        etag: String::new(),
        create_time: None,
        head: None,
        depends_on: depends_on.iter().map(dependency_to_proto).collect(),
        deploy: Some(v1::DeployMode { automatic }),
        holds: None,
        drift: Vec::new(),
        housekeeping: None,
        production_unobserved: None,
    }
}

fn dependency_to_proto(dependency: &Dependency) -> v1::Dependency {
    let Dependency { project, version } = dependency;
    let version = version.as_ref().map(ToString::to_string).unwrap_or_default();
    v1::Dependency { project: name::project(project), version }
}

fn target_to_proto(target: &Target) -> v1::Target {
    let Target {
        region,
        host_port,
        container_port,
        desired_count,
        max_instances,
        instance_type,
        memory_mib,
        cpu_units,
        command,
        environment,
        listener_port,
        certificate_arn,
        health_check_path,
        vpc_id,
        subnet_ids,
        services_security_group_id,
        ssh_cidrs,
        instance_profile,
        ami_id,
        ecs_agent_settings,
        registry_credential,
        role_arn,
        launch_kind,
        load_balancer_kind,
        health_check_grace_period,
    } = target.clone();
    let load_balancer_kind = match load_balancer_kind {
        LoadBalancerKind::Classic => v1::LoadBalancerKind::Classic,
        LoadBalancerKind::Application => v1::LoadBalancerKind::Application,
    };
    let launch_kind = match launch_kind {
        LaunchKind::Template => v1::LaunchKind::Template,
        LaunchKind::Configuration => v1::LaunchKind::Configuration,
    };
    v1::Target {
        region,
        host_port: host_port.into(),
        container_port: container_port.into(),
        desired_count,
        max_instances,
        instance_type,
        memory_mib,
        cpu_units,
        command,
        environment: environment.into_iter().collect(),
        listener_port: listener_port.into(),
        certificate_arn: certificate_arn.unwrap_or_default(),
        health_check_path: health_check_path.unwrap_or_default(),
        vpc_id: vpc_id.unwrap_or_default(),
        subnet_ids,
        services_security_group_id: services_security_group_id.unwrap_or_default(),
        ssh_cidrs,
        instance_profile,
        ami_id: ami_id.unwrap_or_default(),
        ecs_agent_settings: ecs_agent_settings.into_iter().collect(),
        registry_credential: registry_credential.unwrap_or_default(),
        role_arn: role_arn.unwrap_or_default(),
        launch_kind: launch_kind.into(),
        load_balancer_kind: load_balancer_kind.into(),
        health_check_grace_period: Some(duration_to_proto(health_check_grace_period)),
    }
}

pub(super) fn policy_to_proto(policy: &RolloutPolicy) -> v1::RolloutPolicy {
    let RolloutPolicy {
        steps,
        floor_percent,
        surge,
        step_timeout,
        max_task_failures,
        on_failure,
        keep_services,
        keep_task_definitions,
    } = policy;
    let step = |step: &RolloutStep| v1::RolloutStep {
        size: Some(match step.size {
            Size::Percent(percent) => rollout_step::Size::Percent(percent.into()),
            Size::Count(count) => rollout_step::Size::Count(count),
        }),
        bake: Some(duration_to_proto(step.bake)),
        hold: step.hold,
        gates: step.gates.iter().map(gate_to_proto).collect(),
    };
    let on_failure = match on_failure {
        OnFailure::RollBack => v1::OnFailure::RollBack,
        OnFailure::Pause => v1::OnFailure::Pause,
    };
    v1::RolloutPolicy {
        preset: v1::RolloutPreset::Unspecified.into(),
        steps: steps.iter().map(step).collect(),
        floor_percent: Some(u32::from(*floor_percent)),
        surge: Some(*surge),
        step_timeout: Some(duration_to_proto(*step_timeout)),
        max_task_failures: *max_task_failures,
        on_failure: on_failure.into(),
        keep_services: Some(*keep_services),
        keep_task_definitions: Some(*keep_task_definitions),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use brain_core::project::{GateDraft, GateSourceDraft, MetricDraft, MetricsDraft, TasksDraft};

    #[test]
    fn a_definition_that_went_over_the_wire_is_the_same() {
        let gate = GateDraft {
            name: "errors".into(),
            source: Some(GateSourceDraft::Prometheus {
                server: "main".into(),
                query: "rate(errors{service=\"{{new}}\"}[{{window}}])".into(),
                old_query: "rate(errors{service=~\"{{old}}\"}[{{window}}])".into(),
                sample_query: "sum(requests{service=\"{{new}}\"})".into(),
                minimum_samples: 100,
                window_ms: Some(30_000),
            }),
            condition: "new <= old * 1.1".into(),
            failures: 3,
        };
        let alarms = GateDraft {
            name: "alarms".into(),
            source: Some(GateSourceDraft::Alarms { names: vec!["user-errors".into()] }),
            ..GateDraft::default()
        };
        let metric = MetricDraft {
            id: "errors".into(),
            namespace: "User".into(),
            name: "Errors".into(),
            dimensions: [("Service".to_owned(), "{{service}}".to_owned())].into(),
            statistic: "p99.9".into(),
            zero_when_missing: false,
        };
        let metrics = MetricsDraft {
            metrics: vec![MetricDraft { id: "other".into(), zero_when_missing: true, ..metric.clone() }, metric],
            figure: "errors / other".into(),
            sample_figure: "other".into(),
            minimum_samples: 10,
            window_ms: Some(120_000),
            period_ms: Some(30_000),
            delay_ms: Some(0),
        };
        let metrics = GateDraft {
            name: "metrics".into(),
            source: Some(GateSourceDraft::Metrics(metrics)),
            condition: "new < old".into(),
            failures: 2,
        };
        let tasks = GateDraft {
            name: "tasks".into(),
            source: Some(GateSourceDraft::Tasks(TasksDraft {
                figure: "exits / desired".into(),
                window_ms: Some(120_000),
            })),
            condition: "new <= old".into(),
            failures: 3,
        };
        let gates = vec![gate, alarms, metrics, tasks];
        let step = RolloutStepDraft { size: Some(SizeDraft::Percent(33)), gates, ..RolloutStepDraft::default() };
        let draft = ProjectDraft {
            rollout_policy: Some(RolloutPolicyDraft { steps: vec![step], ..RolloutPolicyDraft::default() }),
            id: "user".into(),
            git_url: "https://git.example/user".into(),
            image_repository: "flowcommerce/user".into(),
            target: Some(TargetDraft {
                region: "us-east-1".into(),
                container_port: 9000,
                desired_count: 3,
                command: vec!["production".into()],
                certificate_arn: "arn:aws:acm:x".into(),
                health_check_grace_period_ms: Some(0),
                ..TargetDraft::default()
            }),
            ..ProjectDraft::default()
        };
        let spec = draft.validate(|_| Ok(6041)).unwrap();
        assert_eq!(spec_from_proto(spec_to_proto(&spec)), Ok(spec));
    }
}
