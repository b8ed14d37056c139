//! Order between projects: what has to run before a project is deployed.

use crate::{id::ProjectId, production::Production, version::version_of};
use semver::Version;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Most projects that one may depend on.
pub const DEPENDENCIES_MAX: usize = 20;

/// A project that has to run first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// The project.
    pub project: ProjectId,
    /// Lowest version that will do; `None`: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
}

impl Dependency {
    /// Whether all that is seen to serve traffic will do. Nothing that serves, or nothing seen, will not.
    #[must_use]
    pub fn is_met(&self, production: Option<&Production>) -> bool {
        let services = production.map(|production| production.services.as_slice()).unwrap_or_default();
        let mut serving = services.iter().filter(|service| service.healthy > 0).peekable();
        let will_do = |version: &str| match &self.version {
            None => true,
            Some(least) => version_of(version).is_some_and(|version| version >= *least),
        };
        serving.peek().is_some() && serving.all(|service| will_do(&service.version))
    }
}

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Some(version) => write!(f, "projects/{} to run {version} or newer", self.project),
            None => write!(f, "projects/{} to run", self.project),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{production::ServiceState, time::Timestamp};

    fn production(healthy: &[(&str, u32)]) -> Production {
        let service = |(version, healthy): &(&str, u32)| ServiceState {
            service: format!("s-{version}"),
            version: (*version).to_owned(),
            desired: 3,
            running: 3,
            healthy: *healthy,
            route: None,
        };
        Production::new(healthy.iter().map(service).collect(), Timestamp(0))
    }

    #[test]
    fn a_dependency_is_met_when_all_that_serves_is_new_enough() {
        let project = ProjectId::parse("auth").unwrap();
        let dependency = Dependency { project, version: Some(Version::new(1, 2, 0)) };
        assert!(dependency.is_met(Some(&production(&[("1.2.0", 3)]))));
        assert!(dependency.is_met(Some(&production(&[("v1.10.0", 3), ("1.1.0", 0)]))));
        assert!(!dependency.is_met(Some(&production(&[("1.2.0", 2), ("1.1.0", 1)]))), "some traffic goes to 1.1.0");
        assert!(!dependency.is_met(Some(&production(&[("1.2.0", 0)]))), "nothing serves");
        assert!(!dependency.is_met(Some(&production(&[("nightly", 3)]))), "no version can be told");
        assert!(!dependency.is_met(None), "nothing was seen");
        assert!(Dependency { version: None, ..dependency }.is_met(Some(&production(&[("nightly", 1)]))));
    }
}
