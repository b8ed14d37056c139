//! Checkpoints: each stream's state, replaced whole. The log is cut only after all of them are durable.

use super::{
    super::{CheckpointEntry, StoreError},
    Files, codec, writer,
};

/// Writes the states and makes them durable.
pub(super) fn write(files: &Files, entries: &[CheckpointEntry]) -> Result<(), StoreError> {
    let unavailable = |error: sled::Error| StoreError::Unavailable(format!("{}: {error}", files.path.display()));
    for CheckpointEntry { stream, version, state } in entries {
        let values = codec::frame(&codec::encode_state(*version, state)?);
        let parts = values.len();
        let mut changes = sled::Batch::default();
        for (part, value) in values.into_iter().enumerate() {
            changes.insert(codec::checkpoint_key(stream, part), value);
        }
        let prefix = codec::checkpoint_key(stream, 0);
        let prefix = &prefix[..prefix.len() - 4];
        for entry in files.checkpoint.range(codec::checkpoint_key(stream, parts)..) {
            let (key, _) = entry.map_err(unavailable)?;
            if !key.starts_with(prefix) {
                break;
            }
            changes.remove(key);
        }
        files.checkpoint.apply_batch(changes).map_err(unavailable)?;
    }
    writer::sync_all(files)
}
