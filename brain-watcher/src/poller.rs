//! The two pollers of a project, of its git repository and of its images: each on its jittered period, and at once when
//! poked. A poke that comes while a poll is under way makes one more poll, however many come.

use crate::{
    config::Config,
    host::Hosts,
    observe::Told,
    outbox::Outbox,
    source::{PollError, git::GitSource, oci::OciSource},
};
use brain_proto::{
    convert::{duration_from_proto, timestamp_to_proto},
    v1::{PollTarget, WatchedProject},
};
use reqwest::Client;
use std::{sync::Arc, time::Duration};
use tokio::{sync::Notify, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{Instrument, debug, info, info_span, warn};

/// Shortest period, whatever the server says.
const PERIOD_MIN: Duration = Duration::from_millis(50);
/// Longest time of one poll, which may be many requests.
const POLL_TIMEOUT: Duration = Duration::from_mins(10);

/// What all pollers share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) client: Client,
    pub(crate) hosts: Arc<Hosts>,
    pub(crate) outbox: Outbox,
    pub(crate) tasks: TaskTracker,
}

/// The pollers of one project. They end when it is dropped.
#[derive(Debug)]
pub(crate) struct Pollers {
    poke: [Arc<Notify>; 2],
    end: CancellationToken,
}

impl Drop for Pollers {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

impl Pollers {
    /// Starts both.
    pub(crate) fn start(shared: &Arc<Shared>, project: &WatchedProject) -> Self {
        let pollers = Self { poke: [Arc::default(), Arc::default()], end: CancellationToken::new() };
        for (target, poke) in [PollTarget::Source, PollTarget::Images].into_iter().zip(&pollers.poke) {
            let poller = Poller {
                shared: Arc::clone(shared),
                project: project.clone(),
                target,
                poke: Arc::clone(poke),
                told: Told::default(),
            };
            let end = pollers.end.clone();
            let span = info_span!("poll", project = project.project, target = target.as_str_name());
            shared.tasks.spawn(async move { end.run_until_cancelled(poller.run().instrument(span)).await });
        }
        pollers
    }

    /// Makes both poll at once.
    pub(crate) fn poke(&self) {
        for poke in &self.poke {
            poke.notify_one();
        }
    }
}

struct Poller {
    shared: Arc<Shared>,
    project: WatchedProject,
    target: PollTarget,
    poke: Arc<Notify>,
    told: Told,
}

enum Source {
    Git(GitSource),
    Oci(OciSource),
}

impl Poller {
    async fn run(mut self) {
        let period = self.project.poll_interval.map(duration_from_proto).unwrap_or_default().max(PERIOD_MIN);
        let mut source = match self.open() {
            Ok(source) => source,
            // The definition itself is at fault; another one brings another poller.
            Err(error) => return self.failed(&error).await,
        };
        loop {
            match timeout(POLL_TIMEOUT, self.poll(&mut source)).await {
                Ok(Ok(())) => self.tell_poll("").await,
                Ok(Err(error)) => self.failed(&error).await,
                Err(_) => self.failed(&PollError::new("the poll did not end in 10 minutes")).await,
            }
            // Within a tenth either way, so that a thousand projects do not poll at the same moment.
            let jitter = governor::Jitter::new(period.mul_f32(0.9), period.mul_f32(0.2));
            tokio::select! {
                () = tokio::time::sleep(jitter + Duration::ZERO) => {}
                () = self.poke.notified() => debug!("poked"),
            }
        }
    }

    fn open(&self) -> Result<Source, PollError> {
        let Shared { config, client, hosts, .. } = &*self.shared;
        let WatchedProject { git_url, branch, image_repository, .. } = &self.project;
        if self.target == PollTarget::Images {
            return OciSource::new(client.clone(), hosts, &config.registries, image_repository).map(Source::Oci);
        }
        let credential = url::Url::parse(git_url).ok().and_then(|url| {
            let host = url.host_str()?.to_owned();
            let with_port = url.port().map(|port| format!("{host}:{port}"));
            config.git.get(&with_port.unwrap_or(host)).cloned()
        });
        GitSource::new(client.clone(), Arc::clone(hosts), git_url, branch, credential).map(Source::Git)
    }

    async fn poll(&mut self, source: &mut Source) -> Result<(), PollError> {
        let what = match source {
            Source::Git(git) => {
                let refs = git.poll().await?;
                self.told.refs(refs)
            }
            Source::Oci(oci) => {
                let images = oci.poll().await?;
                self.told.images(images)
            }
        };
        if let Some(what) = what {
            info!("there is news");
            self.put(what).await;
        }
        Ok(())
    }

    async fn failed(&mut self, error: &PollError) {
        warn!(%error, "poll failed");
        self.tell_poll(&error.message).await;
        if let Some(pause) = error.retry_after {
            // The host's queue waits as well; this keeps the poller from standing in it.
            tokio::time::sleep(pause.min(Duration::from_mins(5))).await;
        }
    }

    async fn tell_poll(&mut self, failure: &str) {
        if let Some(what) = self.told.poll(self.target, failure) {
            self.put(what).await;
        }
    }

    async fn put(&self, what: brain_proto::v1::observation::What) {
        let now = brain_core::time::Timestamp(jiff::Timestamp::now().as_millisecond());
        self.shared.outbox.put(&self.project.project, what, timestamp_to_proto(now)).await;
    }
}
