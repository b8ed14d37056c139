//! What people want held in project `user`, and what the board says of it.

use crate::{
    wait::eventually,
    world::{World, text},
};
use anyhow::{Result, ensure};
use serde_json::{Value, json};

/// A call about project `user`; answers the project.
pub async fn hold(world: &World, method: &str, more: Value) -> Result<Value> {
    let mut request = json!({"name": "projects/user", "requestedBy": "ann", "reason": "to be safe"});
    for (field, value) in more.as_object().cloned().unwrap_or_default() {
        request[field] = value;
    }
    let answer = world.caller().grpcurl(&format!("ProjectService/{method}"), &request).await?;
    Ok(answer["project"].clone())
}

/// What the refusal of a deployment says.
pub async fn refused(world: &World, image: &str) -> String {
    match world.deploy(image).await {
        Ok(name) => format!("{name} was not refused"),
        Err(refusal) => refusal.to_string(),
    }
}

/// What the board says of project `user`.
pub async fn sentences(world: &World) -> Result<Vec<String>> {
    let board = world.caller().buf("BoardService/GetBoard", &json!({})).await?;
    let sentences = board["projects"][0]["sentences"].as_array().cloned().unwrap_or_default();
    Ok(sentences.iter().map(|sentence| text(&sentence["text"])).collect())
}

/// Waits until the board says something of project `user`.
pub async fn said(world: &World, beginning: &str) -> Result<()> {
    eventually(&format!("the board to say {beginning:?}"), || async {
        let sentences = sentences(world).await?;
        ensure!(sentences.iter().any(|sentence| sentence.starts_with(beginning)), "{sentences:?}");
        Ok(())
    })
    .await
}

/// Creates project `user`, deployed by policy.
pub async fn create_automatic(world: &World) -> Result<()> {
    let mut project = world.definition();
    project["deploy"] = json!({"automatic": true});
    world.create(project).await.map(drop)
}

/// Waits until there is a deployment of that number.
pub async fn there_is(world: &World, number: u64) -> Result<Value> {
    let name = format!("projects/user/deployments/{number}");
    eventually(&format!("{name} to begin"), || world.deployment(&name)).await
}

/// How many deployments there are.
pub async fn deployments(world: &World) -> Result<usize> {
    let answer =
        world.caller().grpcurl("DeploymentService/ListDeployments", &json!({"parent": "projects/user"})).await?;
    Ok(answer["deployments"].as_array().map_or(0, Vec::len))
}
