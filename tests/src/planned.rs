//! Dry runs: the calls that a plan is to make, beside those that were made.

use crate::{
    wait::eventually,
    world::{World, text},
};
use anyhow::{Result, ensure};
use serde_json::Value;
use std::collections::BTreeMap;

/// How often each call that changes something is made.
pub type Calls = BTreeMap<String, u64>;

/// The dry run of a request, once a deployer has answered.
pub async fn planned(world: &World, request: &Value) -> Result<Value> {
    eventually("a deployer's answer to the plan", || async {
        let answer = world.caller().grpcurl("DeploymentService/PlanDeployment", request).await?;
        // Empty: none has answered in time.
        ensure!(answer["steps"].as_array().is_some_and(|steps| !steps.is_empty()), "{}", answer["note"]);
        Ok(answer)
    })
    .await
}

/// How often each call is planned.
#[must_use]
pub fn planned_calls(answer: &Value) -> Calls {
    let mut calls = Calls::new();
    for step in answer["steps"].as_array().into_iter().flatten() {
        for call in step["calls"].as_array().into_iter().flatten() {
            *calls.entry(text(&call["call"])).or_default() += 1;
        }
    }
    calls
}

/// How often each was made since the lab's record was reset.
pub async fn made_calls(world: &World) -> Result<Calls> {
    let record = world.lab.record().await?;
    let calls = record["calls"].as_object().cloned().unwrap_or_default();
    let reads = ["Describe", "List", "Get"];
    let changes = calls.into_iter().filter(|(name, _)| !reads.iter().any(|read| name.starts_with(read)));
    Ok(changes.map(|(name, count)| (name, count.as_u64().unwrap_or_default())).collect())
}
