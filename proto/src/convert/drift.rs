//! What of a set-up differs, and what housekeeping removes.

use super::{deployment::cut, timestamp_to_proto};
use crate::v1;
use brain_core::{
    drift::{DRIFT_KEPT, Drift, KnownDrift, Remedy, SetUp},
    housekeeping::{REMOVED_MAX, Removed},
};

/// Longest resource and difference that are kept, in characters.
const TEXT_MAX: usize = 500;

/// A difference.
#[must_use]
pub fn drift_to_proto(drift: &Drift) -> v1::Drift {
    let Drift { resource, difference, remedy } = drift.clone();
    let remedy = match remedy {
        Remedy::Told => v1::DriftRemedy::Told,
        Remedy::Made => v1::DriftRemedy::Made,
        Remedy::Repaired => v1::DriftRemedy::Repaired,
        Remedy::Adopted => v1::DriftRemedy::Adopted,
        Remedy::Followed => v1::DriftRemedy::Followed,
    };
    v1::Drift { resource, difference, remedy: remedy.into(), find_time: None }
}

pub(super) fn known_drift_to_proto(known: &KnownDrift) -> v1::Drift {
    let KnownDrift { drift, since } = known;
    v1::Drift { find_time: Some(timestamp_to_proto(*since)), ..drift_to_proto(drift) }
}

/// Differences as an agent reports them, cut to their bounds.
#[must_use]
pub fn drift_from_proto(drift: Vec<v1::Drift>) -> Vec<Drift> {
    let convert = |drift: v1::Drift| {
        let remedy = match drift.remedy() {
            v1::DriftRemedy::Unspecified | v1::DriftRemedy::Told => Remedy::Told,
            v1::DriftRemedy::Made => Remedy::Made,
            v1::DriftRemedy::Repaired => Remedy::Repaired,
            v1::DriftRemedy::Adopted => Remedy::Adopted,
            v1::DriftRemedy::Followed => Remedy::Followed,
        };
        let v1::Drift { resource, difference, .. } = drift;
        Drift { resource: cut(resource, TEXT_MAX), difference: cut(difference, TEXT_MAX), remedy }
    };
    drift.into_iter().take(DRIFT_KEPT).map(convert).collect()
}

/// Names of what is removed, as an agent reports them, cut to their bounds.
#[must_use]
pub fn removed_from_proto(removed: Vec<String>) -> Vec<String> {
    removed.into_iter().take(REMOVED_MAX).map(|name| cut(name, TEXT_MAX)).collect()
}

pub(super) fn removed_to_proto(removed: &Removed) -> v1::Housekeeping {
    let Removed { resources, at } = removed.clone();
    v1::Housekeeping { end_time: Some(timestamp_to_proto(at)), removed: resources }
}

pub(super) fn set_up_to_proto(set_up: SetUp) -> v1::SetUp {
    match set_up {
        SetUp::Make => v1::SetUp::Make,
        SetUp::Check => v1::SetUp::Check,
        SetUp::Repair => v1::SetUp::Repair,
    }
}

pub(super) fn set_up_from_proto(set_up: v1::SetUp) -> SetUp {
    match set_up {
        v1::SetUp::Unspecified | v1::SetUp::Make => SetUp::Make,
        v1::SetUp::Check => SetUp::Check,
        v1::SetUp::Repair => SetUp::Repair,
    }
}
