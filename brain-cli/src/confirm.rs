//! Asks a person before something is done.

use crate::{exit::Exit, failure::Failure};
use std::io::{self, BufRead, IsTerminal, Write};

/// Goes on if whoever sits at the terminal says yes.
pub(crate) fn confirm(question: &str) -> Result<(), Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::usage("nothing was done: nobody can be asked here\n  next: say --yes"));
    }
    write!(io::stderr(), "{question} [y/N] ")?;
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::new(Exit::Refused, "nothing was done")),
    }
}
