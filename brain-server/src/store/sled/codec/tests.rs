use super::*;
use brain_core::{
    dependency::Dependency,
    deployment::{
        Cause, Fact, Lease, Outcome, Request, ServiceEvent, TaskFailure,
        beginning::Approval,
        control::{Control, ControlUsed},
    },
    drift::{Drift, Remedy, SetUp},
    event::Change,
    hold::{Frozen, Hold, Lifted, Pinned, Quarantined},
    id::{AgentName, ProjectId},
    image::Digest,
    observation::PollTarget,
    plan::{self, Goal, Known, Plan, ServiceCount, Step},
    policy::{OnFailure, RolloutPolicy, RolloutStep, Size},
    production::ServiceState,
    project::{LaunchKind, ProjectDraft, ProjectSpec, TargetDraft},
    release::{AheadOf, Commit},
    time::Timestamp,
    traffic::{LoadBalancerKind, Route, TargetGroup},
    version::{VersionPart, version_of},
    window::Window,
};
use std::{fmt::Write as _, time::Duration};

mod frame;
mod gates;
mod reading;

/// Bytes of one transition with every kind of event, as the first release wrote them.
const GOLDEN: &str = include_str!("golden.hex");
/// Those that came with the knowledge of sources: moves, tags that could not be made, commits that are not tagged.
const GOLDEN_KNOWLEDGE: &str = include_str!("golden_knowledge.hex");
/// Those that came with intent: holds that are set and lifted, and who asks for deployments.
const GOLDEN_INTENT: &str = include_str!("golden_intent.hex");
/// Those that came with the line: its own stream, and what it and a rollback do to a deployment.
const GOLDEN_LINE: &str = include_str!("golden_line.hex");
/// Those that came with deploy windows and approvals.
const GOLDEN_CONSENT: &str = include_str!("golden_consent.hex");
/// Those that came with steering: policies with bakes and holds, and what people do to a deployment.
const GOLDEN_STEERING: &str = include_str!("golden_steering.hex");
/// Those that came with gates: policies and plans with each source of figures.
const GOLDEN_GATES: &str = include_str!("golden_gates.hex");
/// Those that came with CloudWatch's metrics.
const GOLDEN_METRICS: &str = include_str!("golden_metrics.hex");
/// Those that came with figures of tasks.
const GOLDEN_TASKS: &str = include_str!("golden_tasks.hex");
/// Those that came with drift: plans that check or repair, and what set-up found.
const GOLDEN_DRIFT: &str = include_str!("golden_drift.hex");
/// Those that came with housekeeping.
const GOLDEN_HOUSEKEEPING: &str = include_str!("golden_housekeeping.hex");
/// Those that came with what is known of counts.
const GOLDEN_LEFT: &str = include_str!("golden_left.hex");
/// Those that came with the look whether there is room for a plan.
const GOLDEN_PREFLIGHT: &str = include_str!("golden_preflight.hex");
/// Those that came with weights: an application load balancer, plans that weigh, production by target group.
const GOLDEN_WEIGHTS: &str = include_str!("golden_weights.hex");
/// Those that came with production that cannot be observed.
const GOLDEN_UNOBSERVED: &str = include_str!("golden_unobserved.hex");
/// Those that came with what steps tell while they wait.
const GOLDEN_WATCHED: &str = include_str!("golden_watched.hex");
/// Those that came with changed and deleted projects.
const GOLDEN_DEFINITION: &str = include_str!("golden_definition.hex");
/// Those that came with what gates have read.
const GOLDEN_READINGS: &str = include_str!("golden_readings.hex");
/// Those that came with servers that were away, and versions that are sick by themselves.
const GOLDEN_AWAY: &str = include_str!("golden_away.hex");

fn spec() -> ProjectSpec {
    let target = TargetDraft {
        region: "us-east-1".into(),
        container_port: 9000,
        desired_count: 3,
        certificate_arn: "arn:aws:acm:us-east-1:1:certificate/1".into(),
        environment: [("NAME".to_owned(), "value".to_owned())].into(),
        ..TargetDraft::default()
    };
    let draft = ProjectDraft {
        id: "user".into(),
        git_url: "https://git.example/user".into(),
        image_repository: "flowcommerce/user".into(),
        target: Some(target),
        ..ProjectDraft::default()
    };
    draft.validate(|_| Ok(6041)).unwrap()
}

