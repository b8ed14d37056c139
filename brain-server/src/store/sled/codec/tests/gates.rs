//! Policies with gates, of each source of figures.

use super::{Transition, request_of, spec, transition};
use brain_core::{
    event::Change,
    gate::{
        Check, Condition, Expression, Gate, Samples,
        metrics::{Metric, MetricSamples, Metrics, Statistic},
        tasks::{NAMES, Tasks},
    },
    policy::{RolloutStep, Size},
};
use std::time::Duration;

pub(super) fn gates() -> Transition {
    let mut spec = spec();
    let figures = Gate {
        name: "errors".into(),
        check: Check::Prometheus {
            server: "main".into(),
            query: "x{{new}}".into(),
            old_query: Some("x{{old}}".into()),
            samples: Some(Samples { query: "y{{new}}".into(), minimum: 100 }),
            window: Duration::from_secs(60),
            condition: Condition::parse("new <= old").unwrap(),
        },
        failures: 3,
    };
    let alarms = Gate { name: "alarms".into(), check: Check::Alarms { names: vec!["red".into()] }, failures: 2 };
    spec.rollout_policy.steps =
        vec![RolloutStep { gates: vec![figures, alarms], ..RolloutStep::to(Size::Percent(33)) }];
    let request = request_of(&spec);
    transition(vec![Change::ProjectCreated(Box::new(spec)), Change::DeploymentRequested(Box::new(request))])
}

pub(super) fn metrics() -> Transition {
    let mut spec = spec();
    let metric = |id: &str, statistic, zero_when_missing| Metric {
        id: id.into(),
        namespace: "User".into(),
        name: id.into(),
        dimensions: [("Service".to_owned(), "{{service}}".to_owned())].into(),
        statistic,
        zero_when_missing,
    };
    let ids = ["a", "b", "c"];
    let check = Metrics {
        metrics: vec![
            metric("a", Statistic::Sum, true),
            metric("b", Statistic::Average, false),
            metric("c", Statistic::Percentile("p99".into()), false),
        ],
        figure: Expression::parse("a / b", &ids).unwrap(),
        samples: Some(MetricSamples { figure: Expression::parse("b", &ids).unwrap(), minimum: 100 }),
        window: Duration::from_mins(5),
        period: Duration::from_mins(1),
        delay: Duration::from_mins(2),
        condition: Condition::parse("new <= old").unwrap(),
    };
    let gates = vec![Gate { name: "metrics".into(), check: Check::Metrics(check), failures: 2 }];
    spec.rollout_policy.steps = vec![RolloutStep { gates, ..RolloutStep::to(Size::Percent(33)) }];
    transition(vec![Change::ProjectCreated(Box::new(spec))])
}

pub(super) fn tasks() -> Transition {
    let mut spec = spec();
    let check = Tasks {
        figure: Expression::parse("exits / desired", &NAMES).unwrap(),
        window: Duration::from_mins(5),
        condition: Condition::parse("new <= old").unwrap(),
    };
    let gates = vec![Gate { name: "exits".into(), check: Check::Tasks(check), failures: 2 }];
    spec.rollout_policy.steps = vec![RolloutStep { gates, ..RolloutStep::to(Size::Percent(33)) }];
    transition(vec![Change::ProjectCreated(Box::new(spec))])
}
