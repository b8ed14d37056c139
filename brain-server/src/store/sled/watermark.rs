//! A side file with the latest acknowledged revision. sled takes a damaged end of its log for the end of the log; this file
//! tells that more was acknowledged.
//!
//! It is written after each sync and not synced itself: after a power loss it may be behind, and never ahead.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// Name of the file.
pub(super) const FILE: &str = "acknowledged";

/// Writes the file.
#[derive(Debug)]
pub(super) struct Watermark(File);

impl Watermark {
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        let path: PathBuf = folder.join(FILE);
        Ok(Self(OpenOptions::new().create(true).truncate(false).write(true).open(path)?))
    }

    pub(super) fn write(&self, revision: u64) -> io::Result<()> {
        let revision = revision.to_be_bytes();
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&revision);
        bytes[8..].copy_from_slice(&crc32fast::hash(&revision).to_be_bytes());
        self.0.write_all_at(&bytes, 0)
    }
}

/// The revision in the file; `None` when there is none, or it was torn.
pub(super) fn read(folder: &Path) -> Option<u64> {
    let bytes = std::fs::read(folder.join(FILE)).ok()?;
    let (revision, crc) = bytes.split_first_chunk::<8>()?;
    (crc == crc32fast::hash(revision).to_be_bytes()).then(|| u64::from_be_bytes(*revision))
}
