//! What people do: a page says what will happen and asks who and why, and its button does it.

use super::{Board, assets, html, message, not_found, project_of};
use crate::project::Project;
use askama::Template;
use axum::{
    Form,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Redirect, Response},
};
use brain_core::deployment::Phase;
use brain_proto::v1::{
    ApproveDeploymentRequest, CancelDeploymentRequest, CreateDeploymentRequest, FreezeProjectRequest,
    LiftQuarantineRequest, PauseDeploymentRequest, PinProjectRequest, PromoteDeploymentRequest, ReleaseLineRequest,
    ResumeDeploymentRequest, RollbackProjectRequest, StopLineRequest, ThawProjectRequest, UnpinProjectRequest,
    create_deployment_request::What, deployment_service_server::DeploymentService, line_service_server::LineService,
    project_service_server::ProjectService,
};
use serde::Deserialize;
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tonic::{Request, Status};

/// Versions that a person can choose from; others are reached by the command.
const VERSIONS: usize = 50;
/// Remembers a person's name for the next time.
const NAME_COOKIE: &str = "brain-name";

/// What a person may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Deploy,
    Rollback,
    Approve,
    Pause,
    Resume,
    Promote,
    PromoteAll,
    Cancel,
    Leave,
    Lift,
    Pin,
    Unpin,
    Freeze,
    Thaw,
    Stop,
    StopAndPause,
    Release,
}

/// Of what, as the address says it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct About {
    version: String,
    number: u64,
    step: u32,
}

/// Who does it, and why.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Filled {
    by: String,
    reason: String,
    version: String,
    number: u64,
    step: u32,
    outside: String,
    request_id: String,
}

#[derive(Template)]
#[template(path = "confirm.html")]
struct Confirm {
    assets: &'static str,
    heading: &'static str,
    says: String,
    refused: String,
    action: String,
    back: String,
    hidden: Vec<(&'static str, String)>,
    versions: Vec<Choice>,
    by: String,
    reason: String,
    asks_outside: bool,
}

/// A version that may be chosen.
struct Choice {
    value: String,
    text: String,
    chosen: bool,
}

impl Verb {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "deploy" => Self::Deploy,
            "rollback" => Self::Rollback,
            "approve" => Self::Approve,
            "pause" => Self::Pause,
            "resume" => Self::Resume,
            "promote" => Self::Promote,
            "promote-all" => Self::PromoteAll,
            "cancel" => Self::Cancel,
            "leave" => Self::Leave,
            "lift" => Self::Lift,
            "pin" => Self::Pin,
            "unpin" => Self::Unpin,
            "freeze" => Self::Freeze,
            "thaw" => Self::Thaw,
            "stop" => Self::Stop,
            "stop-and-pause" => Self::StopAndPause,
            "release" => Self::Release,
            _ => return None,
        })
    }

    fn is_of_the_line(self) -> bool {
        matches!(self, Self::Stop | Self::StopAndPause | Self::Release)
    }

    /// What is meant where no version is chosen, of what takes one.
    fn without_version(self) -> Option<&'static str> {
        match self {
            Self::Rollback => Some("the release before the current one"),
            Self::Pin => Some("the one that serves"),
            _ => None,
        }
    }

    fn heading(self) -> &'static str {
        match self {
            Self::Deploy => "Deploy",
            Self::Rollback => "Roll back",
            Self::Approve => "Approve",
            Self::Pause => "Pause",
            Self::Resume => "Resume",
            Self::Promote => "Promote",
            Self::PromoteAll => "Promote to the end",
            Self::Cancel => "Cancel, and roll back",
            Self::Leave => "Cancel, and leave it as it is",
            Self::Lift => "Lift the quarantine",
            Self::Pin => "Pin",
            Self::Unpin => "Unpin",
            Self::Freeze => "Freeze",
            Self::Thaw => "Thaw",
            Self::Stop => "Stop the line",
            Self::StopAndPause => "Stop the line, and pause what runs",
            Self::Release => "Release the line",
        }
    }

    /// What will happen to `title`.
    fn says(self, title: &str, about: &About) -> String {
        let About { version, number, step } = about;
        match self {
            Self::Deploy => {
                format!("{title}:{version} is deployed to production, as the project's rollout policy says.")
            }
            Self::Rollback => format!(
                "{title} goes back to the version that you choose, without bakes, gates and holds. A deployment in process \
                 is cancelled."
            ),
            Self::Approve => {
                format!("Deployment {number} of {title} gets your approval. Whoever asked for it cannot give one.")
            }
            Self::Pause => format!(
                "Deployment {number} of {title} does nothing more until it is resumed or promoted. What runs, runs on."
            ),
            Self::Resume => format!("Deployment {number} of {title} goes on where it stood."),
            Self::Promote => format!(
                "Deployment {number} of {title} passes over step {step}, which it waits for or will wait for next."
            ),
            Self::PromoteAll => {
                format!("Deployment {number} of {title} waits for nothing any more: no bake, no gate, no hold.")
            }
            Self::Cancel => format!("Deployment {number} of {title} ends, and the old version comes back."),
            Self::Leave => format!(
                "Deployment {number} of {title} ends, and everything stays as it is now: both versions may serve."
            ),
            Self::Lift => format!("{title}:{version} may be deployed again, by policy too."),
            Self::Pin => format!("{title} stays on the version that you choose, until it is unpinned."),
            Self::Unpin => format!("{title} may move to other versions again."),
            Self::Freeze => format!("Nothing new is deployed of {title} until it is thawed. Going back is allowed."),
            Self::Thaw => format!("{title} may be deployed again."),
            Self::Stop => {
                "Nothing new begins in any project. What is under way goes on; going back is allowed.".to_owned()
            }
            Self::StopAndPause => {
                "Nothing new begins in any project, and deployments under way are paused, save those that go back."
                    .to_owned()
            }
            Self::Release => {
                "Deployments may begin again, and those that were paused with the line go on, save what somebody has paused \
                 besides."
                    .to_owned()
            },
        }
    }
}

