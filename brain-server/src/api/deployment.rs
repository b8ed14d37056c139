//! DeploymentService.

use super::{Api, Watch, command_status, cut_off, page};
use crate::project::{CommandError, Project};
use brain_core::{deployment::Deployment, image::parse_tagged, project::Violation, state::Refusal};
use brain_proto::{
    convert::{deployment_to_proto, plan_to_proto},
    error, name,
    v1::{
        CreateDeploymentRequest, CreateDeploymentResponse, GetDeploymentRequest, GetDeploymentResponse,
        ListDeploymentsRequest, ListDeploymentsResponse, WatchDeploymentRequest, WatchDeploymentResponse,
        create_deployment_request::What, deployment_service_server::DeploymentService,
    },
};
use std::sync::Arc;
use tokio::sync::{broadcast::error::RecvError, mpsc};
use tonic::{Request, Response, Status};

const REQUEST_ID_MAX: usize = 64;
const REQUESTED_BY_MAX: usize = 100;
const TAG_MAX: usize = 250;

#[tonic::async_trait]
impl DeploymentService for Api {
    async fn create_deployment(
        &self,
        request: Request<CreateDeploymentRequest>,
    ) -> Result<Response<CreateDeploymentResponse>, Status> {
        let CreateDeploymentRequest { parent, what, request_id, requested_by } = request.into_inner();
        let (project, tag) = self.wanted(&parent, what, &request_id, &requested_by)?;
        let answer = project.deploy(tag, requested_by, request_id).await;
        let deployment = answer.map_err(|error| refused(&project, error))?;
        let deployment = Some(deployment_to_proto(&project.read().state.spec, &deployment));
        Ok(Response::new(CreateDeploymentResponse { deployment }))
    }

    async fn get_deployment(
        &self,
        request: Request<GetDeploymentRequest>,
    ) -> Result<Response<GetDeploymentResponse>, Status> {
        let (project, number) = self.deployment_named(&request.into_inner().name)?;
        let inner = project.read();
        let deployment = find(&project, &inner.state, number)?;
        Ok(Response::new(GetDeploymentResponse {
            plan: Some(plan_to_proto(&deployment.plan)),
            deployment: Some(deployment_to_proto(&inner.state.spec, deployment)),
        }))
    }

    async fn list_deployments(
        &self,
        request: Request<ListDeploymentsRequest>,
    ) -> Result<Response<ListDeploymentsResponse>, Status> {
        let ListDeploymentsRequest { parent, page_size, page_token } = request.into_inner();
        let project = self.project_named("parent", &parent)?;
        let size = page::size(page_size, 20, 100)?;
        let before = match page::last(&page_token)? {
            None => u64::MAX,
            Some(last) => last.parse().map_err(|_| {
                error::invalid_field("page_token", "is none that this server gave: begin with the first page")
            })?,
        };
        let inner = project.read();
        let page: Vec<&Deployment> = inner
            .state
            .deployments
            .iter()
            .rev()
            .filter(|deployment| deployment.number < before)
            .take(size + 1)
            .collect();
        let next_page_token =
            if page.len() > size { page::token(&page[size - 1].number.to_string()) } else { String::new() };
        let deployments =
            page.iter().take(size).map(|deployment| deployment_to_proto(&inner.state.spec, deployment)).collect();
        Ok(Response::new(ListDeploymentsResponse { deployments, next_page_token }))
    }

    type WatchDeploymentStream = Watch<WatchDeploymentResponse>;

    async fn watch_deployment(
        &self,
        request: Request<WatchDeploymentRequest>,
    ) -> Result<Response<Self::WatchDeploymentStream>, Status> {
        let (project, number) = self.deployment_named(&request.into_inner().name)?;
        find(&project, &project.read().state, number)?;
        Ok(Response::new(self.watch(|sender| watch(project, number, sender))))
    }
}

