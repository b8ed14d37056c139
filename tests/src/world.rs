//! The whole world of a test: lab, registry, git host, server, watcher and deployer, and the seed's project `user` in it.

use crate::{
    brain::{self, Server},
    calls::Caller,
    git_host::{GitHost, Repository},
    lab::Lab,
    registry::Registry,
    sandbox::{Process, Sandbox},
    wait::eventually,
};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

/// Everything that runs.
#[derive(Debug)]
#[allow(missing_docs, reason = "named by the types")]
pub struct World {
    pub lab: Lab,
    pub registry: Registry,
    pub git: GitHost,
    pub user: Repository,
    pub server: Server,
    pub agents: Sandbox,
    pub watcher: Process,
    pub deployer: Process,
}

impl World {
    /// The seed's beginning: tags 0.0.4 and 0.0.5 and one more commit on master; an image of 0.0.4 only.
    pub async fn start() -> Result<Self> {
        Self::start_with(Server::start().await?, Sandbox::new()?, "100ms").await
    }

    /// The same on a server of the test's own.
    pub async fn start_on(server: Server) -> Result<Self> {
        Self::start_with(server, Sandbox::new()?, "100ms").await
    }

    /// The same at the pace that brain has by itself: production observed every 15 s, steps looked at every 2 s at most.
    pub async fn start_at_ease() -> Result<Self> {
        Self::start_with(Server::start_looking("300ms", "15s").await?, Sandbox::new()?, "2s").await
    }

    /// The same with programs that export their spans to a collector.
    pub async fn start_traced(collector: &str) -> Result<Self> {
        let agents = Sandbox::with(&brain::traced(collector))?;
        Self::start_with(Server::start_traced(collector).await?, agents, "100ms").await
    }

    async fn start_with(server: Server, agents: Sandbox, step: &str) -> Result<Self> {
        let (lab, registry, git) = tokio::try_join!(Lab::start(), Registry::start(), GitHost::start())?;
        let user = git.repository("user").await?;
        user.tag("0.0.4").await?;
        user.commit("more").await?;
        user.annotated_tag("0.0.5").await?;
        user.commit("even more").await?;
        registry.push("flowcommerce/user", "0.0.4", "0.0.4").await?;
        let watcher = brain::watcher(&agents, "watcher-1", &server.address(), &registry.endpoint())?;
        let deployer = brain::deployer_looking(&agents, "deployer-1", &server.address(), &lab.endpoint(), step)?;
        Ok(Self { lab, registry, git, user, server, agents, watcher, deployer })
    }

    /// Calls the server's API.
    #[must_use]
    pub fn caller(&self) -> Caller {
        self.server.caller()
    }

    /// The definition of project `user`, in the API's JSON.
    #[must_use]
    pub fn definition(&self) -> Value {
        json!({
            "name": "projects/user",
            "source": {"gitUrl": self.user.url, "branch": "master"},
            "imageRepository": "flowcommerce/user",
            "target": {"region": "us-east-1", "hostPort": 6041, "containerPort": 9000, "desiredCount": 3}
        })
    }

    /// Creates project `user`.
    pub async fn create_project(&self) -> Result<Value> {
        self.create(self.definition()).await
    }

    /// Creates a project.
    pub async fn create(&self, project: Value) -> Result<Value> {
        self.caller().grpcurl("ProjectService/CreateProject", &json!({"project": project})).await
    }

    /// The releases' lines, and the head's label.
    pub async fn releases(&self) -> Result<(Vec<String>, String)> {
        let answer = self.caller().grpcurl("ProjectService/ListReleases", &json!({"parent": "projects/user"})).await?;
        let releases = answer["releases"].as_array().cloned().unwrap_or_default();
        let lines = releases.iter().map(|release| text(&release["summary"])).collect();
        Ok((lines, text(&answer["head"]["label"])))
    }

    /// Waits until an image is known.
    pub async fn image_known(&self, tag: &str) -> Result<()> {
        let line = format!("{tag} flowcommerce/user:{tag}");
        eventually(&format!("release {line:?}"), || async {
            let (lines, _) = self.releases().await?;
            ensure!(lines.contains(&line), "{lines:?}");
            Ok(())
        })
        .await
    }

    /// Asks for a deployment of an image; answers the deployment's name.
    pub async fn deploy(&self, image: &str) -> Result<String> {
        let request = json!({"image": image, "requestedBy": "paolo"});
        let answer = self.caller().grpcurl("DeploymentService/CreateDeployment", &request).await?;
        Ok(text(&answer["deployment"]["name"]))
    }

    /// The same, with what set-up may do.
    pub async fn deploy_allowing(&self, image: &str, allowed: Value) -> Result<String> {
        let mut request = json!({"image": image, "requestedBy": "paolo"});
        if let (Some(request), Some(allowed)) = (request.as_object_mut(), allowed.as_object()) {
            request.extend(allowed.clone());
        }
        let answer = self.caller().grpcurl("DeploymentService/CreateDeployment", &request).await?;
        Ok(text(&answer["deployment"]["name"]))
    }

    /// A deployment.
    pub async fn deployment(&self, name: &str) -> Result<Value> {
        let answer = self.caller().grpcurl("DeploymentService/GetDeployment", &json!({"name": name})).await?;
        Ok(answer["deployment"].clone())
    }

