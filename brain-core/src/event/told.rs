//! Events as people read them: a line of the audit log says what happened; who, when and why stand beside it.

use super::Change;
use crate::{
    deployment::{
        Deployment, Fact, Outcome,
        control::{Control, ControlUsed},
    },
    drift::Drift,
    gate::Verdict,
    hold::{Hold, Lifted},
    production::Production,
    time::Timestamp,
    words::counted,
};

/// What an event is about. Readers choose by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// The project's definition.
    Project,
    /// Tags, the branch, and polls of the git repository.
    Source,
    /// Images, and polls of the image repository.
    Image,
    /// What runs.
    Production,
    /// A deployment begins, ends, fails, or is steered.
    Deployment,
    /// A step of a deployment, or the lease on it.
    Step,
    /// Pins, quarantines, freezes, windows, approvals.
    Hold,
    /// Drift and housekeeping.
    SetUp,
    /// The switch over all projects.
    Line,
}

impl Topic {
    /// Every topic.
    pub const ALL: [Self; 9] = [
        Self::Project,
        Self::Source,
        Self::Image,
        Self::Production,
        Self::Deployment,
        Self::Step,
        Self::Hold,
        Self::SetUp,
        Self::Line,
    ];

    /// Its name, for machines.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Project => "project",
            Self::Source => "source",
            Self::Image => "image",
            Self::Production => "production",
            Self::Deployment => "deployment",
            Self::Step => "step",
            Self::Hold => "hold",
            Self::SetUp => "set_up",
            Self::Line => "line",
        }
    }
}

/// An event as people read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// What it is about.
    pub topic: Topic,
    /// What happened: "0.0.5: step 9 of 25 is done: scale user-ecs-service-0-0-5-1a2b3c4d to 1".
    pub text: String,
    /// Why, in the words of whoever caused it; may be empty.
    pub why: String,
}

impl Change {
    /// Number of the deployment that it is about.
    #[must_use]
    pub fn deployment(&self) -> Option<u64> {
        match self {
            Self::DeploymentRequested(request) => Some(request.number),
            Self::DeploymentChanged { number, .. } => Some(*number),
            _ => None,
        }
    }

    /// What it is about, as far as that can be told without its deployment: there the last step is a step like any other.
    #[must_use]
    pub fn topic(&self) -> Topic {
        match self {
            Self::ProjectCreated(_) | Self::ProjectChanged { .. } | Self::ProjectDeleted { .. } => Topic::Project,
            Self::TagObserved { .. }
            | Self::TagRemoved { .. }
            | Self::HeadObserved { .. }
            | Self::HeadRemoved
            | Self::SourceMoved { .. }
            | Self::TagFailed { .. } => Topic::Source,
            Self::ImageObserved { .. } | Self::ImageRemoved { .. } => Topic::Image,
            Self::PollFailed { target, .. } | Self::PollRecovered { target } => target.topic(),
            Self::ProductionObserved { .. } | Self::ProductionUnobserved { .. } | Self::ProductionObservedAgain => {
                Topic::Production
            }
            Self::DeploymentRequested(_) => Topic::Deployment,
            Self::DeploymentChanged { fact, .. } => fact.told(None).topic,
            Self::DriftObserved { .. } | Self::HousekeepingBegan { .. } | Self::HousekeepingEnded { .. } => {
                Topic::SetUp
            }
            Self::HoldSet { .. } | Self::HoldLifted { .. } => Topic::Hold,
            Self::LineStopped { .. } | Self::LineReleased { .. } => Topic::Line,
        }
    }

