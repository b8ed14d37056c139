//! The embedded store on sled: one writer, one value per commit, acknowledged after `fdatasync`.
//!
//! sled's own flush ends in `sync_file_range`, which does not survive power loss: with the page cache thrown away,
//! acknowledged writes were gone. One `fdatasync` of its `db` file after each flush loses nothing. One key for each event
//! costs ten times as much as one value for a whole batch, so the writer takes what waits and writes it as one.
//!
//! | tree | key | value |
//! |---|---|---|
//! | `meta` | `format` | the number of this layout |
//! | `log` | first revision, part | transitions |
//! | `checkpoint` | name of the stream (a project's id, or the line's), part | version and state |

use super::{CheckpointEntry, Commits, Committed, Loaded, Revision, Store, StoreError, Transition, live::Live};
use async_trait::async_trait;
use brain_core::{stream::Stream, time::Timestamp};
use std::{
    collections::HashMap,
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};
use tokio::sync::oneshot;

mod checkpoint;
mod codec;
mod load;
mod verify;
mod watermark;
mod writer;

/// Revisions that stay in the log behind a checkpoint, for watches that resume.
pub const TAIL: u64 = 100_000;
/// Number of the layout. A store of a higher one is refused: a newer brain wrote it.
const FORMAT: u64 = 1;
/// Memory for sled's page cache, bytes. State lives in the actors; the cache serves start-up and watches only.
const CACHE: u64 = 64 << 20;
/// Values over a quarter of a segment go to separate files, and sled rewrites up to 17 neighbouring values as one: with
/// values of at most [`codec::PART_MAX`] none does.
const SEGMENT: usize = 4 << 20;
/// Commits that may wait for the writer. A full queue holds the actors back.
const QUEUE: usize = 16_384;

/// The embedded store.
#[derive(Debug)]
pub struct SledStore {
    files: Files,
    live: Live,
    queue: Mutex<Option<mpsc::SyncSender<writer::Request>>>,
    writer: Mutex<Option<thread::JoinHandle<()>>>,
    loaded: Mutex<Option<Loaded>>,
}

/// The open store on disk.
#[derive(Debug, Clone)]
struct Files {
    path: PathBuf,
    db: sled::Db,
    log: sled::Tree,
    checkpoint: sled::Tree,
    /// Holds the lock on the directory for as long as the store is open.
    _lock: Arc<File>,
}

impl SledStore {
    /// Opens the store in `path`, which is made if it is not there. A damaged store is refused and left as it is.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let new = !path.join("db").exists();
        let unavailable = |what: &str, error: &dyn std::fmt::Display| {
            StoreError::Unavailable(format!("{}: {what}: {error}", path.display()))
        };
        fs::create_dir_all(path).map_err(|error| unavailable("cannot be made", &error))?;
        let lock = File::open(path).map_err(|error| unavailable("cannot be opened", &error))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => unavailable("cannot be opened", &"another process uses it"),
            TryLockError::Error(error) => unavailable("cannot be locked", &error),
        })?;
        // sled mends what it opens, so a store is first read in a copy.
        let loaded = if new { Loaded::default() } else { verify::in_a_copy(path)? };
        let db = open_db(path)?;
        let tree = |name: &str| db.open_tree(name).map_err(|error| unavailable("cannot be opened", &error));
        let files = Files {
            path: path.to_owned(),
            log: tree("log")?,
            checkpoint: tree("checkpoint")?,
            _lock: lock.into(),
            db: db.clone(),
        };
        if new {
            db.open_tree("meta")
                .and_then(|meta| meta.insert("format", &FORMAT.to_be_bytes()))
                .map_err(|error| unavailable("cannot be written", &error))?;
            writer::sync_new(&files)?;
        }
        let versions: HashMap<Stream, u64> = loaded.versions().collect();
        let live = Live::default();
        let (queue, requests) = mpsc::sync_channel(QUEUE);
        let writer = writer::Writer::new(files.clone(), live.clone(), loaded.revision.0, versions)?;
        let writer = thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run(&requests))
            .map_err(|error| unavailable("no writer", &error))?;
        Ok(Self {
            files,
            live,
            queue: Mutex::new(Some(queue)),
            writer: Mutex::new(Some(writer)),
            loaded: Mutex::new(Some(loaded)),
        })
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> writer::Request,
    ) -> Result<T, StoreError> {
        let closed = || StoreError::Unavailable("the store is closed".to_owned());
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(closed)?;
        let (reply, answer) = oneshot::channel();
        // The queue is only full when a disk stalls; then a thread of the runtime may wait with it.
        match queue.try_send(request(reply)) {
            Ok(()) => {}
            Err(mpsc::TrySendError::Full(request)) => {
                let sent = tokio::task::spawn_blocking(move || queue.send(request)).await;
                if !matches!(sent, Ok(Ok(()))) {
                    return Err(closed());
                }
            }
            Err(mpsc::TrySendError::Disconnected(_)) => return Err(closed()),
        }
        answer.await.map_err(|_| closed())?
    }
}

