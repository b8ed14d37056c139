//! Deployments that are left in the midst, one after another, and what the next one makes of it. A small cloud carries the
//! steps out: a version's tasks are healthy or never are, and which of both nobody tells the plans.

use super::*;
use crate::{
    deployment::{
        Cause, Lease, Outcome, Phase,
        control::{Control, ControlUsed},
    },
    id::AgentName,
    plan::Step,
    policy::{Preset, RolloutPolicy, RolloutStep, Size},
    production::ServiceState,
};
use proptest::prelude::*;
use std::time::Duration;

const DESIRED: u32 = 3;

/// What runs, and what of it is well.
#[derive(Debug, Clone, Default)]
struct Cloud {
    desired: BTreeMap<String, u32>,
    well: BTreeSet<String>,
}

impl Cloud {
    fn healthy(&self, service: &str) -> u32 {
        if self.well.contains(service) { self.desired.get(service).copied().unwrap_or(0) } else { 0 }
    }

    fn total(&self) -> u32 {
        self.desired.values().sum()
    }

    fn all_healthy(&self) -> u32 {
        self.desired.keys().map(|service| self.healthy(service)).sum()
    }

    /// Carries a step out, by the rules of a deployer; answers whether its goal is reached.
    fn carry_out(&mut self, step: &Step) -> bool {
        match step {
            Step::Service { service, .. } => {
                self.desired.entry(service.clone()).or_insert(0);
                true
            }
            Step::Scale { service, desired, floor, idle } => {
                let own = self.healthy(service);
                let others = self.all_healthy() - own;
                let lowers = *desired < self.desired[service];
                if lowers && others + desired < *floor && !(*idle && own == 0) {
                    return false;
                }
                self.desired.insert(service.clone(), *desired);
                true
            }
            Step::Verify { service, healthy, .. } | Step::Bake { service, healthy, .. } => {
                self.desired[service] == *healthy && self.healthy(service) == *healthy
            }
            _ => true,
        }
    }

    fn observed(&self) -> Vec<ServiceState> {
        let busy = self.desired.iter().filter(|(_, desired)| **desired > 0);
        let state = |(service, desired): (&String, &u32)| ServiceState {
            service: service.clone(),
            version: "0.0.1".into(),
            desired: *desired,
            running: *desired,
            healthy: self.healthy(service),
            route: None,
        };
        busy.map(state).collect()
    }
}

/// How a deployment of the past ends, and at which of its steps.
#[derive(Debug, Clone)]
struct Past {
    good: bool,
    policy: u8,
    /// The step, counted over both plans; beyond the last one it is left alone.
    step: usize,
    end: End,
    /// Whether what was under way was carried out all the same.
    carried: bool,
    /// Whether production is seen before the next one.
    seen: bool,
    /// Whether the version turns bad in the end.
    turns: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Cancelled { rollback: bool },
    Failed,
}

#[derive(Debug, Clone, Copy)]
struct Floor {
    tasks: u32,
    healthy: u32,
}

struct Game {
    state: ProjectState,
    cloud: Cloud,
    now: i64,
    versions: u8,
}

impl Game {
    fn new() -> Self {
        Self { state: project(), cloud: Cloud::default(), now: 10, versions: 0 }
    }

    fn take(&mut self, change: Change) {
        self.now += 10;
        self.state.apply(&Event { at: Timestamp(self.now), by: "test".into(), change }).unwrap();
    }

    fn fact(&mut self, fact: Fact) {
        let number = self.state.active().unwrap().number;
        self.take(Change::DeploymentChanged { number, fact });
    }

    fn report(&mut self, outcome: Outcome) {
        if self.state.active().unwrap().lease.is_none() {
            self.fact(Fact::Leased(Lease { agent: AgentName::parse("d").unwrap(), instance: "i".into() }));
        }
        let active = self.state.active().unwrap();
        let (generation, rollback, step) = (active.generation, active.rollback.is_some(), active.cursor);
        self.fact(Fact::Reported { generation, rollback, step, outcome });
    }

