//! The HTTP port: the board, webhooks, metrics, and health for load balancers.

use crate::{api::Api, directory::Directory, metrics, project::Shared};
use anyhow::Context;
use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::StatusCode,
    routing::{get, post},
};
use hooks::Hooks;
use std::{sync::Arc, time::Duration};
use tokio::net::TcpListener;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower_http::timeout::TimeoutLayer;
use tracing::info;

mod board;
pub mod hooks;
mod payload;
mod webhooks;

/// Largest body of a webhook. GitHub's own bound is 25 MB; what is larger than this is answered 413, and the next poll
/// brings what it would have hinted at.
const BODY_MAX: usize = 2 << 20;
/// Longest time of a request, its body included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests that are served at the same time; further ones wait.
const AT_ONCE: usize = 256;

pub(crate) use board::{Settings as BoardSettings, open_pages};

/// What the handlers share.
#[derive(Debug)]
struct Port {
    directory: Arc<Directory>,
    watchers: crate::watchers::WatchersHandle,
    hooks: Arc<Hooks>,
}

/// Serves until `shutdown`.
pub(crate) async fn serve(
    incoming: TcpListener,
    directory: Arc<Directory>,
    shared: Arc<Shared>,
    hooks: Arc<Hooks>,
    settings: board::Settings,
) -> anyhow::Result<()> {
    let address = incoming.local_addr()?;
    info!(%address, webhooks = hooks.has_secret(), "HTTP is served");
    let (watchers, shutdown) = (shared.watchers.clone(), shared.shutdown.clone());
    let api = Api::new(Arc::clone(&directory), Arc::clone(&shared), Arc::clone(&hooks));
    let board = Arc::new(board::Board::new(api, Arc::clone(&directory), Arc::clone(&shared), settings));
    shared.tasks.spawn(board::keep_current(Arc::clone(&board), shutdown.clone()));
    let figures = {
        let (directory, shared) = (Arc::clone(&directory), Arc::clone(&shared));
        get(async move || {
            metrics::gather(&directory, &shared).await;
            brain_process::port::figures()
        })
    };
    let webhooks = Router::new()
        .route("/webhooks/github", post(webhooks::github))
        .route("/webhooks/dockerhub/{project}/{token}", post(webhooks::docker_hub))
        .route("/webhooks/registry/{token}", post(webhooks::registry))
        .with_state(Arc::new(Port { directory, watchers, hooks }));
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(|| async { "ok\n" }))
        .route("/metrics", figures)
        .merge(webhooks)
        .merge(board::pages(board))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, REQUEST_TIMEOUT))
        .layer(GlobalConcurrencyLimitLayer::new(AT_ONCE));
    let served = axum::serve(incoming, router).with_graceful_shutdown(async move { shutdown.cancelled().await });
    served.await.context("serving HTTP failed")
}