/// One event of each kind, and each kind of fact and outcome.
fn every_kind() -> Transition {
    let digest = Digest::parse(&format!("sha256:{}", "a1".repeat(32))).unwrap();
    let goal = Goal { deployment: 1, tag: "0.0.5", digest: &digest };
    let plan = plan(&spec(), &spec().rollout_policy, goal, &[]);
    let failure = TaskFailure { task: "t".into(), reason: "r".into(), exit_code: Some(1) };
    let request = Request {
        number: 1,
        tag: "0.0.5".into(),
        digest: digest.clone(),
        requested_by: "paolo".into(),
        request_id: "id".into(),
        plan,
        policy: None,
        awaits: Vec::new(),
        back: false,
        held: false,
        approvals_required: 0,
        outside_windows: None,
        why: String::new(),
    };
    let service =
        ServiceState { service: "s".into(), version: "0.0.5".into(), desired: 3, running: 2, healthy: 1, route: None };
    let reported = |outcome| Fact::Reported { generation: 1, rollback: false, step: 2, outcome };
    let lease = Lease { agent: AgentName::parse("deployer-1").unwrap(), instance: "i".into() };
    let facts = [
        Fact::Leased(lease),
        Fact::LeaseEnded,
        reported(Outcome::Done { task_failures: vec![failure.clone()], service_events: vec![] }),
        reported(Outcome::Waiting { why: "w".into(), cause: Cause::Version }),
        reported(Outcome::Failed {
            reason: "f".into(),
            task_failures: vec![failure],
            service_events: vec![],
            cause: Cause::Version,
        }),
        Fact::TimedOut,
    ];
    let mut changes = vec![
        Change::ProjectCreated(Box::new(spec())),
        Change::TagObserved { tag: "0.0.5".into(), commit: "c".repeat(40) },
        Change::TagRemoved { tag: "0.0.5".into() },
        Change::HeadObserved {
            commit: "d".repeat(40),
            ahead_of: Some(AheadOf { tag: "0.0.5".into(), commits: 3, newest: vec![] }),
        },
        Change::ImageObserved { tag: "0.0.5".into(), digest },
        Change::ImageRemoved { tag: "0.0.5".into() },
        Change::PollFailed { target: PollTarget::Source, why: "w".into() },
        Change::PollRecovered { target: PollTarget::Images },
        Change::ProductionObserved { services: vec![service] },
        Change::DeploymentRequested(Box::new(request)),
    ];
    changes.extend(facts.map(|fact| Change::DeploymentChanged { number: 1, fact }));
    transition(changes)
}

fn transition(changes: Vec<Change>) -> Transition {
    let event = |change| Event { at: Timestamp(1_700_000_000_123), by: "test".into(), change };
    let events = changes.into_iter().map(event).collect();
    Transition { stream: ProjectId::parse("user").unwrap().into(), expected: 4, events }
}

fn knowledge() -> Transition {
    let mut spec = spec();
    spec.source.auto_tag = Some(VersionPart::Patch);
    let commit = Commit { id: "e".repeat(40), title: "Fix docs".into(), author: "Mike".into() };
    transition(vec![
        Change::ProjectCreated(Box::new(spec)),
        Change::HeadObserved {
            commit: "d".repeat(40),
            ahead_of: Some(AheadOf { tag: "0.0.5".into(), commits: 1, newest: vec![commit] }),
        },
        Change::HeadRemoved,
        Change::SourceMoved { to: Some("https://git.example/users".into()) },
        Change::SourceMoved { to: None },
        Change::TagFailed { tag: "0.0.6".into(), commit: "d".repeat(40), why: "w".into() },
    ])
}

fn steering() -> Transition {
    let mut spec = spec();
    let baked = RolloutStep { bake: Duration::from_mins(5), hold: true, ..RolloutStep::to(Size::Percent(33)) };
    spec.rollout_policy.steps = vec![baked, RolloutStep::to(Size::Count(2))];
    spec.rollout_policy.on_failure = OnFailure::Pause;
    spec.depends_on = vec![Dependency { project: ProjectId::parse("auth").unwrap(), version: version_of("1.2.0") }];
    spec.target.role_arn = Some("arn:aws:iam::123456789012:role/brain".into());
    spec.target.launch_kind = LaunchKind::Configuration;
    let request = request_of(&spec);
    let mut changes = vec![Change::ProjectCreated(Box::new(spec)), Change::DeploymentRequested(Box::new(request))];
    let controls = [
        Control::Pause,
        Control::Resume,
        Control::Promote { step: Some(9), to_end: false },
        Control::Promote { step: None, to_end: true },
        Control::Cancel { rollback: true },
    ];
    changes.extend(controls.map(|control| {
        let (by, why) = ("ann".into(), "w".into());
        let used = ControlUsed { at: Timestamp(1_700_000_000_456), by, why, control, request_id: String::new() };
        Change::DeploymentChanged { number: 1, fact: Fact::Controlled(used) }
    }));
    let event = ServiceEvent { at: Timestamp(1_700_000_000_789), message: "m".into() };
    let outcome = Outcome::Done { task_failures: vec![], service_events: vec![event] };
    let facts = [
        Fact::Reported { generation: 1, rollback: false, step: 2, outcome },
        Fact::DependencyMet(ProjectId::parse("auth").unwrap()),
    ];
    changes.extend(facts.map(|fact| Change::DeploymentChanged { number: 1, fact }));
    transition(changes)
}

