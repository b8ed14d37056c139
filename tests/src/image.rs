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
    // A fixed time, so that the same label is the same digest in every run.
    let created = "2020-01-01T00:00:00Z";
    let label = format!("version={label}");
    run("umoci", &["config", "--image", &image, "--no-history", "--created", created, "--config.label", &label])
        .await?;
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