pub(super) async fn ask(
    State(board): State<Arc<Board>>,
    Path((id, verb)): Path<(String, String)>,
    Query(about): Query<About>,
    headers: HeaderMap,
) -> Response {
    let Some(verb) = Verb::parse(&verb).filter(|verb| !verb.is_of_the_line()) else { return not_found("action") };
    let Some(project) = project_of(&State(Arc::clone(&board)), &id) else { return not_found("project") };
    asked(&board, verb, Some(&project), about, &headers)
}

pub(super) async fn ask_line(
    State(board): State<Arc<Board>>,
    Path(verb): Path<String>,
    headers: HeaderMap,
) -> Response {
    let Some(verb) = Verb::parse(&verb).filter(|verb| verb.is_of_the_line()) else { return not_found("action") };
    asked(&board, verb, None, About::default(), &headers)
}

fn asked(board: &Board, verb: Verb, project: Option<&Project>, about: About, headers: &HeaderMap) -> Response {
    /// Tells requests of one moment apart.
    static ASKED: AtomicU64 = AtomicU64::new(0);
    if !board.acts {
        return read_only();
    }
    let About { version, number, step } = about;
    let request_id = format!("board-{}-{}", board.shared.clock.now().0, ASKED.fetch_add(1, Ordering::Relaxed));
    let form = Filled { by: name_of(headers), version, number, step, request_id, ..Filled::default() };
    html(&confirm(verb, project, form, String::new()))
}

fn confirm(verb: Verb, project: Option<&Project>, form: Filled, refused: String) -> Confirm {
    let Filled { by, reason, version, number, step, outside: _, request_id } = form;
    let about = About { version, number, step };
    let says = verb.says(&project.map(title).unwrap_or_default(), &about);
    let About { version, number, step } = about;
    let versions =
        verb.without_version().zip(project).map(|(without, project)| choices(project, verb, without, &version));
    let mut hidden = vec![("number", number.to_string()), ("step", step.to_string()), ("request_id", request_id)];
    if versions.is_none() {
        hidden.push(("version", version));
    }
    Confirm {
        assets: assets::version(),
        heading: verb.heading(),
        says,
        refused,
        // The address that was asked answers the button too.
        action: String::new(),
        back: back(project),
        hidden,
        versions: versions.unwrap_or_default(),
        by,
        reason,
        asks_outside: verb == Verb::Deploy,
    }
}

fn title(project: &Project) -> String {
    project.read().state.spec.image_repository.to_string()
}

/// The page that a person came from.
fn back(project: Option<&Project>) -> String {
    format!("/{}", project.map(|project| project.id.as_str()).unwrap_or_default())
}

/// The versions that a project can run, and first none of them. Back goes what has served; the command goes to any version.
fn choices(project: &Project, verb: Verb, without: &str, chosen: &str) -> Vec<Choice> {
    let inner = project.read();
    let releases = inner.state.releases();
    let succeeded = inner.state.deployments.iter().filter(|deployment| deployment.phase == Phase::Succeeded);
    let served: BTreeSet<&str> = succeeded.map(|deployment| deployment.tag.as_str()).collect();
    let fits = |tag: &str| verb != Verb::Rollback || served.contains(tag);
    let with_image = releases.iter().filter(|release| release.image.is_some() && fits(release.tag)).take(VERSIONS);
    let choice = |value: &str, text: &str| Choice { value: value.into(), text: text.into(), chosen: value == chosen };
    let versions = with_image.map(|release| choice(release.tag, release.tag));
    std::iter::once(choice("", without)).chain(versions).collect()
}

pub(super) async fn act(
    State(board): State<Arc<Board>>,
    Path((id, verb)): Path<(String, String)>,
    Form(form): Form<Filled>,
) -> Response {
    let Some(verb) = Verb::parse(&verb).filter(|verb| !verb.is_of_the_line()) else { return not_found("action") };
    let Some(project) = project_of(&State(Arc::clone(&board)), &id) else { return not_found("project") };
    acted(&board, verb, Some(&project), form).await
}

