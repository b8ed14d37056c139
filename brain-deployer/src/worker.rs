//! The worker of one deployment: carries out its plan's steps, one after the other, each reported and stored before the next.
//!
//! Around each act it asks whether the lease still holds. It acts once, looks again, and acts again only when it still sees
//! the need. Errors that pass are waited out, others for a while before they fail the step, and on a way back for as long as the
//! step may take.

use crate::{
    cloud::{CloudError, ErrorKind},
    lease::LeaseClock,
    metrics::stepped,
    reporter::{Leave, Observation, Reporter, StepKey},
    step::{self, Act, Context, Findings, Observed, looks::Kind, watch::Watch},
    waits::{self, Waits},
};
use brain_core::{
    deployment::{Cause, Outcome, TASK_FAILURES_KEPT, TaskFailure},
    drift::Drift,
    plan::{self, Plan, Step},
    time::Timestamp,
    trace::Place,
};
use brain_process::trace;
use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

mod refusals;
mod told;

use refusals::Errors;
use told::Told;

/// Looks after an act that are not believed when they ask for another one: answers may be old.
const LOOKS_DOUBTED: u32 = 2;
/// Tasks are counted as a step's own that failed from this long before it began: AWS's clock is not ours. Who is told of one
/// twice counts it once.
const BEFORE_STEP: Duration = Duration::from_secs(2);

/// A deployment to carry out.
pub(crate) struct Work {
    pub(crate) context: Context,
    /// Where the plan is in its trace.
    pub(crate) place: Option<Place>,
    pub(crate) project: String,
    pub(crate) plan: Plan,
    pub(crate) key: StepKey,
    pub(crate) elapsed: Duration,
    /// Time for which what the step watches was seen well before.
    pub(crate) watched: Duration,
    pub(crate) interval: Duration,
    pub(crate) waits: Arc<Waits>,
    pub(crate) now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

/// Carries out the plan from the key's step on. Ends early when it is asked to `leave`, the deployment is somebody else's,
/// or a step failed: the server then decides what comes next. A call that changes AWS is never given up half-way by `leave`:
/// whoever comes next has to find it done or not begun.
pub(crate) async fn run(mut work: Work, reporter: Arc<Reporter>, lease: Arc<LeaseClock>, leave: CancellationToken) {
    info!(deployment = work.key.deployment, generation = work.key.generation, step = work.key.step, "taken up");
    let first = usize::try_from(work.key.step).unwrap_or(usize::MAX);
    let steps: Vec<Step> = work.plan.steps.iter().skip(first).cloned().collect();
    for step in steps {
        if step.moves_traffic() {
            work.context.first_shifted.get_or_insert((work.now)());
        }
        work.context.old_serves = old_serves(&work.plan, &step, work.key.step);
        work.context.watching = work.plan.watched_at(usize::try_from(work.key.step).unwrap_or(usize::MAX));
        let mut runner = StepRunner::new(&work, &step, &reporter, &lease, &leave);
        let place = work.place.map(|place| place.step(usize::try_from(work.key.step).unwrap_or(usize::MAX)));
        let ended = trace::within(place, runner.run()).await;
        let outcome = match &ended {
            Ok(Ended::Done) => "done",
            Ok(Ended::Failed) => "failed",
            Err(Leave) => "left",
        };
        stepped(step.kind(), outcome, runner.began.elapsed());
        let made = match ended {
            Ok(Ended::Done) => runner.context.made,
            Ok(Ended::Failed) => return,
            Err(Leave) => {
                info!(deployment = work.key.deployment, "left: it is not this deployer's any more");
                return;
            }
        };
        work.context.made = made;
        if step.settles_traffic() && work.context.first_shifted.is_some() {
            work.context.shifted = Some((work.now)());
        }
        work.key.step += 1;
        (work.elapsed, work.watched) = (Duration::ZERO, Duration::ZERO);
    }
}

/// Whether a service that the gate compares with has tasks at that step.
fn old_serves(plan: &Plan, step: &Step, index: u32) -> bool {
    let Step::Gate { old, .. } = step else { return true };
    let serving = plan::serving_at(plan, usize::try_from(index).unwrap_or(usize::MAX));
    serving.iter().any(|count| count.count > 0 && old.contains(&count.service))
}

enum Ended {
    Done,
    Failed,
}

struct StepRunner<'a> {
    work: &'a Work,
    context: Context,
    step: &'a Step,
    reporter: &'a Reporter,
    lease: &'a LeaseClock,
    leave: &'a CancellationToken,
    began: Instant,
    waiting: Told,
    /// What was told to differ.
    told: BTreeSet<Drift>,
    /// Errors of looks, and of acts: a look that succeeds says nothing of the next act.
    look_errors: Errors,
    act_errors: Errors,
    /// Looks in a row that found the goal out of reach for good, on a way back.
    blocks: Errors,
    /// Looks in a row that found the goal out of reach.
    failing: u32,
    /// When the last look began that found that the step waits.
    waited: Option<Instant>,
}

