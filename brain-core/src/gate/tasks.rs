//! Figures of tasks: what ECS and the load balancer tell of both versions by themselves, without a metric.

use super::{Condition, Expression, Figures, Judgement};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

/// What a figure is made of.
pub const NAMES: [&str; 4] = ["desired", "running", "healthy", EXITS];
const EXITS: &str = "exits";
/// Window of a gate that names none.
pub const WINDOW_DEFAULT: Duration = Duration::from_secs(60);
/// Longest window: with an old version that serves no more, twice as much is looked back on.
pub const WINDOW_MAX: Duration = Duration::from_mins(20);
/// Time after which ECS may have forgotten a task that stopped: an hour, and some minutes before it.
pub const REMEMBERED: Duration = Duration::from_mins(55);

/// What a gate counts, and what that has to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tasks {
    /// The figure of a version, over [`NAMES`].
    pub figure: Expression,
    /// Time after traffic moved before exits are judged. All since then count.
    pub window: Duration,
    /// What has to be so.
    pub condition: Condition,
}

/// What was counted of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// Its tasks; `None`: it serves no more, and had others when it did.
    pub present: Option<Present>,
    /// Tasks that ended by themselves in the time that is looked at.
    pub exits: u32,
}

/// The tasks of a version that serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Present {
    /// Tasks that its service wants.
    pub desired: u32,
    /// Tasks that run.
    pub running: u32,
    /// Those of them that the load balancer finds in service.
    pub healthy: u32,
}

impl Tasks {
    /// Whether the figure is made of healthy tasks, which others tell than of the rest.
    #[must_use]
    pub fn counts_healthy(&self) -> bool {
        self.figure.names("healthy")
    }

    /// Whether exits are counted, and not only what there is now.
    #[must_use]
    pub fn counts_exits(&self) -> bool {
        self.figure.names(EXITS)
    }

    /// What the counts mean. The error says which figure is missing, and why.
    pub fn judge(&self, new: Counted, old: Option<Counted>) -> Result<Judgement, String> {
        let new = self.of(new).map_err(|why| format!("no figure of the new version: {why}"))?;
        let old = old.map(|old| self.of(old)).transpose();
        let old = old.map_err(|why| format!("no figure of the old version: {why}"))?;
        Ok(Judgement::of(&self.condition, Figures { new, old }))
    }

    fn of(&self, Counted { present, exits }: Counted) -> Result<f64, String> {
        let mut numbers: BTreeMap<&str, f64> = [(EXITS, f64::from(exits))].into();
        if let Some(Present { desired, running, healthy }) = present {
            if running == 0 && exits == 0 && self.counts_exits() {
                return Err("no task of it runs, and none has ended".to_owned());
            }
            numbers.extend([("desired", desired), ("running", running), ("healthy", healthy)].map(number));
        } else if let Some(unknown) = NAMES.into_iter().find(|name| *name != EXITS && self.figure.names(name)) {
            return Err(format!("it serves no more, and {unknown} is of tasks that serve"));
        }
        self.figure.value(&numbers)
    }
}

fn number((name, count): (&'static str, u32)) -> (&'static str, f64) {
    (name, f64::from(count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::Verdict;

    fn tasks(figure: &str, condition: &str) -> Tasks {
        let figure = Expression::parse(figure, &NAMES).unwrap();
        Tasks { figure, window: WINDOW_DEFAULT, condition: Condition::parse(condition).unwrap() }
    }

    fn counted(desired: u32, healthy: u32, exits: u32) -> Counted {
        Counted { present: Some(Present { desired, running: desired, healthy }), exits }
    }

    #[test]
    fn versions_are_compared_by_what_their_tasks_do() {
        let exits = tasks("exits / desired", "new <= old");
        assert!(exits.counts_exits());
        let verdict = |new, old| exits.judge(new, Some(old)).map(|judgement| judgement.verdict);
        assert_eq!(verdict(counted(1, 1, 0), counted(2, 2, 0)), Ok(Verdict::Pass));
        let worse = Verdict::Fail("new 1, old 0.5, needs new <= old".into());
        assert_eq!(verdict(counted(1, 1, 1), counted(2, 2, 1)), Ok(worse));
        let healthy = tasks("healthy / desired", "new >= 1.0");
        assert!(!healthy.counts_exits());
        assert_eq!(healthy.judge(counted(3, 3, 9), None).unwrap().verdict, Verdict::Pass);
        let ill = Verdict::Fail("new 0.667, needs new >= 1.0".into());
        assert_eq!(healthy.judge(counted(3, 2, 0), None).unwrap().verdict, ill);
    }

    #[test]
    fn what_cannot_be_counted_is_missing() {
        let gone = Counted { present: None, exits: 1 };
        let exits = tasks("exits", "new <= old");
        assert_eq!(exits.judge(counted(3, 3, 1), Some(gone)).unwrap().verdict, Verdict::Pass);
        let healthy = tasks("healthy / desired", "new >= old");
        let why = healthy.judge(counted(3, 3, 0), Some(gone)).unwrap_err();
        assert_eq!(why, "no figure of the old version: it serves no more, and desired is of tasks that serve");
        let idle = Counted { present: Some(Present::default()), exits: 0 };
        let why = exits.judge(idle, Some(counted(3, 3, 0))).unwrap_err();
        assert_eq!(why, "no figure of the new version: no task of it runs, and none has ended");
        let why = healthy.judge(counted(0, 0, 0), Some(counted(3, 3, 0))).unwrap_err();
        assert!(why.starts_with("no figure of the new version: ") && why.contains("divides by zero"), "{why}");
    }
}