    /// How it reads. `deployment`: the one that it is about, at any later time; without it, its steps have no names.
    #[must_use]
    pub fn told(&self, deployment: Option<&Deployment>) -> Told {
        let told = |topic, text: String| Told { topic, text, why: String::new() };
        match self {
            Self::ProjectCreated(_) => told(Topic::Project, "the project was created".to_owned()),
            Self::ProjectChanged { fields, why, spec: _ } => Told {
                why: why.clone(),
                ..told(Topic::Project, format!("the definition changed: {}", fields.join(", ")))
            },
            Self::ProjectDeleted { why } => {
                Told { why: why.clone(), ..told(Topic::Project, "the project was deleted".to_owned()) }
            }
            Self::TagObserved { tag, commit } => told(Topic::Source, format!("tag {tag} is at {}", short(commit))),
            Self::TagRemoved { tag } => told(Topic::Source, format!("tag {tag} is gone")),
            Self::HeadObserved { commit, ahead_of: Some(ahead) } => {
                let (commit, commits, tag) = (short(commit), ahead.commits, &ahead.tag);
                told(Topic::Source, format!("the branch is at {commit}, {} ahead of {tag}", counted(commits, "commit")))
            }
            Self::HeadObserved { commit, ahead_of: None } => {
                told(Topic::Source, format!("the branch is at {}", short(commit)))
            }
            Self::HeadRemoved => told(Topic::Source, "the branch is gone".to_owned()),
            Self::SourceMoved { to: Some(to) } => told(Topic::Source, format!("the git repository has moved to {to}")),
            Self::SourceMoved { to: None } => told(Topic::Source, "the git repository is where it was".to_owned()),
            Self::TagFailed { tag, commit, why } => {
                let text = format!("tag {tag} could not be made at {}", short(commit));
                Told { why: why.clone(), ..told(Topic::Source, text) }
            }
            Self::ImageObserved { tag, digest } => told(Topic::Image, format!("image {tag} is {digest}")),
            Self::ImageRemoved { tag } => told(Topic::Image, format!("image {tag} is gone")),
            Self::PollFailed { target, why } => {
                Told { why: why.clone(), ..told(target.topic(), format!("the {target} cannot be polled")) }
            }
            Self::PollRecovered { target } => told(target.topic(), format!("the {target} can be polled again")),
            Self::ProductionObserved { services } => {
                let shares = Production::new(services.clone(), Timestamp(0)).summary();
                let text = if shares.is_empty() { "nothing is healthy".to_owned() } else { format!("runs {shares}") };
                told(Topic::Production, text)
            }
            Self::ProductionUnobserved { why, since } => {
                let text = format!("production cannot be observed since {since}");
                Told { why: why.clone(), ..told(Topic::Production, text) }
            }
            Self::ProductionObservedAgain => told(Topic::Production, "production is observed again".to_owned()),
            Self::DeploymentRequested(request) => {
                let back = if request.back { ", to bring it back" } else { "" };
                let outside = request.outside_windows.as_deref().unwrap_or_default();
                let why: Vec<&str> = [&*request.why, outside].into_iter().filter(|why| !why.is_empty()).collect();
                let text = format!("{}: deployment {} was asked for{back}", request.tag, request.number);
                Told { why: why.join("; "), ..told(Topic::Deployment, text) }
            }
            Self::DeploymentChanged { number, fact } => {
                let told = fact.told(deployment);
                let who = deployment.map_or_else(|| format!("deployment {number}"), |of| of.tag.clone());
                Told { text: format!("{who}: {}", told.text), ..told }
            }
            Self::DriftObserved { drift } if drift.is_empty() => {
                told(Topic::SetUp, "the set-up is as it is defined".to_owned())
            }
            Self::DriftObserved { drift } => told(Topic::SetUp, format!("the set-up differs: {}", list(drift))),
            Self::HousekeepingBegan { removable, .. } => {
                told(Topic::SetUp, format!("housekeeping may remove {}", removable.join(", ")))
            }
            Self::HousekeepingEnded { removed, .. } if removed.is_empty() => {
                told(Topic::SetUp, "housekeeping removed nothing".to_owned())
            }
            Self::HousekeepingEnded { removed, .. } => {
                told(Topic::SetUp, format!("housekeeping removed {}", removed.join(", ")))
            }
            Self::HoldSet { hold, why } => Told { why: why.clone(), ..told(Topic::Hold, hold.told()) },
            Self::HoldLifted { lifted, why } => Told { why: why.clone(), ..told(Topic::Hold, lifted.told()) },
            Self::LineStopped { pause_running, why } => {
                let too = if *pause_running { ", and deployments under way are paused" } else { "" };
                Told { why: why.clone(), ..told(Topic::Line, format!("the line is stopped{too}")) }
            }
            Self::LineReleased { why } => {
                Told { why: why.clone(), ..told(Topic::Line, "the line runs again".to_owned()) }
            }
        }
    }
}

impl crate::observation::PollTarget {
    fn topic(self) -> Topic {
        match self {
            Self::Source => Topic::Source,
            Self::Images => Topic::Image,
        }
    }
}

