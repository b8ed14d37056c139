//! The server as operators see it: health, reflection, and its end.

use anyhow::{Context, Result};
use brain_tests::{brain::Server, load, wait::PATIENCE};
use serde_json::json;
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
