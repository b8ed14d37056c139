//! Definitions that change, and projects that are deleted and made again.

use anyhow::{Result, ensure};
use brain_proto::v1::{
    CreateProjectRequest, DeleteProjectRequest, GetProjectRequest, ListProjectsRequest, Project, Source, Target,
    WatchBoardRequest, WatchProjectRequest, board_service_client::BoardServiceClient,
    project_service_client::ProjectServiceClient,
};
use brain_tests::{
    brain::Server,
    load,
    wait::eventually,
    world::{World, drift, text},
};
use serde_json::{Value, json};
use std::time::Duration;
use tonic::{Code, transport::Channel};

fn definition(id: &str, port: u32) -> Project {
    Project {
        name: format!("projects/{id}"),
        source: Some(Source { git_url: "http://127.0.0.1:9/x.git".to_owned(), ..Source::default() }),
        image_repository: format!("flowcommerce/{id}"),
        target: Some(Target {
            region: "us-east-1".to_owned(),
            host_port: port,
            container_port: 9_000,
            desired_count: 3,
            ..Target::default()
        }),
        ..Project::default()
    }
}

async fn create(channel: &Channel, project: Project) -> Result<Project, tonic::Status> {
    let request = CreateProjectRequest { project: Some(project), ..Default::default() };
    let answer = ProjectServiceClient::new(channel.clone()).create_project(request).await?;
    Ok(answer.into_inner().project.unwrap_or_default())
}

/// What grpcurl answers to an update of what these paths name.
async fn update(server: &Server, project: Value, mask: &str) -> Result<Value> {
    let paths: Vec<&str> = mask.split(',').filter(|path| !path.is_empty()).collect();
    let request =
        json!({"project": project, "updateMask": {"paths": paths}, "requestedBy": "ann", "reason": "it grows"});
    Ok(server.caller().grpcurl("ProjectService/UpdateProject", &request).await?["project"].clone())
}

async fn refused(server: &Server, project: Value, mask: &str, expected: &[&str]) -> Result<()> {
    let answer = update(server, project, mask).await;
    let Err(answer) = answer else { anyhow::bail!("{expected:?} is missing: it was done") };
    for expected in expected {
        ensure!(answer.to_string().contains(expected), "{expected:?} is not in {answer}");
    }
    Ok(())
}

#[tokio::test]
async fn a_mask_changes_what_it_names_and_nothing_else_for_good() -> Result<()> {
    let mut server = Server::start().await?;
    let channel = load::connect(&server.address()).await?;
    let made = create(&channel, definition("user", 6_041)).await?;
    let user = "projects/user";
    let changed = update(
        &server,
        json!({"name": user, "etag": made.etag, "target": {"desiredCount": 5, "maxInstances": 8, "memoryMib": 900}}),
        "target.desired_count,target.max_instances",
    )
    .await?;
    assert_eq!((&changed["target"]["desiredCount"], &changed["target"]["maxInstances"]), (&json!(5), &json!(8)));
    assert_eq!(changed["target"]["memoryMib"], json!(500), "the mask does not name it");
    ensure!(changed["etag"] != json!(made.etag), "the etag is the same");

    // Every fault at once, and nothing half-done.
    let stale = json!({"name": user, "etag": made.etag, "target": {"desiredCount": 6}});
    refused(&server, stale, "target.desired_count", &["Aborted", "ETAG_MISMATCH"]).await?;
    let wrong = json!({"name": user});
    refused(&server, wrong.clone(), "etag,target.size", &["InvalidArgument", "\"etag\"", "\"target.size\""]).await?;
    refused(&server, wrong, "", &["update_mask is required"]).await?;
    let wrong = json!({"name": user, "target": {"desiredCount": 9, "containerPort": 0}});
    let both = "target.desired_count,target.container_port";
    refused(&server, wrong, both, &["container_port", "max_instances must be 10 to"]).await?;
    refused(&server, json!({"name": "projects/none"}), "*", &["NotFound"]).await?;

    // What it no longer has is free for others, and what others have is not.
    create(&channel, definition("other", 6_042)).await?;
    let taken = json!({"name": user, "target": {"hostPort": 6_042}});
    refused(&server, taken, "target.host_port", &["6042 is taken by projects/other"]).await?;
    update(&server, json!({"name": user, "target": {"hostPort": 6_043}}), "target.host_port").await?;
    create(&channel, definition("third", 6_041)).await?;

    // Nothing comes to need itself.
    update(&server, json!({"name": "projects/other", "dependsOn": [{"project": user}]}), "depends_on").await?;
    let circle = json!({"name": user, "dependsOn": [{"project": "projects/third"}, {"project": "projects/other"}]});
    let expected = ["project.depends_on[1].project", "would need user by way of other"];
    refused(&server, circle, "depends_on", &expected).await?;

    server.kill().await?;
    server.restart().await?;
    let request = json!({"name": user});
    let kept = eventually("the server to answer", || async {
        server.caller().grpcurl("ProjectService/GetProject", &request).await
    });
    let kept = kept.await?["project"]["target"].clone();
    assert_eq!((&kept["desiredCount"], &kept["hostPort"]), (&json!(5), &json!(6_043)));
    let events = server.caller().grpcurl("EventService/ListEvents", &json!({"project": user})).await?["events"].clone();
    let events = events.as_array().cloned().unwrap_or_default();
    let expected = "the definition changed: target.desired_count, target.max_instances";
    let changed = events.iter().find(|event| event["text"] == expected).unwrap_or(&Value::Null);
    assert_eq!((&changed["causedBy"], &changed["reason"]), (&json!("ann"), &json!("it grows")), "{events:?}");
    Ok(())
}

