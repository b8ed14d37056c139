//! Brain's own processes, started as a user would start them.

use crate::{
    calls::Caller,
    paths,
    sandbox::{Process, Sandbox},
    wait::eventually,
};
use anyhow::{Context, Result, ensure};
use std::{fs, net::SocketAddr};

/// Length of a lease in tests: long enough for a machine that is busy building, short enough to wait for its end.
const LEASE: &str = "2s";

/// A port that is free, chosen by the system; the log says which.
const ANY_PORT: &str = "127.0.0.1:0";

/// What GitHub signs with in tests.
pub const WEBHOOK_SECRET: &str = "a secret of the tests";

/// A server with its store.
#[derive(Debug)]
pub struct Server {
    sandbox: Sandbox,
    process: Option<Process>,
    port: u16,
    http_port: u16,
    poll_interval: String,
    observe_interval: String,
    housekeeping_interval: String,
    /// Its configuration file.
    settings: String,
}

impl Server {
    /// Starts one with an empty store.
    pub async fn start() -> Result<Self> {
        Self::start_with("300ms", "300ms", "0s").await
    }

    /// Starts one whose projects are polled this often.
    pub async fn start_polling(interval: &str) -> Result<Self> {
        Self::start_with(interval, "300ms", "0s").await
    }

    /// Starts one whose projects are polled, and their production observed, this often.
    pub async fn start_looking(poll_interval: &str, observe_interval: &str) -> Result<Self> {
        Self::start_with(poll_interval, observe_interval, "0s").await
    }

    /// Starts one that keeps house this often.
    pub async fn start_keeping_house(interval: &str) -> Result<Self> {
        Self::start_with("300ms", "300ms", interval).await
    }

    /// Starts one that exports its spans to a collector.
    pub async fn start_traced(collector: &str) -> Result<Self> {
        let mut server = Self::new("300ms", "300ms", "0s")?;
        server.sandbox = Sandbox::with(&traced(collector))?;
        server.restart().await?;
        Ok(server)
    }

    /// Starts one with this configuration file beside its flags.
    pub async fn start_configured(settings: &str) -> Result<Self> {
        let mut server = Self::new("300ms", "300ms", "0s")?;
        server.settings = settings.to_owned();
        server.restart().await?;
        Ok(server)
    }

    async fn start_with(poll_interval: &str, observe_interval: &str, housekeeping_interval: &str) -> Result<Self> {
        let mut server = Self::new(poll_interval, observe_interval, housekeeping_interval)?;
        server.restart().await?;
        Ok(server)
    }

    fn new(poll_interval: &str, observe_interval: &str, housekeeping_interval: &str) -> Result<Self> {
        Ok(Self {
            sandbox: Sandbox::new()?,
            process: None,
            port: 0,
            http_port: 0,
            poll_interval: poll_interval.to_owned(),
            observe_interval: observe_interval.to_owned(),
            housekeeping_interval: housekeeping_interval.to_owned(),
            settings: String::new(),
        })
    }

    /// Starts it again, on the same port and store.
    pub async fn restart(&mut self) -> Result<()> {
        let address = self.address();
        let (poll_interval, observe_interval) = (self.poll_interval.clone(), self.observe_interval.clone());
        let housekeeping = self.housekeeping_interval.clone();
        let http = self.http_address();
        fs::write(self.sandbox.path("webhook-secret"), WEBHOOK_SECRET)?;
        let secret = self.sandbox.path("webhook-secret");
        let config = self.sandbox.path("server.toml");
        fs::write(&config, &self.settings)?;
        let data = self.sandbox.path("data");
        let ready = self.sandbox.path("ready");
        // One of an earlier start says nothing of this one.
        let _ = fs::remove_file(&ready);
        let mut process = self.sandbox.start("server", &paths::binary("brain-server")?, |command| {
            command.args(["--listen", &address, "--lease", LEASE, "--poll-interval", &poll_interval]);
            command
                .args(["--observe-interval", &observe_interval, "--host-ports", "6000-65535", "--data"])
                .arg(data)
                .env("NO_COLOR", "1");
            command.args(["--housekeeping-interval", &housekeeping]);
            command.args(["--http-listen", &http, "--webhook-secret-file"]).arg(&secret);
            command.arg("--ready-file").arg(&ready).arg("--config").arg(&config);
        })?;
        eventually("the server to serve", || {
            let running = process.check();
            let ready = fs::read_to_string(&ready).is_ok_and(|text| text.ends_with('\n'));
            async move {
                running?;
                ensure!(ready, "not yet");
                Ok(())
            }
        })
        .await?;
        // The first start takes free ports, later ones the same again.
        let addresses = fs::read_to_string(&ready)?;
        let mut ports =
            addresses.lines().filter_map(|line| line.parse::<SocketAddr>().ok()).map(|address| address.port());
        self.port = ports.next().context("the ready file has no address")?;
        self.http_port = ports.next().context("the ready file has one address only")?;
        self.process = Some(process);
        Ok(())
    }

