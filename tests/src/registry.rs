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
    credential: Option<(String, String)>,
}

/// Who is let in, and who is told of what happens.
#[derive(Debug, Default)]
pub struct Settings {
    /// Lines of the registry's own configuration about its authentication.
    pub auth: String,
    /// User and password with which images are pushed.
    pub credential: Option<(String, String)>,
    /// Address to which notifications go.
    pub notify: Option<String>,
}

impl Settings {
    fn yaml(&self) -> String {
        let notify = self.notify.as_ref().map(|address| {
            format!(
                "notifications:\n  endpoints:\n    - {{name: brain, url: '{address}', timeout: 5s, threshold: 3, backoff: 1s}}\n"
            )
        });
        format!("{}{}", self.auth, notify.unwrap_or_default())
    }
}

impl Registry {
    /// Starts an empty one.
    pub async fn start() -> Result<Self> {
        Self::start_with(Settings::default()).await
    }

    /// Starts an empty one with these settings.
    pub async fn start_with(settings: Settings) -> Result<Self> {
        let sandbox = Sandbox::new()?;
        let data = sandbox.folder("data")?;
        let port = free_port()?;
        let config = format!(
            "version: 0.1\nlog: {{level: warn}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\n  delete: {{enabled: true}}\n\
             http: {{addr: '127.0.0.1:{port}'}}\n{}",
            data.display(),
            settings.yaml()
        );
        fs::write(sandbox.path("config.yml"), config)?;
        let file = sandbox.path("config.yml");
        let process = sandbox.start("registry", &paths::program("docker-registry")?, |command| {
            command.arg("serve").arg(file);
        })?;
        let mut registry = Self { sandbox, process, port, credential: settings.credential };
        registry.wait().await?;
        Ok(registry)
    }

    async fn wait(&mut self) -> Result<()> {
        let url = format!("{}/v2/", self.endpoint());
        self.process.check()?;
        eventually("the registry to answer", || async {
            let status = crate::http::client().get(&url).send().await?.status();
            ensure!(status.is_success() || status == 401, "not yet");
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
        let mut arguments = vec!["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"];
        let credential = self.credential.as_ref().map(|(user, password)| format!("{user}:{password}"));
        if let Some(credential) = &credential {
            arguments.extend(["--dest-creds", credential]);
        }
        arguments.extend([image.as_str(), &target]);
        image::run("skopeo", &arguments).await?;
        Ok(())
    }
}

/// Lines of the registry's configuration that let one user in, by a file as htpasswd writes it.
pub async fn htpasswd(sandbox: &Sandbox, user: &str, password: &str) -> Result<String> {
    let script = "import bcrypt, sys; print(sys.argv[1] + ':' + bcrypt.hashpw(sys.argv[2].encode(), bcrypt.gensalt(4)).decode())";
    let output = tokio::process::Command::new(paths::tool("venv/bin/python")?)
        .args(["-c", script, user, password])
        .output()
        .await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let file = sandbox.path("htpasswd");
    fs::write(&file, output.stdout)?;
    Ok(format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", file.display()))
}
