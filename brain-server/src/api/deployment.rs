//! DeploymentService.

use self::request::{Asked, What, barrier, refused};
use super::{Api, Watch, cut_off, page};
use crate::project::Project;
use brain_core::{
    deployment::{Deployment, control::Control},
    state::{DryRun, Wish},
};
use brain_proto::{
    convert::{deployment_to_proto, plan_to_proto, spec_to_proto},
    error, name,
    v1::{
        ApproveDeploymentRequest, ApproveDeploymentResponse, CancelDeploymentRequest, CancelDeploymentResponse,
        CreateDeploymentRequest, CreateDeploymentResponse, GetDeploymentRequest, GetDeploymentResponse,
        ListDeploymentsRequest, ListDeploymentsResponse, PauseDeploymentRequest, PauseDeploymentResponse, PlanAnswer,
        PlanDeploymentRequest, PlanDeploymentResponse, PlanRequest, PromoteDeploymentRequest,
        PromoteDeploymentResponse, ResumeDeploymentRequest, ResumeDeploymentResponse, RollbackProjectRequest,
        RollbackProjectResponse, WatchDeploymentRequest, WatchDeploymentResponse, create_deployment_request,
        deployment_service_server::DeploymentService, plan_deployment_request,
    },
};
use std::sync::Arc;
use tokio::sync::{broadcast::error::RecvError, mpsc};
use tonic::{Request, Response, Status};

pub(super) mod request;

#[tonic::async_trait]
impl DeploymentService for Api {
    async fn create_deployment(
        &self,
        request: Request<CreateDeploymentRequest>,
    ) -> Result<Response<CreateDeploymentResponse>, Status> {
        let CreateDeploymentRequest {
            parent,
            what,
            request_id,
            requested_by,
            rollout_policy,
            outside_windows,
            repair_drift,
            adopt,
            reason,
        } = request.into_inner();
        let what = what.map(|what| match what {
            create_deployment_request::What::Version(version) => What::Version(version),
            create_deployment_request::What::Image(image) => What::Image(image),
        });
        let asked = Asked {
            parent,
            what,
            request_id,
            requested_by,
            reason,
            rollout_policy,
            outside_windows,
            repair_drift,
            adopt,
        };
        let (project, wish) = self.wanted(asked)?;
        let deployment = project.deploy(wish).await.map_err(|error| refused(&project, error))?;
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

    async fn plan_deployment(
        &self,
        request: Request<PlanDeploymentRequest>,
    ) -> Result<Response<PlanDeploymentResponse>, Status> {
        let PlanDeploymentRequest { parent, what, rollout_policy, outside_windows, repair_drift, adopt } =
            request.into_inner();
        let what = what.map(|what| match what {
            plan_deployment_request::What::Version(version) => What::Version(version),
            plan_deployment_request::What::Image(image) => What::Image(image),
        });
        let (project, wish) = self.wanted(Asked {
            parent,
            what,
            rollout_policy,
            outside_windows,
            repair_drift,
            adopt,
            ..Asked::default()
        })?;
        let wish = Wish { unseen: !project.production_is_current(), ..wish };
        let (planned, spec) = {
            let state = &project.read().state;
            (state.dry_run(wish, &self.shared.moment()), spec_to_proto(&state.spec))
        };
        let DryRun { plan, barriers } = planned.map_err(|refusal| refused(&project, refusal.into()))?;
        let barriers = barriers.iter().map(|refusal| barrier(&project, refusal)).collect();
        let plan = Some(plan_to_proto(&plan));
        let request = PlanRequest { id: 0, project: Some(spec), plan: plan.clone() };
        let (steps, note) = match self.shared.deployers.plan(&project.id, request).await {
            Ok(PlanAnswer { id: _, steps, note }) => (steps, note),
            Err(why) => (Vec::new(), why.to_owned()),
        };
        Ok(Response::new(PlanDeploymentResponse { plan, steps, note, barriers }))
    }

    async fn pause_deployment(
        &self,
        request: Request<PauseDeploymentRequest>,
    ) -> Result<Response<PauseDeploymentResponse>, Status> {
        let PauseDeploymentRequest { name, requested_by, reason } = request.into_inner();
        let deployment = self.control(&name, requested_by, reason, Control::Pause).await?;
        Ok(Response::new(PauseDeploymentResponse { deployment: Some(deployment) }))
    }

    async fn resume_deployment(
        &self,
        request: Request<ResumeDeploymentRequest>,
    ) -> Result<Response<ResumeDeploymentResponse>, Status> {
        let ResumeDeploymentRequest { name, requested_by, reason } = request.into_inner();
        let deployment = self.control(&name, requested_by, reason, Control::Resume).await?;
        Ok(Response::new(ResumeDeploymentResponse { deployment: Some(deployment) }))
    }

    async fn promote_deployment(
        &self,
        request: Request<PromoteDeploymentRequest>,
    ) -> Result<Response<PromoteDeploymentResponse>, Status> {
        let PromoteDeploymentRequest { name, requested_by, reason, to_end, step } = request.into_inner();
        let step = step.checked_sub(1).and_then(|step| usize::try_from(step).ok());
        let deployment = self.control(&name, requested_by, reason, Control::Promote { step, to_end }).await?;
        Ok(Response::new(PromoteDeploymentResponse { deployment: Some(deployment) }))
    }

    async fn cancel_deployment(
        &self,
        request: Request<CancelDeploymentRequest>,
    ) -> Result<Response<CancelDeploymentResponse>, Status> {
        let CancelDeploymentRequest { name, requested_by, reason, rollback } = request.into_inner();
        let deployment = self.control(&name, requested_by, reason, Control::Cancel { rollback }).await?;
        Ok(Response::new(CancelDeploymentResponse { deployment: Some(deployment) }))
    }

    async fn approve_deployment(
        &self,
        request: Request<ApproveDeploymentRequest>,
    ) -> Result<Response<ApproveDeploymentResponse>, Status> {
        let ApproveDeploymentRequest { name, requested_by, reason } = request.into_inner();
        let deployment = self.approve(&name, requested_by, reason).await?;
        Ok(Response::new(ApproveDeploymentResponse { deployment: Some(deployment) }))
    }

    async fn rollback_project(
        &self,
        request: Request<RollbackProjectRequest>,
    ) -> Result<Response<RollbackProjectResponse>, Status> {
        let RollbackProjectRequest { parent, version, request_id, requested_by, reason } = request.into_inner();
        let mut faults = request::Faults::default();
        faults.request(&request_id, &requested_by);
        faults.reason(&reason);
        faults.check(version.len() <= request::TAG_MAX, "version", "must be at most 250 characters");
        let id = faults.project("parent", &parent);
        let project = self.project(&faults.end(id)?)?;
        let wish = Wish { tag: version, requested_by, request_id, ..Wish::default() };
        let deployment = project.roll_back(wish, reason).await.map_err(|error| refused(&project, error))?;
        let deployment = Some(deployment_to_proto(&project.read().state.spec, &deployment));
        Ok(Response::new(RollbackProjectResponse { deployment }))
    }
}

fn find<'a>(
    project: &Project,
    state: &'a brain_core::state::ProjectState,
    number: u64,
) -> Result<&'a Deployment, Status> {
    state.deployment(number).ok_or_else(|| error::not_found(&name::deployment(&project.id, number)))
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
