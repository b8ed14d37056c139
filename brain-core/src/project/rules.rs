//! The rules of a project's definition. Every rule is checked, so that one answer names every fault.

use super::{
    DependencyDraft, GRACE_PERIOD_DEFAULT, GRACE_PERIOD_MAX, GateDraft, ProjectDraft, ProjectSpec, RolloutPolicyDraft,
    Source, Target, TargetDraft, Violation,
};
use crate::{
    dependency::{DEPENDENCIES_MAX, Dependency},
    gate::Gate,
    id::ProjectId,
    image::ImageRepository,
    policy::RolloutPolicy,
    traffic::LoadBalancerKind,
    version::version_of,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use url::Url;

mod policy;

const URL_MAX: usize = 2_000;
const BRANCH_MAX: usize = 250;
const DESIRED_MAX: u32 = 1_000;
const INSTANCES_MAX: u32 = 2_000;
const COMMAND_WORDS_MAX: usize = 100;
const ENVIRONMENT_MAX: usize = 200;
const AGENT_SETTINGS_MAX: usize = 50;
/// Longest single value: user data as a whole may be 16 KiB (an AWS limit).
const VALUE_MAX: usize = 2_000;
const NAME_MAX: usize = 255;
/// Zones that an application load balancer needs (an AWS limit), and so subnets.
const APPLICATION_SUBNETS_MIN: usize = 2;

/// Collects faults while values are taken.
struct Faults {
    /// What the fields' paths begin with.
    prefix: &'static str,
    found: Vec<Violation>,
}

impl Faults {
    fn under(prefix: &'static str) -> Self {
        Self { prefix, found: Vec::new() }
    }

    fn add(&mut self, field: &str, description: impl Into<String>) {
        let field = format!("{}{field}", self.prefix);
        self.found.push(Violation { field, description: description.into() });
    }

    fn require(&mut self, ok: bool, field: &str, description: &str) {
        if !ok {
            self.add(field, description);
        }
    }

    /// A value within bounds; the lower bound stands in for a faulty one.
    fn within(&mut self, field: &str, value: u32, least: u32, most: u32) -> u32 {
        if (least..=most).contains(&value) {
            return value;
        }
        self.add(field, format!("must be {least} to {most}, not {value}"));
        least
    }

    fn port(&mut self, field: &str, value: u32) -> u16 {
        u16::try_from(self.within(field, value, 1, 65_535)).unwrap_or(1)
    }

    /// A short text without spaces or control characters, such as an AWS id.
    fn word(&mut self, field: &str, value: String) -> String {
        let ok = value.len() <= NAME_MAX && value.bytes().all(|b| b.is_ascii_graphic());
        self.require(ok, field, "must be at most 255 printable ASCII characters without spaces");
        value
    }

    fn optional_word(&mut self, field: &str, value: String) -> Option<String> {
        if value.is_empty() { None } else { Some(self.word(field, value)) }
    }
}

pub(super) fn check(
    draft: ProjectDraft,
    claim_port: impl FnOnce(Option<u16>) -> Result<u16, String>,
) -> Result<ProjectSpec, Vec<Violation>> {
    let ProjectDraft { id, git_url, branch, auto_tag, image_repository, target, rollout_policy, depends_on, deploy } =
        draft;
    let mut faults = Faults::under("project.");
    let id = ProjectId::parse(&id).map_err(|error| faults.add("name", error.to_string())).ok();
    check_git_url(&mut faults, &git_url);
    let branch = if branch.is_empty() { "master".to_owned() } else { branch };
    check_branch(&mut faults, &branch);
    let image_repository = ImageRepository::parse(&image_repository)
        .map_err(|error| faults.add("image_repository", error.to_string()))
        .ok();
    let desired = target.as_ref().map_or(1, |target| target.desired_count.clamp(1, DESIRED_MAX));
    let rollout_policy = policy::check(&mut faults, rollout_policy.unwrap_or_default(), desired);
    let target = match target {
        Some(target) => Some(check_target(&mut faults, target, &rollout_policy, claim_port)),
        None => {
            faults.add("target", "is required: region, container_port and desired_count at the least");
            None
        }
    };
    let depends_on = check_dependencies(&mut faults, id.as_ref(), depends_on);
    match (id, image_repository, target) {
        (Some(id), Some(image_repository), Some(target)) if faults.found.is_empty() => {
            let source = Source { git_url, branch, auto_tag };
            Ok(ProjectSpec { id, source, image_repository, target, rollout_policy, depends_on, deploy })
        }
        _ => Err(faults.found),
    }
}

/// A project may name only others that exist, which the caller checks. So nothing can come to depend on itself by way of
/// others.
fn check_dependencies(faults: &mut Faults, own: Option<&ProjectId>, drafts: Vec<DependencyDraft>) -> Vec<Dependency> {
    faults.require(drafts.len() <= DEPENDENCIES_MAX, "depends_on", "must be at most 20 projects");
    let mut dependencies: Vec<Dependency> = Vec::new();
    for (index, DependencyDraft { project, version }) in drafts.into_iter().enumerate().take(DEPENDENCIES_MAX) {
        let field = |name: &str| format!("depends_on[{index}].{name}");
        let project = match ProjectId::parse(&project) {
            Ok(project) => project,
            Err(error) => {
                faults.add(&field("project"), error.to_string());
                continue;
            }
        };
        faults.require(own != Some(&project), &field("project"), "is the project itself");
        let twice = dependencies.iter().any(|other| other.project == project);
        faults.require(!twice, &field("project"), "is named twice");
        let least = version_of(&version);
        faults.require(version.is_empty() || least.is_some(), &field("version"), "must be a version such as 1.2.0");
        dependencies.push(Dependency { project, version: least });
    }
    dependencies
}

fn check_git_url(faults: &mut Faults, text: &str) {
    let field = "source.git_url";
    if text.is_empty() || text.len() > URL_MAX {
        return faults.add(field, "is required: a clone address of at most 2,000 characters, such as \"https://github.com/flowcommerce/user.git\"");
    }
    match Url::parse(text) {
        Err(error) => faults.add(field, format!("is no address: {error}")),
        Ok(url) => {
            let remote = matches!(url.scheme(), "http" | "https") && url.has_host();
            let local = url.scheme() == "file" && url.host_str().is_none() && url.path().len() > 1;
            faults.require(
                remote || local,
                field,
                "must begin with http:// or https:// and name a host, or be a path such as file:///srv/git/user.git",
            );
            faults.require(
                url.username().is_empty() && url.password().is_none(),
                field,
                "must not contain a user name or password: give them to the watcher, in its configuration",
            );
        }
    }
}

/// The rules of git-check-ref-format(1) that keep a branch out of other parts of a request.
fn check_branch(faults: &mut Faults, branch: &str) {
    let bad_char = |c: char| c.is_control() || c.is_whitespace() || "~^:?*[\\".contains(c);
    let ok = branch.len() <= BRANCH_MAX
        && !branch.contains(bad_char)
        && !branch.contains("..")
        && !branch.starts_with(['-', '/'])
        && !branch.ends_with(['/', '.']);
    faults.require(ok, "source.branch", "must be a git branch name of at most 250 characters");
}

/// Checks the policy of one deployment.
pub(super) fn check_override(draft: RolloutPolicyDraft, target: &Target) -> Result<RolloutPolicy, Vec<Violation>> {
    let mut faults = Faults::under("");
    let policy = policy::check(&mut faults, draft, target.desired_count);
    if policy.ceiling(target.desired_count) > target.max_instances {
        let needed = policy.ceiling(target.desired_count);
        let most = target.max_instances;
        faults.add("rollout_policy.surge", format!("needs {needed} instances, and target.max_instances is {most}"));
    }
    if faults.found.is_empty() { Ok(policy) } else { Err(faults.found) }
}

/// Checks one gate by itself.
pub(super) fn check_gate(draft: GateDraft) -> Result<Gate, Vec<Violation>> {
    let mut faults = Faults::under("");
    match policy::gate::check_gate(&mut faults, "gate", draft) {
        Some(gate) if faults.found.is_empty() => Ok(gate),
        _ => Err(faults.found),
    }
}

fn check_target(
    faults: &mut Faults,
    draft: TargetDraft,
    policy: &RolloutPolicy,
    claim_port: impl FnOnce(Option<u16>) -> Result<u16, String>,
) -> Target {
    check_application(faults, &draft);
    faults.require(!draft.region.is_empty(), "target.region", "is required, such as \"us-east-1\"");
    let container_port = faults.port("target.container_port", draft.container_port);
    let desired_count = faults.within("target.desired_count", draft.desired_count, 1, DESIRED_MAX);
    let least = policy.ceiling(desired_count);
    let max_instances = match draft.max_instances {
        0 => least,
        given => faults.within("target.max_instances", given, least, INSTANCES_MAX),
    };
    let certificate_arn = faults.optional_word("target.certificate_arn", draft.certificate_arn);
    let listener_default = if certificate_arn.is_some() { 443 } else { 80 };
    let listener_port = if draft.listener_port == 0 { listener_default } else { draft.listener_port };
    check_lists(faults, &draft.command, &draft.environment, &draft.ssh_cidrs);
    check_agent_settings(faults, &draft.ecs_agent_settings);
    let host_port = match u16::try_from(draft.host_port) {
        Err(_) => faults.port("target.host_port", draft.host_port),
        Ok(given) => claim_port((given != 0).then_some(given)).unwrap_or_else(|why| {
            faults.add("target.host_port", why);
            given
        }),
    };
    Target {
        region: faults.word("target.region", draft.region),
        host_port,
        container_port,
        desired_count,
        max_instances,
        instance_type: faults.word("target.instance_type", or(draft.instance_type, "t3.small")),
        memory_mib: faults.within(
            "target.memory_mib",
            if draft.memory_mib == 0 { 500 } else { draft.memory_mib },
            4,
            1 << 20,
        ),
        cpu_units: faults.within("target.cpu_units", draft.cpu_units, 0, 1 << 18),
        command: draft.command,
        environment: draft.environment,
        listener_port: faults.port("target.listener_port", listener_port),
        certificate_arn,
        health_check_path: check_path(faults, draft.health_check_path),
        vpc_id: faults.optional_word("target.vpc_id", draft.vpc_id),
        subnet_ids: draft.subnet_ids.into_iter().map(|id| faults.word("target.subnet_ids", id)).collect(),
        services_security_group_id: faults
            .optional_word("target.services_security_group_id", draft.services_security_group_id),
        ssh_cidrs: draft.ssh_cidrs,
        instance_profile: faults.word("target.instance_profile", or(draft.instance_profile, "ecsInstanceRole")),
        ami_id: faults.optional_word("target.ami_id", draft.ami_id),
        ecs_agent_settings: draft.ecs_agent_settings,
        registry_credential: faults.optional_word("target.registry_credential", draft.registry_credential),
        role_arn: check_role(faults, draft.role_arn),
        launch_kind: draft.launch_kind,
        load_balancer_kind: draft.load_balancer_kind,
        health_check_grace_period: check_grace_period(faults, draft.health_check_grace_period_ms),
    }
}

/// AWS counts it in whole seconds.
fn check_grace_period(faults: &mut Faults, ms: Option<i64>) -> Duration {
    let Some(ms) = ms else { return GRACE_PERIOD_DEFAULT };
    let period = u64::try_from(ms).map(Duration::from_millis).ok();
    let period = period.filter(|period| *period <= GRACE_PERIOD_MAX && period.subsec_nanos() == 0);
    faults.require(period.is_some(), "target.health_check_grace_period", "must be 0 s to 2 h, in whole seconds");
    period.unwrap_or_default()
}

/// What AWS asks of an application load balancer beyond what it asks of a classic one.
fn check_application(faults: &mut Faults, draft: &TargetDraft) {
    if draft.load_balancer_kind != LoadBalancerKind::Application {
        return;
    }
    let subnets: BTreeSet<&String> = draft.subnet_ids.iter().collect();
    faults.require(
        subnets.is_empty() || subnets.len() >= APPLICATION_SUBNETS_MIN,
        "target.subnet_ids",
        "must be none, or at least 2 in different zones: an application load balancer needs two",
    );
    let certificate = &draft.certificate_arn;
    faults.require(
        certificate.is_empty() || [":acm:", ":iam:"].iter().any(|service| is_arn_of(certificate, service)),
        "target.certificate_arn",
        "must be the ARN of a certificate in ACM or IAM, such as \"arn:aws:acm:us-east-1:123456789012:certificate/…\"",
    );
}

fn is_arn_of(text: &str, service: &str) -> bool {
    text.starts_with("arn:") && text.contains(service)
}

fn check_role(faults: &mut Faults, role: String) -> Option<String> {
    let role = faults.optional_word("target.role_arn", role)?;
    let ok = role.starts_with("arn:") && role.contains(":iam::") && role.contains(":role/");
    faults.require(ok, "target.role_arn", "must be of the form \"arn:aws:iam::123456789012:role/brain\"");
    Some(role)
}

fn or(given: String, default: &str) -> String {
    if given.is_empty() { default.to_owned() } else { given }
}

fn check_path(faults: &mut Faults, path: String) -> Option<String> {
    if path.is_empty() {
        return None;
    }
    // A classic load balancer's health check target, "HTTP:port/path", is at most 1,024 characters.
    let ok = path.starts_with('/') && path.len() <= 1_000 && path.bytes().all(|b| b.is_ascii_graphic());
    faults.require(ok, "target.health_check_path", "must begin with / and be at most 1,000 printable ASCII characters");
    Some(path)
}

fn check_lists(faults: &mut Faults, command: &[String], environment: &BTreeMap<String, String>, ssh_cidrs: &[String]) {
    faults.require(command.len() <= COMMAND_WORDS_MAX, "target.command", "must be at most 100 words");
    faults.require(environment.len() <= ENVIRONMENT_MAX, "target.environment", "must be at most 200 entries");
    for (name, value) in environment {
        let ok = is_variable_name(name) && value.len() <= VALUE_MAX;
        let field = format!("target.environment[{name:?}]");
        faults.require(
            ok,
            &field,
            "must be a name of letters, digits and underscores with a value of at most 2,000 characters",
        );
    }
    for cidr in ssh_cidrs {
        let field = "target.ssh_cidrs";
        match parse_cidr(cidr) {
            None => faults.add(field, format!("{cidr:?} is no network: write it as \"10.0.0.0/8\"")),
            Some(0) => faults
                .add(field, format!("{cidr:?} would open SSH to the whole internet; name the networks that need it")),
            Some(_) => {}
        }
    }
}

/// Prefix length of an IPv4 network.
fn parse_cidr(text: &str) -> Option<u8> {
    let (address, prefix) = text.split_once('/')?;
    address.parse::<std::net::Ipv4Addr>().ok()?;
    prefix.parse().ok().filter(|length| *length <= 32)
}

fn is_variable_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= NAME_MAX
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The settings reach a root shell and a file of lines, so what cannot be quoted there is refused.
fn check_agent_settings(faults: &mut Faults, settings: &BTreeMap<String, String>) {
    faults.require(settings.len() <= AGENT_SETTINGS_MAX, "target.ecs_agent_settings", "must be at most 50 entries");
    for (name, value) in settings {
        let field = format!("target.ecs_agent_settings[{name:?}]");
        faults.require(
            is_variable_name(name) && name.starts_with("ECS_"),
            &field,
            "must have a name of letters, digits and underscores that begins with ECS_",
        );
        let reserved = ["ECS_CLUSTER", "ECS_ENGINE_AUTH_TYPE", "ECS_ENGINE_AUTH_DATA"];
        faults.require(!reserved.contains(&name.as_str()), &field, "is set by brain itself");
        faults.require(
            value.len() <= VALUE_MAX && !value.contains(char::is_control),
            &field,
            "cannot be quoted: it must be one line without control characters, at most 2,000 characters",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::{RolloutStepDraft, SizeDraft};

    fn draft() -> ProjectDraft {
        ProjectDraft {
            id: "user".into(),
            git_url: "https://git.example/flowcommerce/user.git".into(),
            image_repository: "flowcommerce/user".into(),
            target: Some(TargetDraft {
                region: "us-east-1".into(),
                container_port: 9000,
                desired_count: 3,
                ..TargetDraft::default()
            }),
            ..ProjectDraft::default()
        }
    }

    fn percent(percent: u32) -> RolloutStepDraft {
        RolloutStepDraft { size: Some(SizeDraft::Percent(percent)), ..RolloutStepDraft::default() }
    }

    fn fields(draft: ProjectDraft) -> Vec<String> {
        let faults = draft.validate(|port| Ok(port.unwrap_or(6000))).expect_err("the draft is faulty");
        faults.into_iter().map(|fault| fault.field).collect()
    }

    #[test]
    fn what_is_left_out_is_filled_in() {
        let spec = draft().validate(|port| Ok(port.unwrap_or(6041))).unwrap();
        assert_eq!(spec.source.branch, "master");
        assert_eq!((spec.target.host_port, spec.target.max_instances, spec.target.listener_port), (6041, 4, 80));
        assert_eq!(spec.target.health_check_grace_period, GRACE_PERIOD_DEFAULT);
        assert_eq!(spec.rollout_policy, RolloutPolicy::default());
    }

    #[test]
    fn a_grace_period_is_none_to_two_hours_in_whole_seconds() {
        let with = |ms| {
            let mut draft = draft();
            draft.target.as_mut().unwrap().health_check_grace_period_ms = Some(ms);
            draft
        };
        for seconds in [0, 1, 7_200] {
            let spec = with(seconds * 1_000).validate(|_| Ok(6041)).unwrap();
            assert_eq!(i64::try_from(spec.target.health_check_grace_period.as_secs()), Ok(seconds));
        }
        for ms in [-1_000, 500, 7_201_000] {
            assert_eq!(fields(with(ms)), ["project.target.health_check_grace_period"], "{ms} ms");
        }
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let mut bad = draft();
        bad.id = "User!".into();
        bad.image_repository = "flowcommerce/user:0.0.5".into();
        bad.git_url = "https://me:secret@git.example/user".into();
        let target = bad.target.as_mut().unwrap();
        target.host_port = 70_000;
        target.container_port = 0;
        target.ssh_cidrs = vec!["0.0.0.0/0".into()];
        target.ecs_agent_settings = [("ECS_X".to_owned(), "a\nb".to_owned())].into();
        bad.rollout_policy =
            Some(RolloutPolicyDraft { steps: vec![percent(50), percent(40), percent(120)], ..Default::default() });
        let mut named = fields(bad);
        named.sort();
        named.dedup();
        assert_eq!(
            named,
            [
                "project.image_repository",
                "project.name",
                "project.rollout_policy.steps[1].percent",
                "project.rollout_policy.steps[2].percent",
                "project.source.git_url",
                "project.target.container_port",
                "project.target.ecs_agent_settings[\"ECS_X\"]",
                "project.target.host_port",
                "project.target.ssh_cidrs",
            ]
        );
    }

    #[test]
    fn a_secret_in_the_address_is_not_repeated_in_the_answer() {
        let mut bad = draft();
        bad.git_url = "https://me:hunter2@git.example/user".into();
        let faults = bad.validate(|_| Ok(1)).unwrap_err();
        assert!(faults.iter().all(|fault| !fault.description.contains("hunter2")));
    }

    #[test]
    fn a_taken_port_is_a_fault_like_any_other() {
        let mut taken = draft();
        taken.target.as_mut().unwrap().host_port = 6041;
        let faults = taken.validate(|_| Err("6041 is taken by projects/other".into())).unwrap_err();
        assert_eq!(faults[0].field, "project.target.host_port");
    }

    #[test]
    fn a_policy_without_room_is_refused() {
        let mut stuck = draft();
        stuck.rollout_policy =
            Some(RolloutPolicyDraft { surge: Some(0), floor_percent: Some(90), ..Default::default() });
        assert_eq!(fields(stuck), ["project.rollout_policy.floor_percent"]);
    }
}