fn intent() -> Transition {
    let mut spec = spec();
    spec.deploy.automatic = true;
    let digest = Digest::parse(&format!("sha256:{}", "a1".repeat(32))).unwrap();
    let tag = "0.0.5".to_owned();
    let holds = [
        Hold::Pin(Pinned { tag: tag.clone(), digest: digest.clone() }),
        Hold::Quarantine(Quarantined { tag: tag.clone(), digest }),
        Hold::Freeze(Frozen { until: Some(Timestamp(1_700_000_000_456)) }),
        Hold::Freeze(Frozen { until: None }),
    ];
    let mut changes = vec![Change::ProjectCreated(Box::new(spec))];
    changes.extend(holds.map(|hold| Change::HoldSet { hold, why: "w".into() }));
    let lifted = [Lifted::Pin, Lifted::Quarantine { tag }, Lifted::Freeze];
    changes.extend(lifted.map(|lifted| Change::HoldLifted { lifted, why: "w".into() }));
    transition(changes)
}

fn line() -> Transition {
    let why = String::from("w");
    let stopped = [true, false].map(|pause_running| Change::LineStopped { pause_running, why: why.clone() });
    let mut changes = stopped.to_vec();
    changes.push(Change::LineReleased { why });
    Transition { stream: Stream::Line, ..transition(changes) }
}

fn consent() -> Transition {
    let mut request = request_of(&spec());
    request.held = true;
    request.approvals_required = 2;
    request.outside_windows = Some("it burns".into());
    let back = Request { back: true, ..request_of(&spec()) };
    let window = Window { cron: "0 9 * * MON-FRI".into(), duration: Duration::from_secs(3600), zone: "UTC".into() };
    let (by, why) = (String::from("ann"), String::from("w"));
    let control = Control::Cancel { rollback: true };
    let at = Timestamp(1_700_000_000_456);
    let request_id = String::from("back");
    let failed = |cause| Outcome::Failed { reason: "f".into(), task_failures: vec![], service_events: vec![], cause };
    let reported = |outcome| Fact::Reported { generation: 1, rollback: false, step: 2, outcome };
    let facts = [
        Fact::Approved(Approval { at, by: by.clone(), why: why.clone() }),
        Fact::HeldBack { why: why.clone() },
        Fact::Admitted,
        Fact::LineStopped { by: by.clone(), why: why.clone() },
        Fact::LineReleased,
        Fact::Controlled(ControlUsed { at, by, why, control, request_id }),
        reported(Outcome::Waiting { why: "w".into(), cause: Cause::Surroundings }),
        reported(failed(Cause::Surroundings)),
    ];
    let holds = [Hold::Windows(vec![window]), Hold::Approvals(2)];
    let mut changes: Vec<Change> = holds.map(|hold| Change::HoldSet { hold, why: "w".into() }).to_vec();
    let lifted = [Lifted::Windows, Lifted::Approvals];
    changes.extend(lifted.map(|lifted| Change::HoldLifted { lifted, why: "w".into() }));
    changes.extend([request, back].map(|request| Change::DeploymentRequested(Box::new(request))));
    changes.extend(facts.map(|fact| Change::DeploymentChanged { number: 1, fact }));
    transition(changes)
}

/// A plan as it was before its way back was planned by what is known of each service, and before it began with a look whether
/// there is room.
fn plan(spec: &ProjectSpec, policy: &RolloutPolicy, goal: Goal<'_>, serving: &[ServiceCount]) -> Plan {
    let mut plan = Plan { settles: false, edition: 0, ..plan::plan(spec, policy, goal, serving) };
    plan.steps.retain(|step| !matches!(step, Step::Preflight { .. }));
    for step in &mut plan.steps {
        match step {
            Step::Verify { at_most, .. } => *at_most = false,
            Step::Gate { max_task_failures, .. } => *max_task_failures = 0,
            _ => {}
        }
    }
    plan
}

