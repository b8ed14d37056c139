//! The story: a release reaches production share by share, and a bad one is taken back. Told as it is seen in the API, from the
//! board's own lines; what is not seen there fails it.

use super::{
    hosts,
    house::{IMAGES, Local, version},
    project,
};
use crate::{
    client::{Client, ask},
    exit::Exit,
    failure::Failure,
    output::Output,
};
use brain_proto::v1::{
    CreateDeploymentRequest, Deployment, DeploymentPhase, FailureCause, GetDeploymentRequest, GetProjectRequest,
    ListDeploymentsRequest, ListReleasesRequest, ListReleasesResponse, create_deployment_request::What,
};
use narrator::Narrator;
use std::time::Duration;
use tokio::time::Instant;

mod narrator;

/// Longest time of the story: it takes less than a minute on a machine that has nothing else to do.
const LONGEST: Duration = Duration::from_secs(240);
/// Pause between two looks at what no watch tells.
const PAUSE: Duration = Duration::from_millis(100);
/// Releases that are read; there are three.
const RELEASES: u32 = 10;
/// Who asks for deployments. The seed gives him that part.
const WHO: &str = "paolo";

struct Story<'a> {
    client: Client,
    local: &'a Local,
    narrator: Narrator,
}

/// Plays it.
pub(super) async fn play(client: Client, local: &Local, out: Output) -> Result<(), Failure> {
    let request = ListDeploymentsRequest { parent: project::NAME.to_owned(), page_size: 1, page_token: String::new() };
    let before = client.deployments().list_deployments(ask(request)).await?.into_inner().deployments;
    if !before.is_empty() {
        let why = "the story begins where nothing was deployed yet, and here project user was";
        return Err(Failure::usage(format!("{why}\n  next: leave --data out, or name an empty folder by it")));
    }
    let narrator = Narrator::new(&client, out, Instant::now() + LONGEST);
    let mut story = Story { client, local, narrator };
    story.what_is_known().await?;
    story.the_first_deployment().await?;
    story.share_by_share().await?;
    story.a_bad_version().await?;
    story.narrator.end()
}

