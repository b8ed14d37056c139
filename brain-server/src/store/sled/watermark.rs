//! Side files with one number each, which are not synced: after a power loss they may be behind, and never ahead.
//!
//! One has the latest acknowledged revision, and is written after each sync: sled takes a damaged end of its log for the end of the
//! log, and this file tells that more was acknowledged. The other one has the time at which a server was last there.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// The latest acknowledged revision.
pub(super) const ACKNOWLEDGED: &str = "acknowledged";
/// When a server was last there, milliseconds since 1970.
pub(super) const ATTENDED: &str = "attended";

/// Writes such a file.
#[derive(Debug)]
pub(super) struct Watermark(File);

impl Watermark {
    pub(super) fn open(folder: &Path, name: &str) -> io::Result<Self> {
        let path: PathBuf = folder.join(name);
        Ok(Self(OpenOptions::new().create(true).truncate(false).write(true).open(path)?))
    }

    pub(super) fn write(&self, number: u64) -> io::Result<()> {
        let number = number.to_be_bytes();
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&number);
        bytes[8..].copy_from_slice(&crc32fast::hash(&number).to_be_bytes());
        self.0.write_all_at(&bytes, 0)
    }
}

/// The number in the file; `None` when there is none, or it was torn.
pub(super) fn read(folder: &Path, name: &str) -> Option<u64> {
    let bytes = std::fs::read(folder.join(name)).ok()?;
    let (number, crc) = bytes.split_first_chunk::<8>()?;
    (crc == crc32fast::hash(number).to_be_bytes()).then(|| u64::from_be_bytes(*number))
}
