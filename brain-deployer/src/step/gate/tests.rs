use super::*;
use crate::cloud::ErrorKind;
use async_trait::async_trait;
use brain_core::{
    gate::{
        Condition, Expression,
        metrics::{Ask, Metric, Metrics, Points, Query, Statistic},
        tasks::{Counted, NAMES, Present},
    },
    id::ProjectId,
};

/// Answers by query; of every other query it has no data.
struct Answers(Vec<(&'static str, f64)>);

#[async_trait]
impl PrometheusPort for Answers {
    async fn figure(&self, _: &str, query: &str, at: Option<Timestamp>) -> Result<f64, String> {
        let query = at.map_or_else(|| query.to_owned(), |at| format!("{query} at {}", at.0));
        let found = self.0.iter().find(|(known, _)| *known == query);
        found.map(|(_, figure)| *figure).ok_or_else(|| "Prometheus main has no data".to_owned())
    }
}

#[async_trait]
impl WatchPort for Answers {
    async fn alarms(&self, _: &[String]) -> crate::cloud::Result<Vec<Alarm>> {
        Ok(Vec::new())
    }

    async fn metrics(&self, ask: &Ask) -> crate::cloud::Result<Vec<Points>> {
        let unknown = CloudError {
            action: "GetMetricData",
            code: "InternalServiceFault".into(),
            message: "again".into(),
            kind: ErrorKind::Transient,
        };
        let figure = |query: &Query| self.0.iter().find(|(known, _)| *known == query.dimensions["Of"]);
        let points = |query| Ok(figure(query).map(|(_, figure)| *figure).into_iter().collect());
        if self.0.is_empty() { Err(unknown) } else { Ok(ask.queries.iter().map(points).collect()) }
    }
}

#[async_trait]
impl CountPort for Answers {
    async fn count(&self, services: &[String], asked: Asked) -> crate::cloud::Result<Option<Counted>> {
        let Asked { present, exits, .. } = asked;
        let count = |what: String| {
            let what = format!("{what} {}", services.join("|"));
            self.0.iter().find(|(known, _)| *known == what).map(|(_, count)| *count as u32)
        };
        let time = |within: Within| format!("exits {} to {:?}", within.from.0, within.to.map(|to| to.0));
        let exits = exits.map_or(Some(0), |within| count(time(within)));
        let (Some(tasks), Some(exits)) = (count("tasks".to_owned()), exits) else { return Ok(None) };
        let present = present.then_some(Present { desired: tasks, running: tasks, healthy: tasks });
        Ok(Some(Counted { present, exits }))
    }
}

#[tokio::test]
async fn exits_are_counted_of_the_same_time_and_of_a_version_that_is_gone_from_before_it_went() {
    let figure = Expression::parse("exits", &NAMES).unwrap();
    let condition = Condition::parse("new <= old").unwrap();
    let tasks = Tasks { figure, window: Duration::from_secs(60), condition };
    let gate = Gate { name: "exits".into(), check: Check::Tasks(tasks), failures: 2 };
    let (new, old) = (("exits 60000 to None n", 1.0), ("exits 60000 to None o|p", 1.0));
    let there = vec![("tasks n", 1.0), ("tasks o|p", 2.0)];
    let said = async |figures: &[(&'static str, f64)], shifted: i64, serves: bool| {
        let all = [&there, figures].concat();
        at(&gate, &["o", "p"], all, Timestamp(120_000), Some(Timestamp(shifted)), serves).await
    };
    assert_eq!(said(&[new, old], 60_000, true).await, "");
    let worse = "fails 2 15 s: gate exits: new 1, old 0, needs new <= old";
    assert_eq!(said(&[new, ("exits 60000 to None o|p", 0.0)], 60_000, true).await, worse);
    assert_eq!(said(&[new, ("exits 0 to Some(60000) o|p", 1.0)], 60_000, false).await, "");
    // What ended soon after traffic moved counts in every look.
    let later = at(
        &gate,
        &["o", "p"],
        [&there[..], &[new, ("exits 60000 to None o|p", 0.0)]].concat(),
        Timestamp(180_000),
        Some(Timestamp(60_000)),
        true,
    );
    assert_eq!(later.await, worse);
    let hours = Timestamp(7_200_000);
    let forgotten = at(&gate, &["o", "p"], [&there[..], &[new, old]].concat(), hours, Some(Timestamp(60_000)), true);
    let why = "ECS may have forgotten what ended since 1970-01-01T00:01:00Z";
    assert_eq!(forgotten.await, format!("holds: gate exits: no figure of the new version: {why}"));
    let missing = "holds: gate exits: no figure of the old version: a service does not show, or was deleted";
    assert_eq!(said(&[new], 60_000, true).await, missing);
    let early = "holds: gate exits: its figures are of what came after traffic moved from 1970-01-01T00:02:01Z on";
    assert_eq!(said(&[new, old], 61_000, true).await, early);
    let alone = at(&gate, &[], [there, vec![new]].concat(), Timestamp(120_000), None, true).await;
    assert_eq!(alone, "holds: gate exits: there is no old version to compare with");
}

#[tokio::test]
async fn metrics_are_asked_for_by_the_names_of_what_there_is_and_an_error_holds() {
    let metric = Metric {
        id: "load".into(),
        namespace: "User".into(),
        name: "load".into(),
        dimensions: [("Of".to_owned(), "{{cluster}}/{{service}}".to_owned())].into(),
        statistic: Statistic::Maximum,
        zero_when_missing: false,
    };
    let metrics = Metrics {
        metrics: vec![metric],
        figure: Expression::parse("load", &["load"]).unwrap(),
        samples: None,
        window: Duration::from_mins(5),
        period: Duration::from_mins(1),
        delay: Duration::ZERO,
        condition: Condition::parse("new <= old").unwrap(),
    };
    let gate = Gate { name: "load".into(), check: Check::Metrics(metrics), failures: 2 };
    let said = async |answers: &[(&'static str, f64)]| told(&gate, &["o"], answers.to_vec()).await;
    let old = ("user-ecs-cluster/o", 2.0);
    assert_eq!(said(&[("user-ecs-cluster/n", 2.0), old]).await, "");
    let failed = "fails 2 60 s: gate load: new 3, old 2, needs new <= old";
    assert_eq!(said(&[("user-ecs-cluster/n", 3.0), old]).await, failed);
    let held = "holds: gate load: no figure of the new version: metric load has no data";
    assert_eq!(said(&[("user-ecs-cluster/other", 2.0), old]).await, held);
    let unanswered = "holds: gate load: AWS answers GetMetricData with InternalServiceFault: again";
    assert_eq!(said(&[]).await, unanswered);
}

#[test]
fn alarms_pass_while_all_are_ok_and_what_was_red_before_holds() {
    let created = Timestamp(1_700_000_000_000);
    let names = ["a".to_owned(), "b".to_owned()];
    let window = Some(Duration::from_mins(5));
    let alarm = |name: &str, state, since| Alarm { name: name.into(), state, since: Some(Timestamp(since)), window };
    let fine = alarm("a", AlarmState::Ok, 0);
    let at = |now: Timestamp, b: Alarm| {
        let (project, none) = (ProjectId::parse("user").unwrap(), Answers(Vec::new()));
        let (shifted, names_of) = (created.plus(Duration::from_mins(1)), ResourceNames::of(&project));
        let (first_shifted, shifted) = (Some(created), Some(shifted));
        let (prometheus, watch, names_of) = (&none, &none, &names_of);
        let (tasks, old_serves) = (&none, true);
        let sources = Sources { prometheus, watch, tasks, names: names_of, now, first_shifted, shifted, old_serves };
        judge_alarms(&names, &[fine.clone(), b], &sources)
    };
    let judged = |b: Alarm| at(created.plus(Duration::from_mins(6)), b);
    assert_eq!(judged(alarm("b", AlarmState::Ok, 0)), Verdict::Pass);
    assert_eq!(judged(alarm("b", AlarmState::Alarm, created.0)), Verdict::Fail("alarm b is red".into()));
    let early = created.plus(Duration::from_secs(359));
    let said = ["a", "b"].map(|name| format!("alarm {name} has to look at 300 s of what came after traffic moved"));
    assert_eq!(at(early, alarm("b", AlarmState::Ok, 0)), Verdict::Hold(said.join("; ")));
    assert_eq!(at(early, alarm("b", AlarmState::Alarm, created.0)), Verdict::Fail("alarm b is red".into()));
    let before = "alarm b was red before traffic moved, since 2023-11-14T22:13:19Z";
    assert_eq!(judged(alarm("b", AlarmState::Alarm, created.0 - 1_000)), Verdict::Hold(before.into()));
    assert_eq!(
        judged(alarm("b", AlarmState::InsufficientData, 0)),
        Verdict::Hold("alarm b has not enough data".into())
    );
    assert_eq!(judged(alarm("c", AlarmState::Ok, 0)), Verdict::Hold("alarm b does not exist".into()));
    let unknown = Alarm { name: "b".into(), state: AlarmState::Alarm, since: None, window };
    assert_eq!(judged(unknown), Verdict::Fail("alarm b is red".into()));
    // A step may take longer by the longest of them, and not by those of others.
    let composite = Alarm { window: None, ..alarm("b", AlarmState::Ok, 0) };
    let other = Alarm { window: Some(Duration::from_hours(2)), ..alarm("c", AlarmState::Ok, 0) };
    assert_eq!(look_back(&names, &[fine.clone(), composite.clone(), other]), Duration::from_mins(5));
    assert_eq!(look_back(&names, &[composite]), COMPOSITE_WINDOW);
}

/// What is said of a gate that compares errors and wants 100 requests; an empty text when it passes.
async fn said(old: &[&str], answers: Vec<(&'static str, f64)>) -> String {
    told(&errors(), old, answers).await
}

fn errors() -> Gate {
    let check = Check::Prometheus {
        server: "main".into(),
        query: "errors {{new}}".into(),
        old_query: Some("errors {{old}} {{window}}".into()),
        samples: Some(Samples { query: "requests {{new}}".into(), minimum: 100 }),
        window: Duration::from_secs(60),
        condition: Condition::parse("new <= old * 1.1").unwrap(),
    };
    Gate { name: "errors".into(), check, failures: 2 }
}

async fn told(gate: &Gate, old: &[&str], answers: Vec<(&'static str, f64)>) -> String {
    at(gate, old, answers, Timestamp(0), None, true).await
}

async fn at(
    gate: &Gate,
    old: &[&str],
    answers: Vec<(&'static str, f64)>,
    now: Timestamp,
    shifted: Option<Timestamp>,
    old_serves: bool,
) -> String {
    let old: Vec<String> = old.iter().map(ToString::to_string).collect();
    let services = Services { new: "n", old: &old };
    let answers = Answers(answers);
    let names = ResourceNames::of(&ProjectId::parse("user").unwrap());
    let (prometheus, watch, tasks) = (&answers, &answers, &answers);
    let names = &names;
    let sources = Sources { prometheus, watch, tasks, names, now, first_shifted: shifted, shifted, old_serves };
    let (observed, judgement) = observe(&sources, gate, services).await;
    let reading = Reading::new(now, judgement).to_string();
    // What is told of the gate is what was read.
    let read = |what: &str, why: &str| {
        let why = why.strip_prefix(&format!("gate {}: ", gate.name)).unwrap_or(why);
        assert_eq!(reading, format!("{what}: {why}"));
    };
    match observed {
        Observed::Done(_) => {
            assert!(reading.starts_with("passes: new "), "{reading}");
            String::new()
        }
        Observed::Failing { why, looks, again } => {
            read("fails", &why);
            format!("fails {looks} {} s: {why}", again.as_secs())
        }
        Observed::Hold { why, .. } => {
            read("holds", &why);
            format!("holds: {why}")
        }
        Observed::Wait(_)
        | Observed::NoRoom(_)
        | Observed::Watched { .. }
        | Observed::Told(_)
        | Observed::Ready(_)
        | Observed::Blocked(..) => {
            panic!("a gate neither acts nor blocks")
        }
    }
}

const REQUESTS: (&str, f64) = ("requests n", 100.0);
const OLD_REQUESTS: (&str, f64) = ("requests o", 100.0);

#[tokio::test]
async fn figures_of_what_was_before_traffic_moved_pass_no_gate() {
    let all = vec![REQUESTS, OLD_REQUESTS, ("errors n", 0.0), ("errors o 60s", 0.0)];
    let shifted = Timestamp(1_700_000_000_000);
    let after = async |seconds: u64| {
        let now = shifted.plus(Duration::from_secs(seconds));
        at(&errors(), &["o"], all.clone(), now, Some(shifted), true).await
    };
    let said = "holds: gate errors: its figures are of what came after traffic moved from 2023-11-14T22:14:20Z on";
    assert_eq!(after(59).await, said);
    assert_eq!(after(60).await, "");
}

#[tokio::test]
async fn an_old_version_that_serves_no_more_is_seen_as_when_it_did() {
    let then = vec![REQUESTS, ("requests o at 7", 100.0), ("errors n", 0.021), ("errors o 60s at 7", 0.02)];
    let now = Timestamp(60_007);
    assert_eq!(at(&errors(), &["o"], then, now, Some(Timestamp(7)), false).await, "");
}

#[tokio::test]
async fn a_gate_passes_or_fails_by_its_figures() {
    assert_eq!(said(&["o"], vec![REQUESTS, OLD_REQUESTS, ("errors n", 0.021), ("errors o 60s", 0.02)]).await, "");
    assert_eq!(
        said(
            &["o", "p"],
            vec![REQUESTS, ("requests o", 60.0), ("requests p", 40.0), ("errors n", 0.031), ("errors o|p 60s", 0.02)]
        )
        .await,
        "fails 2 15 s: gate errors: new 0.031, old 0.02, needs new <= old * 1.1"
    );
}

#[tokio::test]
async fn missing_data_never_passes_a_gate() {
    let all = [REQUESTS, ("errors n", 0.0), ("errors o 60s", 0.0), OLD_REQUESTS];
    assert_eq!(said(&["o"], all.to_vec()).await, "", "with all of it, it passes");
    for missing in 0..all.len() {
        let mut some = all.to_vec();
        some.remove(missing);
        let held = said(&["o"], some).await;
        assert!(held.starts_with("holds: gate errors: no ") && held.ends_with("has no data"), "{held}");
        for figure in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let mut odd = all.to_vec();
            odd[missing].1 = figure;
            let held = said(&["o"], odd).await;
            assert!(held.starts_with("holds: "), "{held}");
        }
    }
    let few = said(&["o"], vec![("requests n", 99.0), all[1], all[2], all[3]]).await;
    assert_eq!(few, "holds: gate errors: too few samples: 99 of 100");
    let few = said(&["o"], vec![all[0], all[1], all[2], ("requests o", 99.0)]).await;
    assert_eq!(few, "holds: gate errors: too few samples of the old version: 99 of 100");
    let alone = said(&[], vec![REQUESTS, ("errors n", 0.0), ("errors  60s", 0.0)]).await;
    assert_eq!(alone, "holds: gate errors: there is no old version to compare with");
}
