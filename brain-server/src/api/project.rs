//! ProjectService.

use super::{Api, RETRY_AFTER, Watch, deployment::request::Faults, page};
use crate::{
    directory::{Deletion, Redefinition},
    http::hooks::Paths,
    watchers::TagError,
};
use brain_core::{
    hold::HoldWish,
    id::ProjectId,
    project::ProjectSpec,
    state::ProjectState,
    version::{compare_tags, version_of},
};
use brain_proto::{
    convert::{
        draft_from_proto, head_to_proto, project_to_proto, release_to_proto, spec_to_proto, timestamp_from_proto,
        version_part_from_proto,
    },
    error, name,
    reflect::{differences, masked},
    v1::{
        CreateProjectRequest, CreateProjectResponse, CreateTagRequest, CreateTagResponse, DeleteProjectRequest,
        DeleteProjectResponse, FreezeProjectRequest, FreezeProjectResponse, GetProjectRequest, GetProjectResponse,
        GetWebhooksRequest, GetWebhooksResponse, LiftQuarantineRequest, LiftQuarantineResponse, ListProjectsRequest,
        ListProjectsResponse, ListReleasesRequest, ListReleasesResponse, PinProjectRequest, PinProjectResponse,
        QuarantineReleaseRequest, QuarantineReleaseResponse, SetDeployWindowsRequest, SetDeployWindowsResponse,
        SetRequiredApprovalsRequest, SetRequiredApprovalsResponse, ThawProjectRequest, ThawProjectResponse,
        UnpinProjectRequest, UnpinProjectResponse, UpdateProjectRequest, UpdateProjectResponse, WatchProjectRequest,
        WatchProjectResponse, create_tag_request::Version, project_service_server::ProjectService,
    },
};
use std::cmp::Ordering;
use tonic::{Request, Response, Status};

mod definition;
mod holds;
mod watch;

/// Longest tag that is made: an image's tag may be no longer.
const TAG_MAX: usize = 128;
/// Who is named in the log for requests over the API, which knows no users yet.
const CALLER: &str = "api";

#[tonic::async_trait]
impl ProjectService for Api {
    async fn create_project(
        &self,
        request: Request<CreateProjectRequest>,
    ) -> Result<Response<CreateProjectResponse>, Status> {
        let CreateProjectRequest { project, requested_by } = request.into_inner();
        let draft = project.ok_or_else(|| error::invalid_field("project", "is required"))?;
        let mut faults = Faults::default();
        faults.request("", &requested_by);
        let has_prefix = draft.name.starts_with("projects/");
        faults.check(has_prefix, "project.name", "must be of the form \"projects/{id}\"");
        let draft = draft_from_proto(draft);
        if !faults.is_empty() {
            // The rest is checked all the same, so that one answer names every fault.
            faults.extend(draft.validate(|port| Ok(port.unwrap_or(1))).err().unwrap_or_default());
            return faults.end(None);
        }
        let id = draft.id.clone();
        let project = self.directory.create(draft, definition::by(requested_by)).await;
        let project = project.map_err(|failure| definition::status(&id, failure))?;
        let project = Some(project_to_proto(&project.read().state));
        Ok(Response::new(CreateProjectResponse { project }))
    }

    async fn update_project(
        &self,
        request: Request<UpdateProjectRequest>,
    ) -> Result<Response<UpdateProjectResponse>, Status> {
        let UpdateProjectRequest { project, update_mask, requested_by, reason } = request.into_inner();
        let wish = project.ok_or_else(|| error::invalid_field("project", "is required"))?;
        let mut faults = Faults::default();
        faults.request("", &requested_by);
        faults.reason(&reason);
        let id = faults.project("project.name", &wish.name);
        let id = faults.end(id)?;
        let paths = update_mask.map(|mask| mask.paths).unwrap_or_default();
        let redefinition = Redefinition {
            id: id.clone(),
            etag: wish.etag.clone(),
            made: move |spec: &ProjectSpec| masked(&spec_to_proto(spec), &wish, &paths).map(draft_from_proto),
            differences: |one, other| differences(&spec_to_proto(one), &spec_to_proto(other)),
            by: definition::by(requested_by),
            why: reason,
        };
        let project = self.directory.redefine(redefinition).await;
        let project = project.map_err(|failure| definition::status(id.as_str(), failure))?;
        let project = Some(project_to_proto(&project.read().state));
        Ok(Response::new(UpdateProjectResponse { project }))
    }

