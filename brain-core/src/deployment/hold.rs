//! A hold of the plan: nothing goes on until a person promotes the deployment, and a deployer watches the new version meanwhile.
//!
//! It is kept as a pause of the policy's. Whoever watches may find that the version has failed, and cannot end the hold: only a
//! promotion does. A person may take any time, so none counts.

use super::{
    Deployment, Effect, POLICY, Pause,
    control::{Control, ControlUsed},
};
use crate::{plan::Step, time::Timestamp};

impl Deployment {
    /// Whether it stands at a hold.
    #[must_use]
    pub fn holds(&self) -> bool {
        matches!(self.current_step(), Some(Step::Hold))
    }

    /// Whether it stands at a hold in which the version has not failed.
    #[must_use]
    pub fn waits_for_promotion(&self) -> bool {
        self.holds() && self.paused.as_ref().is_some_and(|pause| !pause.failed)
    }

    /// Whether a person has let it hold again after the version had failed in it. The same word once more says nothing new, and
    /// promotes nothing.
    pub(super) fn holds_again(&self) -> bool {
        let since = self.paused.as_ref().map(|pause| pause.since);
        let began = |used: &ControlUsed| used.control == Control::Resume && Some(used.at) == since;
        self.waits_for_promotion() && self.controls.iter().any(began)
    }

    /// Whether no deployer has anything to do with it until a person says so.
    pub(super) fn stands_still(&self) -> bool {
        self.paused.is_some() && !self.waits_for_promotion()
    }

    /// Begins the hold that the plan has come to, which is handed out to be watched.
    pub(super) fn hold(&mut self, at: Timestamp) -> Vec<Effect> {
        self.counts_from = None;
        self.begin_step(at);
        let why = "the rollout policy asks for a person's promotion".to_owned();
        self.paused = Some(Pause { by: POLICY.to_owned(), why, since: at, failed: false, line: false });
        vec![self.interrupt(), Effect::HandOut]
    }
}
