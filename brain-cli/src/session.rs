//! What every command works with: the connection, the output, and who asks.

use crate::{client::Client, output::Output};

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
