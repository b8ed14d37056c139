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
use url::Url;

mod act;
mod agents;
mod assets;
mod deployment;
mod events;
mod history;
mod list;
mod origin;
mod project;
mod pulse;
mod releases;
mod row;
mod stream;
mod view;

pub(super) use pulse::run as keep_current;
pub(crate) use stream::open as open_pages;

/// What pages may load and do: nothing from elsewhere, no script or style within them.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Longest text of a refusal.
const REFUSAL_MAX: usize = 4 << 10;

/// How the board is set up.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    /// Whether it is for reading only.
    pub(crate) read_only: bool,
    /// Where people find it.
    pub(crate) url: Option<Url>,
}

/// What the pages share.
#[derive(Debug)]
pub(super) struct Board {
    api: Api,
    directory: Arc<Directory>,
    shared: Arc<Shared>,
    pulse: pulse::Pulse,
    /// Whether people may act here, and not only read.
    acts: bool,
    /// The name that people call it by, besides addresses of the machine.
    host: Option<String>,
}

impl Board {
    pub(super) fn new(api: Api, directory: Arc<Directory>, shared: Arc<Shared>, settings: Settings) -> Self {
        let Settings { read_only, url } = settings;
        let host = url.and_then(|url| url.host_str().map(str::to_owned));
        Self { api, directory, shared, pulse: pulse::Pulse::default(), acts: !read_only, host }
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
        .route("/-/events/stream", get(events::stream))
        .route("/-/agents", get(agents::page))
        .route("/-/agents/stream", get(agents::stream))
        .route("/-/do/{verb}", get(act::ask_line).post(act::act_on_line))
        .route("/-/assets/{name}", get(assets::asset))
        .route("/{project}", get(project::page))
        .route("/{project}/-/stream", get(project::stream))
        .route("/{project}/-/do/{verb}", get(act::ask).post(act::act))
        .route("/{project}/releases", get(releases::page))
        .route("/{project}/releases/stream", get(releases::stream))
        .route("/{project}/deployments", get(history::page))
        .route("/{project}/deployments/stream", get(history::stream))
        .route("/{project}/deployments/{number}", get(deployment::page))
        .route("/{project}/deployments/{number}/stream", get(deployment::stream))
        // What is no page of the board is not found, whoever asks.
        .route_layer(middleware::from_fn(only_own))
        .fallback(async || not_found("page"))
        .layer(middleware::map_response(refused_by_a_page))
        .layer(middleware::from_fn_with_state(Arc::clone(&board), only_for_us))
        .layer(middleware::from_fn(bounded))
        .layer(CompressionLayer::new())
        .with_state(board)
}

/// Refuses what is meant for another site, whose name leads here.
async fn only_for_us(State(board): State<Arc<Board>>, request: Request, next: Next) -> Response {
    let host = origin::host(request.uri(), request.headers());
    if host.as_deref().is_some_and(|host| origin::is_known(host, board.host.as_deref())) {
        return next.run(request).await;
    }
    let host = host.map_or_else(|| "this".to_owned(), |host| format!("the name {host:?}"));
    let text = format!(
        "The board does not answer to {host}, so that no other site can pass itself off as it. Open it by the address of its \
         machine, or start the server with the address at which people open it as its board_url."
    );
    message(StatusCode::MISDIRECTED_REQUEST, "This is not a name of the board", &text)
}

/// Refuses what another site makes a browser send.
async fn only_own(request: Request, next: Next) -> Response {
    if request.method().is_safe() || origin::is_own(request.headers()) {
        return next.run(request).await;
    }
    let text = if origin::says_from_where(request.headers()) {
        "Another site has sent this request. Open the board itself, and do it there."
    } else {
        "The request does not say that it comes from a page of the board. Browsers do; programs use the API."
    };
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
    /// Where more of it is.
    more: Option<view::Action>,
}

fn message(status: StatusCode, heading: &str, text: &str) -> Response {
    (status, html(&Message { assets: assets::version(), heading, text, more: None })).into_response()
}

/// What refuses an address or a form that cannot be read, as a page. The words are axum's, and name the part that is at fault.
async fn refused_by_a_page(response: Response) -> Response {
    let content = response.headers().get(header::CONTENT_TYPE).and_then(|content| content.to_str().ok());
    if !response.status().is_client_error() || !content.is_some_and(|content| content.starts_with("text/plain")) {
        return response;
    }
    let status = response.status();
    let text = axum::body::to_bytes(response.into_body(), REFUSAL_MAX).await.unwrap_or_default();
    message(status, "This address or form is faulty", &String::from_utf8_lossy(&text))
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