    async fn delete_project(
        &self,
        request: Request<DeleteProjectRequest>,
    ) -> Result<Response<DeleteProjectResponse>, Status> {
        let DeleteProjectRequest { name, etag, leave_running, requested_by, reason } = request.into_inner();
        let mut faults = Faults::default();
        faults.request("", &requested_by);
        faults.reason(&reason);
        let id = faults.project("name", &name);
        let id = faults.end(id)?;
        let deletion = Deletion { id: id.clone(), etag, leave_running, by: definition::by(requested_by), why: reason };
        self.directory.delete(deletion).await.map_err(|failure| definition::status(id.as_str(), failure))?;
        Ok(Response::new(DeleteProjectResponse {}))
    }

    async fn get_project(&self, request: Request<GetProjectRequest>) -> Result<Response<GetProjectResponse>, Status> {
        let project = self.project_named("name", &request.into_inner().name)?;
        let project = Some(project_to_proto(&project.read().state));
        Ok(Response::new(GetProjectResponse { project }))
    }

    async fn list_projects(
        &self,
        request: Request<ListProjectsRequest>,
    ) -> Result<Response<ListProjectsResponse>, Status> {
        let ListProjectsRequest { page_size, page_token } = request.into_inner();
        let size = page::size(page_size, 100, 1_000)?;
        let after = after_project(&page_token)?;
        let page = self.directory.page(after.as_ref(), size + 1);
        let next_page_token = next_token(&page, size);
        let projects = page.iter().take(size).map(|project| project_to_proto(&project.read().state)).collect();
        Ok(Response::new(ListProjectsResponse { projects, next_page_token }))
    }

    async fn list_releases(
        &self,
        request: Request<ListReleasesRequest>,
    ) -> Result<Response<ListReleasesResponse>, Status> {
        let ListReleasesRequest { parent, page_size, page_token } = request.into_inner();
        let project = self.project_named("parent", &parent)?;
        let size = page::size(page_size, 100, 1_000)?;
        let after = page::last(&page_token)?;
        let inner = project.read();
        let state = &inner.state;
        let mut rest = state.releases();
        if let Some(after) = after {
            // The tag itself may be gone since; what comes after it is still well defined.
            rest.retain(|release| release_order(&after, release.tag) == Ordering::Less);
        }
        let next_page_token = if rest.len() > size { page::token(rest[size - 1].tag) } else { String::new() };
        let releases = rest.iter().take(size).map(|release| release_to_proto(state, release)).collect();
        Ok(Response::new(ListReleasesResponse { releases, next_page_token, head: head_to_proto(state) }))
    }

    async fn create_tag(&self, request: Request<CreateTagRequest>) -> Result<Response<CreateTagResponse>, Status> {
        let CreateTagRequest { parent, version, commit, requested_by } = request.into_inner();
        let project = self.project_named("parent", &parent)?;
        let mut faults = Faults::default();
        faults.request("", &requested_by);
        let (tag, commit) = new_tag(&project.read().state, version, commit, faults)?;
        crate::tagger::create_tag(&self.shared, &project, &tag, &commit, &definition::by(requested_by))
            .await
            .map_err(|failure| tag_status(&parent, &tag, failure))?;
        let inner = project.read();
        let release = inner.state.listed_release(&tag).map(|release| release_to_proto(&inner.state, &release));
        Ok(Response::new(CreateTagResponse { release }))
    }

    type WatchProjectStream = Watch<WatchProjectResponse>;

    async fn watch_project(
        &self,
        request: Request<WatchProjectRequest>,
    ) -> Result<Response<Self::WatchProjectStream>, Status> {
        let WatchProjectRequest { name, resume_token } = request.into_inner();
        let project = self.project_named("name", &name)?;
        Ok(Response::new(self.watch(|sender| watch::watch(project, resume_token, sender))))
    }

