//! What a program of brain tells at `/metrics`.

use crate::{paths, sandbox::Process, wait::eventually};
use anyhow::{Context, Result, ensure};
use std::process::Stdio;
use tokio::{io::AsyncWriteExt, process::Command};

/// Figures as they were at one moment.
#[derive(Debug)]
pub struct Figures(String);

impl Figures {
    /// What `HOST:PORT` tells now.
    pub async fn of(address: &str) -> Result<Self> {
        let answer = crate::http::client().get(format!("http://{address}/metrics")).send().await?;
        Ok(Self(answer.error_for_status()?.text().await?))
    }

    /// The sum of a metric's series that have all of these labels, as `outcome="ok"`.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let of_it = |line: &&str| {
            let rest = line.strip_prefix(name).filter(|rest| rest.starts_with(['{', ' ']));
            rest.is_some_and(|rest| labels.iter().all(|label| rest.contains(label)))
        };
        let figures = self.0.lines().filter(of_it).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        figures.sum()
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// Fails with what Prometheus's own linter finds.
    pub async fn lint(&self) -> Result<()> {
        let mut command = Command::new(paths::program("promtool")?);
        command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let mut stdin = child.stdin.take().context("no pipe")?;
        stdin.write_all(self.0.as_bytes()).await?;
        drop(stdin);
        let output = child.wait_with_output().await?;
        let found = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success() && found.trim().is_empty(), "promtool finds: {found}");
        Ok(())
    }
}

/// Where an agent serves its figures, by its log.
pub async fn address_of(agent: &Process) -> Result<String> {
    eventually("an agent that serves its figures", || async {
        let output = agent.output();
        let line = output.lines().rev().find(|line| line.contains("metrics are served")).context("not yet")?;
        let address = line.split("address=").nth(1).context("no address")?;
        Ok(address.trim().to_owned())
    })
    .await
}
