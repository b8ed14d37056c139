//! What requests to hold and to lift say, checked whole.

use super::super::{
    Api,
    deployment::request::{Faults, TAG_MAX, refused},
};
use brain_core::{
    hold::{Frozen, HoldWish},
    project::Violation,
    time::Timestamp,
};
use brain_proto::{convert::project_to_proto, name, v1};
use tonic::Status;

/// What is held, by its resource name.
pub(super) enum Named {
    Project(String),
    Release(String),
}

/// A request to hold or to lift, as it came.
pub(super) struct Asked {
    pub(super) named: Named,
    pub(super) requested_by: String,
    pub(super) reason: String,
}

/// A pin to a version; to what serves when it is empty.
pub(super) fn pin(version: String) -> Result<HoldWish, Violation> {
    if version.len() > TAG_MAX {
        let description = format!("must be at most {TAG_MAX} characters");
        return Err(Violation { field: "version".to_owned(), description });
    }
    Ok(HoldWish::Pin(version))
}

/// A freeze, until a time that lies ahead.
pub(super) fn freeze(until: Option<Timestamp>, now: Timestamp) -> Result<HoldWish, Violation> {
    if until.is_some_and(|until| until <= now) {
        let description = format!("must lie ahead: it is {now}");
        return Err(Violation { field: "end_time".to_owned(), description });
    }
    Ok(HoldWish::Freeze(Frozen { until }))
}

impl Api {
    /// Sets or lifts a hold; `wish` is given the release's tag, empty for a whole project. Answers the project after it.
    pub(super) async fn hold(
        &self,
        asked: Asked,
        wish: impl FnOnce(String) -> Result<HoldWish, Violation>,
    ) -> Result<v1::Project, Status> {
        let Asked { named, requested_by, reason } = asked;
        let mut faults = Faults::default();
        faults.request("", &requested_by);
        faults.reason(&reason);
        let named = match named {
            Named::Project(name) => faults.project("name", &name).map(|id| (id, String::new())),
            Named::Release(name) => match name::parse_release(&name) {
                Ok(named) => Some(named),
                Err(error) => {
                    faults.check(false, "name", &error.to_string());
                    None
                }
            },
        };
        let tag = named.as_ref().map(|(_, tag)| tag.clone()).unwrap_or_default();
        let wish = match wish(tag) {
            Ok(wish) => Some(wish),
            Err(Violation { field, description }) => {
                faults.check(false, &field, &description);
                None
            }
        };
        let ((id, _), wish) = faults.end(named.zip(wish))?;
        let project = self.project(&id)?;
        let by = if requested_by.is_empty() { "unknown".to_owned() } else { requested_by };
        project.hold(by, wish, reason).await.map_err(|failure| refused(&project, failure))?;
        Ok(project_to_proto(&project.read().state))
    }
}
