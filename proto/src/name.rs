//! Resource names, `projects/user/deployments/12`, and back.

use brain_core::id::{InvalidId, ProjectId};
use thiserror::Error;

/// A resource name that is not of its pattern.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum InvalidName {
    /// The pattern does not fit.
    #[error("must be of the form \"{0}\"")]
    Pattern(&'static str),
    /// The project's id breaks its rule.
    #[error(transparent)]
    Project(#[from] InvalidId),
}

/// `projects/user`.
#[must_use]
pub fn project(id: &ProjectId) -> String {
    format!("projects/{id}")
}

/// `projects/user/deployments/12`.
#[must_use]
pub fn deployment(id: &ProjectId, number: u64) -> String {
    format!("projects/{id}/deployments/{number}")
}

/// `projects/user/releases/0.0.5`.
#[must_use]
pub fn release(id: &ProjectId, tag: &str) -> String {
    format!("projects/{id}/releases/{tag}")
}

/// `projects/user/production`.
#[must_use]
pub fn production(id: &ProjectId) -> String {
    format!("projects/{id}/production")
}

/// The project of `projects/user`.
pub fn parse_project(name: &str) -> Result<ProjectId, InvalidName> {
    let id = name.strip_prefix("projects/").ok_or(InvalidName::Pattern("projects/{id}"))?;
    Ok(ProjectId::parse(id)?)
}

/// Project and number of `projects/user/deployments/12`.
pub fn parse_deployment(name: &str) -> Result<(ProjectId, u64), InvalidName> {
    let pattern = InvalidName::Pattern("projects/{id}/deployments/{number}");
    let Some((project, number)) = name.split_once("/deployments/") else { return Err(pattern) };
    let Ok(number) = number.parse() else { return Err(pattern) };
    Ok((parse_project(project)?, number))
}

/// The project of `projects/user/production`.
pub fn parse_production(name: &str) -> Result<ProjectId, InvalidName> {
    parse_project(name.strip_suffix("/production").ok_or(InvalidName::Pattern("projects/{id}/production"))?)
}

/// Project and tag of `projects/user/releases/0.0.5`.
pub fn parse_release(name: &str) -> Result<(ProjectId, String), InvalidName> {
    let pattern = InvalidName::Pattern("projects/{id}/releases/{tag}");
    match name.split_once("/releases/") {
        Some((project, tag)) if !tag.is_empty() => Ok((parse_project(project)?, tag.to_owned())),
        _ => Err(pattern),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back_as_what_it_names() {
        let user = ProjectId::parse("user").unwrap();
        assert_eq!(parse_project(&project(&user)), Ok(user.clone()));
        assert_eq!(parse_deployment(&deployment(&user, 12)), Ok((user.clone(), 12)));
        assert_eq!(parse_release(&release(&user, "v1/a")), Ok((user.clone(), "v1/a".to_owned())));
        assert_eq!(parse_production(&production(&user)), Ok(user));
        for bad in ["user", "projects/", "projects/U", "projects/user/deployments/x", "projects/user/deployments/-1"] {
            assert!(parse_project(bad).is_err() && parse_deployment(bad).is_err(), "{bad} was accepted");
        }
    }
}
