//! Sources: where tags, heads and images are read from.
//!
//! Every request is bounded in time and size, conditional where the peer allows it, and passes its host's queue.

use crate::host::{Host, RateLimit};
use std::time::Duration;
use thiserror::Error;
use tokio::time::Instant;
use url::Url;

pub mod docker_hub;
pub mod git;
pub mod github;
pub mod oci;
pub mod open;
pub mod port;

/// Largest answer that is read, in bytes: 20,000 refs of 250 characters fit.
const BODY_MAX: usize = 8 << 20;
/// Most tags of a repository.
pub const TAGS_MAX: usize = 20_000;
/// Time for one request, body included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// Time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest text of a failure.
const FAILURE_MAX: usize = 400;

/// Why a poll failed.
#[derive(Debug, Error)]
#[error("{message}")]
pub struct PollError {
    /// For people; holds no secret and is at most 500 characters.
    pub message: String,
    /// When the host asks to be asked again.
    pub retry_after: Option<Duration>,
    /// Whether the host as a whole is in trouble, and not this project alone.
    pub host_trouble: bool,
}

impl PollError {
    /// A failure of one project.
    pub fn new(message: impl Into<String>) -> Self {
        let message: String = message.into();
        Self { message: message.chars().take(FAILURE_MAX).collect(), retry_after: None, host_trouble: false }
    }
}

/// The client that all sources share. It follows few redirects and never sends a credential to another host.
pub fn client() -> reqwest::Result<reqwest::Client> {
    builder().redirect(reqwest::redirect::Policy::limited(5)).build()
}

/// The same for hosts of this machine, which no proxy knows, and which send nobody elsewhere.
pub fn client_of_this_machine() -> reqwest::Result<reqwest::Client> {
    builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build()
}

fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(concat!("brain-watcher/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(REQUEST_TIMEOUT)
}

/// An answer whose body was read within its bound.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: reqwest::StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Vec<u8>,
    /// Where it came from, after redirections.
    pub(crate) url: Url,
}

/// Sends a request through its host's queue and reads the answer. `peer` is what failures call the other side.
pub(crate) async fn send(host: &Host, peer: &str, request: reqwest::RequestBuilder) -> Result<Answer, PollError> {
    let _turn = match host.turn().await {
        Ok(turn) => turn,
        Err(pause) => {
            let retry_after = Some(pause.until.saturating_duration_since(Instant::now()));
            return Err(PollError { retry_after, host_trouble: true, ..PollError::new(pause.why) });
        }
    };
    let answer = exchange(peer, request).await;
    match &answer {
        Ok(answer) => heed(host, peer, answer),
        Err(error) if error.host_trouble => host.pause(None, None, error.message.clone()),
        Err(_) => {}
    }
    answer
}

/// Does what an answer asks of all who talk to the host.
fn heed(host: &Host, peer: &str, answer: &Answer) {
    host.read(answer.body.len());
    let limit = rate_limit(&answer.headers);
    let code = answer.status.as_u16();
    let asked = asked_pause(answer);
    if answer.status.is_server_error() || code == 429 || (code == 403 && asked.is_some()) {
        host.pause(asked, limit, refused(peer, answer, "").message);
    } else {
        host.answered(code == 304, limit);
        if let Some(limit) = limit.filter(|limit| limit.remaining == 0) {
            let why = format!("{peer} allows no more requests until {}", clock(limit.reset));
            host.pause(Some(until(limit.reset)), Some(limit), why);
        }
    }
}

/// How long the host asks to be left alone: by `retry-after`, or since nothing is left of its rate limit.
fn asked_pause(answer: &Answer) -> Option<Duration> {
    let exhausted = || rate_limit(&answer.headers).filter(|limit| limit.remaining == 0);
    retry_after(&answer.headers).or_else(|| Some(until(exhausted()?.reset)))
}

fn rate_limit(headers: &reqwest::header::HeaderMap) -> Option<RateLimit> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<i64>().ok();
    let limit = u64::try_from(number("x-ratelimit-limit")?).ok()?;
    let remaining = u64::try_from(number("x-ratelimit-remaining")?).ok()?;
    let reset = jiff::Timestamp::from_second(number("x-ratelimit-reset")?).ok()?;
    Some(RateLimit { limit, remaining, reset })
}

fn until(time: jiff::Timestamp) -> Duration {
    // A second more: the host's seconds are whole, and its clock is its own.
    let left = time.duration_since(jiff::Timestamp::now());
    Duration::try_from(left).unwrap_or_default() + Duration::from_secs(1)
}

fn clock(time: jiff::Timestamp) -> String {
    time.strftime("%H:%M:%S UTC").to_string()
}

async fn exchange(peer: &str, request: reqwest::RequestBuilder) -> Result<Answer, PollError> {
    let trouble = |error: reqwest::Error| PollError { host_trouble: true, ..PollError::new(describe(peer, error)) };
    let mut answer = request.send().await.map_err(trouble)?;
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(trouble)? {
        if body.len() + chunk.len() > BODY_MAX {
            return Err(PollError::new(format!("{peer} answers with more than {} MiB", BODY_MAX >> 20)));
        }
        body.extend_from_slice(&chunk);
    }
    let (status, headers, url) = (answer.status(), answer.headers().clone(), answer.url().clone());
    Ok(Answer { status, headers, body, url })
}

/// What went wrong, without the address, which may hold what must not be shown.
fn describe(peer: &str, error: reqwest::Error) -> String {
    let error = error.without_url();
    if error.is_timeout() {
        return format!("{peer} does not answer in time");
    }
    if error.is_connect() {
        return format!("{peer} cannot be reached");
    }
    let mut causes = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        causes = cause.to_string();
        source = cause.source();
    }
    format!("{peer} breaks off its answer: {causes}")
}

/// The failure that a status means; `hint` tells what a person can do about a refused credential.
pub(crate) fn refused(peer: &str, answer: &Answer, hint: &str) -> PollError {
    let code = answer.status.as_u16();
    let message = match code {
        403 if asked_pause(answer).is_some() => {
            match rate_limit(&answer.headers).filter(|limit| limit.remaining == 0) {
                Some(limit) => format!("{peer} allows no more requests until {}", clock(limit.reset)),
                None => format!("{peer} answers 403 and asks for a pause: too many requests, polling slows down"),
            }
        }
        401 | 403 => format!("{peer} answers {code}: {hint}"),
        404 => format!("{peer} answers 404: it does not exist, or the credential may not see it"),
        429 => format!("{peer} answers 429: too many requests, polling slows down"),
        _ => format!("{peer} answers {code}"),
    };
    let host_trouble = code == 429 || answer.status.is_server_error();
    PollError { retry_after: asked_pause(answer), host_trouble, ..PollError::new(message) }
}

fn retry_after(headers: &reqwest::header::HeaderMap) -> Option<Duration> {
    let seconds = headers.get(reqwest::header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// The page that a Link header names as the next, which may be relative.
pub(crate) fn next_page(url: &Url, answer: &Answer) -> Option<Url> {
    let links = answer.headers.get_all(reqwest::header::LINK).iter().filter_map(|link| link.to_str().ok());
    let next = links.flat_map(|links| links.split(',')).find(|link| {
        let relation = link.split(';').skip(1).map(str::trim);
        relation.into_iter().any(|part| part == "rel=\"next\"" || part == "rel=next")
    })?;
    let target = next.trim().strip_prefix('<')?.split('>').next()?;
    url.join(target).ok()
}