pub(super) async fn act_on_line(
    State(board): State<Arc<Board>>,
    Path(verb): Path<String>,
    Form(form): Form<Filled>,
) -> Response {
    let Some(verb) = Verb::parse(&verb).filter(|verb| verb.is_of_the_line()) else { return not_found("action") };
    acted(&board, verb, None, form).await
}

async fn acted(board: &Board, verb: Verb, project: Option<&Project>, form: Filled) -> Response {
    if !board.acts {
        return read_only();
    }
    let by = form.by.clone();
    match board.carry_out(verb, project.map(|project| project.id.as_str()).unwrap_or_default(), form.clone()).await {
        Ok(()) => {
            let name: String = url::form_urlencoded::byte_serialize(by.as_bytes()).collect();
            let cookie = format!("{NAME_COOKIE}={name}; Path=/; Max-Age=31536000; SameSite=Strict; HttpOnly");
            ([(header::SET_COOKIE, cookie)], Redirect::to(&back(project))).into_response()
        }
        Err(status) => {
            let refused = status.message().to_owned();
            (StatusCode::CONFLICT, html(&confirm(verb, project, form, refused))).into_response()
        }
    }
}

impl Board {
    /// The call that everybody else makes too.
    async fn carry_out(&self, verb: Verb, id: &str, form: Filled) -> Result<(), Status> {
        let Filled { by: requested_by, reason, version, number, step, outside, request_id } = form;
        let (parent, name) = (format!("projects/{id}"), format!("projects/{id}/deployments/{number}"));
        let api = &self.api;
        match verb {
            Verb::Deploy => {
                let (reason, outside_windows) =
                    if outside.is_empty() { (reason, String::new()) } else { (String::new(), reason) };
                let what = Some(What::Version(version));
                let request = CreateDeploymentRequest {
                    parent,
                    what,
                    request_id,
                    requested_by,
                    reason,
                    outside_windows,
                    ..CreateDeploymentRequest::default()
                };
                api.create_deployment(Request::new(request)).await.map(drop)
            }
            Verb::Rollback => {
                let request = RollbackProjectRequest { parent, version, request_id, requested_by, reason };
                api.rollback_project(Request::new(request)).await.map(drop)
            }
            Verb::Approve => {
                let request = ApproveDeploymentRequest { name, requested_by, reason };
                api.approve_deployment(Request::new(request)).await.map(drop)
            }
            Verb::Pause => {
                let request = PauseDeploymentRequest { name, requested_by, reason };
                api.pause_deployment(Request::new(request)).await.map(drop)
            }
            Verb::Resume => {
                let request = ResumeDeploymentRequest { name, requested_by, reason };
                api.resume_deployment(Request::new(request)).await.map(drop)
            }
            Verb::Promote | Verb::PromoteAll => {
                let to_end = verb == Verb::PromoteAll;
                let request = PromoteDeploymentRequest { name, requested_by, reason, to_end, step };
                api.promote_deployment(Request::new(request)).await.map(drop)
            }
            Verb::Cancel | Verb::Leave => {
                let rollback = verb == Verb::Cancel;
                let request = CancelDeploymentRequest { name, requested_by, reason, rollback };
                api.cancel_deployment(Request::new(request)).await.map(drop)
            }
            Verb::Lift => {
                let request =
                    LiftQuarantineRequest { name: format!("{parent}/releases/{version}"), requested_by, reason };
                api.lift_quarantine(Request::new(request)).await.map(drop)
            }
            Verb::Pin => {
                let request = PinProjectRequest { name: parent, version, requested_by, reason };
                api.pin_project(Request::new(request)).await.map(drop)
            }
            Verb::Unpin => {
                let request = UnpinProjectRequest { name: parent, requested_by, reason };
                api.unpin_project(Request::new(request)).await.map(drop)
            }
            Verb::Freeze => {
                let request = FreezeProjectRequest { name: parent, end_time: None, requested_by, reason };
                api.freeze_project(Request::new(request)).await.map(drop)
            }
            Verb::Thaw => {
                let request = ThawProjectRequest { name: parent, requested_by, reason };
                api.thaw_project(Request::new(request)).await.map(drop)
            }
            Verb::Stop | Verb::StopAndPause => {
                let pause_running = verb == Verb::StopAndPause;
                let request = StopLineRequest { requested_by, reason, pause_running };
                api.stop_line(Request::new(request)).await.map(drop)
            }
            Verb::Release => {
                let request = ReleaseLineRequest { requested_by, reason };
                api.release_line(Request::new(request)).await.map(drop)
            }
        }
    }
}

fn read_only() -> Response {
    let text = "This board is for reading. Use the API or the command, or start the server without board_read_only.";
    message(StatusCode::FORBIDDEN, "Nothing can be done here", text)
}

/// The name that this browser gave last.
fn name_of(headers: &HeaderMap) -> String {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|cookies| cookies.split("; ")).filter_map(|pair| pair.split_once('='));
    let name = pairs.find(|(name, _)| *name == NAME_COOKIE).map(|(_, value)| value).unwrap_or_default();
    let decoded = url::form_urlencoded::parse(name.as_bytes()).next();
    decoded.map(|(name, _)| name.into_owned()).unwrap_or_default()
}
