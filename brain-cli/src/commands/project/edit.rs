//! `brain project edit`: a definition in an editor.

use super::super::apply;
use crate::{
    client::ask,
    confirm::confirm,
    definition,
    exit::Exit,
    failure::Failure,
    name::{project, short},
    output::diff,
    session::Session,
};
use brain_proto::v1::{GetProjectRequest, Project};
use clap::Args;
use std::{env, fs, io::IsTerminal, path::Path, process::Command};

/// Change a project's definition in an editor
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  brain project edit user
  EDITOR='code --wait' brain project edit user --reason 'more memory'

The editor is $VISUAL, else $EDITOR, else vi. The difference is shown before it is stored. Nothing is done when the file is
left as it is, or when the project has changed meanwhile. What a script changes it changes by `brain apply`.")]
pub(crate) struct Edit {
    /// Project
    project: String,
    /// Do not ask once more
    #[arg(long, short)]
    yes: bool,
    /// Why, for the record
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
}

impl Edit {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let request = GetProjectRequest { name: project(&self.project)? };
        let answer = session.client.projects().get_project(ask(request)).await?.into_inner();
        let stored = answer.project.ok_or_else(|| Failure::odd("project"))?;
        let before = definition::to_toml(&stored);
        let folder = tempfile::Builder::new().prefix("brain-").tempdir()?;
        let path = folder.path().join(format!("{}.toml", short(&stored.name)));
        fs::write(&path, &before)?;
        edit(&path)?;
        let text = fs::read_to_string(&path)?;
        if text == before {
            session.tell("nothing was changed")?;
            return Ok(Exit::Done);
        }
        // What was typed is not lost with a mistake in it.
        let keep = |failure: Failure| {
            let kept = folder.keep().join(path.file_name().unwrap_or_default());
            failure.and(&format!("your text is in {}", kept.display()))
        };
        match self.store(session, &stored, &text, &path).await {
            Ok(exit) => Ok(exit),
            Err(failure) => Err(keep(failure)),
        }
    }

    async fn store(&self, session: &Session, stored: &Project, text: &str, path: &Path) -> Result<Exit, Failure> {
        let port = stored.target.as_ref().map(|target| target.host_port).unwrap_or_default();
        let wanted = definition::parse_project(text)
            .and_then(|wanted| definition::complete(&wanted, u16::try_from(port).unwrap_or_default()))
            .map_err(|faults| definition::faulty(path, &faults))?;
        if wanted.name != stored.name {
            return Err(Failure::usage("nothing was done: a project keeps its name"));
        }
        let lines = diff::lines(&definition::to_toml(stored), &definition::to_toml(&wanted));
        if lines.is_empty() {
            session.tell("nothing was changed")?;
            return Ok(Exit::Done);
        }
        lines.iter().try_for_each(|line| session.tell(line))?;
        if !self.yes {
            confirm("Store this?")?;
        }
        let answer = apply::update(session, wanted, &stored.etag, &self.reason).await?;
        if session.out.is_for_people() {
            session.out.line(format!("{} is changed", short(&stored.name)))?;
        } else {
            session.out.message("UpdateProjectResponse", &answer)?;
        }
        Ok(Exit::Done)
    }
}

/// Lets a person edit a file.
fn edit(path: &Path) -> Result<(), Failure> {
    let set = |name| env::var(name).ok().filter(|value| !value.trim().is_empty());
    let named = set("VISUAL").or_else(|| set("EDITOR"));
    if named.is_none() && !std::io::stdin().is_terminal() {
        return Err(Failure::usage("there is no terminal to edit in\n  next: brain apply -f FILE, or set EDITOR"));
    }
    let editor = named.unwrap_or_else(|| "vi".to_owned());
    // As git does it: the shell splits what has options.
    let status = Command::new("sh").arg("-c").arg(format!("{editor} \"$@\"")).arg(&editor).arg(path).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::usage(format!("nothing was done: the editor `{editor}` ended with {status}"))),
        Err(error) => Err(Failure::usage(format!("nothing was done: the editor `{editor}` does not start: {error}"))),
    }
}
