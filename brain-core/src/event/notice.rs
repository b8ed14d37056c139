//! Notices: the events that people are told of who do not watch. Most events are none.

use super::{Change, Event, Told};
use crate::{
    deployment::{
        Deployment, Ending, Fact, Outcome, StepTimes,
        control::{Control, ControlUsed},
    },
    hold::{Hold, Lifted},
    plan::Step,
};

/// What people are told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "each is what its name says")]
pub enum Notice {
    DeploymentRequested,
    DeploymentWaiting,
    DeploymentApproved,
    DeploymentStarted,
    DeploymentPaused,
    DeploymentResumed,
    DeploymentPromoted,
    DeploymentFailed,
    DeploymentCancelled,
    DeploymentRolledBack,
    DeploymentSucceeded,
    HoldSet,
    HoldQuarantined,
    HoldLifted,
    LineStopped,
    LineReleased,
    DriftFound,
    ProductionUnobserved,
    ProductionObserved,
    SourceFailed,
    SourceRecovered,
    ProjectChanged,
    ProjectDeleted,
}

impl Notice {
    /// Every notice.
    pub const ALL: [Self; 23] = [
        Self::DeploymentRequested,
        Self::DeploymentWaiting,
        Self::DeploymentApproved,
        Self::DeploymentStarted,
        Self::DeploymentPaused,
        Self::DeploymentResumed,
        Self::DeploymentPromoted,
        Self::DeploymentFailed,
        Self::DeploymentCancelled,
        Self::DeploymentRolledBack,
        Self::DeploymentSucceeded,
        Self::HoldSet,
        Self::HoldQuarantined,
        Self::HoldLifted,
        Self::LineStopped,
        Self::LineReleased,
        Self::DriftFound,
        Self::ProductionUnobserved,
        Self::ProductionObserved,
        Self::SourceFailed,
        Self::SourceRecovered,
        Self::ProjectChanged,
        Self::ProjectDeleted,
    ];

    /// Its name, for machines: what it is about, a full stop, what happened.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::DeploymentRequested => "deployment.requested",
            Self::DeploymentWaiting => "deployment.waiting",
            Self::DeploymentApproved => "deployment.approved",
            Self::DeploymentStarted => "deployment.started",
            Self::DeploymentPaused => "deployment.paused",
            Self::DeploymentResumed => "deployment.resumed",
            Self::DeploymentPromoted => "deployment.promoted",
            Self::DeploymentFailed => "deployment.failed",
            Self::DeploymentCancelled => "deployment.cancelled",
            Self::DeploymentRolledBack => "deployment.rolled_back",
            Self::DeploymentSucceeded => "deployment.succeeded",
            Self::HoldSet => "hold.set",
            Self::HoldQuarantined => "hold.quarantined",
            Self::HoldLifted => "hold.lifted",
            Self::LineStopped => "line.stopped",
            Self::LineReleased => "line.released",
            Self::DriftFound => "drift.found",
            Self::ProductionUnobserved => "production.unobserved",
            Self::ProductionObserved => "production.observed",
            Self::SourceFailed => "source.failed",
            Self::SourceRecovered => "source.recovered",
            Self::ProjectChanged => "project.changed",
            Self::ProjectDeleted => "project.deleted",
        }
    }
}

/// A notice with its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noticed {
    /// What it is.
    pub notice: Notice,
    /// What happened, and why.
    pub told: Told,
    /// Tag of the version that it is about, if it is about one.
    pub version: Option<String>,
}

impl Event {
    /// What people are told of it; `None`: nothing. `deployment`: the one that it is about, with this event applied or later
    /// ones too; without it, the events of a deployment are none.
    #[must_use]
    pub fn noticed(&self, deployment: Option<&Deployment>) -> Option<Noticed> {
        let notice = match &self.change {
            Change::DeploymentRequested(request) if request.held || !request.awaits.is_empty() => {
                Notice::DeploymentWaiting
            }
            Change::DeploymentRequested(_) => Notice::DeploymentRequested,
            Change::DeploymentChanged { fact, .. } => return self.noticed_of(fact, deployment?),
            Change::HoldSet { hold: Hold::Quarantine(_), .. } => Notice::HoldQuarantined,
            Change::HoldSet { .. } => Notice::HoldSet,
            Change::HoldLifted { .. } => Notice::HoldLifted,
            Change::LineStopped { .. } => Notice::LineStopped,
            Change::LineReleased { .. } => Notice::LineReleased,
            Change::DriftObserved { drift } if !drift.is_empty() => Notice::DriftFound,
            Change::ProductionUnobserved { .. } => Notice::ProductionUnobserved,
            Change::ProductionObservedAgain => Notice::ProductionObserved,
            Change::PollFailed { .. } | Change::TagFailed { .. } => Notice::SourceFailed,
            Change::PollRecovered { .. } => Notice::SourceRecovered,
            Change::ProjectChanged { .. } => Notice::ProjectChanged,
            Change::ProjectDeleted { .. } => Notice::ProjectDeleted,
            Change::ProjectCreated(_)
            | Change::TagObserved { .. }
            | Change::TagRemoved { .. }
            | Change::HeadObserved { .. }
            | Change::HeadRemoved
            | Change::SourceMoved { .. }
            | Change::ImageObserved { .. }
            | Change::ImageRemoved { .. }
            | Change::ProductionObserved { .. }
            | Change::DriftObserved { .. }
            | Change::HousekeepingBegan { .. }
            | Change::HousekeepingEnded { .. } => return None,
        };
        Some(Noticed { notice, told: self.change.told(deployment), version: self.change.version() })
    }

