//! The command line.

use crate::{
    commands::Command,
    config::{Color, Format, Given},
    exit,
};
use clap::Parser;

const EXAMPLES: &str = "\
Examples:
  brain dev --story                    all of brain in one process, to try it
  brain board --watch                  every project, live
  brain apply -f user.toml             make a project, after a look at the difference
  brain releases user                  its tags, with their images
  brain deploy user 0.0.5 --watch      bring a version into production, and see it happen
  brain pause user --reason 'to look'  stop where it stands; then resume, promote or cancel
  brain rollback user                  back to the release before
  brain pin user 0.0.4                 stay on a version until `brain unpin user`

A project is named by its id, user. A deployment is user/3, or user for its latest one. `brain COMMAND --help` tells
more of each, with examples. Settings come from the command line, then from the environment, then from
$XDG_CONFIG_HOME/brain/config.toml (server, output, color, as), by default ~/.config/brain/config.toml.
";

/// Deploys services to AWS ECS, shows what runs and what happens, and steers it.
///
/// Asks a brain server, which knows every project's tags, images and what runs in production, and which carries deployments
/// out step by step. This command keeps nothing: what it began goes on when it ends.
#[derive(Debug, Parser)]
#[command(name = "brain", version, after_help = format!("{EXAMPLES}\n{}", exit::HELP), arg_required_else_help = true)]
#[command(max_term_width = 110)]
pub struct Arguments {
    /// Address of the server [default: http://127.0.0.1:7443]
    #[arg(long, env = "BRAIN_SERVER", global = true, value_name = "ADDRESS", help_heading = "Global options")]
    server: Option<String>,
    /// How answers are written [default: table]
    #[arg(long, short, global = true, value_enum, value_name = "FORMAT", help_heading = "Global options")]
    output: Option<Format>,
    /// Whether words are coloured; NO_COLOR is obeyed too [default: auto]
    #[arg(long, global = true, value_enum, value_name = "WHEN", help_heading = "Global options")]
    color: Option<Color>,
    /// Who asks, for the record [default: $USER]
    #[arg(long = "as", env = "BRAIN_AS", global = true, value_name = "NAME", help_heading = "Global options")]
    who: Option<String>,
    #[command(subcommand)]
    command: Command,
}

impl Arguments {
    /// Settings, and the command.
    pub(crate) fn into_parts(self) -> (Given, Command) {
        let Self { server, output, color, who, command } = self;
        (Given { server, output, color, who }, command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_free_of_contradictions() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_has_an_example() {
        fn check(command: &clap::Command) {
            for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
                let help = inner.get_after_help().map(ToString::to_string).unwrap_or_default();
                let leaf = inner.get_subcommands().next().is_none();
                assert!(!leaf || help.contains("brain "), "`{}` has no example", inner.get_name());
                check(inner);
            }
        }
        check(&Arguments::command());
    }
}
