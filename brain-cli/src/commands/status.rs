//! `brain status`: all about one project now, or about everything in a table.

use super::{board, holds::held, line, releases, steer};
use crate::{
    client::ask,
    exit::Exit,
    failure::Failure,
    name::{Typed, latest, short, short_deployment},
    output::{table::Rows, time},
    progress,
    session::Session,
};
use brain_proto::{
    convert::gate_told,
    v1::{
        Deployment, DeploymentPhase, GetDeploymentRequest, GetDeploymentResponse, GetLineRequest, GetProductionRequest,
        GetProjectRequest, ListDeploymentsRequest, ListDeploymentsResponse, Production, Project, StepStatus,
    },
};
use clap::Args;
use console::Style;
use jiff::Timestamp;

/// Deployments that a project's history shows.
const HISTORY: u32 = 5;

/// Show what runs and what happens: of everything, of a project, or of a deployment
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  brain status                   all projects in a table, and the line
  brain status user              what runs, the latest deployment, what holds it, history
  brain status user/3            one deployment, step by step
  brain status user --watch      the latest deployment until it ends: 0 succeeded, 1 failed or rolled back")]
pub(crate) struct Status {
    /// Project, or deployment as user/3 [default: everything]
    #[arg(required_if_eq("watch", "true"))]
    what: Option<String>,
    #[command(flatten)]
    watch: steer::Watch,
}

impl Status {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let Some(what) = self.what else { return everything(session).await };
        let typed = Typed::parse(&what)?;
        if self.watch.is_wanted() {
            let name = typed.deployment(session).await?;
            return progress::follow(session, &name, self.watch.patience()).await;
        }
        if typed.is_numbered() {
            return deployment(session, typed.deployment(session).await?).await;
        }
        project(session, &typed.project()).await
    }
}

async fn everything(session: &Session) -> Result<Exit, Failure> {
    let out = session.out;
    if !out.is_for_people() {
        let projects = board::all(session).await?;
        let message = brain_proto::v1::GetBoardResponse { projects, next_page_token: String::new() };
        out.message("GetBoardResponse", &message)?;
        return Ok(Exit::Done);
    }
    let line = session.client.line().get_line(ask(GetLineRequest {})).await?.into_inner().line;
    if line.as_ref().is_some_and(|line| line.stopped) {
        out.line(Style::new().red().apply_to(line::sentence(line.as_ref())).to_string())?;
    }
    let mut rows = Rows::new(&["PROJECT", "PRODUCTION", "MOST URGENT"]);
    for project in board::all(session).await? {
        let urgent = project.sentences.first().map(|sentence| sentence.text.clone()).unwrap_or_default();
        rows.add([short(&project.project).to_owned(), project.production, urgent]);
    }
    if rows.is_empty() {
        out.line("no project yet\n  next: brain apply -f user.toml, or brain project create --help")?;
    } else {
        out.lines(rows.lines(&out))?;
    }
    Ok(Exit::Done)
}

async fn project(session: &Session, name: &str) -> Result<Exit, Failure> {
    let out = session.out;
    let request = GetProjectRequest { name: name.to_owned() };
    let project = session.client.projects().get_project(ask(request)).await?.into_inner().project;
    let project = project.ok_or_else(|| Failure::odd("project"))?;
    if !out.is_for_people() {
        // What a program asks of a project's state is its latest deployment; the rest has commands of its own.
        let deployments: Vec<Deployment> = latest(session, name).await?.into_iter().collect();
        let message = ListDeploymentsResponse { deployments, next_page_token: String::new() };
        out.message("ListDeploymentsResponse", &message)?;
        return Ok(Exit::Done);
    }
    let request = GetProductionRequest { name: format!("{name}/production") };
    let production = session.client.production().get_production(ask(request)).await?.into_inner().production;
    let request = ListDeploymentsRequest { parent: name.to_owned(), page_size: HISTORY, page_token: String::new() };
    let history = session.client.deployments().list_deployments(ask(request)).await?.into_inner().deployments;
    let now = time::now();
    out.lines(heading(&project))?;
    let mut rows = Rows::new(&["VERSION", "SHARE", "DESIRED", "RUNNING", "HEALTHY", "SERVICE"]);
    for of in production.iter().flat_map(|production| &production.versions) {
        let counts = [of.desired, of.running, of.healthy].map(|count| count.to_string());
        let [desired, running, healthy] = counts;
        rows.add([of.version.clone(), format!("{}%", of.share_percent), desired, running, healthy, of.service.clone()]);
    }
    if rows.is_empty() {
        out.line("nothing is observed to run")?;
    } else {
        out.lines(rows.lines(&out))?;
    }
    out.lines(production.iter().filter_map(unseen))?;
    if let Some(latest) = history.first().filter(|latest| !progress::has_ended(latest)) {
        out.lines(now_doing(latest, now))?;
    }
    let mut rows = Rows::new(&["DEPLOYMENT", "VERSION", "PHASE", "BY", "BEGAN", "WHY"]);
    for deployment in &history {
        rows.add(row(deployment, now));
    }
    if !rows.is_empty() {
        out.line("")?;
        out.lines(rows.lines(&out))?;
    }
    Ok(Exit::Done)
}