    /// Its process.
    pub fn process(&mut self) -> Option<&mut Process> {
        self.process.as_mut()
    }

    /// kill -9.
    pub async fn kill(&mut self) -> Result<()> {
        match &mut self.process {
            Some(process) => process.kill().await,
            None => Ok(()),
        }
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `127.0.0.1:PORT` of webhooks and health.
    #[must_use]
    pub fn http_address(&self) -> String {
        format!("127.0.0.1:{}", self.http_port)
    }

    /// Calls its API.
    #[must_use]
    pub fn caller(&self) -> Caller {
        Caller::new(&self.address())
    }

    /// How long the latest start took to load the store, in the server's own words.
    #[must_use]
    pub fn loaded_in(&self) -> Option<String> {
        let output = self.process.as_ref()?.output();
        let line = output.lines().rev().find(|line| line.contains("store loaded"))?;
        line.split("store loaded").nth(1).map(|rest| format!("store loaded{rest}"))
    }

    /// Its folder.
    #[must_use]
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }
}

/// Variables that have spans exported to a collector, as often as a test wants to see them.
pub(crate) fn traced(collector: &str) -> [(&str, &str); 3] {
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000"),
        ("OTEL_BSP_SCHEDULE_DELAY", "200"),
    ]
}

/// A watcher that takes docker.io's images from `registry`.
pub fn watcher(sandbox: &Sandbox, name: &str, server: &str, registry: &str) -> Result<Process> {
    ensure!(registry.starts_with("http"), "the registry's endpoint is an address");
    let config = format!("[[registry]]\nhost = \"docker.io\"\nendpoint = \"{registry}\"\n");
    watcher_with(sandbox, name, server, &config)
}

/// A watcher with this configuration.
pub fn watcher_with(sandbox: &Sandbox, name: &str, server: &str, settings: &str) -> Result<Process> {
    let config = sandbox.path(format!("{name}.toml"));
    fs::write(&config, settings)?;
    sandbox.start(name, &paths::binary("brain-watcher")?, |command| {
        command.args(["--server", &format!("http://{server}"), "--agent", name, "--config"]).arg(config);
        command.env("NO_COLOR", "1").env("BRAIN_METRICS_LISTEN", ANY_PORT);
    })
}

/// A deployer that acts on the AWS at `endpoint`.
pub fn deployer(sandbox: &Sandbox, name: &str, server: &str, endpoint: &str) -> Result<Process> {
    deployer_with(sandbox, name, server, endpoint, "")
}

/// A deployer with these further settings.
pub fn deployer_with(sandbox: &Sandbox, name: &str, server: &str, endpoint: &str, settings: &str) -> Result<Process> {
    start_deployer(sandbox, name, server, endpoint, &format!("step_interval = \"100ms\"\n{settings}"))
}

/// A deployer at the pace that it has by itself, with these further settings.
pub fn deployer_at_ease(
    sandbox: &Sandbox,
    name: &str,
    server: &str,
    endpoint: &str,
    settings: &str,
) -> Result<Process> {
    start_deployer(sandbox, name, server, endpoint, settings)
}

/// A deployer that looks at waiting steps this often.
pub fn deployer_looking(
    sandbox: &Sandbox,
    name: &str,
    server: &str,
    endpoint: &str,
    interval: &str,
) -> Result<Process> {
    start_deployer(sandbox, name, server, endpoint, &format!("step_interval = \"{interval}\"\n"))
}

fn start_deployer(sandbox: &Sandbox, name: &str, server: &str, endpoint: &str, settings: &str) -> Result<Process> {
    let config = sandbox.path(format!("{name}.toml"));
    fs::write(&config, settings)?;
    sandbox.start(name, &paths::binary("brain-deployer")?, |command| {
        command.args(["--server", &format!("http://{server}"), "--agent", name, "--config"]).arg(config);
        command.env("AWS_ENDPOINT_URL", endpoint).env("AWS_REGION", "us-east-1").env("NO_COLOR", "1");
        command.env("BRAIN_METRICS_LISTEN", ANY_PORT);
        // The lab takes any credentials; these keep the SDK from looking for real ones.
        command.env("AWS_ACCESS_KEY_ID", "lab").env("AWS_SECRET_ACCESS_KEY", "lab");
    })
}

/// Runs `brain-watcher --once`; answers its exit code and what it printed.
pub async fn once(arguments: &[&str], environment: &[(&str, &str)]) -> Result<(Option<i32>, String)> {
    let mut command = tokio::process::Command::new(paths::binary("brain-watcher")?);
    command.arg("--once").args(arguments).envs(environment.iter().copied());
    let output = command.output().await?;
    let mut text = String::from_utf8(output.stdout)?;
    text += &String::from_utf8_lossy(&output.stderr);
    Ok((output.status.code(), text))
}
