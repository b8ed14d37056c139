//! The board: pages for people, rendered here, whole without any script. Scripts only keep them current: each page holds one
//! stream of server-sent events open, which begins with everything and goes on with what changes.
//!
//! It reads the projects' state, and does what people ask by the same calls as everybody else does.

use crate::{api::Api, directory::Directory, project::Shared};
use askama::Template;
use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use brain_core::id::ProjectId;
use std::sync::Arc;
use tower_http::compression::CompressionLayer;
use tracing::error;

mod act;
mod agents;
mod assets;
mod deployment;
mod events;
mod list;
mod origin;
mod project;
mod pulse;
mod row;
mod stream;
mod view;

pub(super) use pulse::run as keep_current;
pub(crate) use stream::open as open_pages;

/// What pages may load and do: nothing from elsewhere, no script or style within them.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What the pages share.
#[derive(Debug)]
pub(super) struct Board {
    api: Api,
    directory: Arc<Directory>,
    shared: Arc<Shared>,
    pulse: pulse::Pulse,
    /// Whether people may act here, and not only read.
    acts: bool,
}

impl Board {
    pub(super) fn new(api: Api, directory: Arc<Directory>, shared: Arc<Shared>, acts: bool) -> Self {
        Self { api, directory, shared, pulse: pulse::Pulse::default(), acts }
    }

    /// How the line is stopped.
    fn banner(&self) -> Option<view::Banner> {
        self.shared.line.line().stopped.map(view::Banner::new)
    }
}

/// The pages.
pub(super) fn pages(board: Arc<Board>) -> Router {
    Router::new()
        .route("/", get(list::page))
        .route("/-/stream", get(list::stream))
        .route("/-/events", get(events::page))
        .route("/-/agents", get(agents::page))
        .route("/-/do/{verb}", get(act::ask_line).post(act::act_on_line))
        .route("/-/assets/{name}", get(assets::asset))
        .route("/{project}", get(project::page))
        .route("/{project}/-/stream", get(project::stream))
        .route("/{project}/-/do/{verb}", get(act::ask).post(act::act))
        .route("/{project}/deployments/{number}", get(deployment::page))
        .route("/{project}/deployments/{number}/stream", get(deployment::stream))
        // What is no page of the board is not found, whoever asks.
        .route_layer(middleware::from_fn(only_own))
        .fallback(async || not_found("page"))
        .layer(middleware::from_fn(bounded))
        .layer(CompressionLayer::new())
        .with_state(board)
}

/// Refuses what another site makes a browser send.
async fn only_own(request: Request, next: Next) -> Response {
    if request.method().is_safe() || origin::is_own(request.headers()) {
        return next.run(request).await;
    }
    let text = "Another site has sent this request. Open the board itself, and do it there.";
    message(StatusCode::FORBIDDEN, "This did not come from the board", text)
}

/// Tells browsers what pages may do.
async fn bounded(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let set = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    for (name, value) in set {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

#[derive(Template)]
#[template(path = "message.html")]
struct Message<'a> {
    assets: &'static str,
    heading: &'a str,
    text: &'a str,
}

fn message(status: StatusCode, heading: &str, text: &str) -> Response {
    (status, html(&Message { assets: assets::version(), heading, text })).into_response()
}

fn not_found(what: &str) -> Response {
    message(StatusCode::NOT_FOUND, "Not found", &format!("There is no such {what}."))
}

/// A page.
fn html(page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => Html(text).into_response(),
        Err(failure) => {
            error!(%failure, "a page could not be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// A part of a page. Only a template that is wrong cannot be rendered, and tests render all of them.
fn part(template: &impl Template) -> String {
    template.render().unwrap_or_else(|failure| {
        error!(%failure, "a part of a page could not be rendered");
        String::new()
    })
}

/// The project of that id.
fn project_of(board: &State<Arc<Board>>, id: &str) -> Option<Arc<crate::project::Project>> {
    board.directory.get(&ProjectId::parse(id).ok()?)
}