fn heading(project: &Project) -> Vec<String> {
    let title = Style::new().bold().apply_to(&project.image_repository);
    let mut lines = vec![format!("{title}  {}", short(&project.name))];
    lines.extend(project.head.iter().flat_map(|head| releases::told(head).into_iter().take(1)));
    lines.extend(project.holds.iter().flat_map(held::lines));
    lines.extend(project.drift.iter().map(|drift| format!("drift: {}: {}", drift.resource, drift.difference)));
    lines.push(String::new());
    lines
}

fn unseen(production: &Production) -> Option<String> {
    let unobserved = production.unobserved.as_ref()?;
    let since = time::date(unobserved.start_time);
    let text = format!("what runs cannot be observed since {since}: {}", unobserved.reason);
    Some(Style::new().yellow().apply_to(text).to_string())
}

/// What a deployment under way does and waits for.
fn now_doing(deployment: &Deployment, now: Timestamp) -> Vec<String> {
    let Deployment { docker_image, headline, waiting, awaits, requested_by, create_time, reason, .. } = deployment;
    let by = if requested_by.is_empty() { String::new() } else { format!(" by {requested_by}") };
    let age = time::age(*create_time, now);
    let mut lines = vec![String::new(), format!("{docker_image} is on its way, asked for{by} {age} ago: {headline}")];
    lines.extend(awaits.iter().map(|what| format!("  waits for {what}")));
    if !waiting.is_empty() && !headline.contains(waiting.as_str()) {
        lines.push(format!("  waits: {waiting}"));
    }
    if !reason.is_empty() {
        lines.push(format!("  why: {reason}"));
    }
    lines.push(format!("  watch it: brain status {} --watch", short_deployment(&deployment.name)));
    lines
}

fn row(deployment: &Deployment, now: Timestamp) -> [String; 6] {
    let Deployment { name, version, requested_by, create_time, reason, .. } = deployment;
    let began = format!("{} ago", time::age(*create_time, now));
    [short_deployment(name), version.clone(), phase(deployment).to_owned(), requested_by.clone(), began, reason.clone()]
}

fn phase(deployment: &Deployment) -> &'static str {
    match deployment.phase() {
        DeploymentPhase::Unspecified => "unknown",
        DeploymentPhase::Pending => "pending",
        DeploymentPhase::Running => "running",
        DeploymentPhase::RollingBack => "rolling back",
        DeploymentPhase::Succeeded => "succeeded",
        DeploymentPhase::Failed => "failed",
        DeploymentPhase::Cancelled => "cancelled",
    }
}

async fn deployment(session: &Session, name: String) -> Result<Exit, Failure> {
    let request = GetDeploymentRequest { name };
    let answer = session.client.deployments().get_deployment(ask(request)).await?.into_inner();
    let out = session.out;
    if !out.is_for_people() {
        out.message("GetDeploymentResponse", &answer)?;
        return Ok(Exit::Done);
    }
    let GetDeploymentResponse { deployment, plan: _ } = answer;
    let deployment = deployment.ok_or_else(|| Failure::odd("deployment"))?;
    let now = time::now();
    let by = if deployment.requested_by.is_empty() { "somebody" } else { &deployment.requested_by };
    let title = Style::new().bold().apply_to(&deployment.docker_image);
    let short = short_deployment(&deployment.name);
    let began = time::date(deployment.create_time);
    let asked = match &*deployment.request_reason {
        "" => String::new(),
        why => format!(": {why}"),
    };
    out.line(format!("{title}  {short}, {}, asked for by {by} on {began}{asked}", phase(&deployment)))?;
    if !deployment.reason.is_empty() {
        out.line(format!("why: {}", deployment.reason))?;
    }
    out.lines(steps(&deployment.steps, now))?;
    if !deployment.rollback_steps.is_empty() {
        out.line("the way back:")?;
        out.lines(steps(&deployment.rollback_steps, now))?;
    }
    if !progress::has_ended(&deployment) {
        out.lines(now_doing(&deployment, now))?;
    }
    for failure in &deployment.task_failures {
        let code = failure.exit_code.map(|code| format!(", exit code {code}")).unwrap_or_default();
        out.line(format!("task failed: {}{code} ({})", failure.reason, failure.task))?;
    }
    for control in &deployment.controls {
        let why = if control.reason.is_empty() { String::new() } else { format!(": {}", control.reason) };
        out.line(format!("{} {} by {}{why}", time::date(control.time), control.what, control.requested_by))?;
    }
    out.lines(deployment.drift.iter().map(|drift| format!("drift: {}: {}", drift.resource, drift.difference)))?;
    Ok(Exit::Done)
}

/// Steps with how long each took.
fn steps(steps: &[StepStatus], now: Timestamp) -> Vec<String> {
    let width = steps.len().to_string().len();
    let line = |(index, step): (usize, &StepStatus)| {
        let StepStatus { description, start_time, end_time, gate_reading: _ } = step;
        let (mark, took) = match (start_time, end_time) {
            (Some(start), Some(end)) => ("✓", time::between(time::of(*start), time::of(*end))),
            (Some(start), None) => ("▸", time::between(time::of(*start), now)),
            (None, Some(_)) => ("✓", String::new()),
            (None, None) => (" ", String::new()),
        };
        let dim = Style::new().dim();
        let reading = gate_told(step).map(|told| format!("  {told}")).unwrap_or_default();
        let line =
            format!("{mark} {:>width$}  {description}  {}{}", index + 1, dim.apply_to(took), dim.apply_to(reading));
        line.trim_end().to_owned()
    };
    steps.iter().enumerate().map(line).collect()
}