/// A plan that begins with a look whether there is room.
fn preflight() -> Transition {
    let mut request = request_of(&spec());
    request.plan.steps.insert(0, Step::Preflight { instances: 4, max_instances: 4, serving: 3 });
    transition(vec![Change::ProjectCreated(Box::new(spec())), Change::DeploymentRequested(Box::new(request))])
}

/// A request to deploy by the project's policy.
fn request_of(spec: &ProjectSpec) -> Request {
    let digest = Digest::parse(&format!("sha256:{}", "a1".repeat(32))).unwrap();
    let goal = Goal { deployment: 1, tag: "0.0.5", digest: &digest };
    let from = ServiceCount { service: "old".into(), version: "0.0.4".into(), count: 3, known: None, group: None };
    Request {
        number: 1,
        tag: "0.0.5".into(),
        requested_by: "paolo".into(),
        request_id: String::new(),
        plan: plan(spec, &spec.rollout_policy, goal, &[from]),
        policy: Some(spec.rollout_policy.clone()),
        awaits: spec.depends_on.clone(),
        back: false,
        held: false,
        approvals_required: 0,
        outside_windows: None,
        why: String::new(),
        digest,
    }
}

fn drift() -> Transition {
    let mut changes = Vec::new();
    for (set_up, adopt) in [(SetUp::Check, false), (SetUp::Repair, true)] {
        let mut request = request_of(&spec());
        request.plan = request.plan.allowing(set_up, adopt);
        changes.push(Change::DeploymentRequested(Box::new(request)));
    }
    let found = |remedy| Drift { resource: "r".into(), difference: "d".into(), remedy };
    let remedies = [Remedy::Told, Remedy::Made, Remedy::Repaired, Remedy::Adopted, Remedy::Followed];
    let outcome = Outcome::Found { drift: remedies.map(found).to_vec() };
    let fact = Fact::Reported { generation: 1, rollback: false, step: 2, outcome };
    changes.push(Change::DeploymentChanged { number: 1, fact });
    transition(changes)
}

/// A plan that begins from what was left in the midst.
fn left() -> Transition {
    let spec = spec();
    let digest = Digest::parse(&format!("sha256:{}", "a1".repeat(32))).unwrap();
    let goal = Goal { deployment: 2, tag: "0.0.6", digest: &digest };
    let old = ServiceCount { service: "old".into(), version: "0.0.4".into(), count: 3, known: None, group: None };
    let known = Known { least: 0, most: 1, healthy: 0, proven: false, idle: false };
    let left =
        ServiceCount { service: "left".into(), version: "0.0.5".into(), count: 1, known: Some(known), group: None };
    let settles = plan::plan(&spec, &spec.rollout_policy, goal, &[old.clone(), left.clone()]).settles;
    let plan = Plan { settles, ..plan(&spec, &spec.rollout_policy, goal, &[old, left]) };
    transition(vec![Change::DeploymentRequested(Box::new(Request { plan, ..request_of(&spec) }))])
}

fn watched() -> Transition {
    let spec = spec();
    let digest = Digest::parse(&format!("sha256:{}", "a1".repeat(32))).unwrap();
    let plan = plan(&spec, &spec.rollout_policy, Goal { deployment: 1, tag: "0.0.5", digest: &digest }, &[]);
    let request = Request { plan: Plan { settles: true, edition: 1, ..plan }, ..request_of(&spec) };
    let task_failures = vec![TaskFailure { task: "t".into(), reason: "r".into(), exit_code: None }];
    let service_events = vec![ServiceEvent { at: Timestamp(7), message: "m".into() }];
    let reported = |outcome| Change::DeploymentChanged {
        number: 1,
        fact: Fact::Reported { generation: 1, rollback: false, step: 2, outcome },
    };
    transition(vec![
        Change::DeploymentRequested(Box::new(request)),
        reported(Outcome::Watched { why: "w".into(), cause: Cause::Version, well: true }),
        reported(Outcome::Watched { why: "w".into(), cause: Cause::Surroundings, well: false }),
        reported(Outcome::Evidence { task_failures, service_events }),
    ])
}

