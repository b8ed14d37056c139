//! Standard output: lines and tables for people, the API's messages for programs.

use crate::{
    config::{Color, Format},
    failure::Failure,
};
use std::{
    env,
    io::{self, IsTerminal, Write},
};

pub(crate) mod diff;
pub(crate) mod message;
pub(crate) mod screen;
pub(crate) mod table;
pub(crate) mod time;

/// Where answers go, and in which form.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// The form.
    pub format: Format,
    /// Whether words are coloured.
    pub colored: bool,
    /// Whether somebody looks on: then a watch is drawn in place.
    pub terminal: bool,
}

impl Output {
    /// For this program's standard output.
    pub(crate) fn new(format: Format, color: Color) -> Self {
        let terminal = io::stdout().is_terminal() && env::var_os("TERM").is_none_or(|term| term != "dumb");
        let colored = match color {
            Color::Always => true,
            Color::Never => false,
            // https://no-color.org: set and not empty.
            Color::Auto => terminal && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        };
        console::set_colors_enabled(colored);
        Self { format, colored, terminal }
    }

    /// Whether answers are for people.
    pub(crate) fn is_for_people(&self) -> bool {
        self.format == Format::Table
    }

    /// Columns of the terminal; nothing bounds a line elsewhere.
    pub(crate) fn width(&self) -> Option<u16> {
        self.terminal.then(|| console::Term::stdout().size().1).filter(|width| *width > 0)
    }

    /// A line.
    pub(crate) fn line(&self, text: impl AsRef<str>) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        writeln!(out, "{}", text.as_ref())?;
        Ok(out.flush()?)
    }

    /// Lines.
    pub(crate) fn lines<T: AsRef<str>>(&self, lines: impl IntoIterator<Item = T>) -> Result<(), Failure> {
        lines.into_iter().try_for_each(|line| self.line(line))
    }

    /// A message of the API, by its name in `brain.v1`, for programs.
    pub(crate) fn message(&self, name: &str, message: &impl prost::Message) -> Result<(), Failure> {
        let message = brain_proto::reflect::dynamic(name, message);
        match self.format {
            Format::Yaml => self.line(message::yaml(&message).trim_end()),
            Format::Table | Format::Json => self.line(message::json(&message)),
        }
    }

    /// One of many messages: a line of JSON, or a document of YAML.
    pub(crate) fn next_message(&self, name: &str, message: &impl prost::Message) -> Result<(), Failure> {
        let message = brain_proto::reflect::dynamic(name, message);
        match self.format {
            Format::Yaml => self.line(format!("---\n{}", message::yaml(&message).trim_end())),
            Format::Table | Format::Json => self.line(message::json_line(&message)),
        }
    }
}
