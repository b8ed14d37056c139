//! Small OCI images, made without Docker: one layer whose content is a label.

use anyhow::{Result, bail};
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// Makes an image layout in `folder` whose digest depends on `label`; answers what skopeo calls it.
pub async fn make(folder: &Path, label: &str) -> Result<String> {
    let layout = folder.join(format!("layout-{label}"));
    let image = format!("{}:{label}", layout.display());
    run("umoci", &["init", "--layout", &layout.display().to_string()]).await?;
    run("umoci", &["new", "--image", &image]).await?;
    run("umoci", &["config", "--image", &image, "--config.label", &format!("version={label}")]).await?;
    Ok(format!("oci:{image}"))
}

/// Runs a program to its end; its output is the error when it fails.
pub(crate) async fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let path: PathBuf = crate::paths::program(program)?;
    let output = Command::new(path).args(arguments).output().await?;
    if !output.status.success() {
        bail!("{program} {arguments:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
