//! The log: on standard error, for people or as JSON.

use clap::ValueEnum;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A line for people, in colours on a terminal.
    Pretty,
    /// An object for each line.
    Json,
}

/// Starts the log. `filter` says what is told where `RUST_LOG` does not.
pub fn start(format: Format, filter: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(filter));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let log = log.with_ansi(std::io::stderr().is_terminal());
    match format {
        Format::Pretty => log.init(),
        Format::Json => log.json().init(),
    }
}
