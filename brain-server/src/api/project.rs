//! ProjectService.

use super::{Api, RETRY_AFTER, page};
use crate::directory::CreateError;
use brain_core::{id::ProjectId, version::compare_tags, version::version_of};
use brain_proto::{
    convert::{draft_from_proto, head_to_proto, project_to_proto, release_to_proto},
    error, name,
    v1::{
        CreateProjectRequest, CreateProjectResponse, GetProjectRequest, GetProjectResponse, ListProjectsRequest,
        ListProjectsResponse, ListReleasesRequest, ListReleasesResponse, project_service_server::ProjectService,
    },
};
use std::cmp::Ordering;
use tonic::{Request, Response, Status};

/// Who is named in the log for requests over the API, which knows no users yet.
const CALLER: &str = "api";

#[tonic::async_trait]
impl ProjectService for Api {
    async fn create_project(
        &self,
        request: Request<CreateProjectRequest>,
    ) -> Result<Response<CreateProjectResponse>, Status> {
        let draft = request.into_inner().project.ok_or_else(|| error::invalid_field("project", "is required"))?;
        let has_prefix = draft.name.starts_with("projects/");
        let draft = draft_from_proto(draft);
        if !has_prefix {
            // The rest is checked all the same, so that one answer names every fault.
            let mut faults = draft.validate(|port| Ok(port.unwrap_or(1))).err().unwrap_or_default();
            faults.retain(|fault| fault.field != "project.name");
            faults.insert(
                0,
                brain_core::project::Violation {
                    field: "project.name".to_owned(),
                    description: "must be of the form \"projects/{id}\"".to_owned(),
                },
            );
            return Err(error::invalid(faults));
        }
        let project = self.directory.create(draft, CALLER).await.map_err(create_status)?;
        let project = Some(project_to_proto(&project.read().state));
        Ok(Response::new(CreateProjectResponse { project }))
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

fn create_status(failure: CreateError) -> Status {
    match failure {
        CreateError::Invalid(violations) => error::invalid(violations),
        CreateError::Exists(id) => {
            let project = name::project(&id);
            let message = format!("{project} exists with another definition");
            error::already_exists(&project, &message)
        }
        CreateError::Store(failure) => error::unavailable("STORE_UNAVAILABLE", failure.to_string(), RETRY_AFTER),
    }
}
