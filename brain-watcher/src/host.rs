//! A host's queue: few requests at once, not too many a second, and a pause while the host asks for one or is in trouble.
//! Each host has its own, so that one that hangs, throttles or errs delays only its own projects.

use crate::metrics::OfHost;
use brain_proto::v1::HostState;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, sleep_until},
};

/// Requests to one host at the same time.
const AT_ONCE: usize = 8;
/// Projects that are polled at one host at the same time: enough to keep its requests going.
const POLLS_AT_ONCE: usize = 4 * AT_ONCE;
/// Requests to one host each second, unless the configuration says otherwise; twice as many in a burst.
const PER_SECOND: NonZeroU32 = NonZeroU32::new(100).unwrap();
/// First and longest pause of a host in trouble.
const PAUSE_FIRST: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_mins(5);
/// Longest pause that a host may ask for: the window of GitHub's rate limit, and a little.
const ASKED_MAX: Duration = Duration::from_mins(65);
/// Longest pause that a request waits for in the queue; before a longer one it is turned away.
const PATIENCE: Duration = Duration::from_secs(2);

/// One host.
#[derive(Debug)]
pub struct Host {
    polls: Semaphore,
    turns: Semaphore,
    rate: DefaultDirectRateLimiter,
    inner: Mutex<Inner>,
    pub(crate) measured: OfHost,
}

#[derive(Debug, Default)]
struct Inner {
    failures: u32,
    pause: Option<Pause>,
    requests: u64,
    not_modified: u64,
    body_bytes: u64,
    limit: Option<RateLimit>,
}

/// Why and until when nothing is sent.
#[derive(Debug, Clone)]
pub(crate) struct Pause {
    pub(crate) until: Instant,
    until_clock: jiff::Timestamp,
    pub(crate) why: String,
}

/// What a host tells of its rate limit, in the headers that GitHub and Docker Hub use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RateLimit {
    pub(crate) limit: u64,
    pub(crate) remaining: u64,
    /// End of the window.
    pub(crate) reset: jiff::Timestamp,
}

/// All hosts.
#[derive(Debug, Default)]
pub struct Hosts {
    hosts: Mutex<BTreeMap<String, Arc<Host>>>,
    rates: BTreeMap<String, NonZeroU32>,
}

impl Hosts {
    /// Hosts, some of which have rates of their own, in requests each second.
    #[must_use]
    pub fn new(rates: BTreeMap<String, NonZeroU32>) -> Self {
        Self { hosts: Mutex::default(), rates }
    }

    /// The host of that name.
    pub fn get(&self, name: &str) -> Arc<Host> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = hosts.get(name) {
            return Arc::clone(host);
        }
        let host = Arc::new(Host::new(name, self.rates.get(name).copied().unwrap_or(PER_SECOND)));
        hosts.insert(name.to_owned(), Arc::clone(&host));
        host
    }

    /// How all hosts are.
    #[must_use]
    pub fn report(&self) -> Vec<HostState> {
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.iter().map(|(name, host)| host.state(name)).collect()
    }
}

impl Host {
    fn new(name: &str, per_second: NonZeroU32) -> Self {
        Self {
            polls: Semaphore::new(POLLS_AT_ONCE),
            turns: Semaphore::new(AT_ONCE),
            rate: RateLimiter::direct(
                Quota::per_second(per_second).allow_burst(per_second.saturating_add(per_second.get())),
            ),
            inner: Mutex::default(),
            measured: OfHost::new(name),
        }
    }

    /// Waits until one more project may be polled, which lasts as long as the permit is held: a poll takes memory even while
    /// it waits, and ten thousand may wait.
    pub(crate) async fn poll_turn(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed.
        self.polls.acquire().await.ok()
    }

