//! What AWS chooses as it likes.

use serde::{Deserialize, Serialize};

/// Drawn from a seed, or without one always the first of those that may be chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chance(Option<u64>);

impl Chance {
    /// The choices of a seed.
    #[must_use]
    pub fn of_seed(seed: u64) -> Self {
        Self(Some(seed))
    }

    /// The place of one of so many. Where there is nothing to choose nothing is drawn: the world stays as it was.
    pub(super) fn choose(&mut self, among: usize) -> usize {
        let Some(seed) = self.0.filter(|_| among > 1) else { return 0 };
        let mut dice = fastrand::Rng::with_seed(seed);
        let chosen = dice.usize(0..among);
        self.0 = Some(dice.get_seed());
        chosen
    }
}
