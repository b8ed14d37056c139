//! `/user`: everything about one project.

use super::{
    Board, assets,
    deployment::DeploymentView,
    events, html, not_found, part, project_of,
    stream::{self, Left, Reader},
    view::{Action, Banner, Said, Share, long, said, shares, when},
};
use crate::project::Project;
use askama::Template;
use axum::{
    extract::{Path, State},
    response::Response,
};
use brain_core::{
    deployment::{Deployment, Phase},
    names::ResourceNames,
    project::LaunchKind,
    release::Release,
    state::ProjectState,
    status::status,
    traffic::LoadBalancerKind,
};
use std::{sync::Arc, time::Duration};
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
    region: String,
    resources: Vec<Resource>,
}

struct Service {
    name: String,
    version: String,
    share: u32,
    desired: u32,
    running: u32,
    healthy: u32,
}

struct Listed {
    tag: String,
    image: String,
    since: String,
    held: Option<String>,
    deployable: bool,
}

struct Past {
    number: u64,
    href: String,
    version: String,
    outcome: &'static str,
    class: &'static str,
    reason: String,
    by: String,
    begun: String,
    took: String,
}

struct Resource {
    kind: &'static str,
    name: String,
    href: String,
}

pub(super) async fn page(State(board): State<Arc<Board>>, Path(id): Path<String>) -> Response {
    let Some(project) = project_of(&State(Arc::clone(&board)), &id) else { return not_found("project") };
    let events = events::latest(&board, &project.id).await;
    html(&ProjectPage { assets: assets::version(), page: Page::of(&board, &project), events })
}

pub(super) async fn stream(State(board): State<Arc<Board>>, Path(id): Path<String>) -> Response {
    let Some(project) = project_of(&State(Arc::clone(&board)), &id) else { return not_found("project") };
    let following = Arc::clone(&board);
    stream::stream(&board, async move |reader| {
        let main = |board: &Board, project: &Project| part(&ProjectMain { page: Page::of(board, project) });
        // First all that the page shows, so that what happened while nobody read is there too.
        let latest = events::latest(&following, &project.id).await;
        reader.send(format!("<hx-partial hx-target=\"#latest\" hx-swap=\"innerHTML\">{latest}</hx-partial>")).await?;
        follow(&following, &project, &reader, Some("latest"), main).await
    })
}

/// Sends a page of a project, and again whenever something of it changes; what happened goes to the table of that id.
pub(super) async fn follow(
    board: &Board,
    project: &Project,
    reader: &Reader,
    table: Option<&str>,
    page: impl Fn(&Board, &Project) -> String,
) -> Result<(), Left> {
    let (mut news, mut thrown) = (project.subscribe(), board.shared.line.thrown());
    let mut happened = Vec::new();
    loop {
        let rows = events::news(&project.id, &project.read().state, &happened);
        if let Some(table) = table.filter(|_| !rows.is_empty()) {
            let put = format!("<hx-partial hx-target=\"#{table}\" hx-swap=\"afterbegin\">{rows}</hx-partial>");
            reader.send(put).await?;
        }
        reader.send(page(board, project)).await?;
        happened.clear();
        tokio::select! {
            told = news.recv() => match told {
                Ok(told) => happened.extend_from_slice(&told.events),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return reader.send(DELETED.to_owned()).await,
            },
            thrown = thrown.changed() => if thrown.is_err() { return Ok(()) },
        }
        sleep(GATHERED).await;
        while let Ok(told) = news.try_recv() {
            happened.extend_from_slice(&told.events);
        }
        if project.read().state.deleted.is_some() {
            return reader.send(DELETED.to_owned()).await;
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
            history: state.deployments.iter().rev().take(HISTORY).map(|past| past_of(&id, past)).collect(),
            region: state.spec.target.region.clone(),
            resources: resources(state),
            id,
        }
    }
}

fn services(state: &ProjectState) -> Vec<Service> {
    let Some(production) = &state.production else { return Vec::new() };
    let services = production.services.iter().zip(production.shares());
    let service = |(service, share): (&brain_core::production::ServiceState, u32)| Service {
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

fn listed(state: &ProjectState, release: &Release<'_>) -> Listed {
    let repository = &state.spec.image_repository;
    let held = release.image.and_then(|image| {
        let mut all = state.holds.quarantines.iter();
        let held = all.find(|held| held.hold.tag == release.tag && held.hold.digest == image.digest)?;
        let why = if held.why.is_empty() { String::new() } else { format!(": {}", held.why) };
        Some(format!("quarantined by {} since {}{why}", held.by, when(held.since)))
    });
    Listed {
        tag: release.tag.to_owned(),
        image: release.image.map(|_| repository.with_tag(release.tag)).unwrap_or_default(),
        since: when(release.since()),
        deployable: release.image.is_some() && state.active().is_none(),
        held,
    }
}

fn past_of(id: &str, deployment: &Deployment) -> Past {
    let (outcome, class) = match deployment.phase {
        Phase::Pending => ("waiting", "busy"),
        Phase::Running => ("in process", "busy"),
        Phase::RollingBack => ("being rolled back", "bad"),
        Phase::Succeeded => ("succeeded", "good"),
        Phase::Failed => ("failed", "bad"),
        Phase::Cancelled => ("cancelled", "bad"),
    };
    Past {
        number: deployment.number,
        href: format!("/{id}/deployments/{}", deployment.number),
        version: deployment.tag.clone(),
        outcome,
        class,
        reason: deployment.reason.clone().unwrap_or_default(),
        by: deployment.requested_by.clone(),
        begun: when(deployment.created),
        took: deployment.ended.map(|ended| long(ended.since(deployment.created))).unwrap_or_default(),
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
    let region = &state.spec.target.region;
    let host = match region.split('-').next() {
        Some("cn") => "console.amazonaws.cn".to_owned(),
        _ if region.starts_with("us-gov-") => "console.amazonaws-us-gov.com".to_owned(),
        _ => "console.aws.amazon.com".to_owned(),
    };
    let ecs = |path: String| format!("https://{region}.{host}/ecs/v2/{path}?region={region}");
    let ec2 = |view: String| format!("https://{region}.{host}/ec2/home?region={region}#{view}");
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
