//! Lines that are drawn in place in a terminal, with others printed above them for good.

use crate::failure::Failure;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

/// Most times in a second that the lines are drawn.
const DRAWS: u8 = 15;
/// How often the lines are told anew, so that their times go on.
pub(crate) const TICK: Duration = Duration::from_millis(500);

/// A part of the terminal.
#[derive(Debug)]
pub(crate) struct Screen {
    all: MultiProgress,
    rows: Vec<ProgressBar>,
}

impl Screen {
    /// Nothing is shown yet.
    pub(crate) fn new() -> Self {
        Self { all: MultiProgress::with_draw_target(ProgressDrawTarget::stdout_with_hz(DRAWS)), rows: Vec::new() }
    }

    /// Shows these lines instead of the ones before. A line that is wider than the terminal is cut.
    pub(crate) fn show(&mut self, lines: Vec<String>) {
        while self.rows.len() > lines.len() {
            if let Some(row) = self.rows.pop() {
                row.finish_and_clear();
                self.all.remove(&row);
            }
        }
        while self.rows.len() < lines.len() {
            let row = self.all.add(ProgressBar::new_spinner());
            row.set_style(ProgressStyle::with_template("{wide_msg}").expect("the template is a fixed one"));
            self.rows.push(row);
        }
        for (row, line) in self.rows.iter().zip(lines) {
            row.set_message(line);
        }
    }

    /// Prints a line above.
    pub(crate) fn print(&self, line: &str) -> Result<(), Failure> {
        Ok(self.all.println(line)?)
    }

    /// Takes the lines away.
    pub(crate) fn clear(&mut self) -> Result<(), Failure> {
        self.rows.clear();
        Ok(self.all.clear()?)
    }
}
