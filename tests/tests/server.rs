//! The server as operators see it: health, reflection, and its end.

use anyhow::{Context, Result, ensure};
use brain_tests::{
    brain::Server,
    load, paths,
    sandbox::Sandbox,
    wait::{PATIENCE, eventually},
};
use serde_json::{Value, json};
use tokio::time::timeout;

#[tokio::test]
async fn health_is_told_overall_and_for_each_service() -> Result<()> {
    let server = Server::start().await?;
    for service in ["", "brain.v1.ProjectService", "brain.v1.DeployerService"] {
        let answer = server.caller().health(service).await?;
        assert_eq!(answer["status"], "SERVING", "{service:?}");
    }
    assert!(server.caller().health("brain.v1.NoService").await.is_err());
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_told_to_stop_ends_its_streams_and_keeps_everything() -> Result<()> {
    let mut server = Server::start().await?;
    let channel = load::connect(&server.address()).await?;
    load::create_projects(&channel, std::iter::once("user".to_owned())).await?;
    let mut watcher = load::LoadWatcher::open(&channel, "watcher").await?;
    watcher.send(std::iter::once(("user".to_owned(), "0.0.1".to_owned()))).await?;
    watcher.acknowledged().await?;
    let mut watch = server.caller().watch("BoardService/WatchBoard", &json!({}))?;
    watch.next().await?.context("the board's first message")?;
    let code = timeout(PATIENCE, server.process().context("it runs")?.stop()).await??;
    assert_eq!(code, Some(0));
    assert!(watcher.acknowledged().await.is_err(), "the stream has ended");
    server.restart().await?;
    let channel = load::connect(&server.address()).await?;
    assert!(load::tags(&channel, "user").await?.contains("0.0.1"));
    Ok(())
}

#[tokio::test]
async fn every_program_writes_its_log_as_json_when_asked_to() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let nowhere = ["--server", "http://127.0.0.1:1"];
    let server = ["--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"];
    for (program, arguments, says) in [
        ("brain-server", &server[..], "brain-server serves"),
        ("brain-watcher", &nowhere[..], "no stream, connecting again"),
        ("brain-deployer", &nowhere[..], "no stream, connecting again"),
    ] {
        let process = sandbox.start(program, &paths::binary(program)?, |command| {
            command.args(["--log-format", "json"]).args(arguments);
        })?;
        eventually(&format!("{program} to log"), || async {
            let output = process.output();
            let lines: Vec<Value> = output.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
            let said = |line: &Value| line["level"].is_string() && line["fields"]["message"] == says;
            ensure!(lines.iter().any(said), "{output}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}
