//! Where things are: the checkout, the tools that `make setup` installs, the binaries that cargo built.

use anyhow::{Context, Result, bail};
use std::{
    env,
    path::{Path, PathBuf},
};

/// The checkout.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/"))
}

/// A tool below `.setup`.
pub fn tool(path: &str) -> Result<PathBuf> {
    let tool = root().join(".setup").join(path);
    if !tool.exists() {
        bail!("{} is missing: run `make setup`", tool.display());
    }
    Ok(tool)
}

/// A program of the system; looked for in the system's own folders too, which are not on everybody's path.
pub fn program(name: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from));
    let found = folders.map(|folder| folder.join(name)).find(|file| file.is_file());
    found.with_context(|| format!("{name} is missing: run `make setup`"))
}

/// One of brain's own binaries, of the profile that this program was built in, or else of the development profile.
pub fn binary(name: &str) -> Result<PathBuf> {
    let here = env::current_exe()?;
    let profile = here.ancestors().find(|folder| folder.join(name).is_file()).map(|folder| folder.join(name));
    let development = root().join("target/debug").join(name);
    match profile {
        Some(found) => Ok(found),
        None if development.is_file() => Ok(development),
        None => bail!("{name} is not built: run `cargo build --workspace`"),
    }
}
