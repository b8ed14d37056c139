//! Sends messages: one request at a time, tried again with rising pauses until it is taken or given up.

use super::message::Message;
use crate::{
    clock::Clock,
    config::notification::Notification,
    metrics::{NOTIFICATION_DELAY, NOTIFICATION_TRIES, NOTIFICATIONS},
};
use backon::{BackoffBuilder, ExponentialBuilder};
use metrics::{counter, histogram};
use reqwest::{StatusCode, header};
use secrecy::ExposeSecret;
use std::time::Duration;
use tokio::time::sleep;
use tracing::{debug, error, warn};

/// Time to connect, and for a whole request: who takes longer is asked again later.
const CONNECT: Duration = Duration::from_secs(5);
const REQUEST: Duration = Duration::from_secs(15);
/// First and longest pause between tries.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_mins(5));
/// Longest pause that a receiver may ask for.
const ASKED_MAX: Duration = Duration::from_hours(1);

/// The client that all notifications share. What it sends is for the address that was configured, and no other.
pub(super) fn client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .user_agent(concat!("brain-server/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .timeout(REQUEST)
        .redirect(reqwest::redirect::Policy::none())
        .build()
}

/// Sends the messages of one notification.
#[derive(Debug)]
pub(super) struct Sender {
    client: reqwest::Client,
    notification: Notification,
    clock: Clock,
}

/// Why a message was not taken, in words that hold no address.
struct Refusal {
    why: String,
    retry_after: Option<Duration>,
}

impl Sender {
    pub(super) fn new(client: reqwest::Client, notification: Notification, clock: Clock) -> Self {
        let sender = Self { client, notification, clock };
        // Shown from the beginning, so that a rate can be told from nothing at all.
        for outcome in ["delivered", "given_up", "missed"] {
            sender.count(outcome, 0);
        }
        sender
    }

    pub(super) fn notification(&self) -> &Notification {
        &self.notification
    }

    /// Counts what became of messages.
    pub(super) fn count(&self, outcome: &'static str, messages: u64) {
        counter!(NOTIFICATIONS, "name" => self.notification.name.clone(), "outcome" => outcome).increment(messages);
    }

    /// Sends a message until it is taken or given up.
    pub(super) async fn deliver(&self, message: &Message) {
        let Notification { name, tries, kind, .. } = &self.notification;
        let body = message.body(*kind);
        let pauses = ExponentialBuilder::default().with_jitter().with_min_delay(PAUSE.0).with_max_delay(PAUSE.1);
        let mut pauses = pauses.with_max_times(*tries as usize - 1).build();
        loop {
            let refusal = self.send(message, &body).await;
            let outcome = if refusal.is_ok() { "ok" } else { "failed" };
            counter!(NOTIFICATION_TRIES, "name" => name.clone(), "outcome" => outcome).increment(1);
            let Err(Refusal { why, retry_after }) = refusal else {
                debug!(notification = name, id = message.id, notice = message.notice, "notice delivered");
                histogram!(NOTIFICATION_DELAY, "name" => name.clone()).record(self.clock.now().since(message.at));
                return self.count("delivered", 1);
            };
            let Some(pause) = pauses.next() else {
                let (id, notice) = (&message.id, message.notice);
                error!(notification = name, id, notice, why, tries, "a notice is given up");
                return self.count("given_up", 1);
            };
            let pause = pause.max(retry_after.unwrap_or_default().min(ASKED_MAX));
            warn!(notification = name, id = message.id, why, ?pause, "a notice was not taken, trying again");
            sleep(pause).await;
        }
    }

    /// Sends it once. Each try is signed with its own time, so that it is fresh to who checks that.
    async fn send(&self, message: &Message, body: &str) -> Result<(), Refusal> {
        let Notification { url, signer, .. } = &self.notification;
        let seconds = self.clock.now().0.div_euclid(1_000);
        let mut request = self
            .client
            .post(url.expose_secret())
            .header(header::CONTENT_TYPE, "application/json")
            .header("webhook-id", &message.id)
            .header("webhook-timestamp", seconds);
        if let Some(signer) = signer {
            request = request.header("webhook-signature", signer.sign(&message.id, seconds, body));
        }
        let answer = request
            .body(body.to_owned())
            .send()
            .await
            .map_err(|error| Refusal { why: describe(&error).to_owned(), retry_after: None })?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let asked = answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        let why = match status {
            status if status.is_redirection() => {
                format!("it answers {}: give the address it moved to", status.as_u16())
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                format!("it answers {}: see the secret", status.as_u16())
            }
            status => format!("it answers {}", status.as_u16()),
        };
        Err(Refusal { why, retry_after: asked.and_then(|text| self.asked_pause(text)) })
    }

    /// Seconds, or a date.
    fn asked_pause(&self, text: &str) -> Option<Duration> {
        if let Ok(seconds) = text.trim().parse() {
            return Some(Duration::from_secs(seconds));
        }
        let date = jiff::fmt::rfc2822::parse(text.trim()).ok()?;
        let left = date.timestamp().as_millisecond().saturating_sub(self.clock.now().0);
        Some(Duration::from_millis(u64::try_from(left).unwrap_or(0)))
    }
}

/// What went wrong, without the address, which may hold what must not be shown.
fn describe(error: &reqwest::Error) -> &'static str {
    match error {
        error if error.is_timeout() => "it does not answer in time",
        error if error.is_connect() => "it cannot be reached",
        _ => "the connection broke before it answered",
    }
}