    fn noticed_of(&self, fact: &Fact, deployment: &Deployment) -> Option<Noticed> {
        let mut told = self.change.told(Some(deployment));
        let began = |times: &StepTimes| times.started == Some(self.at);
        let notice = match fact {
            // Later leases begin no step of their own.
            Fact::Leased(_) if deployment.times.first().is_some_and(began) => Notice::DeploymentStarted,
            Fact::Reported { outcome: Outcome::Failed { .. }, .. } | Fact::TimedOut => Notice::DeploymentFailed,
            Fact::Reported { outcome: Outcome::Found { .. }, .. } => Notice::DriftFound,
            Fact::Reported { outcome: Outcome::Done { .. }, .. } if deployment.ended == Some(self.at) => {
                match deployment.ending()? {
                    Ending::Succeeded => Notice::DeploymentSucceeded,
                    Ending::RolledBack => Notice::DeploymentRolledBack,
                    Ending::Failed => Notice::DeploymentFailed,
                    Ending::Cancelled => Notice::DeploymentCancelled,
                }
            }
            Fact::Reported { outcome: Outcome::Done { .. }, rollback: false, .. } => {
                let steps = deployment.plan.steps.iter().zip(&deployment.times);
                let held = |(step, times): (&Step, &StepTimes)| matches!(step, Step::Hold) && began(times);
                if !steps.into_iter().any(held) {
                    return None;
                }
                told.text += "; it waits for somebody to promote it";
                Notice::DeploymentWaiting
            }
            Fact::Controlled(ControlUsed { control, .. }) => match control {
                Control::Pause => Notice::DeploymentPaused,
                Control::Resume => Notice::DeploymentResumed,
                Control::Promote { .. } => Notice::DeploymentPromoted,
                Control::Cancel { .. } => Notice::DeploymentCancelled,
            },
            Fact::LineStopped { .. } => Notice::DeploymentPaused,
            // Of somebody's own pause, people have been told.
            Fact::LineReleased if deployment.stayed_paused(self.at) => return None,
            Fact::LineReleased => Notice::DeploymentResumed,
            Fact::Approved(_) => Notice::DeploymentApproved,
            Fact::HeldBack { why } if !why.is_empty() => Notice::DeploymentWaiting,
            Fact::Leased(_)
            | Fact::LeaseEnded
            | Fact::Unattended { .. }
            | Fact::Reported { .. }
            | Fact::DependencyMet(_)
            | Fact::HeldBack { .. }
            | Fact::Admitted => return None,
        };
        Some(Noticed { notice, told, version: Some(deployment.tag.clone()) })
    }
}

impl Change {
    fn version(&self) -> Option<String> {
        match self {
            Self::DeploymentRequested(request) => Some(request.tag.clone()),
            Self::HoldSet { hold: Hold::Pin(pin), .. } => Some(pin.tag.clone()),
            Self::HoldSet { hold: Hold::Quarantine(quarantined), .. } => Some(quarantined.tag.clone()),
            Self::HoldLifted { lifted: Lifted::Quarantine { tag }, .. } | Self::TagFailed { tag, .. } => {
                Some(tag.clone())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{deployment::Cause, observation::PollTarget, time::Timestamp};
    use std::collections::BTreeSet;

    fn event(change: Change) -> Event {
        Event { at: Timestamp(1), by: "ann".into(), change }
    }

    #[test]
    fn each_notice_has_a_name_of_its_own() {
        let names: BTreeSet<&str> = Notice::ALL.into_iter().map(Notice::name).collect();
        assert_eq!(names.len(), Notice::ALL.len());
        assert!(names.iter().all(|name| name.split('.').count() == 2), "{names:?}");
    }

    #[test]
    fn people_are_told_of_what_fails_and_not_of_what_is_only_seen() {
        let failed = Change::PollFailed { target: PollTarget::Source, why: "answers 401".into() };
        let noticed = event(failed).noticed(None).unwrap();
        assert_eq!((noticed.notice, noticed.told.why.as_str()), (Notice::SourceFailed, "answers 401"));
        assert_eq!(event(Change::TagRemoved { tag: "1".into() }).noticed(None), None);
        assert_eq!(event(Change::DriftObserved { drift: Vec::new() }).noticed(None), None);
        let outcome = Outcome::Failed {
            reason: "exit code 1".into(),
            task_failures: Vec::new(),
            service_events: Vec::new(),
            cause: Cause::Version,
        };
        let fact = Fact::Reported { generation: 1, rollback: false, step: 0, outcome };
        assert_eq!(event(Change::DeploymentChanged { number: 1, fact }).noticed(None), None, "it is not known");
    }
}
