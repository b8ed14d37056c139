//! `brain events`: the audit log, who or what did what, when and why.

use crate::{
    client::ask,
    exit::Exit,
    failure::Failure,
    name::{project, short},
    output::time,
    progress,
    session::Session,
    watch::{self, News},
};
use brain_proto::v1::{
    Event, EventTopic, ListEventsRequest, ListEventsResponse, WatchEventsRequest, WatchEventsResponse,
};
use clap::{Args, ValueEnum};
use console::Style;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// Events of one page.
const PAGE: u32 = 1_000;

/// Show what happened, who caused it and why
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  brain events                       the latest of all projects
  brain events user -n 100
  brain events user --topic deployment --topic hold
  brain events --follow              goes on with what happens, until Ctrl-C
  brain events -o json --follow | jq -r '.event.text'")]
pub(crate) struct Events {
    /// Project; left out: all of them, and the line
    project: Option<String>,
    /// How many of the past ones, the latest last
    #[arg(long = "number", short, default_value_t = 20, value_name = "COUNT",
          value_parser = clap::value_parser!(u32).range(0..=100_000))]
    number: u32,
    /// What they are about; may be repeated
    #[arg(long = "topic", value_enum, value_name = "TOPIC")]
    topics: Vec<Topic>,
    /// Go on with what happens, until Ctrl-C
    #[arg(long, short)]
    follow: bool,
    /// With --follow: seconds for which a server that is away is waited for
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    patience: u64,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Topic {
    /// The project's definition
    Project,
    /// Tags, the branch, and polls of the git repository
    Source,
    /// Images, and polls of the image repository
    Image,
    /// What runs
    Production,
    /// A deployment begins, ends, fails, or is steered
    Deployment,
    /// A step of a deployment, or the lease on it
    Step,
    /// Pins, quarantines, freezes, deploy windows, approvals
    Hold,
    /// Drift and housekeeping
    SetUp,
    /// The line
    Line,
}

impl From<Topic> for EventTopic {
    fn from(topic: Topic) -> Self {
        match topic {
            Topic::Project => Self::Project,
            Topic::Source => Self::Source,
            Topic::Image => Self::Image,
            Topic::Production => Self::Production,
            Topic::Deployment => Self::Deployment,
            Topic::Step => Self::Step,
            Topic::Hold => Self::Hold,
            Topic::SetUp => Self::SetUp,
            Topic::Line => Self::Line,
        }
    }
}

impl Events {
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let name = self.project.as_deref().map(project).transpose()?.unwrap_or_default();
        let topics: Vec<i32> = self.topics.iter().map(|topic| EventTopic::from(*topic).into()).collect();
        if !self.follow {
            let events = past(session, &name, &topics, self.number).await?;
            if session.out.is_for_people() {
                let told = events.iter().rev().map(|event| line(event, name.is_empty()));
                session.out.lines(told)?;
            } else {
                session.out.message("ListEventsResponse", &ListEventsResponse { events, ..Default::default() })?;
            }
            return Ok(Exit::Done);
        }
        follow(session, name, topics, self.number, Duration::from_secs(self.patience)).await
    }
}

/// The latest events, the latest first.
async fn past(session: &Session, project: &str, topics: &[i32], number: u32) -> Result<Vec<Event>, Failure> {
    let (mut events, mut page_token) = (Vec::new(), String::new());
    let wanted = usize::try_from(number).unwrap_or(usize::MAX);
    while events.len() < wanted {
        let rest = u32::try_from(wanted - events.len()).unwrap_or(PAGE);
        let request = ListEventsRequest {
            project: project.to_owned(),
            topics: topics.to_vec(),
            page_size: rest.min(PAGE),
            page_token,
        };
        let answer = session.client.events().list_events(ask(request)).await?.into_inner();
        events.extend(answer.events);
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    Ok(events)
}

/// The past first, then what happens; an event that comes between is told once.
async fn follow(
    session: &Session,
    project: String,
    topics: Vec<i32>,
    number: u32,
    patience: Duration,
) -> Result<Exit, Failure> {
    let client = session.client.clone();
    let resume = Arc::new(Mutex::new(String::new()));
    let (from, wanted) = (Arc::clone(&resume), (project.clone(), topics.clone()));
    let open = move || {
        let client = client.clone();
        let resume_token = from.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (project, topics) = wanted.clone();
        async move { client.events().watch_events(WatchEventsRequest { project, topics, resume_token }).await }
    };
    let mut news = watch::follow(open, |_| false, patience);
    let mut interrupt = progress::interrupts()?;
    let mut told = None;
    loop {
        let message = tokio::select! {
            message = news.recv() => message,
            _ = interrupt.recv() => return Err(Failure::new(Exit::Detached, "no longer following the events")),
        };
        match message {
            Some(News::Message(WatchEventsResponse { event, resume_token })) => {
                // The first message says from where on events are followed: what came before is listed now.
                let told = match &mut told {
                    Some(told) => told,
                    none => {
                        let events = past(session, &project, &topics, number).await?;
                        events.iter().rev().try_for_each(|event| tell(session, event, project.is_empty()))?;
                        let ends = events.last().zip(events.first());
                        none.insert(ends.map(|(oldest, latest)| oldest.revision..=latest.revision))
                    }
                };
                let told = |event: &Event| told.as_ref().is_some_and(|told| told.contains(&event.revision));
                if let Some(event) = event.filter(|event| !told(event)) {
                    tell(session, &event, project.is_empty())?;
                }
                *resume.lock().unwrap_or_else(PoisonError::into_inner) = resume_token;
            }
            Some(News::Lost(why)) => eprintln!("{why}; connecting again"),
            Some(News::Back) => eprintln!("connected again"),
            Some(News::Ended) | None => return Ok(Exit::Done),
            Some(News::Failed(failure)) => return Err(failure),
        }
    }
}

fn tell(session: &Session, event: &Event, with_project: bool) -> Result<(), Failure> {
    if session.out.is_for_people() {
        return session.out.line(line(event, with_project));
    }
    let message = WatchEventsResponse { event: Some(event.clone()), resume_token: String::new() };
    session.out.next_message("WatchEventsResponse", &message)
}

/// An event in a line: "2026-11-27 19:15:29  user  paolo  0.0.4: deployment 1 was asked for".
fn line(event: &Event, with_project: bool) -> String {
    let dim = Style::new().dim();
    let project = match (with_project, event.project.is_empty()) {
        (false, _) => String::new(),
        (true, true) => "the line  ".to_owned(),
        (true, false) => format!("{}  ", short(&event.project)),
    };
    let why = if event.reason.is_empty() { String::new() } else { format!(" ({})", event.reason) };
    let when = dim.apply_to(time::second(event.event_time));
    format!("{when}  {project}{}  {}{}", dim.apply_to(&event.caused_by), event.text, dim.apply_to(why))
}
