//! Bytes on disk: transitions and states, self-describing (MessagePack with field names), framed with a format and a CRC.

use super::super::{StoreError, Transition};
use brain_core::{
    event::Event,
    stream::{Stream, StreamState},
};

/// Largest value; see [`super::SEGMENT`].
pub(super) const PART_MAX: usize = 32 << 10;
/// Number of the framing, in the first byte of every value.
const FRAMING: u8 = 1;
/// Framing, CRC, part, parts.
const HEADER: usize = 1 + 4 + 4 + 4;

/// What is wrong with bytes.
pub(super) type Fault = String;

/// A transition as it stands in the log, its events not yet decoded.
#[derive(Debug)]
pub(super) struct RawTransition<'a> {
    pub(super) stream: Stream,
    /// Version after it.
    pub(super) version: u64,
    events: &'a [u8],
}

/// Encodes transitions one after the other: lengths, stream, version, events.
pub(super) fn encode_transitions(batch: &[Transition]) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::with_capacity(160 * batch.len());
    for Transition { stream, expected, events } in batch {
        let id = stream.as_str().as_bytes();
        // A project id has at most 40 bytes, and the line's name fewer.
        bytes.push(u8::try_from(id.len()).unwrap_or(u8::MAX));
        bytes.extend_from_slice(id);
        bytes.extend_from_slice(&(expected + 1).to_be_bytes());
        let length_at = bytes.len();
        bytes.extend_from_slice(&[0; 4]);
        let start = bytes.len();
        rmp_serde::encode::write_named(&mut bytes, events)
            .map_err(|error| StoreError::Unavailable(format!("an event cannot be encoded: {error}")))?;
        let length = u32::try_from(bytes.len() - start)
            .map_err(|_| StoreError::Unavailable("a transition of more than 4 GiB".to_owned()))?;
        bytes[length_at..start].copy_from_slice(&length.to_be_bytes());
    }
    Ok(bytes)
}

/// Takes the transitions of a record apart.
pub(super) fn decode_transitions(mut bytes: &[u8]) -> Result<Vec<RawTransition<'_>>, Fault> {
    let mut transitions = Vec::new();
    while !bytes.is_empty() {
        let short = || "a transition is cut short".to_owned();
        let (length, rest) = bytes.split_first().ok_or_else(short)?;
        let (id, rest) = rest.split_at_checked(usize::from(*length)).ok_or_else(short)?;
        let (version, rest) = rest.split_first_chunk::<8>().ok_or_else(short)?;
        let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(short)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| short())?;
        let (events, rest) = rest.split_at_checked(length).ok_or_else(short)?;
        let id = std::str::from_utf8(id).map_err(|error| error.to_string())?;
        let stream = Stream::parse(id).map_err(|error| error.to_string())?;
        transitions.push(RawTransition { stream, version: u64::from_be_bytes(*version), events });
        bytes = rest;
    }
    Ok(transitions)
}

impl RawTransition<'_> {
    /// Its events.
    pub(super) fn events(&self) -> Result<Vec<Event>, Fault> {
        rmp_serde::from_slice(self.events).map_err(|error| format!("an event cannot be read: {error}"))
    }
}

/// Encodes a state with its version.
pub(super) fn encode_state(version: u64, state: &StreamState) -> Result<Vec<u8>, StoreError> {
    let mut bytes = version.to_be_bytes().to_vec();
    let written = match state {
        StreamState::Line(line) => rmp_serde::encode::write_named(&mut bytes, line),
        StreamState::Project(project) => rmp_serde::encode::write_named(&mut bytes, project),
    };
    written.map_err(|error| StoreError::Unavailable(format!("a state cannot be encoded: {error}")))?;
    Ok(bytes)
}

