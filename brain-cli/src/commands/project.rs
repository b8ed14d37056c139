//! `brain project`: definitions of projects.

use super::{apply, holds::held, releases};
use crate::{
    client::ask,
    definition,
    exit::Exit,
    failure::Failure,
    name::{project, project_id, short},
    output::{table::Rows, time},
    session::Session,
};
use brain_proto::v1::{
    self, GetProjectRequest, GetWebhooksRequest, ListProjectsRequest, ListProjectsResponse, Source, Target,
};
use clap::{Args, Subcommand};

mod delete;
mod edit;

/// Projects of one page.
const PAGE: u32 = 1_000;

/// Make, show, change and delete projects
#[derive(Debug, Subcommand)]
pub(crate) enum Project {
    Create(Create),
    Get(Get),
    /// List all projects
    #[command(after_help = "\
Examples:
  brain project list
  brain project list -o json | jq -r '.projects[].name'")]
    List,
    Edit(edit::Edit),
    Delete(delete::Delete),
    Webhooks(Webhooks),
}

/// Make a project from options; `brain apply` makes one from a file
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  brain project create user \\
    --git-url https://github.com/flowcommerce/user.git --image-repository flowcommerce/user \\
    --region us-east-1 --container-port 9000 --desired-count 3 --health-check-path /_internal_/healthcheck

Everything else is set in a file: `brain project get user --file` prints one to begin with.")]
pub(crate) struct Create {
    /// Id: lower-case letters, digits and hyphens
    project: String,
    /// Clone address over HTTP(S)
    #[arg(long)]
    git_url: String,
    /// Branch whose head is watched [default: master]
    #[arg(long, default_value = "", hide_default_value = true)]
    branch: String,
    /// Image repository: flowcommerce/user, ghcr.io/acme/user
    #[arg(long)]
    image_repository: String,
    /// AWS region
    #[arg(long)]
    region: String,
    /// Port in the container
    #[arg(long)]
    container_port: u32,
    /// Port on the instance [default: one that brain chooses]
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    host_port: u32,
    /// Healthy tasks at full strength, one per instance
    #[arg(long)]
    desired_count: u32,
    /// Path that answers 200 when a task is healthy [default: a TCP connection suffices]
    #[arg(long, default_value = "", hide_default_value = true)]
    health_check_path: String,
}

/// Show a project: where it comes from, where it runs, and what holds it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  brain project get user
  brain project get user --file > user.toml    its definition, for `brain apply`
  brain project get user -o yaml")]
pub(crate) struct Get {
    /// Project
    project: String,
    /// Print the definition as a file for `brain apply`
    #[arg(long)]
    file: bool,
}

/// Show the paths of a project's webhooks, on the server's HTTP port
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  brain project webhooks user")]
pub(crate) struct Webhooks {
    /// Project
    project: String,
}

impl Project {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        match self {
            Self::Create(create) => create.run(session).await,
            Self::Get(get) => get.run(session).await,
            Self::List => list(session).await,
            Self::Edit(edit) => edit.run(session).await,
            Self::Delete(delete) => delete.run(session).await,
            Self::Webhooks(webhooks) => webhooks.run(session).await,
        }
    }
}

impl Create {
    async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let Self {
            project: typed,
            git_url,
            branch,
            image_repository,
            region,
            container_port,
            host_port,
            desired_count,
            health_check_path,
        } = self;
        let source = Source { git_url, branch, ..Default::default() };
        let target =
            Target { region, container_port, host_port, desired_count, health_check_path, ..Default::default() };
        let project = v1::Project {
            name: project(&typed)?,
            source: Some(source),
            image_repository,
            target: Some(target),
            ..Default::default()
        };
        let answer = apply::create(session, project).await?;
        if session.out.is_for_people() {
            let project = answer.project.as_ref().ok_or_else(|| Failure::odd("project"))?;
            session.out.lines(described(project))?;
        } else {
            session.out.message("CreateProjectResponse", &answer)?;
        }
        Ok(Exit::Done)
    }
}