fn housekeeping() -> Transition {
    let mut spec = spec();
    (spec.rollout_policy.keep_services, spec.rollout_policy.keep_task_definitions) = (1, 2);
    let lease = Lease { agent: AgentName::parse("deployer-1").unwrap(), instance: "i".into() };
    let drift = vec![Drift { resource: "r".into(), difference: "d".into(), remedy: Remedy::Told }];
    transition(vec![
        Change::ProjectCreated(Box::new(spec)),
        Change::DriftObserved { drift },
        Change::HousekeepingBegan { lease: lease.clone(), removable: vec!["service s".into()] },
        Change::HousekeepingEnded { lease, removed: vec!["service s".into()] },
    ])
}

/// Plans that weigh requests between two target groups, and what is observed of them.
fn weights() -> Transition {
    let mut spec = spec();
    spec.target.load_balancer_kind = LoadBalancerKind::Application;
    let mut request = request_of(&spec);
    for (group, count) in TargetGroup::BOTH.into_iter().zip(request.plan.from.iter_mut().chain(&mut request.plan.to)) {
        count.group = Some(group);
    }
    for step in &mut request.plan.steps {
        if let Step::Service { group, .. } = step {
            *group = Some(TargetGroup::B);
        }
    }
    let weigh = |percent, follows_health| {
        let (service, group) = ("s".to_owned(), TargetGroup::B);
        Step::Weigh { service, group, percent, healthy: 1, follows_health }
    };
    let rule = |settled| Step::Rule { group: TargetGroup::A, settled };
    request.plan.steps.extend([rule(true), rule(false), weigh(10, false), weigh(100, true)]);
    let service = |group, weight| ServiceState {
        service: "s".into(),
        version: "0.0.5".into(),
        desired: 3,
        running: 2,
        healthy: 1,
        route: Some(Route { group, weight }),
    };
    let services = vec![service(TargetGroup::A, 90), service(TargetGroup::B, 10)];
    transition(vec![
        Change::ProjectCreated(Box::new(spec)),
        Change::ProductionObserved { services },
        Change::DeploymentRequested(Box::new(request)),
    ])
}

fn unobserved() -> Transition {
    let since = Timestamp(1_700_000_000_456);
    transition(vec![Change::ProductionUnobserved { why: "w".into(), since }, Change::ProductionObservedAgain])
}

fn definition() -> Transition {
    let fields = vec!["target.desired_count".to_owned()];
    transition(vec![
        Change::ProjectChanged { spec: Box::new(spec()), fields, why: "w".into() },
        Change::ProjectDeleted { why: "w".into() },
    ])
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (index, byte) in bytes.iter().enumerate() {
        let end = if index % 60 == 59 { "\n" } else { "" };
        write!(text, "{byte:02x}{end}").unwrap();
    }
    text
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<char> = hex.chars().filter(char::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap()).collect()
}

#[test]
fn events_that_earlier_releases_wrote_are_read_for_ever() {
    for (golden, transition) in [
        (GOLDEN, every_kind()),
        (GOLDEN_KNOWLEDGE, knowledge()),
        (GOLDEN_STEERING, steering()),
        (GOLDEN_INTENT, intent()),
        (GOLDEN_GATES, gates::gates()),
        (GOLDEN_METRICS, gates::metrics()),
        (GOLDEN_TASKS, gates::tasks()),
        (GOLDEN_PREFLIGHT, preflight()),
        (GOLDEN_LINE, line()),
        (GOLDEN_CONSENT, consent()),
        (GOLDEN_DRIFT, drift()),
        (GOLDEN_HOUSEKEEPING, housekeeping()),
        (GOLDEN_LEFT, left()),
        (GOLDEN_WEIGHTS, weights()),
        (GOLDEN_UNOBSERVED, unobserved()),
        (GOLDEN_WATCHED, watched()),
        (GOLDEN_DEFINITION, definition()),
        (GOLDEN_READINGS, reading::readings()),
        (GOLDEN_AWAY, reading::away()),
    ] {
        let now = hex(&encode_transitions(std::slice::from_ref(&transition)).unwrap());
        let golden = bytes(golden);
        let read = decode_transitions(&golden).unwrap_or_else(|error| panic!("{error}; today's bytes are:\n{now}"));
        assert!(!read.is_empty(), "today's bytes are:\n{now}");
        assert_eq!((read.len(), &read[0].stream, read[0].version), (1, &transition.stream, 5));
        assert_eq!(read[0].events().unwrap(), transition.events, "today's bytes are:\n{now}");
    }
}
