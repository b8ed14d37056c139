//! Git's smart HTTP, as far as a watcher speaks it: `ls-refs` of protocol version 2, and a push of tags on commits that are
//! there. `git ls-remote` works; whoever clones is told that there are no files.

use super::forge::{Forge, Repository};
use axum::{
    Router,
    body::Bytes,
    extract::{Path, Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use gix_packetline::{
    PacketLineRef,
    decode::{Stream, streaming},
};
use serde::Deserialize;
use std::sync::Arc;

/// What stands at the end of a message.
const FLUSH: &str = "0000";
/// The only branch, and HEAD.
const BRANCH: &str = "refs/heads/master";
/// Refs that are made, and none other.
const TAGS: &str = "refs/tags/";
const UPLOAD: &str = "git-upload-pack";

/// The git host of a forge.
pub(super) fn routes() -> Router<Arc<Forge>> {
    Router::new()
        .route("/{repository}/info/refs", get(capabilities))
        .route("/{repository}/git-upload-pack", post(upload_pack))
        .route("/{repository}/git-receive-pack", post(receive_pack))
}

#[derive(Debug, Deserialize)]
struct Service {
    service: String,
}

async fn capabilities(
    State(forge): State<Arc<Forge>>,
    Path(name): Path<String>,
    Query(Service { service }): Query<Service>,
) -> Response {
    if let Err(missing) = find(&forge, &name) {
        return missing;
    }
    if service != UPLOAD {
        let why = "this repository has names of commits and no files: make a version by `brain dev push`, or a tag by \
                   `brain tag`\n";
        return (StatusCode::FORBIDDEN, why).into_response();
    }
    // Whoever fetches is told why there is nothing, which a host that cannot fetch is not asked.
    let lines = ["version 2", "agent=brain-dev", "ls-refs", "fetch", "object-format=sha1"];
    let lines: String = lines.iter().map(|line| packet(line)).collect();
    answer("advertisement", format!("{}{FLUSH}{lines}{FLUSH}", packet("# service=git-upload-pack")))
}

async fn upload_pack(State(forge): State<Arc<Forge>>, Path(name): Path<String>, body: Bytes) -> Response {
    let repository = match find(&forge, &name) {
        Ok((_, repository)) => repository,
        Err(missing) => return missing,
    };
    let Some(lines) = packets(&body) else { return not_gits() };
    match lines.first().map(|line| trimmed(line)) {
        Some(command) if command == "command=ls-refs" => {
            let lines: String = refs(&repository, &lines).iter().map(|line| packet(line)).collect();
            answer("result", format!("{lines}{FLUSH}"))
        }
        _ => {
            let why = packet("ERR this repository has names of commits and no files: there is nothing to fetch");
            answer("result", format!("{why}{FLUSH}"))
        }
    }
}

/// The refs that are asked for by prefix; all of them where none is.
fn refs(repository: &Repository, asked: &[&[u8]]) -> Vec<String> {
    let prefixes: Vec<String> =
        asked.iter().filter_map(|line| trimmed(line).strip_prefix("ref-prefix ").map(ToOwned::to_owned)).collect();
    let wanted = |name: &str| prefixes.is_empty() || prefixes.iter().any(|prefix| name.starts_with(prefix.as_str()));
    let head =
        repository.commits.last().into_iter().flat_map(|head| [("HEAD".to_owned(), head), (BRANCH.into(), head)]);
    let tags = repository.tags.iter().map(|(tag, commit)| (format!("{TAGS}{tag}"), commit));
    head.chain(tags).filter(|(name, _)| wanted(name)).map(|(name, commit)| format!("{commit} {name}")).collect()
}

async fn receive_pack(State(forge): State<Arc<Forge>>, Path(name): Path<String>, body: Bytes) -> Response {
    let name = match find(&forge, &name) {
        Ok((name, _)) => name,
        Err(missing) => return missing,
    };
    // After the commands a pack follows, which has no objects: the commits are there.
    let Some(update) = packets(&body).and_then(|lines| lines.first().map(|line| trimmed(line))) else {
        return not_gits();
    };
    let words: Vec<&str> = update.split('\0').next().unwrap_or_default().split(' ').collect();
    let [old, new, reference] = words.as_slice() else { return not_gits() };
    let outcome = match reference.strip_prefix(TAGS) {
        Some(tag) if old.bytes().all(|digit| digit == b'0') => forge.tag(name, tag, new),
        _ => Err("only new tags are taken".to_owned()),
    };
    let outcome = match outcome {
        Ok(()) => format!("ok {reference}"),
        Err(why) => format!("ng {reference} {why}"),
    };
    let body = format!("{}{}{FLUSH}", packet("unpack ok"), packet(&outcome));
    ([(header::CONTENT_TYPE, "application/x-git-receive-pack-result")], body).into_response()
}

/// The repository of "user.git", with its name.
#[expect(clippy::result_large_err, reason = "it is the answer, which is large by nature")]
fn find<'a>(forge: &Forge, path: &'a str) -> Result<(&'a str, Repository), Response> {
    let name = path.strip_suffix(".git").unwrap_or(path);
    let missing = || (StatusCode::NOT_FOUND, "there is no such repository\n").into_response();
    Ok((name, forge.repository(name).ok_or_else(missing)?))
}

/// The packets before the first flush, bounded by the size of the body.
fn packets(mut body: &[u8]) -> Option<Vec<&[u8]>> {
    let mut lines = Vec::new();
    while let Ok(Stream::Complete { line, bytes_consumed }) = streaming(body) {
        match line {
            PacketLineRef::Data(data) => lines.push(data),
            PacketLineRef::Flush => return Some(lines),
            PacketLineRef::Delimiter | PacketLineRef::ResponseEnd => {}
        }
        body = &body[bytes_consumed..];
    }
    None
}

fn trimmed(line: &[u8]) -> String {
    String::from_utf8_lossy(line).trim_end_matches('\n').to_owned()
}

fn packet(text: &str) -> String {
    // The length counts its own four digits and the line feed.
    format!("{:04x}{text}\n", text.len() + 5)
}

fn answer(kind: &str, body: String) -> Response {
    let content = format!("application/x-{UPLOAD}-{kind}");
    ([(header::CONTENT_TYPE, content), (header::CACHE_CONTROL, "no-cache".to_owned())], body).into_response()
}

fn not_gits() -> Response {
    (StatusCode::BAD_REQUEST, "that is not git's protocol\n").into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refs_are_those_that_are_asked_for() {
        let tags = [("0.0.4".to_owned(), "a".to_owned())].into();
        let repository = Repository { commits: vec!["a".to_owned(), "b".to_owned()], tags };
        assert_eq!(refs(&repository, &[]), ["b HEAD", "b refs/heads/master", "a refs/tags/0.0.4"]);
        assert_eq!(refs(&repository, &[b"ref-prefix refs/tags/\n"]), ["a refs/tags/0.0.4"]);
        assert!(refs(&Repository::default(), &[]).is_empty());
    }

    #[test]
    fn packets_end_with_the_first_flush_and_garbage_is_none() {
        assert_eq!(packets(b"000babcde\n0000PACK"), None, "a length that lies");
        assert_eq!(packets(b"0009abcde0000PACK"), Some(vec![&b"abcde"[..]]));
        assert_eq!(packets(b"<html>"), None);
        assert_eq!(packets(b""), None);
    }
}
