//! A temporary folder and the processes that were started in it. Both are gone when it is dropped, and nothing else is.

use anyhow::{Context, Result};
use std::{
    fs::{self, File},
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// Lines of a log that a failure shows.
const TAIL: usize = 30;

/// A temporary folder.
#[derive(Debug)]
pub struct Sandbox {
    folder: TempDir,
    /// Variables that every process in it is started with.
    environment: Vec<(String, String)>,
}

impl Sandbox {
    /// A new, empty one.
    pub fn new() -> Result<Self> {
        Self::with(&[])
    }

    /// A new, empty one, whose processes are started with these variables.
    pub fn with(environment: &[(&str, &str)]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("brain-").tempdir()?;
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Ok(Self { folder, environment: environment.iter().map(pair).collect() })
    }

    /// A path in it.
    #[must_use]
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A new folder in it.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.path(name);
        fs::create_dir_all(&path)?;
        Ok(path)
    }

    /// Starts a process whose output goes to `NAME.log`. It ends when the handle is dropped, or this program dies.
    pub fn start(&self, name: &str, program: &Path, build: impl FnOnce(&mut Command)) -> Result<Process> {
        let log = self.path(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log)?;
        // setpriv gives the child a death signal, so that a killed test leaves nothing behind.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program).kill_on_drop(true).stdin(Stdio::null());
        command.stdout(file.try_clone()?).stderr(file).current_dir(self.folder.path());
        // A group of its own: Ctrl-C at the terminal is for this program, which then ends its processes.
        command.process_group(0);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        build(&mut command);
        let child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Process { name: name.to_owned(), child, log })
    }

    /// The ends of all logs, for a failure.
    #[must_use]
    pub fn logs(&self) -> String {
        let mut text = String::new();
        for entry in fs::read_dir(self.folder.path()).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                text += &format!("--- {}\n{}\n", path.display(), tail(&path));
            }
        }
        text
    }
}

/// A process of a sandbox.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// kill -9, and waits until it is gone.
    pub async fn kill(&mut self) -> Result<()> {
        self.child.kill().await.with_context(|| format!("cannot kill {}", self.name))
    }

    /// Asks it to end (SIGTERM) and waits until it has; answers its exit code.
    pub async fn stop(&mut self) -> Result<Option<i32>> {
        self.signal("TERM").await?;
        self.wait().await
    }

    /// Sends it a signal by name.
    pub async fn signal(&self, name: &str) -> Result<()> {
        let id = self.child.id().with_context(|| format!("{} has ended", self.name))?;
        Command::new("kill").args(["-s", name, &id.to_string()]).status().await?;
        Ok(())
    }

    /// Fails, with the end of its log, if it has ended.
    pub fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => anyhow::bail!("{} ended with {status}:\n{}", self.name, tail(&self.log)),
        }
    }

    /// Resident memory in MB.
    pub fn memory_mb(&self) -> Result<f64> {
        let id = self.id().with_context(|| format!("{} has ended", self.name))?;
        let status = fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS")).context("no VmRSS")?;
        let kib = line.split_whitespace().nth(1).context("no figure")?.parse::<f64>()?;
        Ok(kib * 1_024.0 / 1e6)
    }

    /// CPU time that it has used, in seconds.
    pub fn cpu_seconds(&self) -> Result<f64> {
        // The kernel counts in hundredths of a second on every architecture that Rust's standard library knows.
        const TICKS: f64 = 100.0;
        let id = self.id().with_context(|| format!("{} has ended", self.name))?;
        let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
        // The name in parentheses may hold anything; user and system time are the 12th and 13th fields after it.
        let fields = stat.rsplit(')').next().context("no fields")?;
        let times = fields.split_whitespace().skip(11).take(2);
        Ok(times.filter_map(|time| time.parse::<f64>().ok()).sum::<f64>() / TICKS)
    }

    /// Its process id; `None` once it has ended.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits for its end.
    pub async fn wait(&mut self) -> Result<Option<i32>> {
        Ok(self.child.wait().await?.code())
    }

    /// All that it wrote.
    #[must_use]
    pub fn output(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // With it goes whatever it has started: its group is its own.
        if let Some(id) = self.child.id() {
            let _ = std::process::Command::new("kill").args(["-KILL", "--", &format!("-{id}")]).status();
        }
    }
}

/// A port that is free now. Whoever binds it may come too late, and then tries another.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn tail(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::eventually;

    #[tokio::test]
    async fn a_process_that_is_dropped_takes_those_with_it_that_it_has_started() -> Result<()> {
        let sandbox = Sandbox::new()?;
        let process = sandbox.start("shell", Path::new("/bin/sh"), |command| {
            command.args(["-c", "sleep 1000 & echo started; wait"]);
        })?;
        let group = process.id().context("it runs")?;
        eventually("the child's child", || async {
            anyhow::ensure!(process.output().contains("started"), "not yet");
            Ok(())
        })
        .await?;
        drop(process);
        eventually("the end of the group", || async {
            let alive = Command::new("kill").args(["-0", "--", &format!("-{group}")]).output().await?.status.success();
            anyhow::ensure!(!alive, "group {group} is alive");
            Ok(())
        })
        .await
    }
}