#[tokio::test]
async fn a_host_port_is_taken_in_one_account_and_region_also_by_what_was_stored() -> Result<()> {
    let mut server = Server::start().await?;
    let channel = load::connect(&server.address()).await?;
    let at = |id: &str, region: &str, role: &str| {
        let mut project = definition(id, 6_041);
        let target = project.target.get_or_insert_default();
        (target.region, target.role_arn) = (region.to_owned(), role.to_owned());
        project
    };
    create(&channel, at("user", "us-east-1", "")).await?;
    create(&channel, at("user-eu", "eu-west-1", "")).await?;
    create(&channel, at("user-staging", "us-east-1", "arn:aws:iam::123456789012:role/brain")).await?;
    let same_account = at("other", "us-east-1", "arn:aws:iam::123456789012:role/other");
    let taken = create(&channel, same_account).await.expect_err("the account has the port");
    ensure!(taken.message().contains("6041 is taken by projects/user-staging"), "{taken}");

    // It may move where nobody has its port, and nowhere else.
    let moved = |region: &str| json!({"name": "projects/user-eu", "target": {"region": region}});
    let expected = ["project.target.host_port", "6041 is taken by projects/user"];
    refused(&server, moved("us-east-1"), "target.region", &expected).await?;
    server.kill().await?;
    server.restart().await?;
    eventually("the ports of what was stored", || async {
        refused(&server, moved("us-east-1"), "target.region", &expected).await
    })
    .await?;
    update(&server, moved("eu-central-1"), "target.region").await?;
    create(&load::connect(&server.address()).await?, at("other", "eu-west-1", "")).await?;
    Ok(())
}

#[tokio::test]
async fn a_deleted_project_is_gone_for_everybody_and_its_name_is_free() -> Result<()> {
    let mut server = Server::start().await?;
    let channel = load::connect(&server.address()).await?;
    create(&channel, definition("user", 6_041)).await?;
    let needing = Project {
        depends_on: vec![brain_proto::v1::Dependency { project: "projects/user".to_owned(), ..Default::default() }],
        ..definition("other", 6_042)
    };
    create(&channel, needing).await?;
    let delete = async |channel: &Channel, id: &str| {
        let request = DeleteProjectRequest { name: format!("projects/{id}"), ..Default::default() };
        ProjectServiceClient::new(channel.clone()).delete_project(request).await
    };
    let needed = delete(&channel, "user").await.expect_err("other needs it");
    assert_eq!((needed.code(), needed.message().contains("needed by other")), (Code::FailedPrecondition, true));

    let watch = WatchProjectRequest { name: "projects/other".to_owned(), ..Default::default() };
    let mut watched = ProjectServiceClient::new(channel.clone()).watch_project(watch).await?.into_inner();
    watched.message().await?;
    let mut board = BoardServiceClient::new(channel.clone()).watch_board(WatchBoardRequest {}).await?.into_inner();
    for _ in 0..2 {
        board.message().await?;
    }
    delete(&channel, "other").await?;
    assert_eq!(watched.message().await.expect_err("it is gone").code(), Code::NotFound);
    // What else is told of it in the meantime, as that nobody observes it, comes before.
    let mut gone = board.message().await?.and_then(|message| message.project).unwrap_or_default();
    while !gone.title.is_empty() {
        gone = board.message().await?.and_then(|message| message.project).unwrap_or_default();
    }
    assert_eq!(gone.project, "projects/other");
    assert_eq!(delete(&channel, "other").await.expect_err("it is gone").code(), Code::NotFound);
    delete(&channel, "user").await?;

    server.kill().await?;
    server.restart().await?;
    let channel = load::connect(&server.address()).await?;
    let mut client = ProjectServiceClient::new(channel.clone());
    let there = client.list_projects(ListProjectsRequest::default()).await?.into_inner();
    assert_eq!(there.projects, [], "deleted for good");
    let again = create(&channel, Project { image_repository: "a/b".to_owned(), ..definition("user", 6_042) }).await?;
    assert_eq!(again.image_repository, "a/b");
    delete(&channel, "user").await?;
    create(&channel, definition("user", 6_041)).await?;
    server.kill().await?;
    server.restart().await?;
    let channel = load::connect(&server.address()).await?;
    let there = ProjectServiceClient::new(channel).list_projects(ListProjectsRequest::default()).await?.into_inner();
    assert_eq!(there.projects.len(), 1);
    Ok(())
}

