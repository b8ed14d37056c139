//! Lines that are drawn in place in a terminal, with others printed above them for good.

use crate::failure::Failure;
use console::{Term, truncate_str};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

/// Most times in a second that the lines are drawn.
const DRAWS: u8 = 15;
/// How often the lines are told anew, so that their times go on.
pub(crate) const TICK: Duration = Duration::from_millis(500);

/// A part of the terminal. All its lines are one message, so that they are drawn at once and nothing flickers.
#[derive(Debug)]
pub(crate) struct Screen(ProgressBar);

impl Screen {
    /// Nothing is shown yet.
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stdout_with_hz(DRAWS));
        bar.set_style(ProgressStyle::with_template("{msg}").expect("the template is a fixed one"));
        Self(bar)
    }

    /// Shows these lines instead of the ones before. A line that is wider than the terminal is cut.
    pub(crate) fn show(&self, lines: &[String]) {
        let width = usize::from(Term::stdout().size().1);
        let cut: Vec<String> = lines.iter().map(|line| truncate_str(line, width, "…").into_owned()).collect();
        self.0.set_message(cut.join("\n"));
        self.0.tick();
    }

    /// Prints a line above.
    pub(crate) fn print(&self, line: &str) {
        self.0.println(line);
    }

    /// Takes the lines away.
    pub(crate) fn clear(&self) -> Result<(), Failure> {
        self.0.finish_and_clear();
        Ok(Term::stdout().flush()?)
    }
}
