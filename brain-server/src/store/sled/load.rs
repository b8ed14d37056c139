//! Reading everything: checkpoints, then the log after them, each record checked.

use super::{
    super::{Committed, Loaded, Revision, StoreError},
    FORMAT,
    codec::{self, Assembly, Fault},
    watermark,
};
use brain_core::stream::{Stream, StreamState};
use std::{collections::BTreeMap, path::Path, sync::Arc, thread};

/// Records of the log, each with its first revision, in order.
type Records = Vec<(u64, Vec<u8>)>;

/// Everything in the database at `path`, or what is wrong with it.
pub(super) fn load(db: &sled::Db, path: &Path) -> Result<Loaded, StoreError> {
    let file = path.join("db");
    read(db, path).map_err(|what| StoreError::Corrupt { file, what })
}

fn read(db: &sled::Db, path: &Path) -> Result<Loaded, Fault> {
    let said = |error: sled::Error| error.to_string();
    let format = db.open_tree("meta").and_then(|meta| meta.get("format")).map_err(said)?;
    let format = format.and_then(|bytes| Some(u64::from_be_bytes(bytes.as_ref().try_into().ok()?)));
    match format {
        Some(FORMAT) => {}
        Some(other) => return Err(format!("its format is {other}, and this version of brain knows {FORMAT}")),
        None => return Err("it does not tell its format: it is damaged, or not brain's".to_owned()),
    }
    let mut streams = checkpoints(&db.open_tree("checkpoint").map_err(said)?)?;
    let records = records(&db.open_tree("log").map_err(said)?, 0)?;
    let revision = fold(&records, &mut streams)?;
    if let Some(acknowledged) = watermark::read(path, watermark::ACKNOWLEDGED)
        && acknowledged > revision
    {
        return Err(format!(
            "its log ends at revision {revision}, but revision {acknowledged} was acknowledged: its end is lost"
        ));
    }
    Ok(Loaded::new(Revision(revision), streams))
}

/// All states, decoded on as many threads as there are cores.
fn checkpoints(tree: &sled::Tree) -> Result<BTreeMap<Stream, (u64, StreamState)>, Fault> {
    let mut encoded: Vec<(Stream, Vec<u8>)> = Vec::new();
    let mut assembly = Assembly::default();
    for entry in tree {
        let (key, value) = entry.map_err(|error| error.to_string())?;
        if let Some(state) = assembly.push(&value)? {
            encoded.push((codec::checkpoint_stream(&key)?, state));
        }
    }
    if assembly.is_partial() {
        return Err("a part of a state is missing".to_owned());
    }
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let share = encoded.len().div_ceil(threads).max(1);
    let decoded: Vec<Result<Vec<_>, Fault>> = thread::scope(|scope| {
        let decode = |states: &[(Stream, Vec<u8>)]| {
            states.iter().map(|(name, bytes)| Ok((name.clone(), codec::decode_state(name, bytes)?))).collect()
        };
        let workers: Vec<_> = encoded.chunks(share).map(|states| scope.spawn(move || decode(states))).collect();
        let ended = |worker: thread::ScopedJoinHandle<'_, _>| {
            worker.join().unwrap_or_else(|_| Err("a state cannot be read".into()))
        };
        workers.into_iter().map(ended).collect()
    });
    let mut streams = BTreeMap::new();
    for states in decoded {
        streams.extend(states?);
    }
    Ok(streams)
}

/// All records from the one that holds revision `from` on, each with its first revision.
fn records(tree: &sled::Tree, from: u64) -> Result<Records, Fault> {
    let mut records = Vec::new();
    let mut assembly = Assembly::default();
    for entry in tree.range(codec::log_key(from, 0)..) {
        let (key, value) = entry.map_err(|error| error.to_string())?;
        if let Some(record) = assembly.push(&value)? {
            records.push((codec::log_revision(&key)?, record));
        }
    }
    if assembly.is_partial() {
        return Err("a part of a record is missing".to_owned());
    }
    Ok(records)
}

