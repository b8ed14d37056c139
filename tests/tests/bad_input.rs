//! Bad input: every request is checked whole, and answered once, naming every fault.

use anyhow::{Context, Result};
use brain_tests::{
    brain::Server,
    load::{self, LoadWatcher},
    paths,
    sandbox::Sandbox,
};
use serde_json::{Value, json};
use std::fs;
use tokio::process::Command;

fn definition(name: &str, port: u32) -> Value {
    json!({
        "name": name,
        "source": {"gitUrl": "http://127.0.0.1:9/x.git"},
        "imageRepository": "flowcommerce/user",
        "target": {"region": "us-east-1", "hostPort": port, "containerPort": 9000, "desiredCount": 3}
    })
}

async fn refused(server: &Server, method: &str, request: Value) -> String {
    server.caller().grpcurl(method, &request).await.expect_err("the request is faulty").to_string()
}

#[tokio::test]
async fn every_fault_of_a_definition_is_a_violation_of_its_field() -> Result<()> {
    let server = Server::start().await?;
    server
        .caller()
        .grpcurl("ProjectService/CreateProject", &json!({"project": definition("projects/first", 6041)}))
        .await?;
    let mut bad = definition(&format!("projects/{}", "x".repeat(300)), 6041);
    bad["imageRepository"] = json!("not a reference");
    bad["target"]["containerPort"] = json!(65_536);
    bad["target"]["ecsAgentSettings"] = json!({"ECS_X": "two\nlines"});
    bad["target"]["roleArn"] = json!("brain");
    bad["target"]["healthCheckGracePeriod"] = json!("7201s");
    bad["rolloutPolicy"] = json!({"steps": [{"percent": 50}, {"percent": 40}, {"percent": 101}]});
    let answer = refused(&server, "ProjectService/CreateProject", json!({"project": bad})).await;
    for expected in [
        "InvalidArgument",
        "google.rpc.BadRequest",
        "project.name",
        "project.image_repository",
        "project.target.container_port",
        "project.target.host_port",
        "6041 is taken by projects/first",
        "project.target.ecs_agent_settings",
        "cannot be quoted",
        "project.target.role_arn",
        "project.target.health_check_grace_period must be 0 s to 2 h",
        "project.rollout_policy.steps[1].percent must be more than the step before",
        "project.rollout_policy.steps[2].percent must be 1 to 100, not 101",
    ] {
        assert!(answer.contains(expected), "{expected:?} is not in {answer}");
    }
    let request = json!({"project": definition("nameless", 70_000), "requestedBy": "a\tb"});
    let answer = refused(&server, "ProjectService/CreateProject", request).await;
    for expected in ["requested_by must be one line", "project.name must be of the form", "project.target.host_port"] {
        assert!(answer.contains(expected), "{expected:?} is not in {answer}");
    }
    let projects = server.caller().grpcurl("ProjectService/ListProjects", &json!({})).await?;
    assert_eq!(projects["projects"].as_array().map(Vec::len), Some(1), "nothing of it was made");
    Ok(())
}

#[tokio::test]
async fn a_name_is_taken_once_and_the_same_definition_again_is_the_same_project() -> Result<()> {
    let server = Server::start().await?;
    let create = |port: u32| json!({"project": definition("projects/user", port)});
    let caller = server.caller();
    let first = caller.grpcurl("ProjectService/CreateProject", &create(6041)).await?;
    assert_eq!(first, caller.grpcurl("ProjectService/CreateProject", &create(6041)).await?);
    let other = refused(&server, "ProjectService/CreateProject", create(6042)).await;
    assert!(other.contains("AlreadyExists"), "{other}");
    Ok(())
}

#[tokio::test]
async fn what_does_not_exist_is_not_found_and_what_is_malformed_is_invalid() -> Result<()> {
    let server = Server::start().await?;
    for (method, request) in [
        ("ProjectService/GetProject", json!({"name": "projects/none"})),
        ("ProjectService/ListReleases", json!({"parent": "projects/none"})),
        ("ProductionService/GetProduction", json!({"name": "projects/none/production"})),
        ("DeploymentService/GetDeployment", json!({"name": "projects/none/deployments/1"})),
        ("DeploymentService/CreateDeployment", json!({"parent": "projects/none", "version": "1.0.0"})),
        ("DeploymentService/CreateDeployment", json!({"image": "flowcommerce/none:1.0.0"})),
        ("DeploymentService/PlanDeployment", json!({"parent": "projects/none", "version": "1.0.0"})),
        ("DeploymentService/PauseDeployment", json!({"name": "projects/none/deployments/1"})),
        ("DeploymentService/RollbackProject", json!({"parent": "projects/none"})),
    ] {
        let answer = refused(&server, method, request).await;
        assert!(answer.contains("NotFound"), "{method}: {answer}");
    }
    for (method, request) in [
        ("ProjectService/GetProject", json!({"name": "user"})),
        ("ProjectService/ListProjects", json!({"pageSize": 1_001})),
        ("ProjectService/ListProjects", json!({"pageToken": "?"})),
        ("ProjectService/CreateProject", json!({})),
        ("DeploymentService/CreateDeployment", json!({})),
        ("DeploymentService/CreateDeployment", json!({"image": "flowcommerce/user"})),
        ("DeploymentService/CreateDeployment", json!({"image": "NOT A REFERENCE:1"})),
        ("DeploymentService/GetDeployment", json!({"name": "projects/user/deployments/first"})),
        ("DeploymentService/PromoteDeployment", json!({"name": "projects/user/deployments/first"})),
        ("DeploymentService/CancelDeployment", json!({"name": "projects/user/deployments/1", "reason": "a\nb"})),
        ("DeploymentService/RollbackProject", json!({"parent": "user"})),
    ] {
        let answer = refused(&server, method, request).await;
        assert!(answer.contains("InvalidArgument"), "{method}: {answer}");
    }
    Ok(())
}