impl Get {
    async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let request = GetProjectRequest { name: project(&self.project)? };
        let answer = session.client.projects().get_project(ask(request)).await?.into_inner();
        let project = answer.project.as_ref().ok_or_else(|| Failure::odd("project"))?;
        if self.file {
            session.out.line(definition::to_toml(project).trim_end())?;
        } else if session.out.is_for_people() {
            session.out.lines(described(project))?;
        } else {
            session.out.message("GetProjectResponse", &answer)?;
        }
        Ok(Exit::Done)
    }
}

async fn list(session: &Session) -> Result<Exit, Failure> {
    let mut projects = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ask(ListProjectsRequest { page_size: PAGE, page_token });
        let page = session.client.projects().list_projects(request).await?.into_inner();
        projects.extend(page.projects);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let out = session.out;
    if !out.is_for_people() {
        out.message("ListProjectsResponse", &ListProjectsResponse { projects, next_page_token: page_token })?;
        return Ok(Exit::Done);
    }
    let mut rows = Rows::new(&["PROJECT", "IMAGE REPOSITORY", "REGION", "TASKS", "HEAD", "HELD"]);
    for project in &projects {
        let Target { region, desired_count, .. } = project.target.clone().unwrap_or_default();
        let head = project.head.as_ref().map(|head| head.label.clone()).unwrap_or_default();
        let held = project.holds.as_ref().map(|holds| held::lines(holds).len()).filter(|count| *count > 0);
        let held = held.map(|count| count.to_string()).unwrap_or_default();
        let id = short(&project.name).to_owned();
        rows.add([id, project.image_repository.clone(), region, desired_count.to_string(), head, held]);
    }
    if rows.is_empty() {
        out.line("no project yet\n  next: brain apply -f user.toml, or brain project create --help")?;
    } else {
        out.lines(rows.lines(&out))?;
    }
    Ok(Exit::Done)
}

impl Webhooks {
    async fn run(self, session: &Session) -> Result<Exit, Failure> {
        project_id(&self.project)?;
        let request = GetWebhooksRequest { name: project(&self.project)? };
        let answer = session.client.projects().get_webhooks(ask(request)).await?.into_inner();
        if session.out.is_for_people() {
            session.out.line(format!("GitHub      {}", answer.github))?;
            session.out.line(format!("Docker Hub  {}", answer.docker_hub))?;
            session.out.line(format!("registry    {}", answer.registry))?;
        } else {
            session.out.message("GetWebhooksResponse", &answer)?;
        }
        Ok(Exit::Done)
    }
}

/// A project for people.
fn described(project: &v1::Project) -> Vec<String> {
    let Source { git_url, branch, .. } = project.source.clone().unwrap_or_default();
    let target = project.target.clone().unwrap_or_default();
    let mut lines = vec![
        format!("{}  {}", short(&project.name), project.image_repository),
        format!("  source    {git_url}, {branch}"),
        format!(
            "  target    {} tasks in {}, port {} → {}",
            target.desired_count, target.region, target.host_port, target.container_port
        ),
    ];
    if let Some(time) = project.create_time {
        lines.push(format!("  made      {}", time::date(Some(time))));
    }
    let automatic = project.deploy.is_some_and(|deploy| deploy.automatic);
    lines.push(format!("  deploys   {}", if automatic { "the newest version by itself" } else { "when people ask" }));
    for dependency in &project.depends_on {
        let version =
            if dependency.version.is_empty() { String::new() } else { format!(" {} or newer", dependency.version) };
        lines.push(format!("  needs     {}{version}", short(&dependency.project)));
    }
    for line in project.head.iter().flat_map(releases::told) {
        lines.push(match line.strip_prefix("head: ") {
            Some(head) => format!("  head      {head}"),
            None => format!("          {line}"),
        });
    }
    lines.extend(project.holds.iter().flat_map(held::lines).map(|line| format!("  held      {line}")));
    let drift = project.drift.iter();
    lines.extend(drift.map(|drift| format!("  drift     {}: {}", drift.resource, drift.difference)));
    if let Some(unobserved) = &project.production_unobserved {
        lines.push(format!("  unseen    {}", unobserved.reason));
    }
    lines
}