/// Folds what the states do not hold yet; answers the last revision.
fn fold(records: &Records, streams: &mut BTreeMap<Stream, (u64, StreamState)>) -> Result<u64, Fault> {
    let mut next = records.first().map_or(1, |(first, _)| *first);
    let whole = next == 1;
    for (first, record) in records {
        if *first != next {
            return Err(format!("revisions {next} to {} are missing", first.saturating_sub(1)));
        }
        for raw in codec::decode_transitions(record)? {
            let revision = next;
            next += 1;
            if streams.get(&raw.stream).is_some_and(|(version, _)| raw.version <= *version) {
                continue;
            }
            let known = streams.remove(&raw.stream);
            let (version, state) = known.map_or((0, None), |(version, state)| (version, Some(state)));
            if raw.version != version + 1 {
                let name = &raw.stream;
                return Err(format!("revision {revision} is version {} of {name}, which is at {version}", raw.version));
            }
            let mut state = state;
            for event in raw.events()? {
                let folded = StreamState::fold(&mut state, &raw.stream, &event);
                folded.map_err(|misfit| format!("revision {revision}: {misfit}"))?;
            }
            streams.extend(state.map(|state| (raw.stream, (raw.version, state))));
        }
    }
    if records.is_empty() && !streams.is_empty() && !whole {
        return Err("the log is missing".to_owned());
    }
    Ok(next - 1)
}

/// The commits after `after` that are in the log.
pub(super) fn history(tree: &sled::Tree, path: &Path, after: Revision) -> Result<Vec<Arc<Committed>>, StoreError> {
    let corrupt = |what: Fault| StoreError::Corrupt { file: path.join("db"), what };
    let before = tree.get_lt(codec::log_key(after.0 + 2, 0)).map_err(|error| corrupt(error.to_string()))?;
    let from = match &before {
        Some((key, _)) => codec::log_revision(key).map_err(corrupt)?,
        None => match tree.first().map_err(|error| corrupt(error.to_string()))? {
            Some((key, _)) => {
                return Err(StoreError::Compacted { oldest: codec::log_revision(&key).map_err(corrupt)? });
            }
            None => return Ok(Vec::new()),
        },
    };
    let mut commits = Vec::new();
    for (first, record) in records(tree, from).map_err(corrupt)? {
        for (revision, raw) in (first..).zip(codec::decode_transitions(&record).map_err(corrupt)?) {
            if revision > after.0 {
                let events = raw.events().map_err(corrupt)?;
                let committed =
                    Committed { revision: Revision(revision), stream: raw.stream, version: raw.version, events };
                commits.push(Arc::new(committed));
            }
        }
    }
    Ok(commits)
}

/// The latest commits before `before` that are in the log, of one stream or of all.
pub(super) fn earlier(
    tree: &sled::Tree,
    path: &Path,
    before: Revision,
    of: Option<&Stream>,
    most: usize,
) -> Result<Vec<Arc<Committed>>, StoreError> {
    read_earlier(tree, before.0, of, most).map_err(|what| StoreError::Corrupt { file: path.join("db"), what })
}

fn read_earlier(
    tree: &sled::Tree,
    before: u64,
    of: Option<&Stream>,
    most: usize,
) -> Result<Vec<Arc<Committed>>, Fault> {
    let mut commits = Vec::new();
    let mut behind = before;
    while commits.len() < most
        && let Some((key, _)) = tree.get_lt(codec::log_key(behind, 0)).map_err(|error| error.to_string())?
    {
        let first = codec::log_revision(&key)?;
        let record = record(tree, first)?;
        let raw = codec::decode_transitions(&record)?;
        for (revision, raw) in (first..).zip(raw).collect::<Vec<_>>().into_iter().rev() {
            if revision >= before || commits.len() == most || of.is_some_and(|stream| raw.stream != *stream) {
                continue;
            }
            let events = raw.events()?;
            let revision = Revision(revision);
            commits.push(Arc::new(Committed { revision, stream: raw.stream, version: raw.version, events }));
        }
        behind = first;
    }
    Ok(commits)
}

/// The record that begins with revision `first`.
fn record(tree: &sled::Tree, first: u64) -> Result<Vec<u8>, Fault> {
    let mut assembly = Assembly::default();
    for entry in tree.range(codec::log_key(first, 0)..codec::log_key(first + 1, 0)) {
        let (_, value) = entry.map_err(|error| error.to_string())?;
        if let Some(record) = assembly.push(&value)? {
            return Ok(record);
        }
    }
    Err("a part of a record is missing".to_owned())
}
