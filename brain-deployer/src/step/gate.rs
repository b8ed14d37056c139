//! Gates: what is seen of the new version, beside the old one, before traffic moves on. A gate acts on nothing.
//!
//! Whatever is missing makes it hold, with the reason; the step's timeout bounds that.

use super::{Context, Observed, done, shift};
use crate::{
    cloud::{Alarm, AlarmState, CloudError, Result, WatchPort},
    prometheus::PrometheusPort,
};
use brain_core::{
    gate::{
        Check, Figures, Gate, Judgement, Reading, Samples, Services, Verdict,
        metrics::Places,
        tasks::{REMEMBERED, Tasks},
    },
    names::ResourceNames,
    time::Timestamp,
};
use count::{Asked, CountPort, Within};
use std::time::Duration;

mod count;

/// How long an alarm that is composed of others, or is over several metrics, is given to look at what came after traffic moved:
/// what most alarms take.
const COMPOSITE_WINDOW: Duration = Duration::from_mins(1);

/// How often the tasks are looked at while a gate's figures are awaited.
const TASKS_SEEN_EVERY: Duration = Duration::from_secs(20);

/// Where figures come from.
struct Sources<'a> {
    prometheus: &'a dyn PrometheusPort,
    watch: &'a dyn WatchPort,
    tasks: &'a dyn CountPort,
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

/// One look: first at the new version's tasks, of which too many may have failed whatever the figures say.
pub(super) async fn gate(
    context: &Context,
    gate: &Gate,
    services: Services<'_>,
    max_task_failures: u32,
) -> Result<Observed> {
    let findings = match shift::found(context, services.new, max_task_failures).await? {
        Ok(findings) => findings,
        Err(failed) => return Ok(failed),
    };
    let sources = Sources {
        prometheus: &*context.prometheus,
        watch: &*context.cloud,
        tasks: context,
        names: &context.names,
        now: (context.now)(),
        first_shifted: context.first_shifted,
        shifted: context.shifted,
        old_serves: context.old_serves,
    };
    let (observed, judgement) = observe(&sources, gate, services).await;
    context.evidence.read(Reading::new(sources.now, judgement));
    Ok(if let Observed::Done(_) = observed { Observed::Done(findings) } else { observed })
}

/// What is to be done, and what was read.
async fn observe(sources: &Sources<'_>, gate: &Gate, services: Services<'_>) -> (Observed, Judgement) {
    // Until then the figures are, in part, of traffic as it was before.
    let complete = sources.shifted.map(|shifted| shifted.plus(gate.looks_back()));
    if let Some(complete) = complete.filter(|complete| *complete > sources.now && !gate.looks_back().is_zero()) {
        let why = format!("its figures are of what came after traffic moved from {complete} on");
        let again = complete.since(sources.now).min(TASKS_SEEN_EVERY);
        let observed = Observed::Hold { why: format!("gate {}: {why}", gate.name), again };
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
            // CloudWatch's metrics are paid for by the look, and new ones come once in a period; tasks take many calls.
            let seldom = matches!(gate.check, Check::Metrics(_) | Check::Tasks(_));
            let again = if seldom { gate.look_again() } else { Duration::ZERO };
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
            Ok(Judgement { looks_back: look_back(names, &alarms), ..judge_alarms(names, &alarms, sources).into() })
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
        Check::Tasks(tasks) => count(sources, tasks, services).await,
    }
}

async fn count(sources: &Sources<'_>, tasks: &Tasks, services: Services<'_>) -> Result<Judgement, String> {
    // Since traffic moved: what ended then must not be forgotten from one look to the next.
    let since = sources.shifted.unwrap_or_else(|| sources.now.minus(tasks.window));
    let length = sources.now.since(since);
    let ask = async |services: &[String], at: Option<Timestamp>| {
        let (from, to) = at.map_or((since, None), |at| (at.minus(length), Some(at)));
        if tasks.counts_exits() && sources.now.since(from) > REMEMBERED {
            return Err(format!("ECS may have forgotten what ended since {from}"));
        }
        let exits = tasks.counts_exits().then_some(Within { from, to });
        let asked = Asked { present: at.is_none(), healthy: tasks.counts_healthy(), exits };
        let counted = sources.tasks.count(services, asked).await;
        counted.map_err(unanswered)?.ok_or_else(|| "a service does not show, or was deleted".to_owned())
    };
    let new =
        ask(&[services.new.to_owned()], None).await.map_err(|why| format!("no figure of the new version: {why}"))?;
    if !tasks.condition.needs_old() {
        return tasks.judge(new, None);
    }
    if services.old.is_empty() {
        return Err("there is no old version to compare with".to_owned());
    }
    let old =
        ask(services.old, sources.old_at()).await.map_err(|why| format!("no figure of the old version: {why}"))?;
    tasks.judge(new, Some(old))
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

/// Time after traffic moved that the alarms look at: the longest of theirs.
fn look_back(names: &[String], alarms: &[Alarm]) -> Duration {
    let asked = alarms.iter().filter(|alarm| names.contains(&alarm.name));
    asked.map(|alarm| alarm.window.unwrap_or(COMPOSITE_WINDOW)).max().unwrap_or_default()
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
mod tests;
