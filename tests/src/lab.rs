//! The AWS lab: its process, and its own record of what happened.

use crate::{
    paths,
    sandbox::{Process, Sandbox},
    wait::eventually,
};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::{fs, time::Duration};
use tokio::process::Command;

/// A running lab. Its endpoints are described in `tests/lab/brain_lab/__init__.py`.
#[derive(Debug)]
pub struct Lab {
    _sandbox: Sandbox,
    _process: Process,
    port: u16,
    client: reqwest::Client,
}

impl Lab {
    /// Starts one.
    pub async fn start() -> Result<Self> {
        let sandbox = Sandbox::new()?;
        let ready = sandbox.path("ready");
        let mut process = sandbox.start("lab", &paths::tool("venv/bin/python")?, |command| {
            command.args(["-m", "brain_lab", "--port", "0", "--exit-with-parent", "--ready-file"]).arg(&ready);
            command.env("PYTHONPATH", paths::root().join("tests/lab")).env("PYTHONDONTWRITEBYTECODE", "1");
        })?;
        let port = eventually("the lab to serve", || {
            let text = fs::read_to_string(&ready);
            async { serde_json::from_str::<Value>(&text?)?["port"].as_u64().context("no port") }
        })
        .await;
        process.check()?;
        let port = u16::try_from(port?)?;
        Ok(Self { _sandbox: sandbox, _process: process, port, client: crate::http::client() })
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The lab's record: calls by name, samples of health, events.
    pub async fn record(&self) -> Result<Value> {
        self.get("record").await
    }

    /// What must be equal when two runs end alike.
    pub async fn fingerprint(&self) -> Result<Value> {
        self.get("fingerprint").await
    }

    /// Empties the record.
    pub async fn reset_record(&self) -> Result<()> {
        self.post("reset-record", &Value::Object(serde_json::Map::new())).await.map(drop)
    }

    /// So many of the instances that are launched next run and never join their cluster, and say that they were launched so
    /// long before they were.
    pub async fn stillborn(&self, count: u32, age: Duration) -> Result<()> {
        let age_ms = u64::try_from(age.as_millis())?;
        self.post("stillborn", &json!({"count": count, "age_ms": age_ms})).await.map(drop)
    }

    /// Changes settings.
    pub async fn settings(&self, settings: Value) -> Result<()> {
        self.post("settings", &settings).await.map(drop)
    }

    /// Adds fault rules.
    pub async fn faults(&self, rules: Value) -> Result<()> {
        self.post("faults", &rules).await.map(drop)
    }

    /// Ends all faults.
    pub async fn heal(&self) -> Result<()> {
        let answer = self.client.delete(format!("{}/_lab/faults", self.endpoint())).send().await?;
        read(answer).await.map(drop)
    }

    /// Does something in this AWS that brain did not: a line of Python with `boto3`.
    pub async fn boto3(&self, line: &str) -> Result<()> {
        let output = Command::new(paths::tool("venv/bin/python")?)
            .args(["-c", &format!("import boto3; {line}")])
            .env("AWS_ENDPOINT_URL", self.endpoint())
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .envs([("AWS_ACCESS_KEY_ID", "lab"), ("AWS_SECRET_ACCESS_KEY", "lab")])
            .output()
            .await?;
        if !output.status.success() {
            bail!("{line} failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    async fn get(&self, path: &str) -> Result<Value> {
        let answer = self.client.get(format!("{}/_lab/{path}", self.endpoint())).send().await?;
        read(answer).await
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let answer = self.client.post(format!("{}/_lab/{path}", self.endpoint())).body(body.to_string()).send().await?;
        read(answer).await
    }
}

async fn read(answer: reqwest::Response) -> Result<Value> {
    let (status, text) = (answer.status(), answer.text().await?);
    if !status.is_success() {
        bail!("the lab answers {status}: {text}");
    }
    Ok(serde_json::from_str(&text)?)
}
