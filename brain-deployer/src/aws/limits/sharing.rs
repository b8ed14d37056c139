//! By how many deployers the limits are shared: AWS counts the calls of all together, so each takes an equal part.
//!
//! Nobody tells the others what it has called. So a process that comes to others begins with nothing, and those that are there
//! keep of what they had no more than fits into their new part: at no moment all together have more than AWS gives, but for the
//! one call that each may always have. One that only lost its stream is there all the time: if that took from it what it has,
//! streams that are cut often would leave it nothing of the limits that fill slowly. Where the others were given its part
//! meanwhile, AWS may throttle a call.

use super::Limits;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::time::Instant;
use tracing::info;

/// How the limits are shared.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sharing {
    /// Deployers, this one among them.
    deployers: u32,
    /// Since when it is so; `None`: always. What others called before is not known, so an account that is first called later
    /// had nothing left then.
    pub(super) since: Option<Instant>,
    /// This process came to the others then.
    pub(super) joins: bool,
}

impl Default for Sharing {
    fn default() -> Self {
        Self { deployers: 1, since: None, joins: false }
    }
}

impl Sharing {
    /// What is so once the server has told a number; `None`: what was so before.
    fn told(self, deployers: u32, joins: bool, now: Instant) -> Option<Self> {
        let deployers = deployers.max(1);
        let joins = joins && deployers > 1;
        (joins || deployers != self.deployers).then_some(Self { deployers, since: Some(now), joins })
    }

    /// This deployer's part, where all have `part` together.
    pub(super) fn part_of(self, part: f64) -> f64 {
        part / f64::from(self.deployers)
    }
}

/// The limits of every account and region in which this process calls something.
#[derive(Debug)]
pub struct AllLimits {
    /// The part of AWS's default limits that all deployers have together.
    part: f64,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    sharing: Sharing,
    /// This process was told how many deployers there are.
    told: bool,
    /// By region and account.
    limits: HashMap<(String, String), Arc<Limits>>,
}

impl AllLimits {
    /// None yet. `part`: of AWS's default limits, what all deployers have together.
    #[must_use]
    pub fn new(part: f64) -> Self {
        Self { part, inner: Mutex::default() }
    }

    /// Those of an account in a region; an empty account is the deployer's own.
    pub fn of(&self, region: &str, account: String) -> Arc<Limits> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let sharing = inner.sharing;
        let limits = inner.limits.entry((region.to_owned(), account));
        Arc::clone(limits.or_insert_with(|| Arc::new(Limits::new(self.part, sharing))))
    }

    /// So many deployers share them from `now` on, this one among them. The first time that it is told so it has just come to
    /// the others.
    pub fn share(&self, deployers: u32, now: Instant) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let joins = !std::mem::replace(&mut inner.told, true);
        let Some(sharing) = inner.sharing.told(deployers, joins, now) else { return };
        info!(deployers = sharing.deployers, "AWS's limits are shared in equal parts");
        inner.sharing = sharing;
        for limits in inner.limits.values() {
            limits.share(sharing, now);
        }
    }
}

#[cfg(test)]
mod tests;
