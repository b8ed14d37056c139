//! The one writer: takes what waits, checks versions, writes it as few values, syncs once, then acknowledges and publishes.

use super::{
    super::{Committed, Revision, StoreError, Transition, live::Live},
    Files, codec,
    watermark::{ACKNOWLEDGED, Watermark},
};
use crate::metrics::STORE_BATCH;
use brain_core::stream::Stream;
use metrics::Histogram;
use std::{
    collections::{BTreeSet, HashMap},
    ffi::OsString,
    fs::{self, File},
    io,
    sync::{Arc, mpsc},
};
use tokio::sync::oneshot;

/// Requests of one sync. More would make the first one wait for the encoding of the last.
const REQUESTS_MAX: usize = 4_096;
/// Bytes of one sync.
const BYTES_MAX: usize = 8 << 20;

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the writer is asked to do.
#[derive(Debug)]
pub(super) enum Request {
    Commit {
        batch: Vec<Transition>,
        encoded: Vec<u8>,
        reply: Reply<Revision>,
    },
    /// Drop the log up to this revision.
    Cut {
        through: u64,
        reply: Reply<()>,
    },
}

/// The writer.
#[derive(Debug)]
pub(super) struct Writer {
    files: Files,
    db_file: File,
    watermark: Watermark,
    live: Live,
    revision: u64,
    versions: HashMap<Stream, u64>,
    synced_blobs: BTreeSet<OsString>,
    /// How much each sync makes durable.
    synced: Histogram,
    /// A write that failed leaves the disk behind what is in memory: nothing is taken any more.
    failed: Option<String>,
}

/// What one sync is to make durable.
#[derive(Default)]
struct Round {
    changes: sled::Batch,
    /// Transitions of the record that is being filled.
    record: Vec<u8>,
    record_revision: u64,
    bytes: usize,
    events: usize,
    acknowledge: Vec<(Revision, Reply<Revision>)>,
    publish: Vec<Committed>,
}

impl Writer {
    pub(super) fn new(
        files: Files,
        live: Live,
        revision: u64,
        versions: HashMap<Stream, u64>,
    ) -> Result<Self, StoreError> {
        let unavailable = |error: io::Error| StoreError::Unavailable(format!("{}: {error}", files.path.display()));
        let db_file = File::open(files.path.join("db")).map_err(unavailable)?;
        let watermark = Watermark::open(&files.path, ACKNOWLEDGED).map_err(unavailable)?;
        let synced = metrics::histogram!(STORE_BATCH);
        let synced_blobs = BTreeSet::new();
        Ok(Self { files, db_file, watermark, live, revision, versions, synced_blobs, synced, failed: None })
    }

    /// Runs until all senders are gone.
    pub(super) fn run(mut self, requests: &mpsc::Receiver<Request>) {
        while let Ok(first) = requests.recv() {
            let mut round = Round::default();
            let mut next = Some(first);
            let mut taken = 0;
            while let Some(request) = next {
                self.take(request, &mut round);
                taken += 1;
                let full = taken >= REQUESTS_MAX || round.bytes >= BYTES_MAX;
                next = if full { None } else { requests.try_recv().ok() };
            }
            self.finish(round);
        }
    }

    fn take(&mut self, request: Request, round: &mut Round) {
        match request {
            Request::Commit { batch, encoded, reply } => {
                if let Some(why) = &self.failed {
                    let _ = reply.send(Err(StoreError::Unavailable(why.clone())));
                } else if let Err(conflict) = self.check(&batch) {
                    let _ = reply.send(Err(conflict));
                } else {
                    self.append(batch, &encoded, reply, round);
                }
            }
            Request::Cut { through, reply } => {
                let _ = reply.send(self.cut(through));
            }
        }
    }

    /// Checks the whole batch before anything of it counts.
    fn check(&self, batch: &[Transition]) -> Result<(), StoreError> {
        let mut within: HashMap<&Stream, u64> = HashMap::new();
        for Transition { stream, expected, .. } in batch {
            let known = within.get(stream).or_else(|| self.versions.get(stream));
            let actual = known.copied().unwrap_or(0);
            if actual != *expected {
                return Err(StoreError::Conflict { stream: stream.clone(), expected: *expected, actual });
            }
            within.insert(stream, expected + 1);
        }
        Ok(())
    }