#[tokio::test]
async fn a_faulty_policy_of_one_deployment_names_every_fault() -> Result<()> {
    let server = Server::start().await?;
    let create = json!({"project": definition("projects/user", 6041)});
    server.caller().grpcurl("ProjectService/CreateProject", &create).await?;
    let steps = json!([{"percent": 50, "bake": "-1s"}, {"percent": 20}, {"hold": true}]);
    let request = json!({
        "parent": "projects/user", "version": "1.0.0", "requestedBy": "a\tb",
        "rolloutPolicy": {"steps": steps, "floorPercent": 101, "surge": 1001},
    });
    for method in ["DeploymentService/CreateDeployment", "DeploymentService/PlanDeployment"] {
        let mut request = request.clone();
        if method.ends_with("PlanDeployment") {
            request.as_object_mut().map(|fields| fields.remove("requestedBy"));
        }
        let answer = refused(&server, method, request).await;
        for field in ["steps[0].bake", "steps[1].percent", "steps[2].percent", "floor_percent", "surge"] {
            assert!(answer.contains(&format!("rollout_policy.{field}")), "{method}: {field} is not in {answer}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_faulty_observation_is_refused_with_its_reason_and_the_others_are_taken() -> Result<()> {
    let server = Server::start().await?;
    let channel = load::connect(&server.address()).await?;
    load::create_projects(&channel, std::iter::once("user".to_owned())).await?;
    let mut watcher = LoadWatcher::open(&channel, "watcher").await?;
    let long = "9".repeat(251);
    let tags = [("user", "0.0.1"), ("none", "0.0.1"), ("user", long.as_str())];
    watcher.send(tags.iter().map(|(project, tag)| ((*project).to_owned(), (*tag).to_owned()))).await?;
    let refused = watcher.acknowledged().await.expect_err("two are refused").to_string();
    assert!(refused.contains("there is no projects/none") && refused.contains("250 characters"), "{refused}");
    assert!(load::tags(&channel, "user").await?.contains("0.0.1"));
    Ok(())
}

#[tokio::test]
async fn all_mistakes_of_a_configuration_are_told_before_anything_starts() -> Result<()> {
    let sandbox = Sandbox::new()?;
    let data = sandbox.path("data");
    let server = Command::new(paths::binary("brain-server")?)
        .args(["--listen", "nowhere", "--lease", "0s", "--host-ports", "9-1", "--data"])
        .arg(&data)
        .output()
        .await?;
    let said = String::from_utf8(server.stderr)?;
    assert_eq!(server.status.code(), Some(2));
    for mistake in ["listen", "lease", "host_ports"] {
        assert!(said.contains(mistake), "{mistake} is not in {said}");
    }
    assert!(!data.exists(), "nothing was made");
    for (program, config) in
        [("brain-watcher", "server = \"x\"\nagent = \"\"\n"), ("brain-deployer", "server = \"x\"\nagent = \"\"\n")]
    {
        let file = sandbox.path("config.toml");
        fs::write(&file, config)?;
        let output = Command::new(paths::binary(program)?).arg("--config").arg(&file).output().await?;
        let said = String::from_utf8(output.stderr)?;
        assert_eq!(output.status.code(), Some(2), "{program}");
        assert!(said.contains("server:") && said.contains("agent:"), "{program}: {said}");
    }
    Ok(())
}

#[tokio::test]
async fn a_corrupt_store_refuses_to_start_names_the_file_and_changes_nothing() -> Result<()> {
    let mut server = Server::start().await?;
    let channel = load::connect(&server.address()).await?;
    load::create_projects(&channel, (0..20).map(|number| format!("p{number}"))).await?;
    server.kill().await?;
    let data = server.sandbox().path("data");
    let db = data.join("db");
    let mut bytes = fs::read(&db)?;
    bytes.truncate(bytes.len() / 2);
    fs::write(&db, &bytes)?;
    let output = Command::new(paths::binary("brain-server")?)
        .args(["--listen", "127.0.0.1:0", "--data"])
        .arg(&data)
        .output()
        .await
        .context("the server cannot be run")?;
    let said = String::from_utf8(output.stderr)?;
    assert_eq!(output.status.code(), Some(2));
    assert!(said.contains(&db.display().to_string()), "{said}");
    assert!(said.contains("nothing was changed"), "{said}");
    assert_eq!(fs::read(&db)?, bytes);
    Ok(())
}