    /// Asks for a new version; answers its service.
    fn ask(&mut self, policy: u8, good: bool) -> String {
        self.versions += 1;
        let tag = format!("0.0.{}", self.versions);
        self.take(Change::ImageObserved { tag: tag.clone(), digest: digest(self.versions) });
        let policy = Some(policy_of(policy));
        let wish = Wish { tag, policy, ..Wish::default() };
        let request = self.state.request_deployment(wish, &Moment::default()).unwrap();
        let service = request.plan.to[0].service.clone();
        if good {
            self.cloud.well.insert(service.clone());
        }
        self.take(Change::DeploymentRequested(Box::new(request)));
        service
    }

    /// Carries one step out; answers whether it could be.
    fn step(&mut self, floor: Floor) -> Result<bool, String> {
        let step = self.state.active().unwrap().current_step().unwrap().clone();
        let before = self.cloud.clone();
        let done = self.cloud.carry_out(&step);
        self.lowered(&before, &step, floor)?;
        if done {
            self.report(Outcome::Done { task_failures: vec![], service_events: vec![] });
        }
        Ok(done)
    }

    fn lowered(&self, before: &Cloud, step: &Step, floor: Floor) -> Result<(), String> {
        let (tasks, healthy) = (self.cloud.total(), self.cloud.all_healthy());
        if tasks < before.total() && tasks < floor.tasks {
            return Err(format!("{step}: {tasks} tasks are fewer than {floor:?}, before {before:?}"));
        }
        if healthy < before.all_healthy() && healthy < floor.healthy {
            return Err(format!("{step}: {healthy} healthy tasks are fewer than {floor:?}, before {before:?}"));
        }
        Ok(())
    }

    /// What the deployment that begins may not go below: in tasks, and in healthy ones.
    fn floor(&self) -> Floor {
        let policy = self.state.active().unwrap().policy(&self.state.spec);
        let floor = policy.floor(DESIRED);
        Floor { tasks: floor.min(self.cloud.total()), healthy: floor.min(self.cloud.all_healthy()) }
    }

    /// Whether no task of the version under way is without proof of its health.
    fn all_seen(&self) -> bool {
        let serving = self.state.active().unwrap().serving();
        serving.iter().all(|count| count.known().proven || count.known().healthy == count.known().most)
    }

    fn play(&mut self, past: &Past, blind: bool) -> Result<(), String> {
        let service = self.ask(past.policy, past.good);
        let floor = self.floor();
        let mut steps = 0;
        let mut over = false;
        while let Some(active) = self.state.active() {
            let rolling_back = active.rollback.is_some();
            // Nobody can tell an unseen good version from a bad one: then it has to be looked at.
            let may_leave = !blind || !past.good || self.all_seen();
            if steps >= past.step && !over && may_leave {
                over = true;
                let step = self.state.active().unwrap().current_step().unwrap().clone();
                if past.carried {
                    let before = self.cloud.clone();
                    self.cloud.carry_out(&step);
                    self.lowered(&before, &step, floor)?;
                }
                self.end(past.end);
                continue;
            }
            steps += 1;
            if !self.step(floor)? {
                if rolling_back {
                    return Err(format!("the rollback waits: {}", self.told()));
                }
                self.timed_out();
            }
        }
        if past.turns && !blind && self.state.deployments.back().unwrap().phase != Phase::Succeeded {
            self.cloud.well.remove(&service);
        }
        if past.seen && !blind {
            self.take(Change::ProductionObserved { services: self.cloud.observed() });
        }
        Ok(())
    }

    fn timed_out(&mut self) {
        if self.state.active().unwrap().lease.is_none() {
            self.fact(Fact::Leased(Lease { agent: AgentName::parse("d").unwrap(), instance: "i".into() }));
        }
        self.fact(Fact::TimedOut);
    }