    async fn get_webhooks(
        &self,
        request: Request<GetWebhooksRequest>,
    ) -> Result<Response<GetWebhooksResponse>, Status> {
        let project = self.project_named("name", &request.into_inner().name)?;
        let Some(paths) = self.hooks.paths(&project.id) else {
            let message = "the server has no webhook secret: start it with webhook_secret_file";
            return Err(error::precondition("NO_WEBHOOK_SECRET", &name::project(&project.id), message));
        };
        let Paths { github, docker_hub, registry } = paths;
        Ok(Response::new(GetWebhooksResponse { github, docker_hub, registry }))
    }

    async fn pin_project(&self, request: Request<PinProjectRequest>) -> Result<Response<PinProjectResponse>, Status> {
        let PinProjectRequest { name, version, requested_by, reason } = request.into_inner();
        let asked = holds::Asked { named: holds::Named::Project(name), requested_by, reason };
        let project = self.hold(asked, |_| holds::pin(version)).await?;
        Ok(Response::new(PinProjectResponse { project: Some(project) }))
    }

    async fn unpin_project(
        &self,
        request: Request<UnpinProjectRequest>,
    ) -> Result<Response<UnpinProjectResponse>, Status> {
        let UnpinProjectRequest { name, requested_by, reason } = request.into_inner();
        let asked = holds::Asked { named: holds::Named::Project(name), requested_by, reason };
        let project = self.hold(asked, |_| Ok(HoldWish::Unpin)).await?;
        Ok(Response::new(UnpinProjectResponse { project: Some(project) }))
    }

    async fn quarantine_release(
        &self,
        request: Request<QuarantineReleaseRequest>,
    ) -> Result<Response<QuarantineReleaseResponse>, Status> {
        let QuarantineReleaseRequest { name, requested_by, reason } = request.into_inner();
        let asked = holds::Asked { named: holds::Named::Release(name), requested_by, reason };
        let project = self.hold(asked, |tag| Ok(HoldWish::Quarantine(tag))).await?;
        Ok(Response::new(QuarantineReleaseResponse { project: Some(project) }))
    }

    async fn lift_quarantine(
        &self,
        request: Request<LiftQuarantineRequest>,
    ) -> Result<Response<LiftQuarantineResponse>, Status> {
        let LiftQuarantineRequest { name, requested_by, reason } = request.into_inner();
        let asked = holds::Asked { named: holds::Named::Release(name), requested_by, reason };
        let project = self.hold(asked, |tag| Ok(HoldWish::LiftQuarantine(tag))).await?;
        Ok(Response::new(LiftQuarantineResponse { project: Some(project) }))
    }

    async fn freeze_project(
        &self,
        request: Request<FreezeProjectRequest>,
    ) -> Result<Response<FreezeProjectResponse>, Status> {
        let FreezeProjectRequest { name, end_time, requested_by, reason } = request.into_inner();
        let now = self.shared.clock.now();
        let asked = holds::Asked { named: holds::Named::Project(name), requested_by, reason };
        let project = self.hold(asked, |_| holds::freeze(end_time.map(timestamp_from_proto), now)).await?;
        Ok(Response::new(FreezeProjectResponse { project: Some(project) }))
    }

    async fn thaw_project(
        &self,
        request: Request<ThawProjectRequest>,
    ) -> Result<Response<ThawProjectResponse>, Status> {
        let ThawProjectRequest { name, requested_by, reason } = request.into_inner();
        let asked = holds::Asked { named: holds::Named::Project(name), requested_by, reason };
        let project = self.hold(asked, |_| Ok(HoldWish::Thaw)).await?;
        Ok(Response::new(ThawProjectResponse { project: Some(project) }))
    }

    async fn set_deploy_windows(
        &self,
        request: Request<SetDeployWindowsRequest>,
    ) -> Result<Response<SetDeployWindowsResponse>, Status> {
        let SetDeployWindowsRequest { name, windows, requested_by, reason } = request.into_inner();
        let now = self.shared.clock.now();
        let asked = holds::Asked { named: holds::Named::Project(name), requested_by, reason };
        let project = self.hold(asked, |_| holds::windows(windows, now)).await?;
        Ok(Response::new(SetDeployWindowsResponse { project: Some(project) }))
    }