impl<'a> StepRunner<'a> {
    fn new(
        work: &'a Work,
        step: &'a Step,
        reporter: &'a Reporter,
        lease: &'a LeaseClock,
        leave: &'a CancellationToken,
    ) -> Self {
        let mut context = work.context.clone();
        let before = i64::try_from((work.elapsed + BEFORE_STEP).as_millis()).unwrap_or(i64::MAX);
        context.step_began_ms = (work.now)().0.saturating_sub(before);
        let margin = i64::try_from(BEFORE_STEP.as_millis()).unwrap_or_default();
        let seen_ms = context.stopped_seen_ms.load(Ordering::Relaxed);
        let unseen = (seen_ms > 0).then(|| seen_ms.saturating_sub(margin));
        context.watch = Arc::new(Watch::after(work.watched));
        context.evidence = Arc::default();
        context.failures_since_ms = unseen.map_or(context.step_began_ms, |unseen| unseen.min(context.step_began_ms));
        Self {
            work,
            context,
            step,
            reporter,
            lease,
            leave,
            began: Instant::now(),
            waiting: Told::default(),
            told: BTreeSet::new(),
            look_errors: Errors::none(),
            act_errors: Errors::none(),
            blocks: Errors::none(),
            failing: 0,
            waited: None,
        }
    }

    async fn run(&mut self) -> Result<Ended, Leave> {
        // What was done last, and the looks that are still doubted when they ask for it again.
        let mut acted: Option<(String, u32)> = None;
        loop {
            let looked = Instant::now();
            let observed = self.unless_left(step::observe(&self.context, self.step)).await?;
            if observed.is_ok() {
                self.look_errors = Errors::none();
            }
            if !matches!(observed, Ok(Observed::Blocked(..))) {
                self.blocks = Errors::none();
            }
            let ends = matches!(observed, Ok(Observed::Done(_) | Observed::Blocked(..)));
            for (task_failures, service_events) in self.context.evidence.news(ends) {
                self.report(Outcome::Evidence { task_failures, service_events }).await?;
            }
            match observed {
                Err(error) => {
                    let (refused, pause) = self.look_errors.met(&error);
                    if let Some(failed) = self.error(error, refused, pause).await? {
                        return Ok(failed);
                    }
                }
                Ok(Observed::Done(found)) => return self.done(found, looked).await,
                Ok(Observed::Told(drift)) => {
                    self.tell(drift).await?;
                    self.report(Outcome::Done { task_failures: Vec::new(), service_events: Vec::new() }).await?;
                    return Ok(Ended::Done);
                }
                Ok(Observed::Blocked(reason, found)) if self.work.key.rollback && !self.blocks.refused() => {
                    acted = None;
                    self.tell(found.drift).await?;
                    self.wait(format!("{reason}; looking again"), Cause::Surroundings).await?;
                    let pause = self.blocks.pause();
                    self.sleep(pause).await?;
                }
                Ok(Observed::Blocked(reason, Findings { task_failures, service_events, production: _, drift })) => {
                    self.tell(drift).await?;
                    warn!(step = %self.step, reason, "the step has failed");
                    // Without a task that failed nothing was found out of the version.
                    let cause = if task_failures.is_empty() { Cause::Surroundings } else { Cause::Version };
                    let task_failures = newest(task_failures);
                    self.report(Outcome::Failed { reason, task_failures, service_events, cause }).await?;
                    return Ok(Ended::Failed);
                }
                Ok(Observed::Failing { why, looks, again }) => {
                    if let Some(failed) = self.failing(why, looks, again).await? {
                        return Ok(failed);
                    }
                }
                Ok(Observed::Wait(why)) => {
                    acted = None;
                    self.waited = Some(looked);
                    self.waits(why, Cause::Version).await?;
                }
                Ok(Observed::NoRoom(why)) => {
                    acted = None;
                    self.waited = Some(looked);
                    self.waits(why, Cause::Surroundings).await?;
                }
                Ok(Observed::Watched { why, cause, well }) => {
                    acted = None;
                    self.waited = Some(looked);
                    self.failing = 0;
                    let outcome = Outcome::Watched { why: why.clone(), cause, well };
                    self.tell_waiting(&why, outcome).await?;
                    self.look_again().await?;
                }
                Ok(Observed::Hold { why, again }) => {
                    acted = None;
                    self.failing = 0;
                    self.wait(why, Cause::Surroundings).await?;
                    self.sleep(again.max(self.work.interval)).await?;
                }
                Ok(Observed::Ready(act)) => {
                    // What was just done may not show yet, and one look that shows it not is no proof. Something else is to be
                    // done at once.
                    match &mut acted {
                        Some((what, to_doubt)) if *what == act.what && *to_doubt > 0 => {
                            *to_doubt -= 1;
                            self.look_again().await?;
                            continue;
                        }
                        _ => acted = Some((act.what.clone(), LOOKS_DOUBTED)),
                    }
                    if let Some(failed) = self.act(act).await? {
                        return Ok(failed);
                    }
                }
            }
        }
    }