    /// Waits until a deployment has ended; answers it.
    pub async fn ended(&self, name: &str) -> Result<Value> {
        let patience = std::time::Duration::from_secs(120);
        let what = format!("the end of {name}");
        let end = crate::wait::within(patience, &what, || async {
            let deployment = self.deployment(name).await?;
            ensure!(
                deployment["endTime"].is_string(),
                "{}, waiting: {}, {}",
                deployment["headline"],
                deployment["waiting"],
                deployment["reason"]
            );
            Ok(deployment)
        });
        end.await.with_context(|| self.agents.logs() + &self.server.sandbox().logs())
    }

    /// Waits until a deployment has succeeded.
    pub async fn succeeded(&self, name: &str) -> Result<Value> {
        let deployment = self.ended(name).await?;
        if deployment["phase"] != "DEPLOYMENT_PHASE_SUCCEEDED" {
            bail!("{name} did not succeed: {}\n{}", deployment["reason"], self.agents.logs());
        }
        Ok(deployment)
    }

    /// Creates the project and brings 0.0.4 into production.
    pub async fn first_deployment(&self) -> Result<()> {
        self.first_deployment_of(self.definition()).await.map(drop)
    }

    /// Creates project `user` by this definition and brings 0.0.4 into production; answers the deployment.
    pub async fn first_deployment_of(&self, project: Value) -> Result<Value> {
        self.create(project).await?;
        self.image_known("0.0.4").await?;
        let first = self.deploy("flowcommerce/user:0.0.4").await?;
        self.succeeded(&first).await
    }

    /// Pushes the image of 0.0.5 and asks for its deployment; answers the deployment's name.
    pub async fn begin_shift(&self) -> Result<String> {
        self.registry.push("flowcommerce/user", "0.0.5", "0.0.5").await?;
        self.image_known("0.0.5").await?;
        self.deploy("flowcommerce/user:0.0.5").await
    }

    /// The line of what runs.
    pub async fn production(&self) -> Result<String> {
        let request = json!({"name": "projects/user/production"});
        let answer = self.caller().buf("ProductionService/GetProduction", &request).await?;
        Ok(text(&answer["production"]["summary"]))
    }

    /// Waits until that is the line of what runs.
    pub async fn runs(&self, summary: &str) -> Result<()> {
        eventually(&format!("production reads {summary}"), || async {
            let production = self.production().await?;
            ensure!(production == summary, "{production:?}");
            Ok(())
        })
        .await
    }

    /// Fails unless the floor held from the first sample with three healthy tasks on, and no live task lost its host.
    pub async fn unharmed(&self) -> Result<()> {
        let record = self.lab.record().await?;
        ensure!(record["live_tasks_killed"] == json!([]), "live tasks killed: {}", record["live_tasks_killed"]);
        let samples = record["samples"].as_array().cloned().unwrap_or_default();
        let totals = samples.iter().filter_map(|sample| sample["elbs"]["user-ecs-lb"]["in_service_total"].as_u64());
        let fewest = totals.skip_while(|total| *total < 3).min();
        ensure!(fewest.is_some_and(|fewest| fewest >= 3), "fewest healthy tasks: {fewest:?}");
        Ok(())
    }

    /// Stops the tasks of a version's service by hand, "0-0-5" of 0.0.5.
    pub async fn stop_tasks_of(&self, version: &str) -> Result<()> {
        let stop = format!(
            "e = boto3.client('ecs'); c = 'user-ecs-cluster'; \
             [s] = [s for s in e.list_services(cluster=c)['serviceArns'] if '{version}' in s]; \
             [e.stop_task(cluster=c, task=t) for t in e.list_tasks(cluster=c, serviceName=s)['taskArns']]"
        );
        self.lab.boto3(&stop).await
    }

    /// Kills the deployer (kill -9) and starts another process of the same name.
    pub async fn replace_deployer(&mut self) -> Result<()> {
        self.replace_deployer_with("").await
    }

    /// The same, with further settings.
    pub async fn replace_deployer_with(&mut self, settings: &str) -> Result<()> {
        self.deployer.kill().await?;
        let (server, lab) = (self.server.address(), self.lab.endpoint());
        self.deployer = brain::deployer_with(&self.agents, "deployer-1", &server, &lab, settings)?;
        Ok(())
    }
}

/// What a deployment or a project tells of drift, as "remedy resource: difference".
#[must_use]
pub fn drift(of: &Value) -> Vec<String> {
    let line = |drift: &Value| {
        let remedy = text(&drift["remedy"]).replace("DRIFT_REMEDY_", "").to_lowercase();
        format!("{remedy} {}: {}", text(&drift["resource"]), text(&drift["difference"]))
    };
    of["drift"].as_array().into_iter().flatten().map(line).collect()
}

/// Whether that drift is these lines after `remedy`, as far as they are given.
#[must_use]
pub fn tells(drift: &[String], remedy: &str, expected: &[&str]) -> bool {
    let begins = |(line, expected): (&String, &&str)| line.starts_with(&format!("{remedy} {expected}"));
    drift.len() == expected.len() && drift.iter().zip(expected).all(begins)
}

/// A JSON string's text.
#[must_use]
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