    async fn set_required_approvals(
        &self,
        request: Request<SetRequiredApprovalsRequest>,
    ) -> Result<Response<SetRequiredApprovalsResponse>, Status> {
        let SetRequiredApprovalsRequest { name, count, requested_by, reason } = request.into_inner();
        let asked = holds::Asked { named: holds::Named::Project(name), requested_by, reason };
        let project = self.hold(asked, |_| holds::approvals(count)).await?;
        Ok(Response::new(SetRequiredApprovalsResponse { project: Some(project) }))
    }
}

/// What a request asks to be tagged; every fault is named.
fn new_tag(
    state: &ProjectState,
    version: Option<Version>,
    commit: String,
    mut faults: Faults,
) -> Result<(String, String), Status> {
    let tag = match version {
        Some(Version::Next(part)) => match version_part_from_proto(part) {
            Some(part) => state.next_tag(part),
            None => {
                faults.add("next", "must be VERSION_PART_PATCH, VERSION_PART_MINOR or VERSION_PART_MAJOR");
                None
            }
        },
        Some(Version::Tag(tag)) if tag.len() <= TAG_MAX && version_of(&tag).is_some() => Some(tag),
        Some(Version::Tag(_)) => {
            faults.add("tag", "must be a semantic version of at most 128 characters, such as \"0.0.5\" or \"v1.2.0\"");
            None
        }
        None => {
            faults.add("version", "is required: `next` or `tag`");
            None
        }
    };
    let hexadecimal = commit.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if !hexadecimal || !matches!(commit.len(), 0 | 40 | 64) {
        faults.add("commit", "must be a full commit id, 40 or 64 lower-case hexadecimal digits, or empty for the head");
    }
    faults.end(Some(()))?;
    let project = name::project(&state.spec.id);
    let commit = match (&state.head, commit.is_empty()) {
        (_, false) => commit,
        (Some(head), true) => head.commit.clone(),
        (None, true) => {
            let message = "no head of the branch has been seen yet: wait for a watcher's poll, or name the commit";
            return Err(error::precondition("HEAD_UNKNOWN", &project, message));
        }
    };
    let Some(tag) = tag else {
        return Err(error::precondition(
            "NO_NEXT_VERSION",
            &project,
            "the latest tag has no next version of that part",
        ));
    };
    match state.tags.get(&tag) {
        Some(known) if known.commit != commit => {
            let message = format!("tag {tag} stands on {} already: choose another version", known.commit);
            Err(error::precondition("TAG_EXISTS", &project, message))
        }
        _ => Ok((tag, commit)),
    }
}

fn tag_status(project: &str, tag: &str, failure: TagError) -> Status {
    match failure {
        TagError::NoWatcher(why) => {
            let message = format!("tag {tag} may not have been made, {why}: ask again");
            error::unavailable("NO_WATCHER", message, RETRY_AFTER)
        }
        TagError::Failed(why) => error::precondition("TAG_REFUSED", project, format!("tag {tag} was not made: {why}")),
    }
}

/// The order of `ListReleases`: highest version first, then the tags that are none by name.
fn release_order(a: &str, b: &str) -> Ordering {
    match (version_of(a), version_of(b)) {
        (None, None) => a.cmp(b),
        _ => compare_tags(b, a),
    }
}

/// The project that a page token names.
pub(super) fn after_project(token: &str) -> Result<Option<ProjectId>, Status> {
    let faulty = |_| error::invalid_field("page_token", "is none that this server gave: begin with the first page");
    page::last(token)?.map(|last| ProjectId::parse(&last).map_err(faulty)).transpose()
}

/// Token of the page after the first `size` of `page`.
pub(super) fn next_token(page: &[std::sync::Arc<crate::project::Project>], size: usize) -> String {
    if page.len() > size { page::token(page[size - 1].id.as_str()) } else { String::new() }
}
