//! `brain`, the command for people: it asks the server and tells what it answers, for people or for programs.
//!
//! It keeps nothing and decides nothing: what it does is in the API, and so open to any other client. `brain dev` aside, which
//! is a server with all that it works with, and a client of that.

mod arguments;
mod client;
mod commands;
mod config;
mod confirm;
mod definition;
mod dev;
mod exit;
mod failure;
mod name;
mod output;
mod policy;
mod progress;
mod session;
mod watch;

pub use arguments::Arguments;

use crate::{config::Settings, exit::Exit, failure::Failure, output::Output, session::Session};
use std::{env, io::Write};

/// Runs a command; answers its exit code.
pub async fn run(arguments: Arguments) -> u8 {
    let exit = match execute(arguments).await {
        Ok(exit) => exit,
        Err(Failure { exit: Exit::Closed, .. }) => Exit::Closed,
        Err(Failure { exit, text }) => {
            // Nobody is left to tell when this fails too.
            let _ = writeln!(std::io::stderr(), "brain: {text}");
            exit
        }
    };
    exit as u8
}

async fn execute(arguments: Arguments) -> Result<Exit, Failure> {
    let (typed, command) = arguments.into_parts();
    let Some(command) = command.without_server().await? else { return Ok(Exit::Done) };
    let path = config::path();
    let file = config::read(path.as_deref())?;
    let settings = Settings::of(typed, file, env::var("USER").ok())?;
    let out = Output::new(settings.output, settings.color);
    command.check()?;
    let client = client::Client::connect(&settings.server).await?;
    let session = Session { client, out, who: settings.who };
    command.run(&session).await
}
