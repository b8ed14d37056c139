//! A store is read in a private copy before it is opened: sled mends, truncates and panics, and a damaged store must stay as
//! it is. The copy is as large as the store, lives beside it, and is gone afterwards.

use super::{
    super::{Loaded, StoreError},
    load, open_db, watermark,
};
use std::{fs, io, path::Path, thread};

/// Reads the store in `path` without changing it.
pub(super) fn in_a_copy(path: &Path) -> Result<Loaded, StoreError> {
    let beside = path.canonicalize().ok().and_then(|path| path.parent().map(ToOwned::to_owned));
    let unavailable = |error: io::Error| {
        StoreError::Unavailable(format!("{}: no copy can be made to check it: {error}", path.display()))
    };
    let beside = beside.ok_or_else(|| unavailable(io::ErrorKind::NotFound.into()))?;
    let copy = tempfile::Builder::new().prefix(".brain-check-").tempdir_in(beside).map_err(unavailable)?;
    copy_folder(path, copy.path()).map_err(unavailable)?;
    let file = path.join("db");
    let folder = copy.path().to_owned();
    // sled panics on some damages. A thread of its own keeps that from the server.
    let reader = thread::Builder::new().name("store-check".to_owned()).spawn(move || {
        let db = open_db(&folder)?;
        load::load(&db, &folder)
    });
    let read = reader.map_err(unavailable)?.join();
    match read {
        Ok(Ok(loaded)) => Ok(loaded),
        Ok(Err(StoreError::Corrupt { what, .. })) => Err(StoreError::Corrupt { file, what }),
        Ok(Err(other)) => Err(other),
        Err(_) => Err(StoreError::Corrupt { file, what: "it is damaged so that it cannot be read".to_owned() }),
    }
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir(&target)?;
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    debug_assert!(!from.join(watermark::ACKNOWLEDGED).exists() || to.join(watermark::ACKNOWLEDGED).exists());
    Ok(())
}
