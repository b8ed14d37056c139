//! Style, script and the icon, from the binary itself. Their addresses change with what they hold, so that browsers keep them.

use axum::{
    extract::Path,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use rust_embed::Embed;
use sha2::{Digest, Sha256};
use std::{borrow::Cow, sync::LazyLock};

#[derive(Embed)]
#[folder = "assets"]
struct Assets;

/// The script, and what it is made of. In one file: htmx begins a moment after it is loaded, and an extension that comes later
/// is never heard of.
const SCRIPT: &str = "board.js";
const SCRIPTS: [&str; 2] = ["htmx.min.js", "hx-sse.min.js"];

/// Digits of what is added to the addresses.
const VERSION: usize = 12;

/// What is added to the addresses.
pub(super) fn version() -> &'static str {
    static HASH: LazyLock<String> = LazyLock::new(|| {
        let mut names: Vec<_> = Assets::iter().collect();
        names.sort();
        let mut hash = Sha256::new();
        names.iter().filter_map(|name| Assets::get(name)).for_each(|file| hash.update(file.data));
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>()[..VERSION].to_owned()
    });
    &HASH
}

pub(super) async fn asset(Path(name): Path<String>) -> Response {
    let kind = match name.rsplit('.').next() {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    let data = if name == SCRIPT { Some(Cow::Borrowed(script())) } else { Assets::get(&name).map(|file| file.data) };
    let Some(data) = data else { return StatusCode::NOT_FOUND.into_response() };
    let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "public, max-age=86400")];
    (headers, data.into_owned()).into_response()
}

fn script() -> &'static [u8] {
    static WHOLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let files = SCRIPTS.iter().filter_map(|name| Assets::get(name));
        // Each ends its own last statement.
        files.flat_map(|file| [file.data, Cow::Borrowed(b"\n;".as_slice())]).fold(Vec::new(), |mut whole, part| {
            whole.extend_from_slice(&part);
            whole
        })
    });
    &WHOLE
}
