//! Follows a deployment closely enough to strike right after a step. What is asserted is seen through other clients.

use anyhow::{Context, Result};
use brain_proto::v1::{
    Deployment, WatchDeploymentRequest, WatchDeploymentResponse, deployment_service_client::DeploymentServiceClient,
};
use tonic::{Streaming, transport::Endpoint};

/// A deployment's changes.
#[derive(Debug)]
pub struct Following(Streaming<WatchDeploymentResponse>);

impl Following {
    /// Follows the deployment `name` at the server `HOST:PORT`.
    pub async fn begin(address: &str, name: &str) -> Result<Self> {
        let channel = Endpoint::from_shared(format!("http://{address}"))?.connect().await?;
        let request = WatchDeploymentRequest { name: name.to_owned() };
        Ok(Self(DeploymentServiceClient::new(channel).watch_deployment(request).await?.into_inner()))
    }

    /// Waits until at least `steps` steps are done; answers how many are, or `None` when the deployment has ended.
    pub async fn steps_done(&mut self, steps: usize) -> Result<Option<usize>> {
        loop {
            let Some(message) = self.0.message().await? else { return Ok(None) };
            let deployment = message.deployment.context("no deployment")?;
            let done = done(&deployment);
            if deployment.end_time.is_some() {
                return Ok(None);
            }
            if done >= steps {
                return Ok(Some(done));
            }
        }
    }
}

fn done(deployment: &Deployment) -> usize {
    let steps = deployment.steps.iter().chain(&deployment.rollback_steps);
    steps.filter(|step| step.end_time.is_some()).count()
}
