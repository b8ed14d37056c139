//! Which waiting observations may be decided against the same state and committed together.
//!
//! One commit for many observations is what makes a busy project fast. Observations of different tags do not depend on
//! each other; those of the same tag, and those that say what is gone, do, and wait for the next commit.

use brain_core::observation::{Observation, ObservedBranch, PollTarget};
use std::collections::HashSet;

/// Most observations of one commit of a project.
const OBSERVATIONS_MAX: usize = 64;

#[derive(Debug, PartialEq, Eq, Hash)]
enum Key {
    Head,
    Tag(String),
    Image(String),
    Poll(PollTarget),
    Production,
}

/// What the observations of a batch touch.
#[derive(Debug, Default)]
pub(super) struct Batch {
    touched: HashSet<Key>,
    closed: bool,
    len: usize,
}

impl Batch {
    /// Takes `observation` into the batch if it depends on none that is in it. The first one is always taken.
    pub(super) fn admit(&mut self, observation: &Observation) -> bool {
        if self.len == 0 {
            self.len = 1;
            match keys(observation) {
                Some(keys) => self.touched.extend(keys),
                None => self.closed = true,
            }
            return true;
        }
        if self.closed || self.len == OBSERVATIONS_MAX {
            return false;
        }
        let Some(keys) = keys(observation) else { return false };
        if keys.iter().any(|key| self.touched.contains(key)) {
            return false;
        }
        self.touched.extend(keys);
        self.len += 1;
        true
    }
}

/// What an observation touches; `None`: possibly everything.
fn keys(observation: &Observation) -> Option<Vec<Key>> {
    match observation {
        Observation::Source { complete: false, tags, removed, head, moved_to: _ } if removed.is_empty() => {
            let tags = tags.iter().map(|(tag, _)| Key::Tag(tag.clone()));
            Some(tags.chain((*head != ObservedBranch::Unchanged).then_some(Key::Head)).collect())
        }
        Observation::Images { complete: false, images, removed } if removed.is_empty() => {
            Some(images.iter().map(|(tag, _)| Key::Image(tag.clone())).collect())
        }
        Observation::Source { .. } | Observation::Images { .. } => None,
        Observation::Poll { target, .. } => Some(vec![Key::Poll(*target)]),
        Observation::TagFailed { .. } => Some(vec![Key::Head]),
        Observation::Production(_) | Observation::ProductionUnobserved { .. } => Some(vec![Key::Production]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(name: &str, complete: bool) -> Observation {
        let (tags, head) = (vec![(name.into(), "c".into())], ObservedBranch::Unchanged);
        Observation::Source { complete, tags, removed: vec![], head, moved_to: None }
    }

    #[test]
    fn observations_of_different_tags_go_together_and_those_of_one_do_not() {
        let mut batch = Batch::default();
        assert!(batch.admit(&tag("0.0.1", false)));
        assert!(batch.admit(&tag("0.0.2", false)));
        assert!(!batch.admit(&tag("0.0.1", false)));
        assert!(!batch.admit(&tag("0.0.3", true)), "a complete list depends on all that is known");
    }

    #[test]
    fn a_complete_list_goes_alone() {
        let mut batch = Batch::default();
        assert!(batch.admit(&tag("0.0.1", true)));
        assert!(!batch.admit(&tag("0.0.2", false)));
    }
}
