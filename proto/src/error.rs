//! Rich errors: every status carries google.rpc details, so that people read them and programs match on `reason`.

use brain_core::project::Violation;
use std::{collections::HashMap, time::Duration};
use tonic::{Code, Status};
use tonic_types::{BadRequest, ErrorDetails, FieldViolation, PreconditionViolation, StatusExt};

/// Domain of the stable reasons.
const DOMAIN: &str = "brain";

/// INVALID_ARGUMENT, one field violation for each fault.
#[must_use]
pub fn invalid(violations: Vec<Violation>) -> Status {
    let summary: Vec<String> = violations.iter().map(|v| format!("{} {}", v.field, v.description)).collect();
    let fields: Vec<FieldViolation> = violations
        .into_iter()
        .map(|Violation { field, description }| FieldViolation::new(field, description))
        .collect();
    let mut details = info("INVALID_REQUEST", &[]);
    details.set_bad_request(BadRequest::new(fields).field_violations);
    Status::with_error_details(Code::InvalidArgument, summary.join("; "), details)
}

/// INVALID_ARGUMENT for one field.
#[must_use]
pub fn invalid_field(field: &str, description: impl ToString) -> Status {
    invalid(vec![Violation { field: field.to_owned(), description: description.to_string() }])
}

/// NOT_FOUND for a resource.
#[must_use]
pub fn not_found(resource: &str) -> Status {
    let details = info("NOT_FOUND", &[("resource", resource)]);
    Status::with_error_details(Code::NotFound, format!("there is no {resource}"), details)
}

/// ALREADY_EXISTS for a resource.
#[must_use]
pub fn already_exists(resource: &str, message: &str) -> Status {
    Status::with_error_details(Code::AlreadyExists, message, info("ALREADY_EXISTS", &[("resource", resource)]))
}

/// FAILED_PRECONDITION: what must be so first, and of what.
#[must_use]
pub fn precondition(reason: &str, subject: &str, message: impl Into<String>) -> Status {
    let message = message.into();
    let mut details = info(reason, &[("subject", subject)]);
    details.set_precondition_failure(vec![PreconditionViolation::new(reason, subject, message.clone())]);
    Status::with_error_details(Code::FailedPrecondition, message, details)
}

/// UNAVAILABLE: try again after a while.
#[must_use]
pub fn unavailable(reason: &str, message: impl Into<String>, retry_after: Duration) -> Status {
    let mut details = info(reason, &[]);
    details.set_retry_info(Some(retry_after));
    Status::with_error_details(Code::Unavailable, message.into(), details)
}

/// A status with a stable reason and no more to say.
#[must_use]
pub fn plain(code: Code, reason: &str, message: impl Into<String>) -> Status {
    Status::with_error_details(code, message.into(), info(reason, &[]))
}

fn info(reason: &str, metadata: &[(&str, &str)]) -> ErrorDetails {
    let metadata: HashMap<String, String> =
        metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, DOMAIN, metadata);
    details
}
