//! What every command works with: the connection, the output, and who asks.

use crate::{client::Client, failure::Failure, output::Output};
use std::io::{self, Write};

/// A connection with an output.
#[derive(Debug)]
pub(crate) struct Session {
    /// The server.
    pub client: Client,
    /// Where answers go.
    pub out: Output,
    /// Who asks, for the record.
    pub who: String,
}

impl Session {
    /// A line beside the answer: people read it where the answer goes, programs where they do not take it for the answer.
    pub(crate) fn tell(&self, line: impl AsRef<str>) -> Result<(), Failure> {
        if self.out.is_for_people() {
            return self.out.line(line);
        }
        Ok(writeln!(io::stderr().lock(), "{}", line.as_ref())?)
    }
}
