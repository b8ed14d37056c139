//! EventService: the audit log, read from the store. Nothing of it is kept in memory.

use super::{Api, Watch, cut_off, deployment::request::Faults, page};
use crate::{
    directory::Directory,
    store::{Committed, Revision, StoreError},
};
use brain_core::{event::Event, stream::Stream};
use brain_proto::{
    convert::event_to_proto,
    error, name,
    v1::{
        self, EventTopic, ListEventsRequest, ListEventsResponse, WatchEventsRequest, WatchEventsResponse,
        event_service_server::EventService,
    },
};
use std::{collections::BTreeSet, sync::atomic::Ordering};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::StreamExt;
use tonic::{Code, Request, Response, Status};

/// Commits that are read at a time, and most events on a page.
const READ: usize = 1_000;
const PAGE_MAX: u32 = 1_000;
/// Reads of the log at the same time: each may go through all of it.
static READS: Semaphore = Semaphore::const_new(2);
/// Commits without a wanted event after which a watch tells from where it would go on, before the log drops that.
const SILENT_MAX: u64 = 10_000;

#[tonic::async_trait]
impl EventService for Api {
    async fn list_events(&self, request: Request<ListEventsRequest>) -> Result<Response<ListEventsResponse>, Status> {
        let ListEventsRequest { project, topics, page_size, page_token } = request.into_inner();
        let mut faults = Faults::default();
        let wanted = Wanted::read(&project, &topics, &mut faults);
        faults.check(page_size <= PAGE_MAX, "page_size", &format!("must be at most {PAGE_MAX}"));
        let behind = Position::read("page_token", &page_token, Position::END, &mut faults);
        let (wanted, mut behind) = faults.end(wanted.zip(behind))?;
        let size = page::size(page_size, 100, PAGE_MAX)?;
        let mut events = Vec::new();
        // Only a wait of the runtime's own ends it.
        let _turn = READS.acquire().await.map_err(|_| super::shutting_down())?;
        // Where every event is wanted, a page is read and no more.
        let most = if wanted.topics.is_empty() { size + 1 } else { READ };
        loop {
            let before = Revision(behind.revision.saturating_add(1));
            let commits = self.shared.store.earlier(before, wanted.stream.clone(), most).await;
            let commits = commits
                .map_err(|error| error::unavailable("STORE_UNAVAILABLE", error.to_string(), super::RETRY_AFTER))?;
            let last = commits.len() < most;
            for commit in commits {
                let from = behind;
                for (position, event) in backwards(&commit).filter(|(position, _)| *position < from) {
                    let shown = self.shown(&commit, position, event);
                    if wanted.has(&shown) {
                        if events.len() == size {
                            let next_page_token = page::token(&behind.to_string());
                            return Ok(Response::new(ListEventsResponse { events, next_page_token }));
                        }
                        events.push(shown);
                    }
                    behind = position;
                }
            }
            if last {
                return Ok(Response::new(ListEventsResponse { events, next_page_token: String::new() }));
            }
        }
    }

    type WatchEventsStream = Watch<WatchEventsResponse>;

    async fn watch_events(
        &self,
        request: Request<WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        let WatchEventsRequest { project, topics, resume_token } = request.into_inner();
        let mut faults = Faults::default();
        let wanted = Wanted::read(&project, &topics, &mut faults);
        let now = Position { revision: self.shared.revision.load(Ordering::Relaxed), index: u32::MAX };
        let after = Position::read("resume_token", &resume_token, now, &mut faults);
        let (wanted, after) = faults.end(wanted.zip(after))?;
        let api = self.clone();
        Ok(Response::new(self.watch(|sender| watch(api, wanted, after, sender))))
    }
}

impl Api {
    fn shown(&self, commit: &Committed, position: Position, event: &Event) -> v1::Event {
        shown(&self.directory, commit, position, event)
    }
}

/// An event, with its deployment's steps by their names.
pub(crate) fn shown(directory: &Directory, commit: &Committed, at: Position, event: &Event) -> v1::Event {
    let project = match &commit.stream {
        Stream::Project(id) if event.change.deployment().is_some() => directory.get(id),
        _ => None,
    };
    let inner = project.as_ref().map(|project| project.read());
    let number = event.change.deployment();
    let deployment = inner.as_ref().and_then(|inner| {
        let mut all = inner.state.deployments.iter().rev();
        all.find(|deployment| Some(deployment.number) == number)
    });
    event_to_proto(&commit.stream, (at.revision, at.index), event, deployment)
}

