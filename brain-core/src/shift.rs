//! The arithmetic of a shift: from some counts to others, one safe move at a time.
//!
//! Every task needs an instance of its own, because all versions use the same host port. So tasks are raised as far as the
//! ceiling allows, and only when those are healthy are others lowered, as far as the floor allows.

use std::{cmp::Reverse, collections::BTreeMap};

/// Desired counts by service, in the order in which services are raised and lowered.
pub type Counts = BTreeMap<String, u32>;

/// One change of one service's desired count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The service.
    pub service: String,
    /// Its count before.
    pub from: u32,
    /// Its count after.
    pub to: u32,
    /// Tasks of all services after the move.
    pub total: u32,
}

impl Move {
    /// Whether tasks are added.
    #[must_use]
    pub fn raises(&self) -> bool {
        self.to > self.from
    }
}

/// Moves from `current` to `target` during which, if every raised task becomes healthy before the next move, at least
/// `floor` tasks are healthy (or as many as there are to begin with, if fewer) and at most `ceiling` tasks exist (or as
/// many as there are to begin with, if more). Services missing from either side count as zero there. Those that are to
/// `give` way are lowered before the others, in their order, and raised after them.
///
/// # Panics
/// Never for a ceiling above the floor. A floor that leaves no room stops the moves short of the target, which
/// `RolloutPolicy`'s validation rules out.
#[must_use]
pub fn moves(current: &Counts, target: &Counts, floor: u32, ceiling: u32, give: &[String]) -> Vec<Move> {
    let mut counts = current.clone();
    for service in target.keys() {
        counts.entry(service.clone()).or_insert(0);
    }
    let floor = floor.min(counts.values().sum());
    let mut moves = Vec::new();
    loop {
        let before = moves.len();
        raise(&mut counts, target, ceiling, give, &mut moves);
        lower(&mut counts, target, floor, give, &mut moves);
        if moves.len() == before {
            return moves;
        }
    }
}

fn raise(counts: &mut Counts, target: &Counts, ceiling: u32, give: &[String], moves: &mut Vec<Move>) {
    let mut services: Vec<(&String, u32)> = target.iter().map(|(service, wanted)| (service, *wanted)).collect();
    services.sort_by_key(|(service, _)| Reverse(place(service, give)));
    for (service, wanted) in services {
        let total: u32 = counts.values().sum();
        let count = counts.get(service).copied().unwrap_or(0);
        let by = wanted.saturating_sub(count).min(ceiling.saturating_sub(total));
        if by > 0 {
            moves.push(Move { service: service.clone(), from: count, to: count + by, total: total + by });
            counts.insert(service.clone(), count + by);
        }
    }
}

/// The place of a service among those that give way; the others come last.
fn place(service: &String, give: &[String]) -> usize {
    give.iter().position(|other| other == service).unwrap_or(usize::MAX)
}

fn lower(counts: &mut Counts, target: &Counts, floor: u32, give: &[String], moves: &mut Vec<Move>) {
    let mut services: Vec<String> = counts.keys().cloned().collect();
    services.sort_by_key(|service| place(service, give));
    for service in services {
        let total: u32 = counts.values().sum();
        let count = counts[&service];
        let wanted = target.get(&service).copied().unwrap_or(0);
        let by = count.saturating_sub(wanted).min(total.saturating_sub(floor));
        if by > 0 {
            moves.push(Move { service: service.clone(), from: count, to: count - by, total: total - by });
            counts.insert(service, count - by);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counts(pairs: &[(&str, u32)]) -> Counts {
        pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    #[test]
    fn with_a_surge_of_one_a_task_is_added_before_one_is_taken() {
        let path: Vec<(String, u32)> = moves(&counts(&[("old", 3)]), &counts(&[("new", 2), ("old", 1)]), 3, 4, &[])
            .into_iter()
            .map(|step| (step.service, step.to))
            .collect();
        let expected = [("new", 1), ("old", 2), ("new", 2), ("old", 1)];
        assert_eq!(path, expected.map(|(name, count)| (name.to_owned(), count)));
    }

    #[test]
    fn without_a_surge_a_task_is_taken_first_where_the_floor_allows() {
        let path = moves(&counts(&[("old", 3)]), &counts(&[("new", 3)]), 2, 3, &[]);
        assert_eq!(path.first().map(|step| (step.service.as_str(), step.to)), Some(("old", 2)));
        assert_eq!(path.last().map(|step| (step.service.as_str(), step.to)), Some(("new", 3)));
    }

    proptest! {
        #[test]
        fn every_shift_arrives_within_floor_and_ceiling(
            old in proptest::collection::btree_map("[a-d]", 0u32..20, 0..4),
            new in proptest::collection::btree_map("[a-f]", 0u32..20, 1..4),
            floor in 0u32..20,
            room in 1u32..5,
            give in proptest::collection::vec("[a-d]", 0..3),
        ) {
            let start: u32 = old.values().sum();
            let end: u32 = new.values().sum();
            let floor = floor.min(end);
            let ceiling = end.max(floor) + room;
            let mut now = old.clone();
            for step in moves(&old, &new, floor, ceiling, &give) {
                prop_assert_eq!(now.get(&step.service).copied().unwrap_or(0), step.from);
                now.insert(step.service.clone(), step.to);
                let total: u32 = now.values().sum();
                prop_assert_eq!(total, step.total);
                prop_assert!(total >= floor.min(start), "floor broken: {:?}", now);
                prop_assert!(total <= ceiling.max(start), "ceiling broken: {:?}", now);
            }
            now.retain(|_, count| *count > 0);
            let mut wanted = new;
            wanted.retain(|_, count| *count > 0);
            prop_assert_eq!(now, wanted);
        }
    }
}
