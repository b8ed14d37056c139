//! What requests to hold and to lift say, checked whole.

use super::super::{
    Api,
    deployment::request::{Faults, TAG_MAX, refused},
};
use brain_core::{
    deployment::beginning::APPROVALS_MAX,
    hold::{Frozen, HoldWish},
    project::Violation,
    time::Timestamp,
    window::{WINDOWS_MAX, Window},
};
use brain_proto::{
    convert::{duration_from_proto, project_to_proto},
    name, v1,
};
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
pub(super) fn pin(version: String) -> Result<HoldWish, Vec<Violation>> {
    if version.len() > TAG_MAX {
        let description = format!("must be at most {TAG_MAX} characters");
        return Err(vec![Violation { field: "version".to_owned(), description }]);
    }
    Ok(HoldWish::Pin(version))
}

/// A freeze, until a time that lies ahead.
pub(super) fn freeze(until: Option<Timestamp>, now: Timestamp) -> Result<HoldWish, Vec<Violation>> {
    if until.is_some_and(|until| until <= now) {
        let description = format!("must lie ahead: it is {now}");
        return Err(vec![Violation { field: "end_time".to_owned(), description }]);
    }
    Ok(HoldWish::Freeze(Frozen { until }))
}

/// Deploy windows; every fault of every one of them is told.
pub(super) fn windows(windows: Vec<v1::DeployWindow>, now: Timestamp) -> Result<HoldWish, Vec<Violation>> {
    let mut faults = Vec::new();
    if windows.len() > WINDOWS_MAX {
        let description = format!("must be at most {WINDOWS_MAX}");
        return Err(vec![Violation { field: "windows".to_owned(), description }]);
    }
    let mut checked = Vec::new();
    for (index, window) in windows.into_iter().enumerate() {
        let v1::DeployWindow { cron, duration, time_zone } = window;
        // A window without a length has none that is allowed.
        let duration = duration.map(duration_from_proto).unwrap_or_default();
        let fault = |(field, description)| Violation { field: format!("windows[{index}].{field}"), description };
        match Window::check(&cron, duration, &time_zone, now) {
            Ok(window) => checked.push(window),
            Err(found) => faults.extend(found.into_iter().map(fault)),
        }
    }
    if faults.is_empty() { Ok(HoldWish::Windows(checked)) } else { Err(faults) }
}

/// How many others have to approve.
pub(super) fn approvals(count: u32) -> Result<HoldWish, Vec<Violation>> {
    if count > APPROVALS_MAX {
        let description = format!("must be at most {APPROVALS_MAX}");
        return Err(vec![Violation { field: "count".to_owned(), description }]);
    }
    Ok(HoldWish::Approvals(count))
}

impl Api {
    /// Sets or lifts a hold; `wish` is given the release's tag, empty for a whole project. Answers the project after it.
    pub(super) async fn hold(
        &self,
        asked: Asked,
        wish: impl FnOnce(String) -> Result<HoldWish, Vec<Violation>>,
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
            Err(found) => {
                for Violation { field, description } in found {
                    faults.check(false, &field, &description);
                }
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