impl Fact {
    fn told(&self, deployment: Option<&Deployment>) -> Told {
        let told = |topic, text: &str| Told { topic, text: text.to_owned(), why: String::new() };
        match self {
            Self::Leased(lease) => told(Topic::Step, &format!("{} carries it out", lease.agent)),
            Self::LeaseEnded => told(Topic::Step, "its deployer has left it"),
            Self::Unattended { since } => {
                told(Topic::Step, &format!("brain-server is back; its time since {since} does not count"))
            }
            Self::Reported { generation: _, rollback, step, outcome } => {
                outcome.told(&StepNamed { deployment, rollback: *rollback, step: *step })
            }
            Self::TimedOut => told(Topic::Deployment, "its step took longer than it may"),
            Self::Controlled(ControlUsed { why, control, .. }) => {
                let text = match control {
                    Control::Pause => "paused".to_owned(),
                    Control::Resume => "resumed".to_owned(),
                    Control::Promote { to_end: true, .. } => "promoted to the end".to_owned(),
                    Control::Promote { step: Some(step), .. } => format!("promoted past step {}", step + 1),
                    Control::Promote { step: None, .. } => "promoted past its next wait".to_owned(),
                    Control::Cancel { rollback: true } => "cancelled, to be rolled back".to_owned(),
                    Control::Cancel { rollback: false } => "cancelled, to stay as it is".to_owned(),
                };
                Told { why: why.clone(), ..told(Topic::Deployment, &text) }
            }
            Self::DependencyMet(project) => {
                told(Topic::Deployment, &format!("projects/{project} runs what it waited for"))
            }
            Self::LineStopped { why, .. } => {
                Told { why: why.clone(), ..told(Topic::Deployment, "paused with the line") }
            }
            Self::LineReleased => told(Topic::Deployment, "is no longer paused with the line"),
            Self::Approved(approval) => Told { why: approval.why.clone(), ..told(Topic::Deployment, "approved") },
            Self::HeldBack { why } if why.is_empty() => told(Topic::Deployment, "is no longer held back"),
            Self::HeldBack { why } => Told { why: why.clone(), ..told(Topic::Deployment, "is held back") },
            Self::Admitted => told(Topic::Deployment, "may begin"),
        }
    }
}

/// A step of a deployment.
struct StepNamed<'a> {
    deployment: Option<&'a Deployment>,
    rollback: bool,
    step: usize,
}

impl StepNamed<'_> {
    /// Number, of how many, and name.
    fn name(&self) -> String {
        let number = self.step + 1;
        let Some((steps, named)) = self.of() else { return format!("step {number}") };
        let what = if self.rollback { "rollback step" } else { "step" };
        format!("{what} {number} of {steps}{named}")
    }

    fn of(&self) -> Option<(usize, String)> {
        let deployment = self.deployment?;
        let plan = if self.rollback { &deployment.rollback.as_ref()?.plan } else { &deployment.plan };
        // A way back that has begun anew has other steps.
        let step = plan.steps.get(self.step)?;
        Some((plan.steps.len(), format!(" ({step})")))
    }

    fn is_last(&self) -> bool {
        self.of().is_some_and(|(steps, _)| self.step + 1 == steps)
    }
}

impl Outcome {
    fn told(&self, step: &StepNamed<'_>) -> Told {
        let told = |topic, text: String, why: &str| Told { topic, text, why: why.to_owned() };
        let name = step.name();
        match self {
            Self::Done { .. } if step.is_last() && step.rollback => {
                told(Topic::Deployment, format!("rolled back: {name} is done"), "")
            }
            Self::Done { .. } if step.is_last() => told(Topic::Deployment, format!("succeeded: {name} is done"), ""),
            Self::Done { .. } => told(Topic::Step, format!("{name} is done"), ""),
            Self::Waiting { why, .. } => told(Topic::Step, format!("{name} waits"), why),
            Self::Found { drift } => told(Topic::SetUp, format!("{name} has found {}", list(drift)), ""),
            Self::Watched { why, well: true, .. } => told(Topic::Step, format!("{name} goes on"), why),
            Self::Watched { why, well: false, .. } => {
                told(Topic::Step, format!("{name} has seen what is not well"), why)
            }
            Self::Read { reading, .. } if reading.verdict == Verdict::Pass => {
                told(Topic::Step, format!("{name} {reading}"), "")
            }
            Self::Read { why, .. } => told(Topic::Step, format!("{name} waits"), why),
            Self::Evidence { .. } => told(Topic::Step, format!("{name} has found something of the new version"), ""),
            Self::Failed { reason, .. } => told(Topic::Deployment, format!("{name} has failed"), reason),
        }
    }
}

