//! Observations on their way: kept in order until the server has stored them, sent again on every new stream.

use brain_proto::v1::Observation;
use prost::Message as _;
use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};
use tokio::sync::Notify;

/// Observations that may wait. A full outbox holds polling back; nothing is dropped.
const CAPACITY: usize = 4_096;
/// Bytes of one batch, well below what the server takes as a message; one observation alone may be larger.
const BATCH_BYTES: usize = 2 << 20;

/// The observations that are not acknowledged.
#[derive(Debug, Default)]
pub struct Outbox {
    inner: Mutex<Inner>,
    filled: Notify,
    room: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: VecDeque<Observation>,
    /// How many of them, from the front, were sent on the current stream.
    sent: usize,
    sequence: u64,
}

impl Outbox {
    /// Puts an observation in, once there is room, and gives it its number.
    pub async fn put(&self, observation: Observation) {
        let mut observation = Some(observation);
        loop {
            let room = self.room.notified();
            if self.try_put(&mut observation) {
                return;
            }
            room.await;
        }
    }

    fn try_put(&self, observation: &mut Option<Observation>) -> bool {
        let mut inner = self.lock();
        if inner.waiting.len() >= CAPACITY {
            return false;
        }
        inner.sequence += 1;
        let sequence = inner.sequence;
        let numbered = observation.take().map(|observation| Observation { sequence, ..observation });
        inner.waiting.extend(numbered);
        drop(inner);
        self.filled.notify_one();
        true
    }

    /// On a new stream everything is to be sent again.
    pub fn rewind(&self) {
        self.lock().sent = 0;
        self.filled.notify_one();
    }

    /// What waits to be sent, at most `most`; waits until there is something.
    pub async fn take(&self, most: usize) -> Vec<Observation> {
        loop {
            let filled = self.filled.notified();
            {
                let mut inner = self.lock();
                let mut bytes = 0;
                let fits = |observation: &&Observation| {
                    let first = bytes == 0;
                    bytes += observation.encoded_len();
                    first || bytes <= BATCH_BYTES
                };
                let unsent = inner.waiting.iter().skip(inner.sent).take(most);
                let batch: Vec<Observation> = unsent.take_while(fits).cloned().collect();
                if !batch.is_empty() {
                    inner.sent += batch.len();
                    return batch;
                }
            }
            filled.await;
        }
    }

    /// Everything up to this number is stored; answers what that is.
    pub fn acknowledge(&self, through: u64) -> Vec<Observation> {
        let mut inner = self.lock();
        let mut stored = Vec::new();
        while inner.sent > 0 && inner.waiting.front().is_some_and(|first| first.sequence <= through) {
            stored.extend(inner.waiting.pop_front());
            inner.sent -= 1;
        }
        drop(inner);
        self.room.notify_waiters();
        stored
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use brain_proto::v1::{PollOutcome, observation::What};

    fn observation(outcome: PollOutcome) -> Observation {
        Observation { project: "projects/user".into(), what: Some(What::Poll(outcome)), ..Observation::default() }
    }

    async fn put(outbox: &Outbox, count: usize) {
        for _ in 0..count {
            outbox.put(observation(PollOutcome::default())).await;
        }
    }

    fn sequences(batch: &[Observation]) -> Vec<u64> {
        batch.iter().map(|observation| observation.sequence).collect()
    }

    #[tokio::test]
    async fn what_was_not_acknowledged_is_sent_again_on_a_new_stream() {
        let outbox = Outbox::default();
        put(&outbox, 3).await;
        assert_eq!(sequences(&outbox.take(10).await), [1, 2, 3]);
        assert_eq!(sequences(&outbox.acknowledge(1)), [1]);
        outbox.rewind();
        put(&outbox, 1).await;
        assert_eq!(sequences(&outbox.take(10).await), [2, 3, 4]);
    }

    #[tokio::test]
    async fn a_batch_is_bounded_by_its_bytes_and_holds_one_at_the_least() {
        let outbox = Outbox::default();
        for megabytes in [1, 1, 3] {
            let failure = "x".repeat(megabytes << 20);
            outbox.put(observation(PollOutcome { failure, ..PollOutcome::default() })).await;
        }
        for expected in [[1], [2], [3]] {
            assert_eq!(sequences(&outbox.take(10).await), expected);
        }
    }

    #[tokio::test]
    async fn a_full_outbox_waits_for_an_acknowledgement() {
        let outbox = Outbox::default();
        put(&outbox, CAPACITY).await;
        let more = put(&outbox, 1);
        tokio::pin!(more);
        assert!(futures::poll!(&mut more).is_pending());
        let _ = outbox.take(10).await;
        outbox.acknowledge(1);
        more.await;
    }
}
