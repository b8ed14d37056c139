//! What is sent of a notice.

use crate::{api::event::Position, config::notification::Kind};
use brain_core::{
    event::{Event, Noticed},
    id::ProjectId,
    time::Timestamp,
};
use brain_proto::name;
use serde::Serialize;
use url::Url;

/// A notice as a webhook has it. Fields may be added; what does not apply is an empty text.
#[derive(Debug, Serialize)]
pub(super) struct Message {
    /// The same each time it is sent, and no other message's.
    pub(super) id: String,
    /// What it is: "deployment.succeeded".
    #[serde(rename = "type")]
    pub(super) notice: &'static str,
    /// When it happened.
    pub(super) time: String,
    /// "projects/user"; empty: it is of all projects.
    project: String,
    /// What it is about: "deployment".
    topic: &'static str,
    /// What happened: "0.0.5: succeeded: step 25 of 25 (…) is done".
    sentence: String,
    /// Why.
    reason: String,
    /// "projects/user/deployments/2".
    deployment: String,
    /// Tag of the version.
    version: String,
    /// Who or what caused it.
    by: String,
    /// Its page on the board.
    link: String,
    #[serde(skip)]
    pub(super) at: Timestamp,
}

impl Message {
    /// The message of an event that stands there in the log.
    pub(super) fn new(
        position: Position,
        project: Option<&ProjectId>,
        event: &Event,
        noticed: Noticed,
        board: Option<&Url>,
    ) -> Self {
        let Noticed { notice, told, version } = noticed;
        let of = project.zip(event.change.deployment());
        let page = match (project, of) {
            (_, Some((id, number))) => format!("{id}/deployments/{number}"),
            (Some(id), None) => id.to_string(),
            (None, None) => String::new(),
        };
        let Position { revision, index } = position;
        Self {
            // With the time: a store that was restored from a backup gives its revisions again.
            id: format!("msg_{}_{revision}_{index}", event.at.0),
            notice: notice.name(),
            time: event.at.to_string(),
            project: project.map(name::project).unwrap_or_default(),
            topic: told.topic.name(),
            sentence: told.text,
            reason: told.why,
            deployment: of.map(|(id, number)| name::deployment(id, number)).unwrap_or_default(),
            version: version.unwrap_or_default(),
            by: event.by.clone(),
            link: board.and_then(|board| board.join(&page).ok()).map(String::from).unwrap_or_default(),
            at: event.at,
        }
    }

    /// The body of a request.
    pub(super) fn body(&self, kind: Kind) -> String {
        match kind {
            Kind::Slack => serde_json::json!({"text": self.text()}).to_string(),
            // It has nothing that JSON cannot say.
            Kind::Webhook => serde_json::to_string(self).unwrap_or_default(),
        }
    }

    /// One line, in Slack's own markup.
    fn text(&self) -> String {
        let project = self.project.strip_prefix("projects/").unwrap_or("all projects");
        let mut text = format!("*{}* {}", escaped(project), escaped(&self.sentence));
        if !self.reason.is_empty() {
            text += &format!(": {}", escaped(&self.reason));
        }
        text += &format!(" ({})", escaped(&self.by));
        if !self.link.is_empty() {
            text += &format!(" <{}|board>", escaped(&self.link));
        }
        text
    }
}

/// The three characters that mean something to Slack.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use brain_core::event::Change;

    #[test]
    fn what_people_write_is_no_markup() {
        let change = Change::LineStopped { pause_running: false, why: "<!channel> a & b".into() };
        let event = Event { at: Timestamp(1_000), by: "<ann>".into(), change };
        let noticed = event.noticed(None).unwrap();
        let board = Url::parse("https://brain.example/").unwrap();
        let message = Message::new(Position { revision: 4, index: 1 }, None, &event, noticed, Some(&board));
        assert_eq!(
            message.body(Kind::Slack),
            r#"{"text":"*all projects* the line is stopped: &lt;!channel&gt; a &amp; b (&lt;ann&gt;) <https://brain.example/|board>"}"#
        );
        let body: serde_json::Value = serde_json::from_str(&message.body(Kind::Webhook)).unwrap();
        assert_eq!(body["id"], "msg_1000_4_1");
        assert_eq!((&body["type"], &body["time"]), (&"line.stopped".into(), &"1970-01-01T00:00:01Z".into()));
        assert_eq!((&body["reason"], &body["link"]), (&"<!channel> a & b".into(), &"https://brain.example/".into()));
        assert_eq!(body["project"], "");
    }
}
