//! A registry after the OCI distribution specification, as far as it is read: tags, and manifests with their digests. Images
//! come by `brain dev push`; there are no layers to pull.

use super::forge::Forge;
use axum::{
    Json, Router,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::json;
use std::sync::Arc;

/// Type of the manifests.
pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The registry of a forge.
pub(super) fn routes() -> Router<Arc<Forge>> {
    // A HEAD is answered as the GET is, without the body.
    Router::new().route("/v2/", get(|| async { Json(json!({})) })).route("/v2/{*path}", get(read))
}

async fn read(State(forge): State<Arc<Forge>>, Path(path): Path<String>) -> Response {
    if let Some(name) = path.strip_suffix("/tags/list") {
        return match forge.image_tags(name) {
            Some(tags) => Json(json!({"name": name, "tags": tags})).into_response(),
            None => unknown("NAME_UNKNOWN", "repository name not known to registry"),
        };
    }
    let manifest = path.rsplit_once("/manifests/").and_then(|(name, reference)| forge.manifest(name, reference));
    match manifest {
        Some((manifest, digest)) => {
            let headers = [(header::CONTENT_TYPE.as_str(), MANIFEST), ("docker-content-digest", digest.as_str())];
            (headers, manifest).into_response()
        }
        None => unknown("MANIFEST_UNKNOWN", "manifest unknown"),
    }
}

fn unknown(code: &str, message: &str) -> Response {
    (StatusCode::NOT_FOUND, Json(json!({"errors": [{"code": code, "message": message}]}))).into_response()
}
