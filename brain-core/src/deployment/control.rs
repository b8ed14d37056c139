//! What people do to a deployment while it runs: pause, resume, promote, cancel. All of them may be repeated.

use super::{Deployment, Effect, Fact, IllegalEvent, Pause, Phase, StepTimes};
use crate::{plan::Step, project::ProjectSpec, time::Timestamp};
use serde::{Deserialize, Serialize};

/// Controls that a deployment keeps, the newest.
pub const CONTROLS_KEPT: usize = 50;

/// What a person wants of a running deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Control {
    /// Nothing more is done until it is resumed or promoted; what runs, runs on.
    Pause,
    /// It goes on where it stood.
    Resume,
    /// What it waits for, or will wait for next, is passed over.
    Promote {
        /// Index of the step that is meant, so that a repeated request does not pass over the next one; `None`: whichever
        /// comes next.
        step: Option<usize>,
        /// Nothing is waited for any more.
        to_end: bool,
    },
    /// It ends.
    Cancel {
        /// The old version comes back first; otherwise everything stays as it is.
        rollback: bool,
    },
}

/// A control, as it was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlUsed {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// Why; may be empty.
    pub why: String,
    /// What.
    pub control: Control,
    /// Id of the request, where it came with one, to answer a repeated request alike.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub request_id: String,
}

impl Deployment {
    /// Whether a deployer is to act on it.
    #[must_use]
    pub fn wants_deployer(&self) -> bool {
        !self.phase.is_final() && !self.stands_still() && self.awaits.is_empty() && !self.held
    }

    /// Whether this deployment was the answer to the request of that id.
    #[must_use]
    pub fn has_answered(&self, request_id: &str) -> bool {
        let used = |used: &ControlUsed| used.request_id == request_id;
        !request_id.is_empty() && (self.request_id == request_id || self.controls.iter().any(used))
    }

    /// Whether a person asks once more for the end that came, or approves once more what has ended since. Another end than
    /// the one that came is not to be had any more.
    pub(super) fn is_repeated(&self, fact: &Fact) -> bool {
        match fact {
            Fact::Controlled(ControlUsed { control: asked @ Control::Cancel { .. }, .. }) => {
                let cancels = |used: &&ControlUsed| matches!(used.control, Control::Cancel { .. });
                let came = self.controls.iter().rev().find(cancels).map(|used| &used.control);
                self.phase == Phase::Cancelled && came == Some(asked)
            }
            Fact::Approved(approval) => self.is_approved_by(&approval.by),
            _ => false,
        }
    }

    pub(super) fn controlled(&mut self, spec: &ProjectSpec, used: ControlUsed) -> Result<Vec<Effect>, IllegalEvent> {
        let at = used.at;
        let effects = match used.control.clone() {
            Control::Pause if self.paused.is_some() => Vec::new(),
            Control::Pause => {
                self.count_leased(at);
                self.counts_from = None;
                self.paused =
                    Some(Pause { by: used.by.clone(), why: used.why.clone(), since: at, failed: false, line: false });
                vec![self.interrupt()]
            }
            Control::Resume if self.paused.is_none() || self.holds_again() => return Ok(Vec::new()),
            // Nothing but a promotion ends a hold; and no version that has failed in one is promoted by going on.
            Control::Resume if self.waits_for_promotion() => self.promote(None, false, at)?,
            Control::Resume if self.holds() => {
                self.go_on(at);
                self.hold(at)
            }
            Control::Resume => self.go_on(at),
            Control::Promote { step: Some(step), .. } if self.rollback.is_none() && step < self.cursor => {
                return Ok(Vec::new());
            }
            Control::Promote { step, to_end } => self.promote(step, to_end, at)?,
            Control::Cancel { rollback: true } if self.rollback.is_some() => match &self.paused {
                // It is kept though it changes nothing: its id may come again after the end.
                None if self.has_answered(&used.request_id) => return Ok(Vec::new()),
                None => Vec::new(),
                Some(_) => self.go_on(at),
            },
            Control::Cancel { rollback } => self.cancel(spec, rollback, &used),
        };
        self.record(used, effects.is_empty());
        Ok(effects)
    }

    /// Keeps who did what and why, also where it was so already; but the same request sent again is one request.
    fn record(&mut self, used: ControlUsed, was_so: bool) {
        let ControlUsed { at: _, by, why, control, request_id } = &used;
        let same = |last: &ControlUsed| {
            (&last.by, &last.why, &last.control, &last.request_id) == (by, why, control, request_id)
        };
        if was_so && self.controls.last().is_some_and(same) {
            return;
        }
        self.controls.push(used);
        let excess = self.controls.len().saturating_sub(CONTROLS_KEPT);
        self.controls.drain(..excess);
    }

    /// Pauses it with the line. What goes back is not paused, and what is paused already stays so by its own right.
    pub(super) fn line_stopped(&mut self, by: String, why: String, at: Timestamp) -> Vec<Effect> {
        if !self.stops_with_the_line() {
            return Vec::new();
        }
        self.count_leased(at);
        self.counts_from = None;
        self.paused = Some(Pause { by, why, since: at, failed: false, line: true });
        vec![self.interrupt()]
    }

