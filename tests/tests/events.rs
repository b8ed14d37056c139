//! The audit log: who did what, when and why, read backwards and followed, also over a kill of the server.

use anyhow::{Context, Result, ensure};
use brain_proto::v1::{
    Event, EventTopic, FreezeProjectRequest, ListEventsRequest, StopLineRequest, ThawProjectRequest,
    WatchEventsRequest, event_service_client::EventServiceClient, line_service_client::LineServiceClient,
    project_service_client::ProjectServiceClient,
};
use brain_tests::{
    brain::Server,
    load::{self, LoadWatcher},
    wait::eventually,
};
use serde_json::json;
use tonic::transport::Channel;

async fn freeze(channel: &Channel, id: &str, reason: &str) -> Result<()> {
    let request = FreezeProjectRequest {
        name: format!("projects/{id}"),
        requested_by: "ann".to_owned(),
        reason: reason.to_owned(),
        ..FreezeProjectRequest::default()
    };
    ProjectServiceClient::new(channel.clone()).freeze_project(request).await?;
    Ok(())
}

async fn thaw(channel: &Channel, id: &str) -> Result<()> {
    let request =
        ThawProjectRequest { name: format!("projects/{id}"), requested_by: "bob".to_owned(), reason: String::new() };
    ProjectServiceClient::new(channel.clone()).thaw_project(request).await?;
    Ok(())
}

/// Every event, in pages.
async fn all(channel: &Channel, request: ListEventsRequest) -> Result<Vec<Event>> {
    let (mut events, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListEventsRequest { page_token, ..request.clone() };
        let page = EventServiceClient::new(channel.clone()).list_events(request).await?.into_inner();
        events.extend(page.events);
        if page.next_page_token.is_empty() {
            return Ok(events);
        }
        page_token = page.next_page_token;
    }
}

fn read(event: &Event) -> String {
    format!("{} {} {} ({})", event.project, event.caused_by, event.text, event.reason)
}

#[tokio::test]
async fn the_log_is_read_backwards_in_pages_by_project_and_topic() -> Result<()> {
    let server = Server::start().await?;
    let channel = load::connect(&server.address()).await?;
    load::create_projects(&channel, ["a", "b"].map(str::to_owned).into_iter()).await?;
    let mut watcher = LoadWatcher::open(&channel, "loader").await?;
    let through = watcher.send(["a", "b"].map(|id| (id.to_owned(), "0.0.5".to_owned())).into_iter()).await?;
    while watcher.acknowledged().await? < through {}
    freeze(&channel, "a", "holidays").await?;
    thaw(&channel, "a").await?;
    let stop = StopLineRequest { requested_by: "ann".into(), reason: "an outage".into(), pause_running: false };
    LineServiceClient::new(channel.clone()).stop_line(stop).await?;

    let everything = all(&channel, ListEventsRequest::default()).await?;
    assert_eq!(read(&everything[0]), " ann the line is stopped (an outage)");
    assert_eq!(read(&everything[1]), "projects/a bob no longer frozen ()");
    assert_eq!(read(&everything[2]), "projects/a ann frozen (holidays)");
    ensure!(everything.windows(2).all(|pair| pair[0].revision >= pair[1].revision), "{everything:#?}");
    ensure!(everything.iter().all(|event| event.event_time.is_some()), "{everything:#?}");
    for page_size in [1, 2, 3] {
        let paged = all(&channel, ListEventsRequest { page_size, ..ListEventsRequest::default() }).await?;
        assert_eq!(paged, everything, "in pages of {page_size}");
    }
    let of_a =
        all(&channel, ListEventsRequest { project: "projects/a".into(), ..ListEventsRequest::default() }).await?;
    let expected: Vec<Event> = everything.iter().filter(|event| event.project == "projects/a").cloned().collect();
    assert_eq!(of_a, expected);
    let told: Vec<&str> = of_a.iter().map(|event| event.text.as_str()).collect();
    assert_eq!(told.last(), Some(&"the project was created"));
    ensure!(told.iter().any(|text| text.starts_with("tag 0.0.5 is at ")), "{told:?}");
    let topics = vec![EventTopic::Hold.into(), EventTopic::Line.into()];
    let chosen = all(&channel, ListEventsRequest { topics, page_size: 2, ..ListEventsRequest::default() }).await?;
    assert_eq!(chosen, everything[..3]);

    let bad = json!({"project": "a", "topics": ["EVENT_TOPIC_HOLD"], "pageSize": 5000, "pageToken": "?"});
    let refusal = server.caller().grpcurl("EventService/ListEvents", &bad).await;
    let refusal = refusal.err().context("it was taken")?.to_string();
    for field in ["\"field\":\"project\"", "\"field\":\"page_size\"", "\"field\":\"page_token\""] {
        ensure!(refusal.contains(field), "{field} is missing: {refusal}");
    }
    Ok(())
}

#[tokio::test]
async fn events_are_followed_and_resumed_over_a_kill_of_the_server() -> Result<()> {
    let mut server = Server::start().await?;
    let channel = load::connect(&server.address()).await?;
    load::create_projects(&channel, ["a", "b"].map(str::to_owned).into_iter()).await?;
    let request = WatchEventsRequest { project: "projects/a".into(), ..WatchEventsRequest::default() };
    let mut events = EventServiceClient::new(channel.clone()).watch_events(request.clone()).await?.into_inner();
    let first = events.message().await?.context("nothing")?;
    ensure!(first.event.is_none() && !first.resume_token.is_empty(), "{first:?}");
    freeze(&channel, "b", "not wanted").await?;
    freeze(&channel, "a", "one").await?;
    let one = events.message().await?.context("nothing")?;
    assert_eq!(one.event.as_ref().map(read).as_deref(), Some("projects/a ann frozen (one)"));

    // What happens while nobody watches is not lost, also when the server dies meanwhile.
    drop(events);
    thaw(&channel, "a").await?;
    server.kill().await?;
    server.restart().await?;
    let address = server.address();
    let channel = eventually("the server to answer", || load::connect(&address)).await?;
    let resumed = WatchEventsRequest { resume_token: one.resume_token, ..request.clone() };
    let mut events = EventServiceClient::new(channel.clone()).watch_events(resumed).await?.into_inner();
    ensure!(events.message().await?.context("nothing")?.event.is_none(), "the first tells from where");
    freeze(&channel, "a", "two").await?;
    let mut told = Vec::new();
    while told.len() < 2 {
        told.extend(events.message().await?.context("it ended")?.event);
    }
    assert_eq!(
        told.iter().map(read).collect::<Vec<_>>(),
        ["projects/a bob no longer frozen ()", "projects/a ann frozen (two)"]
    );
    Ok(())
}
