//! What is installed beside the command: completions for shells, and manual pages.

use crate::{Arguments, failure::Failure};
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use std::{fs, io::Write, path::PathBuf};

/// Print the completions of a shell
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  brain completions bash > ~/.local/share/bash-completion/completions/brain
  brain completions zsh > ~/.zfunc/_brain
  brain completions fish > ~/.config/fish/completions/brain.fish")]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut Arguments::command(), "brain", &mut text);
        Ok(std::io::stdout().lock().write_all(&text)?)
    }
}

/// Write manual pages, one for each command
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  brain man ~/.local/share/man/man1\n  man brain-deploy")]
pub(crate) struct Man {
    /// Folder; it is made if it is not there
    folder: PathBuf,
}

impl Man {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let cannot =
            |error: std::io::Error| Failure::usage(format!("cannot write to {}: {error}", self.folder.display()));
        fs::create_dir_all(&self.folder).map_err(cannot)?;
        clap_mangen::generate_to(Arguments::command(), &self.folder).map_err(cannot)
    }
}
