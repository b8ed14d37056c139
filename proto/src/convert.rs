//! Plain functions between the wire and the domain, one per direction.
//!
//! Structs are taken apart by name, so that a new field cannot be forgotten.

use brain_core::time::Timestamp;
use std::time::Duration;
use thiserror::Error;

mod deployment;
mod drift;
mod event;
mod gate;
mod observation;
mod plan;
mod project;
mod view;

pub use deployment::{deployment_to_proto, outcome_from_proto, outcome_to_proto, task_failure_to_proto};
pub use drift::{drift_from_proto, drift_to_proto, removed_from_proto};
pub use event::event_to_proto;
pub use gate::gate_told;
pub use observation::{LookBy, ProductionLook, observation_from_proto, production_report_from_proto};
pub use plan::{names_from_proto, names_to_proto, plan_from_proto, plan_to_proto};
pub use project::{draft_from_proto, policy_from_proto, spec_from_proto, spec_to_proto, version_part_from_proto};
pub use view::{
    head_to_proto, line_to_proto, production_to_proto, project_to_proto, release_to_proto, service_state_to_proto,
    status_to_proto,
};

/// A message that the domain cannot take: it was made by something that breaks the API.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{field}: {why}")]
pub struct ConvertError {
    /// The field.
    pub field: String,
    /// What is wrong.
    pub why: String,
}

impl ConvertError {
    pub(crate) fn new(field: &str, why: impl ToString) -> Self {
        Self { field: field.to_owned(), why: why.to_string() }
    }

    pub(crate) fn missing(field: &str) -> Self {
        Self::new(field, "is missing")
    }
}

/// A point in time on the wire.
#[must_use]
pub fn timestamp_to_proto(time: Timestamp) -> prost_types::Timestamp {
    let nanos = i32::try_from(time.0.rem_euclid(1_000) * 1_000_000).unwrap_or(0);
    prost_types::Timestamp { seconds: time.0.div_euclid(1_000), nanos }
}

/// A point in time of the domain; beyond its range, the nearest.
#[must_use]
pub fn timestamp_from_proto(time: prost_types::Timestamp) -> Timestamp {
    Timestamp(time.seconds.saturating_mul(1_000).saturating_add(i64::from(time.nanos) / 1_000_000))
}

/// A length of time on the wire.
#[must_use]
pub fn duration_to_proto(duration: Duration) -> prost_types::Duration {
    prost_types::Duration::try_from(duration).unwrap_or(prost_types::Duration { seconds: i64::MAX, nanos: 0 })
}

/// A length of time of the domain; a negative one is zero.
#[must_use]
pub fn duration_from_proto(duration: prost_types::Duration) -> Duration {
    Duration::try_from(duration).unwrap_or(Duration::ZERO)
}

/// Milliseconds as a person sent them: checked later, where negative ones are refused.
fn milliseconds(duration: prost_types::Duration) -> i64 {
    duration.seconds.saturating_mul(1_000).saturating_add(i64::from(duration.nanos) / 1_000_000)
}