/// Which events a reader wants.
struct Wanted {
    stream: Option<Stream>,
    topics: BTreeSet<i32>,
}

impl Wanted {
    fn read(project: &str, topics: &[i32], faults: &mut Faults) -> Option<Self> {
        let stream = match project {
            "" => None,
            name => {
                let id = name::parse_project(name);
                faults.check(id.is_ok(), "project", "must be of the form \"projects/{id}\"");
                Some(id.ok()?.into())
            }
        };
        let known = topics.iter().all(|topic| EventTopic::try_from(*topic).is_ok());
        faults.check(known, "topics", "must be topics of EventTopic");
        let any = topics.contains(&EventTopic::Unspecified.into());
        let topics = if any { BTreeSet::new() } else { topics.iter().copied().collect() };
        Some(Self { stream, topics })
    }

    fn has(&self, event: &v1::Event) -> bool {
        self.topics.is_empty() || self.topics.contains(&event.topic)
    }
}

/// Where an event stands in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) revision: u64,
    pub(crate) index: u32,
}

impl Position {
    /// Behind everything. One more than a revision that there can be, so that reads may begin behind it.
    const END: Self = Self { revision: u64::MAX - 1, index: u32::MAX };

    /// What a token says; `default` without one.
    fn read(field: &str, token: &str, default: Self, faults: &mut Faults) -> Option<Self> {
        if token.is_empty() {
            return Some(default);
        }
        let position = page::last(token).ok().flatten().and_then(|text| Self::parse(&text));
        faults.check(position.is_some(), field, "is none that this server gave: leave it out to begin anew");
        position
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (revision, index) = text.split_once('.')?;
        let (revision, index) = (revision.parse().ok()?, index.parse().ok()?);
        (revision < u64::MAX).then_some(Self { revision, index })
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.revision, self.index)
    }
}

/// The token of the page that begins with what was committed at a revision.
pub(crate) fn link_token(revision: u64) -> String {
    page::token(&Position { revision, index: u32::MAX }.to_string())
}

/// The events of a commit, the latest first.
fn backwards(commit: &Committed) -> impl Iterator<Item = (Position, &Event)> {
    forwards(commit).collect::<Vec<_>>().into_iter().rev()
}

/// The events of a commit, in their order.
pub(crate) fn forwards(commit: &Committed) -> impl Iterator<Item = (Position, &Event)> {
    let revision = commit.revision.0;
    (0..).zip(&commit.events).map(move |(index, event)| (Position { revision, index }, event))
}

async fn watch(api: Api, wanted: Wanted, after: Position, sender: mpsc::Sender<Result<WatchEventsResponse, Status>>) {
    let token = |position: Position| page::token(&position.to_string());
    let word = |position| WatchEventsResponse { event: None, resume_token: token(position) };
    if sender.send(Ok(word(after))).await.is_err() {
        return;
    }
    // The commit of the position too: some of its events may be wanted still.
    let from = Revision(after.revision.saturating_sub(1).min(api.shared.revision.load(Ordering::Relaxed)));
    let mut commits = api.shared.store.watch(from);
    let mut told = after.revision;
    while let Some(commit) = commits.next().await {
        let commit = match commit {
            Ok(commit) => commit,
            Err(error) => {
                let _ = sender.send(Err(watch_status(error))).await;
                return;
            }
        };
        let of_it = wanted.stream.as_ref().is_none_or(|stream| commit.stream == *stream);
        for (position, event) in forwards(&commit).filter(|(position, _)| of_it && *position > after) {
            let event = api.shown(&commit, position, event);
            if !wanted.has(&event) {
                continue;
            }
            let message = WatchEventsResponse { event: Some(event), resume_token: token(position) };
            if sender.send(Ok(message)).await.is_err() {
                return;
            }
            told = position.revision;
        }
        if commit.revision.0 >= told + SILENT_MAX {
            told = commit.revision.0;
            if sender.send(Ok(word(Position { revision: told, index: u32::MAX }))).await.is_err() {
                return;
            }
        }
    }
}

fn watch_status(error: StoreError) -> Status {
    match error {
        StoreError::Lagged => cut_off("the log"),
        StoreError::Compacted { .. } => {
            let message = format!("{error}: list events, and watch from now on");
            error::plain(Code::OutOfRange, "EVENTS_DROPPED", message)
        }
        other => error::unavailable("STORE_UNAVAILABLE", other.to_string(), super::RETRY_AFTER),
    }
}
