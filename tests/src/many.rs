//! Many projects that one deployer serves at the same time, each with images of its releases, on a lab.

use crate::{
    brain::{self, Server},
    lab::Lab,
    load::{self, LoadWatcher},
    sandbox::{Process, Sandbox},
};
use anyhow::{Context, Result, ensure};
use brain_proto::v1::{
    CreateDeploymentRequest, CreateProjectRequest, Deployment, DeploymentPhase, GetDeploymentRequest,
    create_deployment_request::What, deployment_service_client::DeploymentServiceClient,
    project_service_client::ProjectServiceClient,
};
use futures::{StreamExt, TryStreamExt, stream};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tonic::transport::Channel;

/// Requests at the same time.
const AT_ONCE: usize = 64;

/// Server, lab and deployer, and projects `p0`, `p1`, … with one task each.
#[derive(Debug)]
#[allow(missing_docs, reason = "named by the types")]
pub struct Many {
    pub server: Server,
    pub lab: Lab,
    pub deployer: Process,
    agents: Sandbox,
    channel: Channel,
    watcher: LoadWatcher,
    projects: Vec<String>,
}

impl Many {
    /// So many projects. `settings` are further settings of the deployer.
    pub async fn start(count: usize, settings: &str) -> Result<Self> {
        let (server, lab) = tokio::try_join!(Server::start_looking("300ms", "15s"), Lab::start())?;
        let channel = load::connect(&server.address()).await?;
        let projects: Vec<String> = (0..count).map(|number| format!("p{number}")).collect();
        stream::iter(&projects)
            .map(Ok::<_, anyhow::Error>)
            .try_for_each_concurrent(AT_ONCE, |id| {
                let mut client = ProjectServiceClient::new(channel.clone());
                async move {
                    let mut project = load::project(id);
                    project.target.get_or_insert_default().desired_count = 1;
                    client
                        .create_project(CreateProjectRequest { project: Some(project), ..Default::default() })
                        .await?;
                    Ok(())
                }
            })
            .await?;
        let agents = Sandbox::new()?;
        let deployer = brain::deployer_at_ease(&agents, "deployer-1", &server.address(), &lab.endpoint(), settings)?;
        let watcher = LoadWatcher::open(&channel, "loader").await?;
        Ok(Self { server, lab, deployer, agents, channel, watcher, projects })
    }

    /// Another deployer process of the same name takes over, with these settings.
    pub async fn replace_deployer(&mut self, settings: &str) -> Result<()> {
        self.deployer.kill().await?;
        let (server, lab) = (self.server.address(), self.lab.endpoint());
        self.deployer = brain::deployer_at_ease(&self.agents, "deployer-1", &server, &lab, settings)?;
        Ok(())
    }

    /// Every project has an image of this version, and all are deployed at once; answers the deployments, each a success.
    /// `progress` is told how many have ended.
    pub async fn deploy_all(&mut self, version: &str, progress: impl Fn(usize)) -> Result<Vec<Deployment>> {
        let images = self.projects.iter().map(|project| (project.clone(), version.to_owned()));
        let through = self.watcher.send_images(images).await?;
        while self.watcher.acknowledged().await? < through {}
        let request = |id: &String| CreateDeploymentRequest {
            what: Some(What::Image(format!("flowcommerce/{id}:{version}"))),
            requested_by: "load".to_owned(),
            ..CreateDeploymentRequest::default()
        };
        let asked = stream::iter(&self.projects).map(|id| {
            let mut client = DeploymentServiceClient::new(self.channel.clone());
            let request = request(id);
            async move {
                let answer = client.create_deployment(request).await?.into_inner();
                Ok::<_, anyhow::Error>(answer.deployment.context("no deployment")?.name)
            }
        });
        let names: Vec<String> = asked.buffer_unordered(AT_ONCE).try_collect().await?;
        self.ended(names, progress).await
    }

    /// The same, but so many at once: a lab answers no more calls than one process can.
    pub async fn deploy_in_turns(&mut self, version: &str, at_once: usize, progress: impl Fn(usize)) -> Result<()> {
        let all = std::mem::take(&mut self.projects);
        let mut ended = 0;
        for turn in all.chunks(at_once) {
            self.projects = turn.to_vec();
            ended += self.deploy_all(version, |_| {}).await?.len();
            progress(ended);
        }
        self.projects = all;
        Ok(())
    }

    async fn ended(&self, mut names: Vec<String>, progress: impl Fn(usize)) -> Result<Vec<Deployment>> {
        /// As long as AWS's limits make so many deployments take, and a good deal more.
        const PATIENCE: Duration = Duration::from_mins(60);
        let (begun, mut ended) = (Instant::now(), Vec::new());
        let mut client = DeploymentServiceClient::new(self.channel.clone());
        while !names.is_empty() {
            ensure!(
                begun.elapsed() < PATIENCE,
                "{} have not ended, {} first\n{}",
                names.len(),
                names[0],
                self.agents.logs()
            );
            sleep(Duration::from_millis(500)).await;
            let mut left = Vec::new();
            for name in names {
                let answer = client.get_deployment(GetDeploymentRequest { name: name.clone() }).await?.into_inner();
                let deployment = answer.deployment.context("no deployment")?;
                if deployment.end_time.is_none() {
                    left.push(name);
                    continue;
                }
                let good = deployment.phase() == DeploymentPhase::Succeeded;
                ensure!(good, "{name} did not succeed: {}\n{}", deployment.reason, self.agents.logs());
                ended.push(deployment);
            }
            names = left;
            progress(ended.len());
        }
        Ok(ended)
    }
}
