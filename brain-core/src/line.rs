//! The line: one switch over all projects. While it is stopped nothing new begins, by people or by policy; going back is
//! allowed. Where the stop says so, every deployment under way is paused, save those that go back.

use crate::{
    deployment::{Deployment, Phase, control::Control},
    event::{Change, Event},
    hold::{Barrier, Held},
    state::Misfit,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

/// How the line stands.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Line {
    /// That it is stopped, by whom, when and why.
    pub stopped: Option<Held<Stop>>,
}

/// How the line is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// Whether deployments under way are paused.
    pub pause_running: bool,
}

/// When something is decided, and how the line stands then.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Moment {
    /// The time.
    pub at: Timestamp,
    /// The line.
    pub line: Line,
}

impl Line {
    /// Folds one event. On an error nothing has changed.
    pub fn apply(&mut self, event: &Event) -> Result<(), Misfit> {
        match &event.change {
            Change::LineStopped { pause_running, why } => {
                let hold = Stop { pause_running: *pause_running };
                self.stopped = Some(Held { hold, by: event.by.clone(), why: why.clone(), since: event.at });
            }
            Change::LineReleased { why: _ } => self.stopped = None,
            _ => return Err(Misfit::Stream),
        }
        Ok(())
    }

    /// Decides a request to stop; `None` when it is stopped so already. A stop that pauses is not weakened by one that does
    /// not.
    #[must_use]
    pub fn request_stop(&self, stop: Stop, why: String) -> Option<Change> {
        let Stop { pause_running } = stop;
        let is_so = |held: &Held<Stop>| held.hold.pause_running || !pause_running;
        (!self.stopped.as_ref().is_some_and(is_so)).then_some(Change::LineStopped { pause_running, why })
    }

    /// Decides a request to release; `None` when it runs.
    #[must_use]
    pub fn request_release(&self, why: String) -> Option<Change> {
        self.stopped.is_some().then_some(Change::LineReleased { why })
    }

    /// What forbids to begin anything.
    #[must_use]
    pub fn barrier(&self) -> Option<Barrier> {
        self.stopped.clone().map(Barrier::LineStopped)
    }

    /// What forbids a person's control: while deployments under way are paused, none of them goes on. A cancellation is
    /// always allowed, and so is everything that concerns what goes back.
    #[must_use]
    pub fn forbids(&self, control: &Control, deployment: &Deployment) -> Option<Barrier> {
        let goes_on = matches!(control, Control::Resume | Control::Promote { .. });
        let goes_back = deployment.back || deployment.phase == Phase::RollingBack;
        if !goes_on || goes_back || deployment.phase.is_final() {
            return None;
        }
        self.pauses().cloned().map(Barrier::LineStopped)
    }

    /// What keeps deployments under way paused.
    #[must_use]
    pub fn pauses(&self) -> Option<&Held<Stop>> {
        self.stopped.as_ref().filter(|held| held.hold.pause_running)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(line: &mut Line, change: Option<Change>) -> bool {
        let event = |change| Event { at: Timestamp(1_000), by: "ann".into(), change };
        change.map(|change| line.apply(&event(change)).unwrap()).is_some()
    }

    fn stop(line: &Line, pause_running: bool) -> Option<Change> {
        line.request_stop(Stop { pause_running }, "an outage".into())
    }

    #[test]
    fn a_line_is_stopped_once_and_a_stop_that_pauses_is_not_weakened() {
        let mut line = Line::default();
        assert!(!{
            let change = line.request_release(String::new());
            take(&mut line, change)
        });
        for (pause_running, is_news) in [(false, true), (false, false), (true, true), (false, false), (true, false)] {
            let change = stop(&line, pause_running);
            assert_eq!(take(&mut line, change), is_news, "{pause_running}");
        }
        assert!(line.pauses().is_some());
        let barrier = line.barrier().unwrap().to_string();
        assert_eq!(barrier, "the line is stopped, by ann since 1970-01-01T00:00:01Z: an outage; ReleaseLine lifts it");
        let change = line.request_release("over".into());
        assert!(take(&mut line, change) && line == Line::default());
        assert_eq!(
            line.apply(&Event { at: Timestamp(1), by: "x".into(), change: Change::HeadRemoved }),
            Err(Misfit::Stream)
        );
    }
}