fn open_db(path: &Path) -> Result<sled::Db, StoreError> {
    let config = sled::Config::new().path(path).cache_capacity(CACHE).segment_size(SEGMENT).flush_every_ms(None);
    config.open().map_err(|error| StoreError::Corrupt { file: path.join("db"), what: error.to_string() })
}

#[async_trait]
impl Store for SledStore {
    async fn commit(&self, batch: Vec<Transition>) -> Result<Revision, StoreError> {
        let encoded = codec::encode_transitions(&batch)?;
        self.ask(|reply| writer::Request::Commit { batch, encoded, reply }).await
    }

    async fn load(&self) -> Result<Loaded, StoreError> {
        // What was read when the store was opened, once; later loads read the disk.
        if let Some(loaded) = self.loaded.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Ok(loaded);
        }
        let files = self.files.clone();
        let loaded = tokio::task::spawn_blocking(move || load::load(&files.db, &files.path)).await;
        loaded.map_err(|error| StoreError::Unavailable(error.to_string()))?
    }

    fn watch(&self, after: Revision) -> Commits {
        self.live.watch(after, || load::history(&self.files.log, &self.files.path, after))
    }

    async fn earlier(
        &self,
        before: Revision,
        of: Option<Stream>,
        most: usize,
    ) -> Result<Vec<Arc<Committed>>, StoreError> {
        let files = self.files.clone();
        let read = move || load::earlier(&files.log, &files.path, before, of.as_ref(), most);
        let read = tokio::task::spawn_blocking(read).await;
        read.map_err(|error| StoreError::Unavailable(error.to_string()))?
    }

    async fn checkpoint(&self, entries: Vec<CheckpointEntry>, covers: Revision) -> Result<(), StoreError> {
        let files = self.files.clone();
        let written = tokio::task::spawn_blocking(move || checkpoint::write(&files, &entries)).await;
        written.map_err(|error| StoreError::Unavailable(error.to_string()))??;
        // The writer orders the cut with its own commits.
        self.ask(|reply| writer::Request::Cut { through: covers.0.saturating_sub(TAIL), reply }).await
    }

    async fn attend(&self, at: Timestamp) -> Result<(), StoreError> {
        let path = self.files.path.clone();
        let write =
            move || watermark::Watermark::open(&path, watermark::ATTENDED)?.write(u64::try_from(at.0).unwrap_or(0));
        let written =
            tokio::task::spawn_blocking(write).await.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        written.map_err(|error| StoreError::Unavailable(format!("{}: {error}", self.files.path.display())))
    }

    async fn attended(&self) -> Result<Option<Timestamp>, StoreError> {
        let at = watermark::read(&self.files.path, watermark::ATTENDED);
        Ok(at.and_then(|at| i64::try_from(at).ok()).map(Timestamp))
    }

    async fn close(&self) -> Result<(), StoreError> {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            let ended = tokio::task::spawn_blocking(move || writer.join()).await;
            if !matches!(ended, Ok(Ok(()))) {
                return Err(StoreError::Unavailable("the writer did not end well".to_owned()));
            }
        }
        Ok(())
    }
}
