//! Events, as the audit log tells them.

use super::timestamp_to_proto;
use crate::{name, v1};
use brain_core::{
    deployment::Deployment,
    event::{Event, Told, Topic},
    stream::Stream,
};

/// An event of a stream, at a revision and a place in it. `deployment`: the one that it is about, if it is still known.
#[must_use]
pub fn event_to_proto(
    stream: &Stream,
    (revision, index): (u64, u32),
    event: &Event,
    deployment: Option<&Deployment>,
) -> v1::Event {
    let Event { at, by, change } = event;
    let Told { topic, text, why } = change.told(deployment);
    let project = match stream {
        Stream::Line => None,
        Stream::Project(id) => Some(id),
    };
    let of = project.zip(change.deployment());
    v1::Event {
        project: project.map(name::project).unwrap_or_default(),
        event_time: Some(timestamp_to_proto(*at)),
        caused_by: by.clone(),
        topic: topic_to_proto(topic).into(),
        text,
        reason: why,
        deployment: of.map(|(id, number)| name::deployment(id, number)).unwrap_or_default(),
        revision,
        index,
    }
}

fn topic_to_proto(topic: Topic) -> v1::EventTopic {
    match topic {
        Topic::Project => v1::EventTopic::Project,
        Topic::Source => v1::EventTopic::Source,
        Topic::Image => v1::EventTopic::Image,
        Topic::Production => v1::EventTopic::Production,
        Topic::Deployment => v1::EventTopic::Deployment,
        Topic::Step => v1::EventTopic::Step,
        Topic::Hold => v1::EventTopic::Hold,
        Topic::SetUp => v1::EventTopic::SetUp,
        Topic::Line => v1::EventTopic::Line,
    }
}
