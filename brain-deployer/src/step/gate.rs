//! Gates: what is seen of the new version, beside the old one, before traffic moves on. A gate acts on nothing.
//!
//! Whatever is missing makes it hold, with the reason; the step's timeout bounds that.

use super::{Context, Observed, done};
use crate::{
    cloud::{Alarm, AlarmState, CloudError, WatchPort},
    prometheus::PrometheusPort,
};
use brain_core::{
    gate::{Check, Figures, Gate, Judgement, Reading, Samples, Services, Verdict, metrics::Places},
    names::ResourceNames,
    time::Timestamp,
};
use std::time::Duration;

/// How long an alarm that is composed of others, or is over several metrics, is given to look at what came after traffic moved:
/// what most alarms take.
const COMPOSITE_WINDOW: Duration = Duration::from_mins(1);

/// Where figures come from.
struct Sources<'a> {
    prometheus: &'a dyn PrometheusPort,
    watch: &'a dyn WatchPort,
    names: &'a ResourceNames,
    now: Timestamp,
    /// When traffic began to move, and when it had moved last; `None`: it has not.
    first_shifted: Option<Timestamp>,
    shifted: Option<Timestamp>,
    /// Whether the old version still serves. If not, its figures are those of when it last did.
    old_serves: bool,
}

impl Sources<'_> {
    /// When the old version's figures are looked at; `None`: now.
    fn old_at(&self) -> Option<Timestamp> {
        self.shifted.filter(|_| !self.old_serves)
    }
}

/// One look.
pub(super) async fn gate(context: &Context, gate: &Gate, services: Services<'_>) -> Observed {
    let sources = Sources {
        prometheus: &*context.prometheus,
        watch: &*context.cloud,
        names: &context.names,
        now: (context.now)(),
        first_shifted: context.first_shifted,
        shifted: context.shifted,
        old_serves: context.old_serves,
    };
    let (observed, judgement) = observe(&sources, gate, services).await;
    context.evidence.read(Reading::new(sources.now, judgement));
    observed
}

/// What is to be done, and what was read.
async fn observe(sources: &Sources<'_>, gate: &Gate, services: Services<'_>) -> (Observed, Judgement) {
    // Until then the figures are, in part, of traffic as it was before.
    let complete = sources.shifted.map(|shifted| shifted.plus(gate.looks_back()));
    if let Some(complete) = complete.filter(|complete| *complete > sources.now && !gate.looks_back().is_zero()) {
        let why = format!("its figures are of what came after traffic moved from {complete} on");
        let observed = Observed::Hold { why: format!("gate {}: {why}", gate.name), again: complete.since(sources.now) };
        return (observed, Verdict::Hold(why).into());
    }
    let looked = look(sources, &gate.check, services).await;
    let judgement = looked.unwrap_or_else(|why| Verdict::Hold(why).into());
    let observed = match &judgement.verdict {
        Verdict::Pass => done(),
        Verdict::Fail(why) => Observed::Failing {
            why: format!("gate {}: {why}", gate.name),
            looks: gate.failures,
            again: gate.look_again(),
        },
        Verdict::Hold(why) => {
            // CloudWatch's metrics are paid for by the look, and new ones come once in a period.
            let again = if matches!(gate.check, Check::Metrics(_)) { gate.look_again() } else { Duration::ZERO };
            Observed::Hold { why: format!("gate {}: {why}", gate.name), again }
        }
    };
    (observed, judgement)
}

