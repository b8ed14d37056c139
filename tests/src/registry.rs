//! A real registry: CNCF Distribution, with a configuration of its own.

use crate::{
    image, paths,
    sandbox::{Process, Sandbox, free_port},
    wait::eventually,
};
use anyhow::{Result, ensure};
use std::fs;

/// A running registry.
#[derive(Debug)]
pub struct Registry {
    sandbox: Sandbox,
    process: Process,
    port: u16,
}

impl Registry {
    /// Starts an empty one.
    pub async fn start() -> Result<Self> {
        let sandbox = Sandbox::new()?;
        let data = sandbox.folder("data")?;
        let port = free_port()?;
        let config = format!(
            "version: 0.1\nlog: {{level: warn}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\n  delete: {{enabled: true}}\n\
             http: {{addr: '127.0.0.1:{port}'}}\n",
            data.display()
        );
        fs::write(sandbox.path("config.yml"), config)?;
        let file = sandbox.path("config.yml");
        let process = sandbox.start("registry", &paths::program("docker-registry")?, |command| {
            command.arg("serve").arg(file);
        })?;
        let mut registry = Self { sandbox, process, port };
        registry.wait().await?;
        Ok(registry)
    }

    async fn wait(&mut self) -> Result<()> {
        let url = format!("{}/v2/", self.endpoint());
        self.process.check()?;
        eventually("the registry to answer", || async {
            ensure!(crate::http::client().get(&url).send().await?.status().is_success(), "not yet");
            Ok(())
        })
        .await
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Makes a small image and pushes it with skopeo as `REPOSITORY:TAG`. Another label is another digest.
    pub async fn push(&self, repository: &str, tag: &str, label: &str) -> Result<()> {
        let folder = self.sandbox.folder(&format!("images-{tag}-{label}"))?;
        let image = image::make(&folder, label).await?;
        let target = format!("docker://127.0.0.1:{}/{repository}:{tag}", self.port);
        image::run("skopeo", &["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false", &image, &target])
            .await?;
        Ok(())
    }
}