    /// The goal is reached, as the look saw that began at `looked`.
    async fn done(&mut self, found: Findings, looked: Instant) -> Result<Ended, Leave> {
        let Findings { task_failures, service_events, production, drift: _ } = found;
        // What a step of the shift changed is told before the step is: whoever watches sees every stage.
        if let Some(look) = production {
            let StepKey { deployment, generation, .. } = self.work.key.clone();
            let of = Observation { project: self.work.project.clone(), deployment, generation };
            self.unless_left(self.reporter.seen(&of, look)).await??;
        }
        if let Some(reading) = self.context.evidence.reading() {
            self.report(Outcome::Read { why: String::new(), cause: Cause::Version, reading }).await?;
        }
        let task_failures = newest(task_failures);
        self.report(Outcome::Done { task_failures, service_events }).await?;
        self.learn(looked);
        Ok(Ended::Done)
    }

    async fn waits(&mut self, why: String, cause: Cause) -> Result<(), Leave> {
        self.failing = 0;
        self.wait(why, cause).await?;
        self.look_again().await
    }

    /// Pauses until the goal is likely to be reached.
    async fn look_again(&mut self) -> Result<(), Leave> {
        let Work { project, interval, waits, .. } = self.work;
        let (since, kind) = self.waits_for().map_or((self.began, None), |(since, kind)| (since, Some(kind)));
        let mut pause = waits.pause(project, kind, since.elapsed(), *interval);
        if let Step::Bake { duration, .. } = self.step {
            pause = self.context.watch.left(*duration).map_or(pause, |left| pause.min(left));
        }
        if matches!(self.step, Step::Hold) {
            pause = waits::seldom(*interval);
        }
        self.sleep(pause).await
    }

    /// The act that the step waits for, and when it was done.
    fn waits_for(&self) -> Option<(Instant, Kind)> {
        let waits = matches!(self.step, Step::Capacity { .. } | Step::Verify { .. });
        self.context.looks.acted().filter(|_| waits)
    }

    /// The wait is over: the look that saw it began at `looked`.
    fn learn(&self, looked: Instant) {
        let Some((since, kind)) = self.waits_for() else { return };
        self.context.looks.settled();
        if let Some(waited) = self.waited {
            let after = |at: Instant| at.saturating_duration_since(since);
            self.work.waits.learn(&self.work.project, kind, after(waited), after(looked));
        }
    }

    /// Sleeps; what was seen before is not shared afterwards.
    async fn sleep(&self, pause: Duration) -> Result<(), Leave> {
        self.unless_left(sleep(pause)).await?;
        self.context.looks.forget();
        Ok(())
    }

    async fn act(&mut self, act: Act) -> Result<Option<Ended>, Leave> {
        self.context.remember(&act.drift);
        self.tell(act.drift).await?;
        if !self.lease.holds(Instant::now()) || self.leave.is_cancelled() {
            return Err(Leave);
        }
        info!(step = %self.step, "{}", act.what);
        match act.run.await {
            Ok(()) => {
                self.act_errors = Errors::none();
                Ok(None)
            }
            Err(error) => {
                let (refused, pause) = self.act_errors.met(&error);
                self.error(error, refused, pause).await
            }
        }
    }

