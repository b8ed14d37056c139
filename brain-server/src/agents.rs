//! What watchers and deployers have in common: a named stream that the server may end.

use brain_core::{id::AgentName, time::Timestamp};
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::warn;

/// Messages to an agent that may wait in its stream. An agent that reads so slowly is cut off, and connects again.
pub(crate) const OUTBOX: usize = 1_024;

/// The server's end of an agent's stream.
#[derive(Debug)]
pub(crate) struct Connection<M> {
    /// Tells this stream from earlier ones of the same agent.
    pub(crate) stream: u64,
    /// Since when it is open.
    pub(crate) since: Timestamp,
    /// Messages to the agent.
    pub(crate) outbox: mpsc::Sender<Result<M, Status>>,
    /// Ends the stream.
    pub(crate) end: CancellationToken,
}

impl<M> Connection<M> {
    /// A connection with the next stream number.
    pub(crate) fn new(outbox: mpsc::Sender<Result<M, Status>>, end: CancellationToken, since: Timestamp) -> Self {
        static STREAMS: AtomicU64 = AtomicU64::new(1);
        Self { stream: STREAMS.fetch_add(1, Ordering::Relaxed), since, outbox, end }
    }

    /// Sends without waiting; a stream that does not take it is ended.
    pub(crate) fn send(&self, agent: &AgentName, message: M) {
        if self.outbox.try_send(Ok(message)).is_err() {
            warn!(%agent, "the agent does not read its stream, which is ended");
            self.end.cancel();
        }
    }
}

impl<M> Drop for Connection<M> {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

/// Connected agents by name, each with what the hub keeps of it. Putting a second stream of a name in ends the first.
pub(crate) type Connected<A> = BTreeMap<AgentName, A>;
