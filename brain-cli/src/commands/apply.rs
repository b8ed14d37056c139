//! `brain apply`: makes projects be as files say, after a look at the difference.

use crate::{
    client::ask, confirm::confirm, definition, exit::Exit, failure::Failure, name::short, output::diff,
    session::Session,
};
use brain_proto::v1::{
    CreateProjectRequest, CreateProjectResponse, GetProjectRequest, Project, UpdateProjectRequest,
    UpdateProjectResponse,
};
use clap::Args;
use std::path::PathBuf;
use tonic::Code;

/// Make projects be as files say, after a look at the difference
///
/// A file is TOML with the fields of the API's Project, one project to a file. It is the whole definition: what it leaves
/// out has its default. Every fault of every file is told at once, before anything is done.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  brain apply -f user.toml --dry-run     the difference alone
  brain apply -f user.toml -f auth.toml
  brain apply -f user.toml --yes         without asking, as a script does

  user.toml:
    name = \"user\"
    image_repository = \"flowcommerce/user\"
    [source]
    git_url = \"https://github.com/flowcommerce/user.git\"
    [target]
    region = \"us-east-1\"
    container_port = 9000
    desired_count = 3")]
pub(crate) struct Apply {
    /// A definition; - is standard input
    #[arg(long = "file", short, required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Show the difference, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Why, for the record of what changes
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
}

/// A definition, with what the server has under its name.
#[derive(Debug)]
struct Change {
    wanted: Project,
    stored: Option<Project>,
}

impl Apply {
    /// Faults of the files, all of them.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        // Standard input can be read once.
        if self.files.iter().any(|file| file.as_os_str() == "-") { Ok(()) } else { self.read().map(drop) }
    }

    fn read(&self) -> Result<Vec<Project>, Failure> {
        let mut projects: Vec<Project> = Vec::new();
        let mut faults = Vec::new();
        for path in &self.files {
            // The port is the server's to check; any will do for the other rules.
            let read = definition::parse_project(&definition::text(path)?);
            let checked = read.and_then(|project| definition::complete(&project, 1).map(|_| project));
            match checked {
                Ok(project) if projects.iter().any(|other| other.name == project.name) => {
                    faults.push(format!("{}: {} is in another file too", path.display(), project.name));
                }
                Ok(project) => projects.push(project),
                Err(found) => faults.extend(found.into_iter().map(|fault| format!("{}: {fault}", path.display()))),
            }
        }
        match faults.len() {
            0 => Ok(projects),
            1 => Err(Failure::usage(format!("nothing was done, for a definition is faulty:\n  {}", faults[0]))),
            count => Err(Failure::usage(format!(
                "nothing was done, for there are {count} faults:\n  {}",
                faults.join("\n  ")
            ))),
        }
    }

    pub(crate) async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let mut changes = Vec::new();
        for wanted in in_order(self.read()?) {
            let stored = stored(session, &wanted.name).await?;
            changes.push(Change { wanted, stored });
        }
        let mut to_do = Vec::new();
        for change in changes {
            let lines = change.lines()?;
            let id = short(&change.wanted.name);
            match (&change.stored, lines.is_empty()) {
                (Some(_), true) => session.tell(format!("{id}: unchanged"))?,
                (stored, _) => {
                    session.tell(format!("{id}: {}", if stored.is_none() { "new" } else { "differs" }))?;
                    lines.iter().try_for_each(|line| session.tell(format!("  {line}")))?;
                    to_do.push(change);
                }
            }
        }
        if to_do.is_empty() || self.dry_run {
            return Ok(Exit::Done);
        }
        if !self.yes {
            let count = to_do.len();
            confirm(&if count == 1 { "Do this?".to_owned() } else { format!("Do this to {count} projects?") })?;
        }
        for change in to_do {
            if let Some(stored) = change.stored {
                let answer = update(session, change.wanted, &stored.etag, &self.reason).await?;
                if session.out.is_for_people() {
                    session.out.line(format!("{} is changed", short(&stored.name)))?;
                } else {
                    session.out.next_message("UpdateProjectResponse", &answer)?;
                }
                continue;
            }
            let answer = create(session, change.wanted).await?;
            let project = answer.project.as_ref().ok_or_else(|| Failure::odd("project"))?;
            let port = project.target.as_ref().map(|target| target.host_port).unwrap_or_default();
            if session.out.is_for_people() {
                session.out.line(format!("{} is made, on host port {port}", short(&project.name)))?;
            } else {
                session.out.next_message("CreateProjectResponse", &answer)?;
            }
        }
        Ok(Exit::Done)
    }
}

impl Change {
    /// What would change.
    fn lines(&self) -> Result<Vec<String>, Failure> {
        let Some(stored) = &self.stored else { return Ok(diff::lines("", &definition::to_toml(&self.wanted))) };
        let port = stored.target.as_ref().map(|target| target.host_port).unwrap_or_default();
        let wanted = definition::complete(&self.wanted, u16::try_from(port).unwrap_or_default());
        let wanted = wanted.map_err(|faults| Failure::usage(faults.join("\n")))?;
        Ok(diff::lines(&definition::to_toml(stored), &definition::to_toml(&wanted)))
    }
}

/// Those that others need go first, as the server wants it.
fn in_order(mut projects: Vec<Project>) -> Vec<Project> {
    let mut ordered: Vec<Project> = Vec::new();
    while !projects.is_empty() {
        let names: Vec<String> = projects.iter().map(|project| project.name.clone()).collect();
        let free = |project: &Project| project.depends_on.iter().all(|needed| !names.contains(&needed.project));
        // Where they need each other in a circle the server says so of the first.
        let next = projects.iter().position(free).unwrap_or(0);
        ordered.push(projects.remove(next));
    }
    ordered
}

async fn stored(session: &Session, name: &str) -> Result<Option<Project>, Failure> {
    let request = GetProjectRequest { name: name.to_owned() };
    match session.client.projects().get_project(ask(request)).await {
        Ok(answer) => Ok(answer.into_inner().project),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(status.into()),
    }
}

/// Makes a project.
pub(super) async fn create(session: &Session, project: Project) -> Result<CreateProjectResponse, Failure> {
    let request = CreateProjectRequest { project: Some(project), requested_by: session.who.clone() };
    Ok(session.client.projects().create_project(ask(request)).await?.into_inner())
}

/// Gives a project a whole definition, if it still has the one that was read.
pub(super) async fn update(
    session: &Session,
    project: Project,
    etag: &str,
    reason: &str,
) -> Result<UpdateProjectResponse, Failure> {
    let request = UpdateProjectRequest {
        project: Some(Project { etag: etag.to_owned(), ..project }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["*".to_owned()] }),
        requested_by: session.who.clone(),
        reason: reason.to_owned(),
    };
    Ok(session.client.projects().update_project(ask(request)).await?.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use brain_proto::v1::Dependency;

    #[test]
    fn what_others_need_is_made_first() {
        let project = |name: &str, needs: &[&str]| Project {
            name: format!("projects/{name}"),
            depends_on: needs
                .iter()
                .map(|name| Dependency { project: format!("projects/{name}"), version: String::new() })
                .collect(),
            ..Default::default()
        };
        let ordered =
            in_order(vec![project("web", &["user", "auth"]), project("user", &["auth"]), project("auth", &[])]);
        let names: Vec<&str> = ordered.iter().map(|project| short(&project.name)).collect();
        assert_eq!(names, ["auth", "user", "web"]);
        assert_eq!(in_order(vec![project("a", &["b"]), project("b", &["a"])]).len(), 2, "a circle ends");
    }
}
