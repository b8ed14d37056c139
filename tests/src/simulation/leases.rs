//! Who may act on the project, by what is durable: the one process that was given the latest lease, until a while after it was
//! withdrawn.

use brain_core::{deployment::Lease, state::ProjectState};
use std::time::Duration;
use tokio::time::Instant;

/// Length of a lease, by the server's default settings.
const LEASE: Duration = Duration::from_secs(15);
/// Time that an act takes which was begun before the end.
const UNDER_WAY: Duration = Duration::from_secs(2);

/// The latest lease.
#[derive(Debug, Default)]
pub(super) struct Leases {
    latest: Option<Given>,
}

/// A lease that was given.
#[derive(Debug)]
struct Given {
    /// The deployment and its generation; none: housekeeping, which is as a deployment of no number.
    deployment: Option<(u64, u64)>,
    lease: Lease,
    /// Who has acted under it.
    actor: Option<String>,
    /// Since when nobody is to act under it any more.
    over: Option<Instant>,
}

impl Leases {
    /// The project is so from now on, and with it a deployment was leased if `leases`.
    pub(super) fn committed(&mut self, state: &ProjectState, leases: bool) {
        if let Some(lease) = &state.housekeeper {
            return self.give(None, lease, None);
        }
        if let Some(active) = state.active()
            && let Some(lease) = &active.lease
        {
            let deployment = Some((active.number, active.generation));
            if leases {
                return self.give(deployment, lease, (!active.wants_deployer()).then(Instant::now));
            }
            let same = |given: &Given| given.deployment == deployment && given.lease == *lease;
            if self.latest.as_ref().is_some_and(same) {
                return;
            }
        }
        // It was taken away, or asked back by a generation that nobody has.
        if let Some(given) = &mut self.latest {
            given.over.get_or_insert_with(Instant::now);
        }
    }

    fn give(&mut self, deployment: Option<(u64, u64)>, lease: &Lease, over: Option<Instant>) {
        let same = |given: &&mut Given| given.deployment == deployment && given.lease == *lease;
        match self.latest.as_mut().filter(same) {
            Some(given) => given.over = over,
            None => self.latest = Some(Given { deployment, lease: lease.clone(), actor: None, over }),
        }
    }

    /// A process acts now. Answers what is wrong with that.
    pub(super) fn acts(&mut self, process: &str) -> Option<String> {
        let Some(Given { deployment, lease, actor, over }) = &mut self.latest else {
            return Some(format!("{process} acts without any lease"));
        };
        let holder = format!("{}/{}", lease.agent, lease.instance);
        let actor = actor.get_or_insert_with(|| process.to_owned());
        let (number, generation) = deployment.unwrap_or_default();
        if process.split('#').next() != Some(holder.as_str()) || actor != process {
            return Some(format!("{process} acts on deployment {number}, which {holder} ({actor}) has: {generation}"));
        }
        let late = over.map(|over| over.elapsed()).filter(|late| *late > LEASE + UNDER_WAY)?;
        Some(format!("{process} acts {late:?} after deployment {number} was withdrawn from it: {generation}"))
    }
}
