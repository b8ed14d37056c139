//! The port of an agent, for Prometheus and for whoever looks whether the process lives. It serves nothing else.

use crate::metrics;
use anyhow::Context;
use axum::{
    Router,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// What `/metrics` answers.
pub fn figures() -> Response {
    match metrics::render() {
        Some(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, "nothing is measured in this process\n").into_response(),
    }
}

/// Serves `/metrics` and `/healthz` at `address` until `shutdown`, beside everything else.
pub async fn open(address: SocketAddr, shutdown: CancellationToken) -> anyhow::Result<()> {
    let listener =
        TcpListener::bind(address).await.with_context(|| format!("metrics cannot be served on {address}"))?;
    info!(address = %listener.local_addr()?, "metrics are served");
    let router = Router::new().route("/metrics", get(async || figures())).route("/healthz", get(async || "ok\n"));
    tokio::spawn(async move {
        let served = axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned());
        if let Err(error) = served.await {
            warn!(%error, "metrics are not served any more; everything else goes on");
        }
    });
    Ok(())
}
