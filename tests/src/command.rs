//! `brain`, the command, run as people and scripts do.

use crate::{paths, sandbox::Sandbox};
use anyhow::{Context, Result, ensure};
use std::process::Stdio;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

/// A person at a shell, with a home folder of their own.
#[derive(Debug)]
pub struct Person {
    home: Sandbox,
    server: String,
}

/// How a command ended.
#[derive(Debug)]
pub struct Outcome {
    /// Exit code.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// A command that runs.
#[derive(Debug)]
pub struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    seen: Vec<String>,
}

impl Person {
    /// Ann, who works with the server at `HOST:PORT`.
    pub fn at(server: &str) -> Result<Self> {
        Ok(Self { home: Sandbox::new()?, server: server.to_owned() })
    }

    /// Her home folder.
    #[must_use]
    pub fn home(&self) -> &Sandbox {
        &self.home
    }

    /// Runs `brain` with these words.
    pub async fn brain(&self, words: &[&str]) -> Result<Outcome> {
        let output = self.command(words)?.stdin(Stdio::null()).output().await?;
        Ok(Outcome {
            code: output.status.code(),
            out: String::from_utf8(output.stdout)?,
            err: String::from_utf8(output.stderr)?,
        })
    }

    /// Runs it, and fails unless it succeeds; answers its output.
    pub async fn done(&self, words: &[&str]) -> Result<String> {
        let outcome = self.brain(words).await?;
        ensure!(outcome.code == Some(0), "brain {} ended otherwise: {outcome:?}", words.join(" "));
        Ok(outcome.out)
    }

    /// Starts it.
    pub fn start(&self, words: &[&str]) -> Result<Running> {
        Running::of(self.command(words)?)
    }

    /// The command without input or output of its own.
    pub fn command(&self, words: &[&str]) -> Result<Command> {
        let mut command = Command::new(paths::binary("brain")?);
        self.be(&mut command).args(words);
        Ok(command)
    }

    /// Makes a command hers.
    pub fn be<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.current_dir(self.home.path("")).kill_on_drop(true).env("BRAIN_SERVER", &self.server);
        command.env("USER", "ann").env("HOME", self.home.path("")).env_remove("XDG_CONFIG_HOME").env_remove("BRAIN_AS")
    }
}

impl Running {
    /// Starts a command.
    pub fn of(mut command: Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        Ok(Self { child, lines, seen: Vec::new() })
    }

    /// Reads on until a line has this in it; answers the line.
    pub async fn line_with(&mut self, text: &str) -> Result<String> {
        while let Some(line) = self.lines.next_line().await? {
            self.seen.push(line.clone());
            if line.contains(text) {
                return Ok(line);
            }
        }
        anyhow::bail!("no line with {text:?} among {:#?}", self.seen)
    }

    /// Presses Ctrl-C.
    pub async fn interrupt(&self) -> Result<()> {
        let id = self.child.id().context("it has ended")?;
        Command::new("kill").args(["-s", "INT", &id.to_string()]).status().await?;
        Ok(())
    }

    /// Waits for its end.
    pub async fn end(mut self) -> Result<Outcome> {
        while let Some(line) = self.lines.next_line().await? {
            self.seen.push(line);
        }
        let output = self.child.wait_with_output().await?;
        let err = String::from_utf8(output.stderr)?;
        Ok(Outcome { code: output.status.code(), out: self.seen.join("\n"), err })
    }
}