    fn append(&mut self, batch: Vec<Transition>, encoded: &[u8], reply: Reply<Revision>, round: &mut Round) {
        // A batch is never split over two records, so that it is whole or absent after a crash.
        if !round.record.is_empty() && round.record.len() + encoded.len() > codec::PART_MAX / 2 {
            round.close_record();
        }
        if round.record.is_empty() {
            round.record_revision = self.revision + 1;
        }
        round.record.extend_from_slice(encoded);
        round.bytes += encoded.len();
        let watched = self.live.is_watched();
        for Transition { stream, expected, events } in batch {
            self.revision += 1;
            round.events += events.len();
            let version = expected + 1;
            match self.versions.get_mut(&stream) {
                Some(known) => *known = version,
                None => drop(self.versions.insert(stream.clone(), version)),
            }
            if watched {
                round.publish.push(Committed { revision: Revision(self.revision), stream, version, events });
            }
        }
        round.acknowledge.push((Revision(self.revision), reply));
    }

    fn finish(&mut self, mut round: Round) {
        if round.acknowledge.is_empty() {
            return;
        }
        round.close_record();
        let durable = self.files.log.apply_batch(round.changes).map_err(|error| error.to_string());
        let durable = durable.and_then(|()| self.sync().map_err(|error| error.to_string()));
        if let Err(why) = durable {
            let why = format!("{}: {why}; restart the server once the disk is well", self.files.path.display());
            for (_, reply) in round.acknowledge {
                let _ = reply.send(Err(StoreError::Unavailable(why.clone())));
            }
            self.failed = Some(why);
            return;
        }
        self.synced.record(round.events as f64);
        // Only a hint for the next start, so that a failure here is none of the commit's.
        let _ = self.watermark.write(self.revision);
        for (revision, reply) in round.acknowledge {
            let _ = reply.send(Ok(revision));
        }
        for committed in round.publish {
            self.live.publish(Arc::new(committed));
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.files.log.flush().map_err(io::Error::from)?;
        sync_blobs(&self.files, &mut self.synced_blobs)?;
        self.db_file.sync_data()
    }

    /// Drops records that end at or before `through`, and never the last one, which tells where the log goes on.
    fn cut(&mut self, through: u64) -> Result<(), StoreError> {
        let unavailable = |error: sled::Error| StoreError::Unavailable(error.to_string());
        let mut previous: Vec<sled::IVec> = Vec::new();
        let mut previous_revision = None;
        for entry in &self.files.log {
            let (key, _) = entry.map_err(unavailable)?;
            let revision = codec::log_revision(&key).map_err(StoreError::Unavailable)?;
            if previous_revision != Some(revision) {
                if revision > through + 1 {
                    break;
                }
                for key in previous.drain(..) {
                    self.files.log.remove(key).map_err(unavailable)?;
                }
                previous_revision = Some(revision);
            }
            previous.push(key);
        }
        self.sync().map_err(|error| StoreError::Unavailable(error.to_string()))
    }
}

impl Round {
    fn close_record(&mut self) {
        let record = std::mem::take(&mut self.record);
        if record.is_empty() {
            return;
        }
        for (part, value) in codec::frame(&record).into_iter().enumerate() {
            self.changes.insert(&codec::log_key(self.record_revision, part), value);
        }
    }
}

/// Makes what sled has written durable, apart from the writer's rounds.
pub(super) fn sync_all(files: &Files) -> Result<(), StoreError> {
    let unavailable =
        |error: &dyn std::fmt::Display| StoreError::Unavailable(format!("{}: {error}", files.path.display()));
    files.db.flush().map_err(|error| unavailable(&error))?;
    sync_blobs(files, &mut BTreeSet::new()).map_err(|error| unavailable(&error))?;
    File::open(files.path.join("db")).and_then(|file| file.sync_data()).map_err(|error| unavailable(&error))
}

/// Makes a new store durable, with the entries of its files in their folders.
pub(super) fn sync_new(files: &Files) -> Result<(), StoreError> {
    sync_all(files)?;
    let parent = files.path.canonicalize().ok().and_then(|path| path.parent().map(ToOwned::to_owned));
    for folder in [Some(files.path.clone()), parent].into_iter().flatten() {
        File::open(&folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| StoreError::Unavailable(format!("{}: {error}", folder.display())))?;
    }
    for name in ["conf", "db"] {
        let _ = File::open(files.path.join(name)).and_then(|file| file.sync_all());
    }
    Ok(())
}

/// sled writes values over its threshold to files of their own and does not sync them. None of ours is so large; should one
/// be, it is as durable as the rest.
fn sync_blobs(files: &Files, synced: &mut BTreeSet<OsString>) -> io::Result<()> {
    let folder = files.path.join("blobs");
    let mut new = false;
    for entry in fs::read_dir(&folder)? {
        let name = entry?.file_name();
        if synced.contains(&name) {
            continue;
        }
        match File::open(folder.join(&name)) {
            Ok(file) => file.sync_all()?,
            // Collected by sled meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        }
        synced.insert(name);
        new = true;
    }
    if new { File::open(&folder)?.sync_all() } else { Ok(()) }
}
