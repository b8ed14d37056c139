//! `/-/events`: the audit log.

use super::{Board, assets, html, message, part, view::when};
use askama::Template;
use axum::{
    extract::{Query, State},
    http::StatusCode,
    response::Response,
};
use brain_core::{id::ProjectId, state::ProjectState, stream::Stream};
use brain_proto::{
    convert::{event_to_proto, timestamp_from_proto},
    name,
    v1::{Event, EventTopic, ListEventsRequest, event_service_server::EventService},
};
use serde::Deserialize;
use std::sync::Arc;
use tonic::Request;

/// Events on a page.
const PAGE: u32 = 100;

/// Events of a project on its own page, and what they are about.
const LATEST: u32 = 15;
const NOTED: [EventTopic; 6] = [
    EventTopic::Deployment,
    EventTopic::Hold,
    EventTopic::SetUp,
    EventTopic::Source,
    EventTopic::Image,
    EventTopic::Project,
];

/// What is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    project: String,
    topic: String,
    before: String,
}

#[derive(Template)]
#[template(path = "events.html")]
struct EventsPage {
    assets: &'static str,
    project: String,
    topics: Vec<Topic>,
    names: bool,
    events: Vec<Shown>,
    older: Option<String>,
}

#[derive(Template)]
#[template(path = "event_rows.html")]
struct Rows {
    names: bool,
    events: Vec<Shown>,
}

struct Topic {
    value: &'static str,
    text: &'static str,
    chosen: bool,
}

struct Shown {
    at: String,
    project: String,
    by: String,
    text: String,
    why: String,
    href: String,
}

/// Topics, by the words of the address.
const TOPICS: [(&str, &str, EventTopic); 9] = [
    ("deployment", "deployments", EventTopic::Deployment),
    ("step", "steps", EventTopic::Step),
    ("hold", "holds", EventTopic::Hold),
    ("line", "the line", EventTopic::Line),
    ("production", "what runs", EventTopic::Production),
    ("source", "tags and branches", EventTopic::Source),
    ("image", "images", EventTopic::Image),
    ("set-up", "drift and housekeeping", EventTopic::SetUp),
    ("project", "definitions", EventTopic::Project),
];

pub(super) async fn page(State(board): State<Arc<Board>>, Query(asked): Query<Asked>) -> Response {
    let Asked { project, topic, before } = asked;
    let topics = TOPICS.iter().filter(|(value, ..)| *value == topic).map(|(.., topic)| (*topic).into()).collect();
    let request = ListEventsRequest {
        project: if project.is_empty() { String::new() } else { format!("projects/{project}") },
        topics,
        page_size: PAGE,
        page_token: before,
    };
    let answer = match board.api.list_events(Request::new(request)).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => return message(StatusCode::BAD_REQUEST, "The log was not read", status.message()),
    };
    let older = (!answer.next_page_token.is_empty()).then(|| {
        let pairs = [("project", &project), ("topic", &topic), ("before", &answer.next_page_token)];
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(pairs.iter().filter(|(_, value)| !value.is_empty()));
        format!("/-/events?{}", query.finish())
    });
    let topic = |&(value, text, _): &(&'static str, &'static str, _)| Topic { value, text, chosen: value == topic };
    html(&EventsPage {
        assets: assets::version(),
        topics: TOPICS.iter().map(topic).collect(),
        events: answer.events.into_iter().map(shown).collect(),
        names: project.is_empty(),
        project,
        older,
    })
}

/// The latest events of a project, as rows. Steps and shares are left out: the page shows them itself.
pub(super) async fn latest(board: &Board, id: &ProjectId) -> String {
    let request = ListEventsRequest {
        project: name::project(id),
        topics: NOTED.map(Into::into).to_vec(),
        page_size: LATEST,
        page_token: String::new(),
    };
    // Without the log the page is as good, and says less.
    let answer = board.api.list_events(Request::new(request)).await;
    rows(answer.map(|answer| answer.into_inner().events).unwrap_or_default())
}

/// What has just happened to a project, the latest first, as rows.
pub(super) fn news(id: &ProjectId, state: &ProjectState, events: &[brain_core::event::Event]) -> String {
    let stream = Stream::Project(id.clone());
    let told = |event: &brain_core::event::Event| {
        let number = event.change.deployment();
        let deployment = state.deployments.iter().rev().find(|deployment| Some(deployment.number) == number);
        event_to_proto(&stream, 0, event, deployment)
    };
    let noted = |event: &Event| NOTED.iter().any(|topic| event.topic == i32::from(*topic));
    rows(events.iter().rev().map(told).filter(noted).collect())
}

fn rows(events: Vec<Event>) -> String {
    part(&Rows { names: false, events: events.into_iter().map(shown).collect() })
}

fn shown(event: Event) -> Shown {
    let Event { project, event_time, caused_by, topic: _, text, reason, deployment, revision: _ } = event;
    let at = event_time.map(timestamp_from_proto).map(when).unwrap_or_default();
    let short = |name: &str| name.strip_prefix("projects/").unwrap_or(name).to_owned();
    let href = if deployment.is_empty() { String::new() } else { format!("/{}", short(&deployment)) };
    Shown { at, project: short(&project), by: caused_by, text, why: reason, href }
}