impl Hold {
    fn told(&self) -> String {
        match self {
            Self::Pin(pin) => format!("pinned to {}", pin.tag),
            Self::Quarantine(quarantined) => format!("{} is quarantined", quarantined.tag),
            Self::Freeze(frozen) => format!("frozen{frozen}"),
            Self::Windows(windows) => {
                let windows: Vec<String> = windows.iter().map(ToString::to_string).collect();
                format!("deploy windows are {}", windows.join(", "))
            }
            Self::Approvals(count) => format!("a deployment needs {count} approvals"),
        }
    }
}

impl Lifted {
    fn told(&self) -> String {
        match self {
            Self::Pin => "no longer pinned".to_owned(),
            Self::Quarantine { tag } => format!("{tag} is no longer quarantined"),
            Self::Freeze => "no longer frozen".to_owned(),
            Self::Windows => "may be deployed at any time".to_owned(),
            Self::Approvals => "needs no approval".to_owned(),
        }
    }
}

fn list(drift: &[Drift]) -> String {
    drift.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// As much of a commit as people read.
fn short(commit: &str) -> &str {
    commit.get(..8).unwrap_or(commit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{deployment::Cause, line::Line, observation::PollTarget};

    #[test]
    fn a_line_says_what_happened_and_why_stands_beside_it() {
        let failed = Fact::Reported {
            generation: 1,
            rollback: false,
            step: 8,
            outcome: Outcome::Failed {
                reason: "exit code 1".into(),
                task_failures: Vec::new(),
                service_events: Vec::new(),
                cause: Cause::Version,
            },
        };
        let told = Change::DeploymentChanged { number: 2, fact: failed }.told(None);
        assert_eq!(told.text, "deployment 2: step 9 has failed");
        assert_eq!((told.topic, told.why.as_str()), (Topic::Deployment, "exit code 1"));
        let poll = Change::PollFailed { target: PollTarget::Images, why: "answers 401".into() }.told(None);
        assert_eq!((poll.topic, poll.text.as_str()), (Topic::Image, "the image repository cannot be polled"));
        let head = Change::HeadObserved { commit: "a1234cba".repeat(5), ahead_of: None }.told(None);
        assert_eq!(head.text, "the branch is at a1234cba");
        let stop = Line::default().request_stop(crate::line::Stop { pause_running: true }, "an outage".into());
        let stopped = stop.map(|change| change.told(None)).unwrap();
        assert_eq!(stopped.text, "the line is stopped, and deployments under way are paused");
        assert_eq!(stopped.why, "an outage");
    }

    #[test]
    fn the_topic_is_the_one_that_is_told() {
        let why = String::new;
        let changes = [
            Change::TagRemoved { tag: "0.0.5".into() },
            Change::SourceMoved { to: None },
            Change::ImageRemoved { tag: "0.0.5".into() },
            Change::PollRecovered { target: PollTarget::Images },
            Change::PollFailed { target: PollTarget::Source, why: why() },
            Change::ProductionObserved { services: Vec::new() },
            Change::DeploymentChanged { number: 1, fact: Fact::Admitted },
            Change::DeploymentChanged { number: 1, fact: Fact::LeaseEnded },
            Change::DeploymentChanged { number: 1, fact: Fact::Unattended { since: Timestamp(0) } },
            Change::DriftObserved { drift: Vec::new() },
            Change::HoldSet { hold: Hold::Approvals(1), why: why() },
            Change::HoldLifted { lifted: Lifted::Pin, why: why() },
            Change::LineReleased { why: why() },
        ];
        for change in changes {
            assert_eq!(change.topic(), change.told(None).topic, "{change:?}");
        }
        let names: std::collections::BTreeSet<&str> = Topic::ALL.into_iter().map(Topic::name).collect();
        assert_eq!(names.len(), Topic::ALL.len());
    }
}
