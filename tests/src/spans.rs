//! A collector of spans that reads OpenTelemetry's own messages, and what it was sent.

use crate::{
    paths,
    sandbox::{Process, Sandbox},
    wait::eventually,
};
use anyhow::{Context, Result};
use serde_json::Value;
use std::fs;

/// A running collector.
#[derive(Debug)]
pub struct Collector {
    sandbox: Sandbox,
    _process: Process,
    port: u16,
}

impl Collector {
    /// Starts one that was sent nothing yet.
    pub async fn start() -> Result<Self> {
        let sandbox = Sandbox::new()?;
        let folder = sandbox.folder("spans")?;
        let process = sandbox.start("collector", &paths::tool("venv/bin/python")?, |command| {
            command.arg(paths::root().join("tests/peers/span_collector.py")).arg(&folder);
        })?;
        let port = eventually("the collector", || async { Ok(fs::read_to_string(folder.join("port"))?) }).await;
        let port = port.with_context(|| sandbox.logs())?.parse()?;
        Ok(Self { sandbox, _process: process, port })
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// All spans that have come.
    pub fn spans(&self) -> Result<Vec<Value>> {
        let text = fs::read_to_string(self.sandbox.path("spans/spans.jsonl")).unwrap_or_default();
        // The last line may be half there.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }
}
