//! Watches: what is in the log, then what is published, without a gap between them and nothing twice.

use super::{Commits, Committed, Revision, StoreError};
use futures::{StreamExt, stream};
use std::sync::Arc;
use tokio::sync::broadcast;
use tokio_stream::wrappers::{BroadcastStream, errors::BroadcastStreamRecvError};

/// Commits that a watch may be behind what is published.
const BEHIND: usize = 16_384;

/// Where commits are published.
#[derive(Debug, Clone)]
pub(super) struct Live(broadcast::Sender<Arc<Committed>>);

impl Default for Live {
    fn default() -> Self {
        Self(broadcast::Sender::new(BEHIND))
    }
}

impl Live {
    pub(super) fn is_watched(&self) -> bool {
        self.0.receiver_count() > 0
    }

    pub(super) fn publish(&self, committed: Arc<Committed>) {
        // Nobody may be watching.
        let _ = self.0.send(committed);
    }

    /// A watch from `after` on; `history` reads what is in the log after it, and is called once the live part is attached.
    pub(super) fn watch(
        &self,
        after: Revision,
        history: impl FnOnce() -> Result<Vec<Arc<Committed>>, StoreError>,
    ) -> Commits {
        let live = BroadcastStream::new(self.0.subscribe()).map(|commit| match commit {
            Ok(commit) => Ok(commit),
            Err(BroadcastStreamRecvError::Lagged(_)) => Err(StoreError::Lagged),
        });
        let history = match history() {
            Ok(history) => history.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        };
        let all = stream::iter(history).chain(live);
        let once = all.scan((after, false), |(seen, ended), commit| {
            let item = match commit {
                _ if *ended => return std::future::ready(None),
                Ok(commit) if commit.revision <= *seen => Some(None),
                Ok(commit) => {
                    *seen = commit.revision;
                    Some(Some(Ok(commit)))
                }
                Err(error) => {
                    *ended = true;
                    Some(Some(Err(error)))
                }
            };
            std::future::ready(item)
        });
        once.filter_map(std::future::ready).boxed()
    }
}
