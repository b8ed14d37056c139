//! Calls as people make them: grpcurl and `buf curl`, JSON in and JSON out.

use crate::paths;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::process::Stdio;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

/// An address at which the API is called.
#[derive(Debug, Clone)]
pub struct Caller {
    address: String,
}

/// A streaming call under way.
#[derive(Debug)]
pub struct Watching {
    _child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Caller {
    /// Calls the API at `HOST:PORT`.
    #[must_use]
    pub fn new(address: &str) -> Self {
        Self { address: address.to_owned() }
    }

    /// Calls `SERVICE/METHOD` of brain.v1 with grpcurl. The error is what grpcurl prints.
    pub async fn grpcurl(&self, method: &str, request: &Value) -> Result<Value> {
        self.grpcurl_any(&format!("brain.v1.{method}"), request).await
    }

    /// The health of a service; of the whole server for an empty name.
    pub async fn health(&self, service: &str) -> Result<Value> {
        self.grpcurl_any("grpc.health.v1.Health/Check", &serde_json::json!({"service": service})).await
    }

    async fn grpcurl_any(&self, method: &str, request: &Value) -> Result<Value> {
        let output = Command::new(paths::tool("venv/bin/grpcurl")?)
            .args(["-plaintext", "-emit-defaults", "-max-time", "20", "-d", &request.to_string(), &self.address])
            .arg(method)
            .kill_on_drop(true)
            .output()
            .await?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Calls a unary method with `buf curl`.
    pub async fn buf(&self, method: &str, request: &Value) -> Result<Value> {
        let output = self.buf_command(method, request)?.output().await?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Begins a streaming call with `buf curl`.
    pub fn watch(&self, method: &str, request: &Value) -> Result<Watching> {
        let mut child = self.buf_command(method, request)?.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let stdout = child.stdout.take().context("no output")?;
        Ok(Watching { _child: child, lines: BufReader::new(stdout).lines() })
    }

    fn buf_command(&self, method: &str, request: &Value) -> Result<Command> {
        let mut command = Command::new(paths::tool("npm/node_modules/.bin/buf")?);
        command.args(["curl", "--http2-prior-knowledge", "--protocol", "grpc", "--emit-defaults"]);
        command.args(["--reflect-protocol", "grpc-v1", "-d", &request.to_string()]);
        command.arg(format!("http://{}/brain.v1.{method}", self.address)).kill_on_drop(true);
        Ok(command)
    }
}

impl Watching {
    /// The next message; `None` at the stream's end.
    pub async fn next(&mut self) -> Result<Option<Value>> {
        // buf prints one message after another, each over several lines.
        let mut text = String::new();
        while let Some(line) = self.lines.next_line().await? {
            text += &line;
            if let Ok(value) = serde_json::from_str(&text) {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }
}
