//! `/-/events`: the audit log.

use super::{
    Board, assets, html, message, part,
    stream::{self, Left, Reader},
    view::when,
};
use crate::api::event::link_token;
use askama::Template;
use axum::{
    extract::{Query, State},
    http::StatusCode,
    response::Response,
};
use brain_core::id::ProjectId;
use brain_proto::{
    convert::timestamp_from_proto,
    name,
    v1::{Event, EventTopic, ListEventsRequest, event_service_server::EventService},
};
use serde::Deserialize;
use std::{sync::Arc, time::Duration};
use tokio::time::{sleep, timeout};
use tonic::Request;

mod log;

pub(super) use log::{Log, Wanted, next_of};

/// Events on a page.
const PAGE: u32 = 100;
/// How long events are gathered before an open page shows them.
const GATHERED: Duration = Duration::from_millis(250);

/// How long a project's page waits for its events.
const PATIENCE: Duration = Duration::from_millis(500);
/// Events of a project on its own page, and what they are about. Steps and shares are left out: the page shows them itself.
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
    /// Where its news comes from; a page of older ones has none.
    stream: Option<String>,
    list: String,
}

#[derive(Template)]
#[template(path = "event_list.html")]
struct EventList {
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
    /// Its place on the page, and the page that shows it for good.
    anchor: String,
    link: String,
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

impl Asked {
    fn wanted(&self) -> Wanted {
        let Self { project, topic, before: _ } = self;
        let topics = TOPICS.iter().filter(|(value, ..)| value == topic).map(|(.., topic)| (*topic).into()).collect();
        let project = if project.is_empty() { String::new() } else { format!("projects/{project}") };
        Wanted { project, topics, most: PAGE }
    }

    /// The address of these events, of all that are before the event of a token.
    fn address(&self, path: &str, before: &str) -> String {
        let pairs = [("project", self.project.as_str()), ("topic", &self.topic), ("before", before)];
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(pairs.iter().filter(|(_, value)| !value.is_empty()));
        match query.finish() {
            query if query.is_empty() => path.to_owned(),
            query => format!("{path}?{query}"),
        }
    }

    fn list(&self, events: Vec<Event>, older: &str) -> String {
        let older = (!older.is_empty()).then(|| self.address("/-/events", older));
        part(&EventList { names: self.project.is_empty(), events: shown(events), older })
    }
}

pub(super) async fn page(State(board): State<Arc<Board>>, Query(asked): Query<Asked>) -> Response {
    let Wanted { project, topics, most } = asked.wanted();
    let request = ListEventsRequest { project, topics, page_size: most, page_token: asked.before.clone() };
    let answer = match board.api.list_events(Request::new(request)).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => return message(StatusCode::BAD_REQUEST, "The log was not read", status.message()),
    };
    let list = asked.list(answer.events, &answer.next_page_token);
    let stream = asked.before.is_empty().then(|| asked.address("/-/events/stream", ""));
    let topic =
        |&(value, text, _): &(&'static str, &'static str, _)| Topic { value, text, chosen: value == asked.topic };
    let topics = TOPICS.iter().map(topic).collect();
    html(&EventsPage { assets: assets::version(), project: asked.project, topics, stream, list })
}

pub(super) async fn stream(State(board): State<Arc<Board>>, Query(asked): Query<Asked>) -> Response {
    let following = Arc::clone(&board);
    stream::stream(&board, async move |reader| follow(&following, &asked, &reader).await)
}

async fn follow(board: &Board, asked: &Asked, reader: &Reader) -> Result<(), Left> {
    // The page has said why not, and asks again.
    let Ok(mut log) = Log::open(board, asked.wanted()).await else { return Ok(()) };
    loop {
        reader.send(asked.list(log.events(), &log.older())).await?;
        if log.next().await.is_none() {
            return Ok(());
        }
        sleep(GATHERED).await;
        log.catch_up();
    }
}

/// The latest events of a project; none where they take too long to read, for then they come by the stream.
pub(super) async fn latest(board: &Board, id: &ProjectId) -> Vec<Event> {
    let Wanted { project, topics, most } = noted(id);
    let request = ListEventsRequest { project, topics, page_size: most, page_token: String::new() };
    let answer = timeout(PATIENCE, board.api.list_events(Request::new(request))).await;
    answer.ok().and_then(Result::ok).map(|answer| answer.into_inner().events).unwrap_or_default()
}

/// Which events of a project are on its own page.
pub(super) fn noted(id: &ProjectId) -> Wanted {
    Wanted { project: name::project(id), topics: NOTED.map(Into::into).to_vec(), most: LATEST }
}

/// Events as rows of a table.
pub(super) fn rows(events: Vec<Event>) -> String {
    part(&Rows { names: false, events: shown(events) })
}

fn shown(events: Vec<Event>) -> Vec<Shown> {
    events.into_iter().map(shown_one).collect()
}

fn shown_one(event: Event) -> Shown {
    let Event { project, event_time, caused_by, topic: _, text, reason, deployment, revision, index } = event;
    let anchor = format!("e-{revision}-{index}");
    let at = event_time.map(timestamp_from_proto).map(when).unwrap_or_default();
    let short = |name: &str| name.strip_prefix("projects/").unwrap_or(name).to_owned();
    let href = if deployment.is_empty() { String::new() } else { format!("/{}", short(&deployment)) };
    let of = Asked { project: short(&project), ..Asked::default() };
    let link = format!("{}#{anchor}", of.address("/-/events", &link_token(revision)));
    Shown { anchor, link, at, project: of.project, by: caused_by, text, why: reason, href }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_has_a_place_and_a_page_that_stays() {
        let project = "projects/user".to_owned();
        let event = |revision, index| Event { revision, index, project: project.clone(), ..Event::default() };
        let all = shown(vec![event(9, 2), event(7, 0), Event { revision: 5, ..Event::default() }]);
        let anchors: Vec<&str> = all.iter().map(|shown| shown.anchor.as_str()).collect();
        assert_eq!(anchors, ["e-9-2", "e-7-0", "e-5-0"], "whatever else is left out");
        assert!(all[0].link.starts_with("/-/events?project=user&before="), "{}", all[0].link);
        assert!(all[0].link.ends_with("#e-9-2") && all[2].link.starts_with("/-/events?before="), "{}", all[2].link);
    }
}
