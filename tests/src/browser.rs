//! A real browser on the board: Chromium, driven by the scripts in `tests/browser`.

use crate::{
    paths,
    sandbox::{Process, Sandbox},
};
use anyhow::{Result, ensure};
use std::{path::PathBuf, time::Duration};
use tokio::time::{Instant, sleep};

/// Longest time of a script.
const PATIENCE: Duration = Duration::from_secs(150);

/// A script under way.
#[derive(Debug)]
pub struct Script {
    _sandbox: Sandbox,
    process: Process,
}

/// Where screenshots are put, and what they are made of.
#[must_use]
pub fn screenshots() -> PathBuf {
    paths::root().join("target/screenshots")
}

impl Script {
    /// Starts a script of `tests/browser` on the board at `HOST:PORT`.
    pub fn start(name: &str, board: &str) -> Result<Self> {
        let sandbox = Sandbox::new()?;
        let chromium = paths::program("chromium")?;
        let modules = paths::tool("npm/node_modules")?;
        std::fs::create_dir_all(screenshots())?;
        let script = paths::root().join("tests/browser").join(format!("{name}.mjs"));
        let process = sandbox.start("browser", &paths::program("node")?, |command| {
            command.arg(script).env("BOARD", format!("http://{board}")).env("CHROMIUM", chromium);
            command.env("MODULES", modules).env("SCREENSHOTS", screenshots()).env("HOME", sandbox.path("."));
        })?;
        Ok(Self { _sandbox: sandbox, process })
    }

    /// Waits until it says a line.
    pub async fn says(&mut self, line: &str) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            // Asked first, so that what it said before it ended is not missed.
            let running = self.process.check();
            let output = self.process.output();
            if output.lines().any(|said| said == line) {
                return Ok(());
            }
            running?;
            ensure!(Instant::now() < end, "the browser has not said {line:?}:\n{output}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until it has done all, without a complaint.
    pub async fn done(&mut self) -> Result<()> {
        self.says("done").await
    }
}
