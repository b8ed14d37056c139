//! `brain`: reads the command line and runs it.

use brain_cli::Arguments;
use clap::Parser;
use std::process::ExitCode;

// One thread: the command waits for the network and the terminal, and for nothing else.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let code = brain_cli::run(Arguments::parse()).await;
    ExitCode::from(code)
}
