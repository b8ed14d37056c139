//! Drift: what of a project's set-up is not as its definition has it, and what a deployment may do about that.
//!
//! A set-up is made once. What differs afterwards was changed by somebody, on purpose or not, so it is told and left alone
//! until a person asks for the repair. Two things are no drift: a newer machine image of AWS's, which a project follows only
//! when its template is made anew, and a registry credential that changed at the deployer, which its instances follow at
//! once.

use crate::{
    deployment::{Deployment, StepTimes},
    plan::Step,
    state::ProjectState,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Differences that a deployment, and a project, keep.
pub const DRIFT_KEPT: usize = 50;

/// What set-up does with a resource that exists and differs. One that is missing is made in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum SetUp {
    /// It is completed: the set-up was never finished.
    #[default]
    Make,
    /// The difference is told and left.
    Check,
    /// The difference is told and mended, since a person asked for it.
    Repair,
}

impl SetUp {
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// One difference between a resource and the project's definition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Drift {
    /// Kind and name: "load balancer user-ecs-lb".
    pub resource: String,
    /// What differs: "health check: TCP:22 → HTTP:6041/health".
    pub difference: String,
    /// What becomes of it.
    pub remedy: Remedy,
}

/// What becomes of a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Remedy {
    /// Nothing: it was told.
    Told,
    /// The resource was missing, and is made.
    Made,
    /// It is mended, as a person asked.
    Repaired,
    /// The resource was not brain's, and becomes so, as a person asked.
    Adopted,
    /// It is what the deployer's own configuration now says.
    Followed,
}

/// A difference that is there, and since when that is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownDrift {
    /// The difference.
    pub drift: Drift,
    /// Since when.
    pub since: Timestamp,
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resource, difference, remedy } = self;
        let end = match remedy {
            Remedy::Told => "",
            Remedy::Made => ", made again",
            Remedy::Repaired => ", repaired",
            Remedy::Adopted => ", adopted",
            Remedy::Followed => ", followed",
        };
        write!(f, "{resource}: {difference}{end}")
    }
}

impl Deployment {
    /// Whether all set-up steps of its plan are done.
    #[must_use]
    pub fn has_set_up(&self) -> bool {
        let done = |(step, times): (&Step, &StepTimes)| !step.is_set_up() || times.ended.is_some();
        self.plan.steps.iter().zip(&self.times).all(done)
    }

    pub(crate) fn remember_drift(&mut self, found: Vec<Drift>) {
        for drift in found {
            if self.drift.len() < DRIFT_KEPT && !self.drift.contains(&drift) {
                self.drift.push(drift);
            }
        }
    }

    /// Resources that it has begun to make or to change in any case, and has to finish, whoever goes on with it.
    #[must_use]
    pub fn makes(&self) -> Vec<String> {
        let begun = |drift: &&Drift| matches!(drift.remedy, Remedy::Made | Remedy::Followed);
        let made = self.drift.iter().filter(begun);
        made.map(|drift| drift.resource.clone()).collect()
    }
}

impl ProjectState {
    /// What the set-up of the next deployment does with differences. A set-up that was broken off is completed: what it had
    /// not come to is no drift.
    #[must_use]
    pub fn set_up(&self, repair: bool) -> SetUp {
        if repair {
            return SetUp::Repair;
        }
        for deployment in self.deployments.iter().rev() {
            if deployment.has_set_up() {
                return SetUp::Check;
            }
            if !deployment.makes().is_empty() {
                return SetUp::Make;
            }
        }
        // One of this name was deployed before: what is there is in use, and not to be changed unasked.
        if self.numbered > 0 { SetUp::Check } else { SetUp::Make }
    }

    /// The project's drift is what was found; what was known before keeps its time.
    pub(crate) fn learn_drift(&mut self, found: &[Drift], at: Timestamp) {
        let told = found.iter().filter(|drift| drift.remedy == Remedy::Told).take(DRIFT_KEPT);
        let known = |drift: &Drift| {
            let before = self.drift.iter().find(|known| known.drift == *drift);
            KnownDrift { drift: drift.clone(), since: before.map_or(at, |known| known.since) }
        };
        self.drift = told.map(known).collect();
    }
}

#[cfg(test)]
mod tests;
