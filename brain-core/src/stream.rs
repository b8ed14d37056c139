//! Streams: the log is one, and each event in it is of one project, or of the line that all of them share.

use crate::{
    event::Event,
    id::{InvalidId, ProjectId},
    line::Line,
    state::{Misfit, ProjectState},
};
use std::fmt;

/// The line's name in the store. No project can have it: a project id begins with a letter.
const LINE: &str = "@line";

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// All projects.
    Line,
    /// One project.
    Project(ProjectId),
}

/// The fold of a stream's events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamState {
    /// The line's.
    Line(Line),
    /// A project's.
    Project(Box<ProjectState>),
}

impl Stream {
    /// Reads the name that [`Self::as_str`] gives.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        if text == LINE { Ok(Self::Line) } else { ProjectId::parse(text).map(Self::Project) }
    }

    /// Its name in the store.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Line => LINE,
            Self::Project(id) => id.as_str(),
        }
    }
}

impl From<ProjectId> for Stream {
    fn from(id: ProjectId) -> Self {
        Self::Project(id)
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line => f.write_str("the line"),
            Self::Project(id) => write!(f, "project {id}"),
        }
    }
}

impl StreamState {
    /// Folds one event of a stream that may have none yet.
    pub fn fold(state: &mut Option<Self>, stream: &Stream, event: &Event) -> Result<(), Misfit> {
        match (stream, &mut *state) {
            (Stream::Line, Some(Self::Line(line))) => line.apply(event),
            (Stream::Line, None) => {
                let mut line = Line::default();
                line.apply(event)?;
                *state = Some(Self::Line(line));
                Ok(())
            }
            (Stream::Project(_), Some(Self::Project(project))) => project.apply(event).map(drop),
            (Stream::Project(_), None) => {
                let mut project = None;
                ProjectState::fold(&mut project, event)?;
                *state = project.map(|project| Self::Project(Box::new(project)));
                Ok(())
            }
            (Stream::Line, Some(Self::Project(_))) | (Stream::Project(_), Some(Self::Line(_))) => Err(Misfit::Stream),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_name_is_no_projects_and_every_name_reads_back() {
        assert!(ProjectId::parse(LINE).is_err());
        for name in [LINE, "user", "line"] {
            assert_eq!(Stream::parse(name).unwrap().as_str(), name);
        }
        assert!(Stream::parse("@other").is_err() && Stream::parse("").is_err());
    }
}
