//! Where `brain dev` keeps things: a temporary folder that goes with it, or one that somebody named.

use super::forge;
use anyhow::{Context, bail};
use brain_deployer::simulated::World;
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// What is not the server's to keep: git host, registry and account. In reality these are elsewhere and lose nothing.
const OUTSIDE: &str = "outside.json";

/// The folder.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    temporary: Option<TempDir>,
}

/// Git host, registry and simulated account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Outside {
    /// Port of git host and registry, which stands in the definitions of projects.
    pub port: u16,
    /// Their contents.
    pub forge: forge::State,
    /// The account.
    pub world: World,
}

impl Folder {
    /// The one that is named, made if it is not there, or else a temporary one.
    pub(super) fn open(named: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = named else {
            let temporary = tempfile::Builder::new().prefix("brain-dev-").tempdir();
            let temporary = temporary.context("no temporary folder can be made")?;
            return Ok(Self { path: temporary.path().to_owned(), temporary: Some(temporary) });
        };
        fs::create_dir_all(path).with_context(|| format!("--data {} cannot be made", path.display()))?;
        Ok(Self { path: path.to_owned(), temporary: None })
    }

    /// Its place.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is removed in the end.
    pub(super) fn is_temporary(&self) -> bool {
        self.temporary.is_some()
    }

    /// The server's store.
    pub(super) fn store(&self) -> PathBuf {
        self.path.join("store")
    }

    /// What an earlier start has kept.
    pub(super) fn outside(&self) -> anyhow::Result<Option<Outside>> {
        let file = self.path.join(OUTSIDE);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.store().exists() => {
                bail!("{} is not of `brain dev` without --aws: name another folder by --data", self.path.display());
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("{} cannot be read", file.display())),
        };
        let hint = || format!("{} is damaged, or of another version of brain: name another --data", file.display());
        serde_json::from_str(&text).with_context(hint)
    }

    /// Removes it, if it is a temporary one.
    pub(super) fn close(self) -> anyhow::Result<()> {
        match self.temporary {
            Some(temporary) => temporary.close().context("the temporary folder cannot be removed"),
            None => Ok(()),
        }
    }
}

impl Outside {
    /// Keeps it in a folder: whole, or as it was.
    pub(super) fn keep(&self, folder: &Path) -> anyhow::Result<()> {
        let (file, new) = (folder.join(OUTSIDE), folder.join(format!("{OUTSIDE}.new")));
        let kept = fs::write(&new, serde_json::to_vec(self)?).and_then(|()| fs::rename(&new, &file));
        kept.with_context(|| format!("{} cannot be written", file.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_there_again_and_a_damaged_file_is_told() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(Some(&place.path().join("new"))).unwrap();
        assert_eq!(folder.outside().unwrap(), None);
        let outside = Outside { port: 4, forge: forge::State::default(), world: World::default() };
        outside.keep(folder.path()).unwrap();
        assert_eq!(folder.outside().unwrap(), Some(outside));
        fs::write(folder.path().join(OUTSIDE), "{").unwrap();
        assert!(format!("{:#}", folder.outside().unwrap_err()).contains("damaged"));
    }

    #[test]
    fn a_temporary_folder_goes_and_a_named_one_stays() {
        let temporary = Folder::open(None).unwrap();
        let path = temporary.path().to_owned();
        assert!(path.is_dir());
        temporary.close().unwrap();
        assert!(!path.exists());
        let place = tempfile::tempdir().unwrap();
        Folder::open(Some(place.path())).unwrap().close().unwrap();
        assert!(place.path().is_dir());
    }
}