    /// Counts a look that found the goal out of reach, and fails the step once there are enough of them in a row.
    async fn failing(&mut self, why: String, looks: u32, again: Duration) -> Result<Option<Ended>, Leave> {
        self.failing += 1;
        if self.failing >= looks {
            let reason = format!("{why}; {looks} looks in a row say so");
            warn!(step = %self.step, reason, "the step has failed");
            if let Some(reading) = self.context.evidence.reading() {
                self.report(Outcome::Read { why: reason.clone(), cause: Cause::Version, reading }).await?;
            }
            return self.fail(reason, Cause::Version).await;
        }
        let why = format!("{why}; looks in a row that say so: {} of {looks}", self.failing);
        self.wait(why, Cause::Version).await?;
        self.sleep(again.max(self.work.interval)).await?;
        Ok(None)
    }

    /// Waits an error out, or fails the step with it once it was `refused` for long enough. At a hold there is nothing to do that
    /// could be refused, and who cannot look has found nothing.
    async fn error(&mut self, error: CloudError, refused: bool, pause: Duration) -> Result<Option<Ended>, Leave> {
        let CloudError { action, code, message, kind } = &error;
        warn!(step = %self.step, %error, "an AWS call did not succeed");
        let refusal = || format!("AWS refuses {action} with {code}: {message}");
        let back = self.work.key.rollback;
        if refused && !back && !matches!(self.step, Step::Hold) {
            return self.fail(refusal(), Cause::Surroundings).await;
        }
        let why = match kind {
            ErrorKind::Limited => message.clone(),
            ErrorKind::Throttled => format!("AWS throttles {action}; trying again"),
            ErrorKind::Transient => format!("AWS answers {action} with {code}; trying again"),
            ErrorKind::Terminal if back => format!("{}; grant {action}: the way back waits for it", refusal()),
            ErrorKind::Terminal => format!("{}; trying again", refusal()),
        };
        self.wait(why, Cause::Surroundings).await?;
        self.sleep(pause).await?;
        Ok(None)
    }

    /// Tells what differs, once. What an act does about it is stored before it is done.
    async fn tell(&mut self, drift: Vec<Drift>) -> Result<(), Leave> {
        let news: Vec<Drift> = drift.into_iter().filter(|drift| self.told.insert(drift.clone())).collect();
        if news.is_empty() {
            return Ok(());
        }
        self.report(Outcome::Found { drift: news }).await
    }

    /// Fails the step with nothing found of any task.
    async fn fail(&self, reason: String, cause: Cause) -> Result<Option<Ended>, Leave> {
        self.report(Outcome::Failed { reason, task_failures: Vec::new(), service_events: Vec::new(), cause }).await?;
        Ok(Some(Ended::Failed))
    }

    async fn report(&self, outcome: Outcome) -> Result<(), Leave> {
        self.unless_left(self.reporter.report(&self.work.key, &outcome)).await?
    }

    /// Waits for something that may be given up.
    async fn unless_left<T>(&self, wait: impl Future<Output = T>) -> Result<T, Leave> {
        self.leave.run_until_cancelled(wait).await.ok_or(Leave)
    }

    /// Reports why the step waits, and what is at fault if it does so for too long, when that is news.
    async fn wait(&mut self, why: String, cause: Cause) -> Result<(), Leave> {
        let outcome = match self.context.evidence.reading() {
            Some(reading) => Outcome::Read { why: why.clone(), cause, reading },
            None => Outcome::Waiting { why: why.clone(), cause },
        };
        self.tell_waiting(&why, outcome).await
    }

    async fn tell_waiting(&mut self, why: &str, outcome: Outcome) -> Result<(), Leave> {
        if !self.waiting.is_news(why, matches!(self.step, Step::Hold), Instant::now()) {
            return Ok(());
        }
        self.report(outcome).await
    }
}

/// The newest failures, as many as one report takes.
fn newest(mut failures: Vec<TaskFailure>) -> Vec<TaskFailure> {
    failures.split_off(failures.len().saturating_sub(TASK_FAILURES_KEPT))
}
