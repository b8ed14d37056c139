//! `/user`: everything about one project.

use super::{
    Board, assets,
    deployment::DeploymentView,
    events::{self, Log, Wanted, next_of},
    history::{Past, past},
    html, not_found, part, project_of,
    releases::{Listed, listed},
    stream::{self, Left, Reader},
    view::{Action, Banner, Said, Share, said, shares, when},
};
use crate::project::Project;
use askama::Template;
use axum::{
    extract::{Path, State},
    response::Response,
};
use brain_core::{
    names::ResourceNames, project::LaunchKind, state::ProjectState, status::status, traffic::LoadBalancerKind,
};
use std::{pin::pin, sync::Arc, time::Duration};
use tokio::{sync::broadcast::error::RecvError, time::sleep};

/// Releases and past deployments on the page.
const RELEASES: usize = 20;
const HISTORY: usize = 20;
/// How long changes are gathered before the page is made anew.
const GATHERED: Duration = Duration::from_millis(100);
/// What is left of the page of a project that is deleted while somebody looks.
const DELETED: &str = "<p>This project was deleted.</p>";

#[derive(Template)]
#[template(path = "project.html")]
struct ProjectPage {
    assets: &'static str,
    page: Page,
    events: String,
}

#[derive(Template)]
#[template(path = "project_main.html")]
struct ProjectMain {
    page: Page,
}

/// What the page shows.
struct Page {
    id: String,
    title: String,
    banner: Option<Banner>,
    acts: bool,
    shares: Vec<Share>,
    unobserved: Option<String>,
    services: Vec<Service>,
    sentences: Vec<Said>,
    actions: Vec<Action>,
    deployment: Option<DeploymentView>,
    releases: Vec<Listed>,
    releases_more: usize,
    branch: String,
    head: String,
    ahead: String,
    history: Vec<Past>,
    history_more: usize,
    region: String,
    resources: Vec<Resource>,
}

struct Service {
    name: String,
    href: String,
    version: String,
    share: u32,
    desired: u32,
    running: u32,
    healthy: u32,
}

struct Resource {
    kind: &'static str,
    name: String,
    href: String,
}

pub(super) async fn page(State(board): State<Arc<Board>>, Path(id): Path<String>) -> Response {
    let Some(project) = project_of(&State(Arc::clone(&board)), &id) else { return not_found("project") };
    let events = events::rows(events::latest(&board, &project.id).await);
    html(&ProjectPage { assets: assets::version(), page: Page::of(&board, &project), events })
}

pub(super) async fn stream(State(board): State<Arc<Board>>, Path(id): Path<String>) -> Response {
    let Some(project) = project_of(&State(Arc::clone(&board)), &id) else { return not_found("project") };
    let following = Arc::clone(&board);
    stream::stream(&board, async move |reader| {
        let main = |board: &Board, project: &Project| part(&ProjectMain { page: Page::of(board, project) });
        follow(&following, &project, &reader, Some(events::noted(&project.id)), main).await
    })
}

/// Sends a page of a project, with the rows of its log where it shows them, and again whenever something of it changes.
pub(super) async fn follow(
    board: &Board,
    project: &Project,
    reader: &Reader,
    wanted: Option<Wanted>,
    page: impl Fn(&Board, &Project) -> String,
) -> Result<(), Left> {
    let (mut news, mut thrown) = (project.subscribe(), board.shared.line.thrown());
    // Beside all else: a long log is not read at once, and without it the page is as good, and says less.
    let mut opening = pin!(async {
        match wanted {
            Some(wanted) => Log::open(board, wanted).await.ok(),
            None => None,
        }
    });
    let (mut log, mut opened) = (None, false);
    loop {
        reader.send(page(board, project)).await?;
        if let Some(log) = &log {
            let rows = events::rows(Log::events(log));
            reader
                .send(format!("<hx-partial hx-target=\"#latest\" hx-swap=\"innerMorph\">{rows}</hx-partial>"))
                .await?;
        }
        tokio::select! {
            told = news.recv() => if matches!(told, Err(RecvError::Closed)) {
                return reader.end(DELETED.to_owned()).await;
            },
            thrown = thrown.changed() => if thrown.is_err() { return Ok(()) },
            read = &mut opening, if !opened => (log, opened) = (read, true),
            more = next_of(log.as_mut()) => if more.is_none() { return Ok(()) },
        }
        sleep(GATHERED).await;
        while news.try_recv().is_ok() {}
        if let Some(log) = &mut log {
            log.catch_up();
        }
        if project.read().state.deleted.is_some() {
            return reader.end(DELETED.to_owned()).await;
        }
    }
}