/// What the figures say. The error says which of them is missing, and why.
async fn look(sources: &Sources<'_>, check: &Check, services: Services<'_>) -> Result<Judgement, String> {
    match check {
        Check::Prometheus { server, query, old_query, samples, window, condition } => {
            let ask = async |template: &str, services: Services<'_>, at: Option<Timestamp>| {
                sources.prometheus.figure(server, &services.fill(template, *window), at).await
            };
            if let Some(Samples { query, minimum }) = samples {
                let seen = ask(query, services, None).await.map_err(|why| format!("no count of samples: {why}"))?;
                enough(seen, *minimum, "")?;
            }
            let new = ask(query, services, None).await.map_err(|why| format!("no figure of the new version: {why}"))?;
            let Some(old_query) = old_query else { return Ok(Judgement::of(condition, Figures { new, old: None })) };
            if services.old.is_empty() {
                return Err("there is no old version to compare with".to_owned());
            }
            let at = sources.old_at();
            let old =
                ask(old_query, services, at).await.map_err(|why| format!("no figure of the old version: {why}"))?;
            if let Some(Samples { query, minimum }) = samples {
                // The query may match one name only.
                let mut seen = 0.0;
                for old in services.old {
                    let counted = ask(query, Services { new: old, ..services }, at).await;
                    seen += counted.map_err(|why| format!("no count of samples of the old version: {why}"))?;
                }
                enough(seen, *minimum, " of the old version")?;
            }
            Ok(Judgement::of(condition, Figures { new, old: Some(old) }))
        }
        Check::Alarms { names } => {
            let alarms = sources.watch.alarms(names).await.map_err(unanswered)?;
            Ok(judge_alarms(names, &alarms, sources).into())
        }
        Check::Metrics(metrics) => {
            let ResourceNames { cluster, load_balancer, .. } = sources.names;
            let places = Places { services, cluster, load_balancer };
            let ask = metrics.ask(places, sources.now)?;
            let Some(at) = sources.old_at().filter(|_| metrics.condition.needs_old()) else {
                return Ok(metrics.judge(&sources.watch.metrics(&ask).await.map_err(unanswered)?));
            };
            let (new, old) = metrics.ask(places, at.plus(metrics.delay))?.apart(ask);
            let mut answers = sources.watch.metrics(&new).await.map_err(unanswered)?;
            answers.extend(sources.watch.metrics(&old).await.map_err(unanswered)?);
            Ok(metrics.judge(&answers))
        }
    }
}

fn enough(seen: f64, minimum: u32, of: &str) -> Result<(), String> {
    if seen.is_finite() && seen >= f64::from(minimum) {
        return Ok(());
    }
    Err(format!("too few samples{of}: {seen} of {minimum}"))
}

/// A call that gave no answer is a figure that is missing, whatever the error: it neither fails the new version nor passes it.
fn unanswered(error: CloudError) -> String {
    let CloudError { action, code, message, kind: _ } = error;
    format!("AWS answers {action} with {code}: {message}")
}

/// Red since traffic began to move: it fails. Red before: none of its doing, and no proof that it is good either. Fine as
/// it was before traffic moved: it says nothing of that either, until it has looked at a time after.
fn judge_alarms(names: &[String], alarms: &[Alarm], sources: &Sources<'_>) -> Verdict {
    let Sources { first_shifted, shifted, now, .. } = *sources;
    let mut holds = Vec::new();
    for name in names {
        let Some(alarm) = alarms.iter().find(|alarm| alarm.name == *name) else {
            holds.push(format!("alarm {name} does not exist"));
            continue;
        };
        match (alarm.state, alarm.since) {
            (AlarmState::Ok, _) => {
                let window = alarm.window.unwrap_or(COMPOSITE_WINDOW);
                if shifted.is_some_and(|shifted| now < shifted.plus(window)) {
                    let seconds = window.as_secs();
                    holds.push(format!("alarm {name} has to look at {seconds} s of what came after traffic moved"));
                }
            }
            (AlarmState::InsufficientData, _) => holds.push(format!("alarm {name} has not enough data")),
            (AlarmState::Alarm, Some(since)) if first_shifted.is_some_and(|first| since < first) => {
                holds.push(format!("alarm {name} was red before traffic moved, since {since}"));
            }
            (AlarmState::Alarm, _) => return Verdict::Fail(format!("alarm {name} is red")),
        }
    }
    if holds.is_empty() { Verdict::Pass } else { Verdict::Hold(holds.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::ErrorKind;
    use async_trait::async_trait;
    use brain_core::{
        gate::{
            Condition, Expression,
            metrics::{Ask, Metric, Metrics, Points, Query, Statistic},
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
        let alarm =
            |name: &str, state, since| Alarm { name: name.into(), state, since: Some(Timestamp(since)), window };
        let fine = alarm("a", AlarmState::Ok, 0);
        let at = |now: Timestamp, b: Alarm| {
            let (project, none) = (ProjectId::parse("user").unwrap(), Answers(Vec::new()));
            let (shifted, names_of) = (created.plus(Duration::from_mins(1)), ResourceNames::of(&project));
            let (first_shifted, shifted) = (Some(created), Some(shifted));
            let (prometheus, watch, names_of) = (&none, &none, &names_of);
            let sources = Sources { prometheus, watch, names: names_of, now, first_shifted, shifted, old_serves: true };
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
        let (prometheus, watch) = (&answers, &answers);
        let sources = Sources { prometheus, watch, names: &names, now, first_shifted: shifted, shifted, old_serves };
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
                vec![
                    REQUESTS,
                    ("requests o", 60.0),
                    ("requests p", 40.0),
                    ("errors n", 0.031),
                    ("errors o|p 60s", 0.02)
                ]
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
}
