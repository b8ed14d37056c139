//! How far a notification has come in the log: a file of its own beside the store, `notifications/NAME`.
//!
//! It is written after what stands there was delivered or given up. A server that dies in between delivers once more: at least
//! once, each time under the same id.

use crate::api::event::Position;
use anyhow::{Context, bail};
use std::{
    fs::{self, File},
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
};
use tracing::warn;

/// The folder, in that of the store.
const FOLDER: &str = "notifications";

/// The place of one notification.
#[derive(Debug, Clone)]
pub(super) struct Place {
    file: PathBuf,
    /// What was delivered or given up, up to here.
    pub(super) reached: Position,
}

impl Place {
    /// The place as it was kept; for a new notification, the end of the log.
    pub(super) fn open(data: &Path, name: &str, end: Position) -> anyhow::Result<Self> {
        let folder = data.join(FOLDER);
        fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        let file = folder.join(name);
        let reached = match fs::read_to_string(&file) {
            Ok(text) => match Position::parse(text.trim()) {
                Some(reached) => reached.min(end),
                None => bail!("{} is damaged: delete it, and notices are sent from now on", file.display()),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => end,
            Err(error) => return Err(error).with_context(|| format!("{} cannot be read", file.display())),
        };
        let place = Self { file, reached };
        // Kept at once: what happens from now on is told, also if the server dies before the first notice.
        place.write().with_context(|| format!("{} cannot be written", place.file.display()))?;
        Ok(place)
    }

    /// Keeps it. Where that fails, the next start tells again what was told since.
    pub(super) async fn keep(&self) {
        let (place, name) = (self.clone(), self.file.display().to_string());
        let kept = tokio::task::spawn_blocking(move || place.write()).await;
        if let Ok(Err(error)) = kept {
            warn!(%error, name, "how far notices were sent cannot be kept: after a restart some are sent again");
        }
    }

    /// Replaces the file as a whole.
    fn write(&self) -> io::Result<()> {
        let beside = self.file.with_extension("new");
        let mut file = File::create(&beside)?;
        writeln!(file, "{}", self.reached)?;
        file.sync_all()?;
        fs::rename(beside, &self.file)?;
        // The name too is to survive a power loss.
        self.file.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_kept_and_never_beyond_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let at = |revision| Position { revision, index: 3 };
        assert_eq!(Place::open(folder.path(), "ops", at(7)).unwrap().reached, at(7), "a new one begins at the end");
        assert_eq!(Place::open(folder.path(), "ops", at(9)).unwrap().reached, at(7));
        assert_eq!(Place::open(folder.path(), "ops", at(5)).unwrap().reached, at(5), "the store is an older one");
        fs::write(folder.path().join(FOLDER).join("ops"), "x").unwrap();
        let refused = Place::open(folder.path(), "ops", at(9)).unwrap_err().to_string();
        assert!(refused.contains("delete it"), "{refused}");
    }
}