    /// Waits for this request's turn, which lasts as long as the permit is held. During a long pause there is none.
    pub(crate) async fn turn(&self) -> Result<Option<SemaphorePermit<'_>>, Pause> {
        let asked = Instant::now();
        // The semaphore is never closed.
        let permit = self.turns.acquire().await.ok();
        loop {
            let pause = self.lock().pause.clone().filter(|pause| pause.until > Instant::now());
            match pause {
                None => break,
                Some(pause) if pause.until > Instant::now() + PATIENCE => {
                    self.measured.turned_away.increment(1);
                    return Err(pause);
                }
                Some(pause) => sleep_until(pause.until).await,
            }
        }
        self.rate.until_ready().await;
        self.lock().requests += 1;
        self.measured.requests.increment(1);
        self.measured.wait.record(asked.elapsed());
        Ok(permit)
    }

    /// This much was read from the host.
    pub(crate) fn read(&self, bytes: usize) {
        self.lock().body_bytes += bytes as u64;
        self.measured.bytes.increment(bytes as u64);
    }

    /// The host answered, and told this of its rate limit.
    pub(crate) fn answered(&self, not_modified: bool, limit: Option<RateLimit>) {
        let mut inner = self.lock();
        inner.failures = 0;
        inner.not_modified += u64::from(not_modified);
        inner.limit = limit.or(inner.limit);
        self.measured.not_modified.increment(u64::from(not_modified));
        if let Some(limit) = limit {
            self.measured.remaining().set(limit.remaining as f64);
        }
    }

    /// Nothing is left of the rate limit, or the host asks for a pause, or is in trouble: everybody pauses. Without a
    /// length that the host asks for, longer each time.
    pub(crate) fn pause(&self, asked: Option<Duration>, limit: Option<RateLimit>, why: impl Into<String>) {
        let mut inner = self.lock();
        inner.limit = limit.or(inner.limit);
        let now = Instant::now();
        let paused = inner.pause.as_ref().is_some_and(|pause| pause.until > now);
        let length = match asked {
            Some(asked) => asked.min(ASKED_MAX),
            // Others that were under way when the pause began have nothing to add.
            None if paused => return,
            None => {
                inner.failures = inner.failures.saturating_add(1);
                PAUSE_FIRST.saturating_mul(1 << (inner.failures - 1).min(10)).min(PAUSE_MAX)
            }
        };
        self.measured.pauses.increment(1);
        let until_clock = jiff::Timestamp::now().saturating_add(length).unwrap_or(jiff::Timestamp::MAX);
        inner.pause = Some(Pause { until: now + length, until_clock, why: why.into() });
    }

    fn state(&self, name: &str) -> HostState {
        let inner = self.lock();
        let timestamp = |time: jiff::Timestamp| prost_types::Timestamp { seconds: time.as_second(), nanos: 0 };
        let pause = inner.pause.as_ref().filter(|pause| pause.until > Instant::now());
        HostState {
            host: name.to_owned(),
            requests: inner.requests,
            not_modified: inner.not_modified,
            body_bytes: inner.body_bytes,
            rate_limit: inner.limit.map(|limit| limit.limit),
            rate_remaining: inner.limit.map(|limit| limit.remaining),
            rate_reset_time: inner.limit.map(|limit| timestamp(limit.reset)),
            pause_until_time: pause.map(|pause| timestamp(pause.until_clock)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_long_pause_turns_requests_away_and_a_short_one_holds_them_back() {
        let host = Hosts::default().get("h");
        host.pause(Some(Duration::from_mins(10)), None, "asks for a pause");
        assert_eq!(host.turn().await.unwrap_err().why, "asks for a pause");
        let before = Instant::now();
        host.pause(Some(Duration::from_millis(200)), None, "again");
        assert!(host.turn().await.is_ok());
        assert!(before.elapsed() >= Duration::from_millis(200));
    }

    #[tokio::test]
    async fn failures_of_requests_that_were_under_way_together_count_once() {
        let host = Hosts::default().get("h");
        for _ in 0..8 {
            host.pause(None, None, "answers 503");
        }
        let pause = host.lock().pause.clone().unwrap();
        assert!(pause.until <= Instant::now() + PAUSE_FIRST);
    }
}