/// A caller that leaves takes nothing back: what the store has the server knows.
#[tokio::test]
async fn a_creation_is_seen_through_though_nobody_waits_for_it() -> Result<()> {
    let server = Server::start().await?;
    let channel = load::connect(&server.address()).await?;
    let projects: Vec<Project> = (0..100).map(|index| definition(&format!("p{index}"), 10_000 + index)).collect();
    for (index, project) in (0..).zip(&projects) {
        let patience = Duration::from_micros(index * 40);
        let _ = tokio::time::timeout(patience, create(&channel, project.clone())).await;
    }
    for project in projects {
        let name = project.name.clone();
        let again = eventually(&name, || create_again(&channel, &project)).await?;
        assert_eq!(again.name, name);
    }
    Ok(())
}

/// The same definition again; a first request that is still under way may be refused.
async fn create_again(channel: &Channel, project: &Project) -> Result<Project> {
    Ok(create(channel, project.clone()).await?)
}

#[tokio::test]
async fn a_deployed_project_grows_is_deleted_and_goes_on_under_its_name() -> Result<()> {
    let world = World::start().await?;
    let mut wrong = world.definition();
    wrong["source"]["branch"] = json!("nowhere");
    wrong["imageRepository"] = json!("flowcommerce/users");
    world.create(wrong).await?;
    eventually("tags, and a word of the images", || async {
        let board = world.caller().grpcurl("BoardService/GetBoard", &json!({})).await?;
        ensure!(board.to_string().contains("flowcommerce/users:0.0.4 waiting on docker image"), "{board}");
        Ok(())
    })
    .await?;
    let right =
        json!({"name": "projects/user", "source": {"branch": "master"}, "imageRepository": "flowcommerce/user"});
    update(&world.server, right, "source.branch,image_repository").await?;
    world.image_known("0.0.4").await?;
    let first = world.deploy("flowcommerce/user:0.0.4").await?;
    // What a deployment follows stays as it is until its end.
    let more = json!({"name": "projects/user", "target": {"desiredCount": 4, "maxInstances": 6}});
    let mask = "target.desired_count,target.max_instances";
    refused(&world.server, more.clone(), mask, &["FailedPrecondition", "DEPLOYMENT_IN_PROGRESS", "target"]).await?;
    world.succeeded(&first).await?;
    let moved = json!({"name": "projects/user", "target": {"region": "eu-west-1", "hostPort": 6050}});
    let fixed = ["InvalidArgument", "project.target.region", "project.target.host_port", "is fixed"];
    refused(&world.server, moved, "target.region,target.host_port", &fixed).await?;

    update(&world.server, more, mask).await?;
    world.registry.push("flowcommerce/user", "0.0.5", "0.0.5").await?;
    world.image_known("0.0.5").await?;
    let second = world.deploy_allowing("flowcommerce/user:0.0.5", json!({"repairDrift": true})).await?;
    let second = world.succeeded(&second).await?;
    ensure!(drift(&second).iter().any(|line| line.contains("6")), "{:?}", drift(&second));
    eventually("four healthy tasks", || async {
        let name = json!({"name": "projects/user/production"});
        let answer = world.caller().grpcurl("ProductionService/GetProduction", &name).await?;
        ensure!(answer["production"]["versions"][0]["healthy"] == json!(4), "{answer}");
        Ok(())
    })
    .await?;

    let delete = json!({"name": "projects/user"});
    let kept = world.caller().grpcurl("ProjectService/DeleteProject", &delete).await.expect_err("0.0.5 runs");
    ensure!(kept.to_string().contains("PROJECT_RUNNING") && kept.to_string().contains("0.0.5 runs"), "{kept}");
    // At once, so that nobody who watches or observes has heard of the end before the beginning.
    let channel = load::connect(&world.server.address()).await?;
    let request = GetProjectRequest { name: "projects/user".to_owned() };
    let again = ProjectServiceClient::new(channel.clone()).get_project(request).await?.into_inner().project;
    let leave = DeleteProjectRequest { name: "projects/user".to_owned(), leave_running: true, ..Default::default() };
    ProjectServiceClient::new(channel.clone()).delete_project(leave).await?;
    create(&channel, again.unwrap_or_default()).await?;
    eventually("what was left running is seen", || async {
        let line = world.production().await?;
        ensure!(line == "0.0.5: 100%", "{line}");
        Ok(())
    })
    .await?;
    world.image_known("0.0.4").await?;
    let third = world.deploy("flowcommerce/user:0.0.4").await?;
    assert_eq!(third, "projects/user/deployments/3", "AWS knows what was asked for under the first two");
    let third = world.succeeded(&third).await?;
    assert_eq!(text(&third["version"]), "0.0.4");
    world.unharmed().await
}