impl Page {
    fn of(board: &Board, project: &Project) -> Self {
        let moment = board.shared.moment();
        let inner = project.read();
        let state = &inner.state;
        let status = status(state, &moment);
        let id = state.spec.id.to_string();
        let all = state.releases();
        let releases = all.iter().take(RELEASES).map(|release| listed(state, release)).collect();
        let head = state.head.as_ref();
        let commits = head.and_then(|head| head.commits_ahead(state.latest_tag()));
        let latest = state.deployments.back();
        Self {
            title: status.title.clone(),
            banner: board.banner(),
            acts: board.acts,
            shares: shares(state.production.as_ref()),
            unobserved: state.unobserved.as_ref().map(|unobserved| {
                format!(
                    "This is how it was last seen: not observed since {}, {}",
                    when(unobserved.since),
                    unobserved.why
                )
            }),
            services: services(state),
            sentences: said(status),
            actions: actions(state),
            deployment: latest.map(|latest| DeploymentView::new(state, latest, board.acts)),
            releases,
            releases_more: all.len().saturating_sub(RELEASES),
            branch: state.spec.source.branch.clone(),
            head: state.head_label().unwrap_or_default(),
            ahead: match commits {
                None | Some(0) => String::new(),
                Some(1) => "1 commit that is not tagged".to_owned(),
                Some(commits) => format!("{commits} commits that are not tagged"),
            },
            history: past(state, HISTORY),
            history_more: state.deployments.len().saturating_sub(HISTORY),
            region: state.spec.target.region.clone(),
            resources: resources(state),
            id,
        }
    }
}

fn services(state: &ProjectState) -> Vec<Service> {
    let Some(production) = &state.production else { return Vec::new() };
    let console = Console::of(state);
    let cluster = state.resource_names().cluster;
    let services = production.services.iter().zip(production.shares());
    let service = |(service, share): (&brain_core::production::ServiceState, u32)| Service {
        href: console.ecs(&format!("clusters/{cluster}/services/{}/health", service.service)),
        name: service.service.clone(),
        version: service.version.clone(),
        share,
        desired: service.desired,
        running: service.running,
        healthy: service.healthy,
    };
    services.map(service).collect()
}

fn actions(state: &ProjectState) -> Vec<Action> {
    let id = &state.spec.id;
    let action = |verb: &str, text: &str| Action { href: format!("/{id}/-/do/{verb}"), text: text.to_owned() };
    let mut actions = vec![action("rollback", "Roll back")];
    actions.push(match &state.holds.pin {
        Some(_) => action("unpin", "Unpin"),
        None => action("pin", "Pin"),
    });
    actions.push(match &state.holds.freeze {
        Some(_) => action("thaw", "Thaw"),
        None => action("freeze", "Freeze"),
    });
    actions
}

/// AWS's console in the project's region.
struct Console {
    region: String,
    host: &'static str,
}

impl Console {
    fn of(state: &ProjectState) -> Self {
        let region = state.spec.target.region.clone();
        let host = match region.split('-').next() {
            Some("cn") => "console.amazonaws.cn",
            _ if region.starts_with("us-gov-") => "console.amazonaws-us-gov.com",
            _ => "console.aws.amazon.com",
        };
        Self { region, host }
    }

    fn ecs(&self, path: &str) -> String {
        let Self { region, host } = self;
        format!("https://{region}.{host}/ecs/v2/{path}?region={region}")
    }

    fn ec2(&self, view: &str) -> String {
        let Self { region, host } = self;
        format!("https://{region}.{host}/ec2/home?region={region}#{view}")
    }
}

/// What there is on AWS, with its page of the console.
fn resources(state: &ProjectState) -> Vec<Resource> {
    let ResourceNames {
        cluster,
        security_group,
        load_balancer,
        launch_template,
        auto_scaling_group,
        task_family,
        container: _,
        target_groups,
    } = state.resource_names();
    let console = Console::of(state);
    let (ecs, ec2) = (|path: String| console.ecs(&path), |view: String| console.ec2(&view));
    let kind = match state.spec.target.load_balancer_kind {
        LoadBalancerKind::Classic => "load balancer",
        LoadBalancerKind::Application => "application load balancer",
    };
    let mut resources = vec![
        Resource { kind: "cluster", href: ecs(format!("clusters/{cluster}/services")), name: cluster },
        Resource { kind: "task definitions", href: ecs(format!("task-definitions/{task_family}")), name: task_family },
        Resource { kind, href: ec2(format!("LoadBalancers:search={load_balancer}")), name: load_balancer },
    ];
    for group in target_groups.into_iter().flat_map(|groups| [groups.a, groups.b]) {
        let href = ec2(format!("TargetGroups:search={group}"));
        resources.push(Resource { kind: "target group", href, name: group });
    }
    resources.extend([
        Resource {
            kind: "auto-scaling group",
            href: ec2(format!("AutoScalingGroupDetails:id={auto_scaling_group}")),
            name: auto_scaling_group,
        },
        match state.spec.target.launch_kind {
            LaunchKind::Template => Resource {
                kind: "launch template",
                href: ec2(format!("LaunchTemplates:search={launch_template}")),
                name: launch_template,
            },
            // Each change of its settings is another one.
            LaunchKind::Configuration => Resource {
                kind: "launch configurations",
                href: ec2(format!("LaunchConfigurations:search={launch_template}")),
                name: launch_template,
            },
        },
        Resource {
            kind: "security group",
            href: ec2(format!("SecurityGroups:search={security_group}")),
            name: security_group,
        },
    ]);
    resources
}
