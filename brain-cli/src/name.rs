//! Names as people type them: `user` for a project, `user/3` for a deployment. Resource names are understood too.

use crate::{client::ask, failure::Failure, session::Session};
use brain_core::id::ProjectId;
use brain_proto::{
    name,
    v1::{Deployment, ListDeploymentsRequest},
};

/// "projects/user" of `user` or `projects/user`.
pub(crate) fn project(typed: &str) -> Result<String, Failure> {
    Ok(name::project(&project_id(typed)?))
}

/// The id of `user` or `projects/user`.
pub(crate) fn project_id(typed: &str) -> Result<ProjectId, Failure> {
    let id = typed.strip_prefix("projects/").unwrap_or(typed);
    ProjectId::parse(id).map_err(|error| Failure::usage(format!("{typed:?} is no project's name: it {error}")))
}

/// The id in "projects/user/…", for people.
pub(crate) fn short(resource: &str) -> &str {
    let rest = resource.strip_prefix("projects/").unwrap_or(resource);
    rest.split('/').next().unwrap_or(rest)
}

/// "user/3" of "projects/user/deployments/3", for people and as they may type it.
pub(crate) fn short_deployment(resource: &str) -> String {
    resource.strip_prefix("projects/").unwrap_or(resource).replacen("/deployments/", "/", 1)
}

/// What `user` or `user/3` means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Typed {
    project: ProjectId,
    number: Option<u64>,
}

impl Typed {
    /// Reads `user`, `user/3`, `projects/user` or `projects/user/deployments/3`.
    pub(crate) fn parse(typed: &str) -> Result<Self, Failure> {
        let rest = typed.strip_prefix("projects/").unwrap_or(typed);
        let Some((id, number)) = rest.split_once('/') else {
            return Ok(Self { project: project_id(rest)?, number: None });
        };
        let number = number.strip_prefix("deployments/").unwrap_or(number).parse();
        let faulty = || Failure::usage(format!("{typed:?} is no deployment: write user/3, or user for its latest one"));
        Ok(Self { project: project_id(id)?, number: Some(number.map_err(|_| faulty())?) })
    }

    /// The project's resource name.
    pub(crate) fn project(&self) -> String {
        name::project(&self.project)
    }

    /// The deployment's resource name; the latest one of the project where no number was typed.
    pub(crate) async fn deployment(&self, session: &Session) -> Result<String, Failure> {
        if let Some(number) = self.number {
            return Ok(name::deployment(&self.project, number));
        }
        let latest = latest(session, &self.project()).await?;
        let none = || {
            let text = format!("{} has no deployment yet\n  next: brain deploy {} VERSION", self.project, self.project);
            Failure::new(crate::exit::Exit::NotFound, text)
        };
        Ok(latest.ok_or_else(none)?.name)
    }

    /// Whether a number was typed.
    pub(crate) fn is_numbered(&self) -> bool {
        self.number.is_some()
    }
}

/// The latest deployment of a project.
pub(crate) async fn latest(session: &Session, project: &str) -> Result<Option<Deployment>, Failure> {
    let request = ListDeploymentsRequest { parent: project.to_owned(), page_size: 1, page_token: String::new() };
    let answer = session.client.deployments().list_deployments(ask(request)).await?.into_inner();
    Ok(answer.deployments.into_iter().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_is_named_in_short_or_in_full() {
        let parsed = |typed: &str| Typed::parse(typed).map(|typed| (typed.project.to_string(), typed.number)).ok();
        for typed in ["user/3", "projects/user/3", "projects/user/deployments/3"] {
            assert_eq!(parsed(typed), Some(("user".to_owned(), Some(3))), "{typed}");
        }
        assert_eq!(parsed("user"), Some(("user".to_owned(), None)));
        for typed in ["", "User", "user/", "user/x", "user/3/4", "flowcommerce/user"] {
            assert_eq!(parsed(typed), None, "{typed}");
        }
        assert_eq!(short_deployment("projects/user/deployments/3"), "user/3");
        assert_eq!(short("projects/user/releases/0.0.5"), "user");
    }
}
