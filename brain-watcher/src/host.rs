//! A host's queue: few requests at once, not too many a second, and a pause while the host is in trouble. Each host has its
//! own, so that one that hangs, throttles or errs delays only its own projects.

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, sleep_until},
};

/// Requests to one host at the same time.
const AT_ONCE: usize = 8;
/// Requests to one host each second, and in a burst.
const PER_SECOND: NonZeroU32 = NonZeroU32::new(50).unwrap();
const BURST: NonZeroU32 = NonZeroU32::new(100).unwrap();
/// First and longest pause of a host in trouble.
const PAUSE_FIRST: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_mins(5);

/// One host.
#[derive(Debug)]
pub struct Host {
    turns: Semaphore,
    rate: DefaultDirectRateLimiter,
    trouble: Mutex<Trouble>,
}

#[derive(Debug, Default)]
struct Trouble {
    failures: u32,
    until: Option<Instant>,
}

/// All hosts.
#[derive(Debug, Default)]
pub struct Hosts(Mutex<HashMap<String, Arc<Host>>>);

impl Hosts {
    /// The host of that name.
    pub fn get(&self, name: &str) -> Arc<Host> {
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(hosts.entry(name.to_owned()).or_insert_with(|| Arc::new(Host::new())))
    }
}

impl Host {
    fn new() -> Self {
        Self {
            turns: Semaphore::new(AT_ONCE),
            rate: RateLimiter::direct(Quota::per_second(PER_SECOND).allow_burst(BURST)),
            trouble: Mutex::default(),
        }
    }

    /// Waits for this request's turn, which lasts as long as the permit is held.
    pub(crate) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed.
        let permit = self.turns.acquire().await.ok();
        let until = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).until;
        if let Some(until) = until {
            sleep_until(until).await;
        }
        self.rate.until_ready().await;
        permit
    }

    /// The host answered.
    pub(crate) fn succeeded(&self) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Trouble::default();
    }

    /// The host is in trouble: everybody pauses, longer each time, or as long as the host asks.
    pub(crate) fn failed(&self, asked: Option<Duration>) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let pause = PAUSE_FIRST.saturating_mul(1 << trouble.failures.min(10)).min(PAUSE_MAX);
        trouble.failures = trouble.failures.saturating_add(1);
        trouble.until = Some(Instant::now() + asked.map_or(pause, |asked| asked.min(PAUSE_MAX)));
    }
}