impl Story<'_> {
    async fn what_is_known(&mut self) -> Result<(), Failure> {
        self.narrator.chapter(
            "What is known: git has the tags 0.0.4 and 0.0.5 and a commit more on master, the registry an image of 0.0.4 only.",
        )?;
        let untagged = format!("{IMAGES} has commits on master that are not yet tagged");
        let waiting = format!("{IMAGES}:0.0.5 waiting on docker image");
        self.narrator.until("what is known of user", |board| board.says(&untagged) && board.says(&waiting)).await?;
        let ListReleasesResponse { releases, head, .. } =
            self.released(&["0.0.5 <not yet available>", "0.0.4 flowcommerce/user:0.0.4"]).await?;
        self.narrator.line("tag     docker image")?;
        for release in &releases {
            self.narrator.line(&release.summary.replacen(' ', "   ", 1))?;
        }
        let label = head.map(|head| head.label).unwrap_or_default();
        self.narrator.line(&format!("master: {label}"))?;
        self.narrator.must(label.starts_with("0.0.5-"), "the head to be after 0.0.5")
    }

    async fn the_first_deployment(&mut self) -> Result<(), Failure> {
        self.narrator.chapter(
            "Deploy(\"flowcommerce/user:0.0.4\"): load balancer, instances and cluster are set up, then its tasks start.",
        )?;
        let name = self.deploy("0.0.4").await?;
        self.ended(&name, "0.0.4", DeploymentPhase::Succeeded).await?;
        self.narrator.until("0.0.4 to serve", |board| board.production() == "0.0.4: 100%").await
    }

    async fn share_by_share(&mut self) -> Result<(), Failure> {
        self.narrator.chapter(
            "A build brings the image of 0.0.5. Deploy(\"flowcommerce/user:0.0.5\"): one task after the other takes over.",
        )?;
        self.bring("0.0.5", false)?;
        self.released(&["0.0.5 flowcommerce/user:0.0.5", "0.0.4 flowcommerce/user:0.0.4"]).await?;
        let name = self.deploy("0.0.5").await?;
        self.ended(&name, "0.0.5", DeploymentPhase::Succeeded).await?;
        self.narrator.until("0.0.5 to serve", |board| board.production() == "0.0.5: 100%").await?;
        for share in ["0.0.4: 67% 0.0.5: 33%", "0.0.4: 33% 0.0.5: 67%"] {
            self.narrator.must_have_shown(share)?;
        }
        self.narrator.must_have_said(&format!("{IMAGES}:0.0.5 deploy is in process"))
    }

    async fn a_bad_version(&mut self) -> Result<(), Failure> {
        self.narrator.chapter(
            "A build brings 0.0.6, whose tasks crash. Deploy(\"flowcommerce/user:0.0.6\"): it is noticed, and taken back.",
        )?;
        self.bring("0.0.6", true)?;
        let there = ["0.0.6 flowcommerce/user:0.0.6", "0.0.5 flowcommerce/user:0.0.5", "0.0.4 flowcommerce/user:0.0.4"];
        self.released(&there).await?;
        let name = self.deploy("0.0.6").await?;
        let deployment = self.ended(&name, "0.0.6", DeploymentPhase::Failed).await?;
        let failed = format!("{IMAGES}:0.0.6 deploy failed: ");
        self.narrator.until("0.0.6 to have failed", |board| board.says(&failed)).await?;
        let by_version = deployment.failure_cause() == FailureCause::Version;
        self.narrator.must(by_version, "the version to be what failed")?;
        self.narrator.must_have_said(&format!("{IMAGES}:0.0.6 deploy failed and is rolled back: "))?;
        self.narrator.must_never_have_served("0.0.6")?;
        self.narrator.until("0.0.5 to serve alone", |board| board.production() == "0.0.5: 100%").await?;
        self.quarantined().await
    }

    /// The bad version is quarantined, on the board and in the API, and so it is refused.
    async fn quarantined(&mut self) -> Result<(), Failure> {
        let sentence = format!("{IMAGES}:0.0.6 is quarantined");
        self.narrator.until("0.0.6 to be quarantined", |board| board.says(&sentence)).await?;
        let request = GetProjectRequest { name: project::NAME.to_owned() };
        let project = self.client.projects().get_project(ask(request)).await?.into_inner().project;
        let quarantines = project.and_then(|project| project.holds).unwrap_or_default().quarantines;
        let held = quarantines.iter().any(|held| held.version == "0.0.6");
        self.narrator.must(held, "the project to hold 0.0.6")?;
        self.narrator.chapter("Deploy(\"flowcommerce/user:0.0.6\") once more: it is refused.")?;
        match self.deploy("0.0.6").await {
            Ok(_) => self.narrator.must(false, "a quarantined version to be refused"),
            Err(refused) if refused.exit == Exit::Refused && refused.text.contains("VERSION_QUARANTINED") => {
                refused.text.lines().try_for_each(|line| self.narrator.line(line))
            }
            Err(other) => Err(other),
        }
    }

    /// A build brings a version.
    fn bring(&self, tag: &str, bad: bool) -> Result<(), Failure> {
        let brought = hosts::bring(&self.local.forge, &self.local.cloud, &version(tag, bad));
        brought.map(drop).map_err(|why| Failure::new(Exit::DeploymentFailed, why))
    }

    async fn deploy(&self, tag: &str) -> Result<String, Failure> {
        let request = CreateDeploymentRequest {
            what: Some(What::Image(format!("{IMAGES}:{tag}"))),
            requested_by: WHO.to_owned(),
            ..CreateDeploymentRequest::default()
        };
        let answer = self.client.deployments().create_deployment(ask(request)).await?.into_inner();
        answer.deployment.map(|deployment| deployment.name).ok_or_else(|| Failure::odd("deployment"))
    }

    /// Waits until these are the releases, newest first.
    async fn released(&mut self, summaries: &[&str]) -> Result<ListReleasesResponse, Failure> {
        let parent = project::NAME.to_owned();
        let request = ListReleasesRequest { parent, page_size: RELEASES, page_token: String::new() };
        loop {
            let answer = self.client.projects().list_releases(ask(request.clone())).await?.into_inner();
            if answer.releases.iter().map(|release| release.summary.as_str()).eq(summaries.iter().copied()) {
                return Ok(answer);
            }
            self.narrator.look_on(&format!("the releases {summaries:?}"), PAUSE).await?;
        }
    }

    /// Waits for a deployment's end, which must be this one.
    async fn ended(&mut self, name: &str, tag: &str, phase: DeploymentPhase) -> Result<Deployment, Failure> {
        let request = GetDeploymentRequest { name: name.to_owned() };
        loop {
            let answer = self.client.deployments().get_deployment(ask(request.clone())).await?.into_inner();
            let deployment = answer.deployment.ok_or_else(|| Failure::odd("deployment"))?;
            if deployment.end_time.is_some() {
                let as_wished = deployment.phase() == phase;
                let how = format!("{tag} to end as {}, not {}", phase.as_str_name(), deployment.phase().as_str_name());
                self.narrator.must(as_wished, &how)?;
                return Ok(deployment);
            }
            self.narrator.look_on(&format!("the end of {name}"), PAUSE).await?;
        }
    }
}