    /// Whether a stop of the line that pauses deployments under way concerns it.
    #[must_use]
    pub fn stops_with_the_line(&self) -> bool {
        let under_way = matches!(self.phase, Phase::Pending | Phase::Running) && !self.held;
        under_way && self.paused.is_none() && !self.back
    }

    /// Lets it go on with the line, unless a person has paused it besides: then that pause is what is left.
    pub(super) fn line_released(&mut self, at: Timestamp) -> Vec<Effect> {
        let Some(with_the_line) = self.paused.as_ref().filter(|pause| pause.line).map(|pause| pause.since) else {
            return Vec::new();
        };
        let Some(ControlUsed { at: since, by, why, .. }) = self.paused_besides().cloned() else {
            return self.go_on(at);
        };
        if let Some(times) = self.current_times() {
            times.paused += since.since(with_the_line);
        }
        self.paused = Some(Pause { by, why, since, failed: false, line: false });
        Vec::new()
    }

    /// The pause of a person on top of the line's; of several the first. Whatever ends a person's pause is kept behind it, so that
    /// none of before is meant. Up to the first edition it was lost with the line's.
    fn paused_besides(&self) -> Option<&ControlUsed> {
        let pauses = self.controls.iter().rev().take_while(|used| used.control == Control::Pause);
        pauses.last().filter(|_| self.plan.edition >= 2)
    }

    /// Whether it stayed paused when the line was released at that time, also as it is told later.
    pub(crate) fn stayed_paused(&self, released: Timestamp) -> bool {
        let last = self.controls.iter().rev().find(|used| used.at <= released);
        self.plan.edition >= 2 && last.is_some_and(|used| used.control == Control::Pause)
    }

    /// The deployer leaves it at once, and stays first in line: nobody else may act while it may still do so.
    pub(super) fn interrupt(&mut self) -> Effect {
        let generation = self.generation;
        self.generation += 1;
        self.waiting = None;
        Effect::Withdraw(generation)
    }

    /// Ends a pause. The time that it took does not count.
    fn go_on(&mut self, at: Timestamp) -> Vec<Effect> {
        if let Some(pause) = self.paused.take()
            && let Some(times) = self.current_times()
        {
            times.paused += at.since(pause.since);
            if pause.failed {
                *times = StepTimes::default();
                // A gate that looks anew has read nothing yet.
                if self.rollback.is_none() {
                    self.readings.remove(&self.cursor);
                }
            }
        }
        self.counts_from = None;
        vec![Effect::HandOut]
    }

    fn promote(&mut self, step: Option<usize>, to_end: bool, at: Timestamp) -> Result<Vec<Effect>, IllegalEvent> {
        if self.rollback.is_some() {
            return Err(IllegalEvent::NothingToPromote);
        }
        let steps = &self.plan.steps;
        let from = step.unwrap_or(self.cursor);
        let before = (self.cursor..from.min(steps.len())).find(|index| steps[*index].only_waits());
        if let Some(before) = before.filter(|_| !to_end) {
            return Err(IllegalEvent::NotNext { step: from, next: before });
        }
        let waits = (from..steps.len()).find(|index| steps[*index].only_waits());
        let until = match (to_end, waits) {
            (true, _) => steps.len(),
            (false, Some(first)) => first + steps[first..].iter().take_while(|step| step.only_waits()).count(),
            (false, None) => return Err(IllegalEvent::NothingToPromote),
        };
        self.promoted = self.promoted.max(until);
        let mut effects = if self.paused.is_some() { self.go_on(at) } else { Vec::new() };
        if self.cursor < self.promoted && self.current_step().is_some_and(Step::only_waits) {
            effects = self.pass_over(at);
        }
        Ok(effects)
    }

    /// Goes on past a step that somebody waits at: whoever does so leaves it, and the next step is handed out.
    pub(super) fn pass_over(&mut self, at: Timestamp) -> Vec<Effect> {
        let mut effects = vec![self.interrupt()];
        effects.extend(self.advance(at));
        if self.wants_deployer() && !effects.contains(&Effect::HandOut) {
            effects.push(Effect::HandOut);
        }
        effects
    }

    fn cancel(&mut self, spec: &ProjectSpec, rollback: bool, used: &ControlUsed) -> Vec<Effect> {
        let ControlUsed { at, by, why, .. } = used;
        let why = if why.is_empty() { String::new() } else { format!(": {why}") };
        let reason = format!("cancelled by {by}{why}");
        self.paused = None;
        self.cancelled = true;
        if rollback {
            return self.roll_back(spec, reason, *at);
        }
        let rolling_back = self.reason.take().map(|first| format!("{first}; the rollback was "));
        self.reason = Some(format!("{}{reason}; all services stay as they are", rolling_back.unwrap_or_default()));
        self.end(Phase::Cancelled, *at)
    }
}