    fn end(&mut self, end: End) {
        match end {
            End::Cancelled { rollback } => {
                let (at, control) = (Timestamp(self.now), Control::Cancel { rollback });
                let (by, why, request_id) = ("ann".into(), String::new(), String::new());
                self.fact(Fact::Controlled(ControlUsed { at, by, why, control, request_id }));
            }
            End::Failed => {
                let (reason, cause) = ("it crashes".into(), Cause::Version);
                self.report(Outcome::Failed { reason, task_failures: vec![], service_events: vec![], cause });
            }
        }
    }

    /// Deploys a good version, which has to go through without a step that waits.
    fn mend(&mut self, policy: u8) -> Result<(), String> {
        let seen: BTreeSet<String> = self.cloud.well.clone();
        let service = self.ask(policy, true);
        let floor = self.floor();
        let mut first = true;
        while let Some(active) = self.state.active() {
            let step = active.current_step().unwrap().clone();
            if let Step::Verify { service: other, healthy: 1.., .. } = &step {
                if first && *other != service && !seen.contains(other) {
                    return Err(format!("the first to be waited for is {other}, which never was healthy"));
                }
                first = false;
            }
            if !self.step(floor)? {
                return Err(format!("it waits: {}", self.told()));
            }
        }
        let left: BTreeMap<String, u32> =
            self.cloud.desired.iter().filter(|(_, desired)| **desired > 0).map(|(a, b)| (a.clone(), *b)).collect();
        if left != BTreeMap::from([(service.clone(), DESIRED)]) || self.cloud.healthy(&service) != DESIRED {
            return Err(format!("{left:?} is left, and not {DESIRED} of {service}"));
        }
        Ok(())
    }

    fn told(&self) -> String {
        let active = self.state.active().unwrap();
        let steps: Vec<String> = active.active_plan().steps.iter().map(ToString::to_string).collect();
        let from = &active.active_plan().from;
        format!("step {} of {steps:#?}\nfrom {from:#?}\nwith {:#?}", active.cursor, self.cloud)
    }
}

fn policy_of(number: u8) -> RolloutPolicy {
    let default = RolloutPolicy::default();
    match number {
        0 => RolloutPolicy::preset(Preset::BlueGreen, DESIRED),
        1 => RolloutPolicy { floor_percent: 66, surge: 0, ..default },
        2 => {
            let step = RolloutStep { bake: Duration::from_secs(5), ..RolloutStep::to(Size::Count(2)) };
            RolloutPolicy { steps: vec![step], ..default }
        }
        3 => RolloutPolicy { surge: 2, ..default },
        _ => default,
    }
}

fn past() -> impl Strategy<Value = Past> {
    let end = prop_oneof![
        3 => Just(End::Cancelled { rollback: false }),
        1 => Just(End::Cancelled { rollback: true }),
        2 => Just(End::Failed),
    ];
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), prop::bool::weighted(0.2));
    (flags, 0u8..6, 0usize..45, end).prop_map(|((good, carried, seen, turns), policy, step, end)| Past {
        good,
        policy,
        step,
        end,
        carried,
        seen,
        turns,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]
    #[test]
    fn after_any_past_a_good_version_is_deployed_without_a_wait(
        past in proptest::collection::vec(past(), 0..5), last in 0u8..6, served: bool,
    ) {
        let mut game = Game::new();
        if served {
            game.mend(5).map_err(TestCaseError::fail)?;
        }
        for past in &past {
            game.play(past, true).map_err(TestCaseError::fail)?;
        }
        game.mend(last).map_err(TestCaseError::fail)?;
    }

    /// Where production is seen in the end, it does not matter which versions were left well and which were not.
    #[test]
    fn what_was_left_is_told_apart_by_what_is_seen(
        past in proptest::collection::vec(past(), 1..5), last in 0u8..6, served: bool,
    ) {
        let mut game = Game::new();
        if served {
            game.mend(5).map_err(TestCaseError::fail)?;
        }
        for past in &past {
            game.play(&Past { seen: true, ..past.clone() }, false).map_err(TestCaseError::fail)?;
        }
        game.mend(last).map_err(TestCaseError::fail)?;
    }
}
