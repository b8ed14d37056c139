//! What gates have read, beside their steps.

use super::*;
use crate::gate::{Check, Condition, Figures, Gate, Judgement, Reading, Verdict};

fn gated() -> ProjectSpec {
    let mut spec = spec();
    let gate = Gate { name: "a".into(), check: Check::Alarms { names: vec!["a".into()] }, failures: 2 };
    spec.rollout_policy.steps = vec![RolloutStep { gates: vec![gate], ..RolloutStep::to(Size::Count(1)) }];
    spec
}

fn reading(new: f64) -> Reading {
    let condition = Condition::parse("new < 1.0").unwrap();
    Reading::new(Timestamp(7), Judgement::of(&condition, Figures { new, old: None }))
}

fn read(deployment: &Deployment, why: &str, new: f64) -> Fact {
    report(deployment, Outcome::Read { why: why.into(), cause: Cause::Version, reading: reading(new) })
}

#[test]
fn the_last_reading_of_each_gate_stays_with_its_step() {
    let spec = gated();
    let mut gate = until(&spec, running(&spec), |step| matches!(step, Step::Gate { .. }));
    let step = gate.cursor;
    let fact = read(&gate, "gate a: new 2", 2.0);
    gate = apply(&spec, gate, fact);
    assert_eq!((gate.waiting.as_deref(), gate.readings.get(&step)), (Some("gate a: new 2"), Some(&reading(2.0))));
    let fact = read(&gate, "", 0.5);
    gate = apply(&spec, gate, fact);
    assert_eq!((&gate.waiting, gate.readings.get(&step)), (&None, Some(&reading(0.5))), "it waits for nothing more");
    let fact = done(&gate);
    gate = apply(&spec, gate, fact);
    let next = gate.cursor;
    let fact = read(&gate, "", 3.0);
    gate = apply(&spec, gate, fact);
    assert_eq!(gate.readings.into_iter().collect::<Vec<_>>(), [(step, reading(0.5))], "step {next} is no gate");
}

#[test]
fn a_gate_on_alarms_that_look_at_more_than_a_step_may_take_gets_that_time() {
    let spec = gated();
    let mut gate = until(&spec, running(&spec), |step| matches!(step, Step::Gate { .. }));
    let usual = gate.deadline().unwrap();
    let look = |hours| {
        let hold =
            Judgement { looks_back: Duration::from_hours(hours), ..Verdict::Hold("it looks at more".into()).into() };
        Outcome::Read {
            why: "it looks at more".into(),
            cause: Cause::Surroundings,
            reading: Reading::new(Timestamp(7), hold),
        }
    };
    for (hours, longer) in [(2, 2), (200, 24)] {
        let fact = report(&gate, look(hours));
        gate = apply(&spec, gate, fact);
        assert_eq!(gate.deadline(), Some(usual.plus(Duration::from_hours(longer))));
    }
    // What a step of the way back has the same place of takes no longer.
    let back = apply(&spec, gate.clone(), Fact::TimedOut);
    let back = apply(&spec, back, Fact::Leased(lease("a")));
    let same = Deployment { cursor: gate.cursor, ..back };
    assert_eq!(same.deadline(), Some(Timestamp(10).plus(spec.rollout_policy.step_timeout)));
}
