//! For how long somebody could have acted on the step that is under way: a step that nobody could carry out is not too late.

use super::Referee;
use brain_core::{deployment::Deployment, plan::Step, state::ProjectState};
use std::time::Duration;
use tokio::time::Instant;

/// A server that is away for so long is as good as there: deployers act on under their leases, and connect again.
const SHORT: Duration = Duration::from_secs(20);
/// Time by which clocks may differ.
const MARGIN: Duration = Duration::from_secs(1);

/// Deployment, attempt of its rollback, and index of a step.
pub(super) type Place = (u64, u32, usize);

/// The step that is under way.
pub(super) fn place(deployment: &Deployment) -> Place {
    let attempts = deployment.rollback.as_ref().map_or(0, |rollback| rollback.attempts);
    (deployment.number, attempts, deployment.cursor)
}

/// The step that is under way.
#[derive(Debug, Default)]
pub(super) struct Presence {
    step: Option<(Place, Instant)>,
    /// Time of it in which there was no server.
    away: Duration,
    /// Since when there is none.
    gone: Option<Instant>,
}

impl Presence {
    /// A deployment is so from now on.
    pub(super) fn committed(&mut self, deployment: &Deployment) {
        let place = place(deployment);
        if self.step.is_none_or(|(known, _)| known != place) {
            (self.step, self.away) = (Some((place, Instant::now())), Duration::ZERO);
        }
    }

    /// The server starts, or ends.
    pub(super) fn served(&mut self, served: bool) {
        if !served {
            self.gone.get_or_insert_with(Instant::now);
        } else if let Some(gone) = self.gone.take() {
            let away = gone.elapsed();
            self.away += if away > SHORT { away } else { Duration::ZERO };
        }
    }

    /// Time in which somebody could act, if that is less than a step may take.
    fn too_short(&self, limit: Duration) -> Option<Duration> {
        let (_, began) = self.step?;
        let there = began.elapsed().saturating_sub(self.away);
        (there + MARGIN < limit).then_some(there)
    }
}

impl Referee {
    /// The server runs from now on, or not.
    pub fn served(&self, served: bool) {
        self.lock().presence.served(served);
    }

    /// The step that is under way has taken too long, by what is durable now.
    pub fn timed_out(&self) {
        let wrong = {
            let inner = self.lock();
            let Some(active) = inner.state.as_deref().and_then(ProjectState::active) else { return };
            let step = active.current_step();
            let limit = active.active_plan().step_timeout + step.map(Step::least).unwrap_or_default();
            let step = step.map(ToString::to_string).unwrap_or_default();
            let there = inner.presence.too_short(limit);
            there.map(|there| format!("{step:?} is too late after {limit:?}, and somebody was there for {there:?}"))
        };
        if let Some(wrong) = wrong {
            self.violated(wrong);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn time_without_a_server_is_nobodys() {
        let limit = Duration::from_secs(600);
        let step = Some(((1, 0, 0), Instant::now()));
        let mut presence = Presence { step, ..Presence::default() };
        advance(Duration::from_secs(100)).await;
        for (away, counts) in [(10, 110), (900, 110)] {
            presence.served(false);
            advance(Duration::from_secs(away)).await;
            presence.served(true);
            assert_eq!(presence.too_short(limit), Some(Duration::from_secs(counts)), "{away} s");
        }
        advance(Duration::from_secs(490)).await;
        assert_eq!(presence.too_short(limit), None);
    }
}
