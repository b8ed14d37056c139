//! The latest events of one kind, read once and then kept current: a reader costs what is new, however long the log is.

use crate::{
    api::{Watch, event::link_token},
    http::board::Board,
};
use brain_proto::v1::{
    Event, ListEventsRequest, WatchEventsRequest, WatchEventsResponse, event_service_server::EventService,
};
use futures::FutureExt;
use std::{collections::VecDeque, future::pending};
use tokio_stream::StreamExt;
use tonic::{Request, Status};

/// Which events, and how many of them.
#[derive(Debug, Clone, Default)]
pub(in crate::http::board) struct Wanted {
    /// Name of their project; empty: of all.
    pub(super) project: String,
    /// What they are about; empty: anything.
    pub(super) topics: Vec<i32>,
    /// How many at most.
    pub(super) most: u32,
}

/// The latest events, the latest first.
pub(in crate::http::board) struct Log {
    events: VecDeque<Event>,
    most: usize,
    /// The token of what was before them when they were read; empty where nothing was.
    older: String,
    /// Whether any has made room since.
    cut: bool,
    /// Revision of the latest event that was read.
    read: u64,
    coming: Watch<WatchEventsResponse>,
}

impl Log {
    /// Reads it.
    pub(in crate::http::board) async fn open(board: &Board, wanted: Wanted) -> Result<Self, Status> {
        let Wanted { project, topics, most } = wanted;
        // What happens from here on is heard of, before what has happened is read: nothing is between.
        let request =
            WatchEventsRequest { project: project.clone(), topics: topics.clone(), resume_token: String::new() };
        let coming = board.api.watch_events(Request::new(request)).await?.into_inner();
        let request = ListEventsRequest { project, topics, page_size: most, page_token: String::new() };
        let answer = board.api.list_events(Request::new(request)).await?.into_inner();
        let read = answer.events.first().map_or(0, |event| event.revision);
        Ok(Self {
            events: answer.events.into(),
            most: most as usize,
            older: answer.next_page_token,
            cut: false,
            read,
            coming,
        })
    }

    /// The events as they are known.
    pub(in crate::http::board) fn events(&self) -> Vec<Event> {
        self.events.iter().cloned().collect()
    }

    /// The token of what is before them.
    pub(in crate::http::board) fn older(&self) -> String {
        match self.events.back() {
            // From the last one on: what was committed together with it may have made room.
            Some(last) if self.cut => link_token(last.revision),
            _ => self.older.clone(),
        }
    }

    /// Waits for one more; `None`: it cannot be followed any further.
    pub(in crate::http::board) async fn next(&mut self) -> Option<()> {
        loop {
            let WatchEventsResponse { event, .. } = self.coming.next().await?.ok()?;
            let Some(event) = event.filter(|event| event.revision > self.read) else { continue };
            self.events.push_front(event);
            self.cut |= self.events.len() > self.most;
            self.events.truncate(self.most);
            return Some(());
        }
    }

    /// Takes what has come meanwhile.
    pub(in crate::http::board) fn catch_up(&mut self) {
        while self.next().now_or_never().flatten().is_some() {}
    }
}

/// Waits for one more of a log that there may be.
pub(in crate::http::board) async fn next_of(log: Option<&mut Log>) -> Option<()> {
    match log {
        Some(log) => log.next().await,
        None => pending().await,
    }
}
