//! Pages: sizes, and tokens that name the last thing on a page.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use brain_proto::error;
use tonic::Status;

/// The number of things on a page: what was asked for, or `default`, and `most` at most.
pub(super) fn size(asked: u32, default: u32, most: u32) -> Result<usize, Status> {
    if asked > most {
        return Err(error::invalid_field("page_size", format!("must be at most {most}")));
    }
    Ok(if asked == 0 { default } else { asked } as usize)
}

/// A token for the page after `last`.
pub(super) fn token(last: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(last)
}

/// What stood last on the page before; `None` for the first page.
pub(super) fn last(token: &str) -> Result<Option<String>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).ok();
    match bytes.and_then(|bytes| String::from_utf8(bytes).ok()) {
        Some(last) => Ok(Some(last)),
        None => Err(error::invalid_field("page_token", "is none that this server gave: begin with the first page")),
    }
}
