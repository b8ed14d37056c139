//! The forge's address: git host, registry, and the way in for `brain dev push` and `brain dev commit`.

use super::{
    cloud::Simulated,
    forge::{Forge, Push, Pushed},
    git, registry,
};
use anyhow::Context;
use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State},
    http::StatusCode,
    routing::post,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::limit::GlobalConcurrencyLimitLayer;

/// Where versions are brought.
pub(super) const PUSH: &str = "/-/push";
/// Where commits are brought.
pub(super) const COMMIT: &str = "/-/commit";
/// Largest request; one with a few names is far below.
const BODY_MAX: usize = 64 << 10;
/// Requests that are answered at the same time; further ones wait.
const AT_ONCE: usize = 64;

/// A commit that is wished for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Commit {
    /// Git repository, "user".
    pub repository: String,
}

/// The commit that was made.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Committed {
    /// Its id.
    pub commit: String,
}

/// What the handlers share.
#[derive(Debug, Clone)]
struct Hosts {
    forge: Arc<Forge>,
    cloud: Arc<Simulated>,
}

/// Serves until `shutdown`.
pub(super) async fn serve(
    incoming: TcpListener,
    forge: Arc<Forge>,
    cloud: Arc<Simulated>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let hosts = Hosts { forge: Arc::clone(&forge), cloud };
    // A page of another site cannot send these: they are JSON, which a browser asks leave for, and gets none.
    let control = Router::new().route(PUSH, post(push)).route(COMMIT, post(commit)).with_state(hosts);
    let router = git::routes()
        .merge(registry::routes())
        .with_state(forge)
        .merge(control)
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(GlobalConcurrencyLimitLayer::new(AT_ONCE));
    let served = axum::serve(incoming, router).with_graceful_shutdown(async move { shutdown.cancelled().await });
    served.await.context("the local git host and registry cannot be served")
}

async fn push(State(hosts): State<Hosts>, Json(push): Json<Push>) -> Result<Json<Pushed>, (StatusCode, String)> {
    bring(&hosts.forge, &hosts.cloud, &push).map(Json).map_err(|why| (StatusCode::BAD_REQUEST, why))
}

async fn commit(
    State(hosts): State<Hosts>,
    Json(Commit { repository }): Json<Commit>,
) -> Result<Json<Committed>, (StatusCode, String)> {
    let commit = hosts.forge.commit(&repository).map_err(|why| (StatusCode::BAD_REQUEST, why))?;
    Ok(Json(Committed { commit }))
}

/// A version comes to git and the registry, and the cloud knows how its tasks do.
pub(super) fn bring(forge: &Forge, cloud: &Simulated, push: &Push) -> Result<Pushed, String> {
    let pushed = forge.push(push)?;
    cloud.crashes(forge.bad_images());
    Ok(pushed)
}
