//! What GitHub sends: payloads as it publishes them, signed by its own library.

use crate::{brain::WEBHOOK_SECRET, paths};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::fs;
use tokio::process::Command;

/// The payload of a GitHub event as GitHub publishes it, about another repository.
pub fn github_event(event: &str, clone_url: &str) -> Result<String> {
    let file = paths::tool("npm/node_modules/@octokit/webhooks-examples/api.github.com/index.json")?;
    let examples: Vec<Value> = serde_json::from_str(&fs::read_to_string(file)?)?;
    let example = examples.iter().find(|example| example["name"] == event).context("no such event")?;
    let mut payload = example["examples"][0].clone();
    payload["repository"]["clone_url"] = json!(clone_url);
    Ok(payload.to_string())
}

/// The signature that GitHub's own library makes.
pub async fn sign(body: &str) -> Result<String> {
    let script = "import('@octokit/webhooks-methods').then(async m => {\
                  let body = ''; for await (const part of process.stdin) body += part;\
                  process.stdout.write(await m.sign(process.argv[1], body))})";
    let mut command = Command::new("node");
    command.args(["-e", script, WEBHOOK_SECRET]).current_dir(paths::tool("npm")?);
    let mut child = command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().context("no pipe")?;
    tokio::io::AsyncWriteExt::write_all(&mut stdin, body.as_bytes()).await?;
    drop(stdin);
    Ok(String::from_utf8(child.wait_with_output().await?.stdout)?)
}