/// Reads what [`encode_state`] wrote of that stream.
pub(super) fn decode_state(stream: &Stream, bytes: &[u8]) -> Result<(u64, StreamState), Fault> {
    let (version, state) = bytes.split_first_chunk::<8>().ok_or_else(|| "a state is cut short".to_owned())?;
    let state = match stream {
        Stream::Line => rmp_serde::from_slice(state).map(StreamState::Line),
        Stream::Project(_) => rmp_serde::from_slice(state).map(StreamState::Project),
    };
    let state = state.map_err(|error| format!("a state cannot be read: {error}"))?;
    Ok((u64::from_be_bytes(*version), state))
}

/// Cuts a record into values, each of which tells its place.
pub(super) fn frame(record: &[u8]) -> Vec<Vec<u8>> {
    let chunks: Vec<&[u8]> = if record.is_empty() { vec![record] } else { record.chunks(PART_MAX - HEADER).collect() };
    let parts = u32::try_from(chunks.len()).unwrap_or(u32::MAX);
    let value = |(part, chunk): (u32, &[u8])| {
        let mut place = part.to_be_bytes().to_vec();
        place.extend_from_slice(&parts.to_be_bytes());
        let mut crc = crc32fast::Hasher::new();
        crc.update(&place);
        crc.update(chunk);
        let mut value = Vec::with_capacity(HEADER + chunk.len());
        value.push(FRAMING);
        value.extend_from_slice(&crc.finalize().to_be_bytes());
        value.extend_from_slice(&place);
        value.extend_from_slice(chunk);
        value
    };
    (0..parts).zip(chunks).map(value).collect()
}

/// Puts values together again.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    record: Vec<u8>,
    next: u32,
}

impl Assembly {
    /// Takes the next value; answers the record when it is whole.
    pub(super) fn push(&mut self, value: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        let short = || "a value is cut short".to_owned();
        let (framing, rest) = value.split_first().ok_or_else(short)?;
        if *framing != FRAMING {
            return Err(format!("a value has framing {framing}, which this version does not know"));
        }
        let (crc, checked) = rest.split_first_chunk::<4>().ok_or_else(short)?;
        if crc32fast::hash(checked) != u32::from_be_bytes(*crc) {
            return Err("a value does not match its checksum".to_owned());
        }
        let (part, rest) = checked.split_first_chunk::<4>().ok_or_else(short)?;
        let (parts, chunk) = rest.split_first_chunk::<4>().ok_or_else(short)?;
        let (part, parts) = (u32::from_be_bytes(*part), u32::from_be_bytes(*parts));
        if part != self.next || part >= parts {
            return Err("a part of a record is missing".to_owned());
        }
        self.record.extend_from_slice(chunk);
        self.next += 1;
        if self.next < parts {
            return Ok(None);
        }
        self.next = 0;
        Ok(Some(std::mem::take(&mut self.record)))
    }

    /// Whether a record was begun and not ended.
    pub(super) fn is_partial(&self) -> bool {
        self.next > 0
    }
}

/// Key of a part of the record that begins at `revision`.
pub(super) fn log_key(revision: u64, part: usize) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&revision.to_be_bytes());
    key[8..].copy_from_slice(&u32::try_from(part).unwrap_or(u32::MAX).to_be_bytes());
    key
}

/// The revision in a key of the log.
pub(super) fn log_revision(key: &[u8]) -> Result<u64, Fault> {
    let (revision, _) = key.split_first_chunk::<8>().ok_or_else(|| "a key of the log is cut short".to_owned())?;
    Ok(u64::from_be_bytes(*revision))
}

/// Key of a part of a stream's checkpoint.
pub(super) fn checkpoint_key(stream: &Stream, part: usize) -> Vec<u8> {
    let mut key = stream.as_str().as_bytes().to_vec();
    // Names hold no zero byte, so that no stream's keys are among another's.
    key.push(0);
    key.extend_from_slice(&u32::try_from(part).unwrap_or(u32::MAX).to_be_bytes());
    key
}

/// The stream in a key of a checkpoint.
pub(super) fn checkpoint_stream(key: &[u8]) -> Result<Stream, Fault> {
    let id = key.split(|byte| *byte == 0).next().unwrap_or_default();
    let id = std::str::from_utf8(id).map_err(|error| error.to_string())?;
    Stream::parse(id).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