impl Api {
    /// Project and tag that a request to deploy wants, checked whole.
    fn wanted(
        &self,
        parent: &str,
        what: Option<What>,
        request_id: &str,
        requested_by: &str,
    ) -> Result<(Arc<Project>, String), Status> {
        let mut faults = Vec::new();
        let mut fault = |field: &str, description: String| {
            faults.push(Violation { field: field.to_owned(), description });
        };
        if request_id.len() > REQUEST_ID_MAX {
            fault("request_id", format!("must be at most {REQUEST_ID_MAX} characters"));
        }
        if requested_by.len() > REQUESTED_BY_MAX || requested_by.contains(char::is_control) {
            fault("requested_by", format!("must be one line of at most {REQUESTED_BY_MAX} characters"));
        }
        let parent_id = (!parent.is_empty()).then(|| name::parse_project(parent)).transpose();
        if let Err(error) = &parent_id {
            fault("parent", error.to_string());
        }
        let (repository, tag) = match what {
            Some(What::Version(tag)) => {
                if parent.is_empty() {
                    fault("parent", "is required with a version".to_owned());
                }
                if tag.is_empty() || tag.len() > TAG_MAX {
                    fault("version", format!("must be 1 to {TAG_MAX} characters"));
                }
                (None, tag)
            }
            Some(What::Image(image)) => match parse_tagged(&image) {
                Ok((repository, tag)) => (Some(repository), tag),
                Err(error) => {
                    fault("image", error.to_string());
                    (None, String::new())
                }
            },
            None => {
                fault("version", "or image is required".to_owned());
                (None, String::new())
            }
        };
        if !faults.is_empty() {
            return Err(error::invalid(faults));
        }
        let project = match (parent_id, &repository) {
            (Ok(Some(id)), _) => self.project(&id)?,
            (_, Some(repository)) => self.project_of(repository.as_str())?,
            _ => return Err(error::invalid_field("parent", "is required")),
        };
        let expected = project.read().state.spec.image_repository.clone();
        match repository {
            Some(repository) if repository != expected => {
                let description = format!("must be of the project's repository, {expected}");
                Err(error::invalid_field("image", description))
            }
            _ => Ok((project, tag)),
        }
    }

    /// The one project of that image repository.
    fn project_of(&self, repository: &str) -> Result<Arc<Project>, Status> {
        let mut fitting = self
            .directory
            .all()
            .into_iter()
            .filter(|project| project.read().state.spec.image_repository.as_str() == repository);
        match (fitting.next(), fitting.next()) {
            (Some(only), None) => Ok(only),
            (None, _) => Err(error::not_found(&format!("project with the image repository {repository}"))),
            _ => Err(error::invalid_field(
                "parent",
                format!("is required: several projects have images of {repository}"),
            )),
        }
    }

    fn deployment_named(&self, name: &str) -> Result<(Arc<Project>, u64), Status> {
        let (id, number) = name::parse_deployment(name).map_err(|error| error::invalid_field("name", error))?;
        Ok((self.project(&id)?, number))
    }
}

fn find<'a>(
    project: &Project,
    state: &'a brain_core::state::ProjectState,
    number: u64,
) -> Result<&'a Deployment, Status> {
    state.deployment(number).ok_or_else(|| error::not_found(&name::deployment(&project.id, number)))
}

fn refused(project: &Project, failure: CommandError) -> Status {
    let CommandError::Refused(refusal) = failure else { return command_status(failure) };
    let message = refusal.to_string();
    match refusal {
        Refusal::UnknownRelease(tag) => error::not_found(&name::release(&project.id, &tag)),
        Refusal::NoImage { image } => error::precondition("IMAGE_NOT_AVAILABLE", &image, message),
        Refusal::InProgress { number, .. } => {
            let first = name::deployment(&project.id, number);
            error::precondition("DEPLOYMENT_IN_PROGRESS", &first, format!("{first}: {message}"))
        }
    }
}

async fn watch(project: Arc<Project>, number: u64, sender: mpsc::Sender<Result<WatchDeploymentResponse, Status>>) {
    let mut news = project.subscribe();
    let mut last = None;
    loop {
        let (deployment, ended) = {
            let inner = project.read();
            let Some(deployment) = inner.state.deployment(number) else { return };
            (deployment_to_proto(&inner.state.spec, deployment), deployment.phase.is_final())
        };
        if last.as_ref() != Some(&deployment) {
            last = Some(deployment.clone());
            let message = WatchDeploymentResponse { deployment: Some(deployment) };
            if sender.send(Ok(message)).await.is_err() {
                return;
            }
        }
        if ended {
            return;
        }
        match news.recv().await {
            Ok(_) => {}
            Err(RecvError::Lagged(_)) => {
                let _ = sender.send(Err(cut_off(&name::deployment(&project.id, number)))).await;
                return;
            }
            Err(RecvError::Closed) => return,
        }
    }
}
