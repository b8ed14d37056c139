//! What each project has to itself: ports, shortened names, its place among those that need each other, and the names of those
//! that were deleted.

use super::{DefinitionError, Deleted};
use brain_core::{
    id::ProjectId,
    names::ResourceNames,
    project::{ProjectDraft, ProjectSpec, Violation},
};
use std::{
    collections::{HashMap, HashSet},
    ops::RangeInclusive,
};

/// Where a project's resources are. AWS tells names apart by account and region, and the port registry does as AWS: elsewhere
/// the same port and the same name are others.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Place {
    /// Empty: that of the deployers' own credentials, whichever it is.
    account: String,
    region: String,
}

impl Place {
    /// Where a role acts in a region; an empty role: the deployers' own credentials.
    pub(super) fn of(region: &str, role: &str) -> Self {
        // arn:aws:iam::ACCOUNT:role/NAME
        let account = role.split(':').nth(4).unwrap_or_default();
        Self { account: account.to_owned(), region: region.to_owned() }
    }

    /// Where a project is to be by its draft.
    pub(super) fn of_draft(draft: &ProjectDraft) -> Self {
        draft.target.as_ref().map_or_else(|| Self::of("", ""), |target| Self::of(&target.region, &target.role_arn))
    }

    /// Where a project is.
    pub(super) fn of_spec(spec: &ProjectSpec) -> Self {
        Self::of(&spec.target.region, spec.target.role_arn.as_deref().unwrap_or_default())
    }
}

/// What projects have to themselves in one place.
#[derive(Debug, Default)]
struct Taken {
    ports: HashMap<u16, ProjectId>,
    shortened: HashMap<String, ProjectId>,
}

#[derive(Debug, Default)]
pub(super) struct Claims {
    taken: HashMap<Place, Taken>,
    /// What each project depends on.
    needs: HashMap<ProjectId, Vec<ProjectId>>,
    /// Deleted projects.
    buried: HashMap<ProjectId, Deleted>,
}

impl Claims {
    /// The given port if it is free in that place, or the first free one of the range.
    pub(super) fn port(&self, place: &Place, given: Option<u16>, range: &RangeInclusive<u16>) -> Result<u16, String> {
        let taken = self.taken.get(place);
        let owner = |port: u16| taken?.ports.get(&port);
        match given {
            Some(port) => match owner(port) {
                Some(owner) => Err(format!("{port} is taken by projects/{owner}")),
                None => Ok(port),
            },
            None => range
                .clone()
                .find(|port| owner(*port).is_none())
                .ok_or_else(|| format!("must be given: all ports from {} to {} are taken", range.start(), range.end())),
        }
    }

    /// Another request may be creating a project of that name.
    pub(super) fn check_new(&self, spec: &ProjectSpec) -> Result<(), DefinitionError> {
        if self.needs.contains_key(&spec.id) { Err(DefinitionError::Exists(spec.id.clone())) } else { Ok(()) }
    }

    pub(super) fn check_names(&self, spec: &ProjectSpec) -> Result<(), DefinitionError> {
        let Some(taken) = self.taken.get(&Place::of_spec(spec)) else { return Ok(()) };
        for name in shortened_names(spec) {
            match taken.shortened.get(&name) {
                Some(owner) if *owner != spec.id => {
                    return Err(DefinitionError::Invalid(vec![Violation {
                        field: "project.name".to_owned(),
                        description: format!(
                            "would share the load balancer name {name} with projects/{owner}: choose another"
                        ),
                    }]));
                }
                Some(_) | None => {}
            }
        }
        Ok(())
    }

    /// No project may come to need itself by way of others.
    pub(super) fn check_circles(&self, spec: &ProjectSpec) -> Result<(), DefinitionError> {
        let circular = |(index, first): (usize, &ProjectId)| {
            let way = self.way(first, &spec.id)?;
            let way: Vec<String> = way.iter().map(ToString::to_string).collect();
            let description = format!("would need {} by way of {}", spec.id, way.join(", "));
            Some(Violation { field: format!("project.depends_on[{index}].project"), description })
        };
        let needs = spec.depends_on.iter().map(|dependency| &dependency.project);
        let circles: Vec<Violation> = needs.enumerate().filter_map(circular).collect();
        if circles.is_empty() { Ok(()) } else { Err(DefinitionError::Invalid(circles)) }
    }

    /// The projects from one to the last that needs the other, if there are such.
    fn way<'a>(&'a self, from: &'a ProjectId, to: &ProjectId) -> Option<Vec<&'a ProjectId>> {
        let (mut seen, mut ways) = (HashSet::new(), vec![vec![from]]);
        while let Some(way) = ways.pop() {
            let Some(needs) = way.last().and_then(|last| self.needs.get(*last)) else { continue };
            if needs.contains(to) {
                return Some(way);
            }
            for next in needs.iter().filter(|next| seen.insert(*next)) {
                ways.push(way.iter().copied().chain([next]).collect());
            }
        }
        None
    }

    /// Projects that depend on this one, by name.
    pub(super) fn needed_by(&self, id: &ProjectId) -> Vec<ProjectId> {
        let needing = self.needs.iter().filter(|(_, needs)| needs.contains(id)).map(|(other, _)| other.clone());
        let mut needing: Vec<ProjectId> = needing.collect();
        needing.sort();
        needing
    }

    /// Remembers a deleted project.
    pub(super) fn bury(&mut self, deleted: Deleted) {
        self.buried.insert(deleted.id.clone(), deleted);
    }

    /// All deleted projects.
    pub(super) fn all_buried(&self) -> Vec<Deleted> {
        self.buried.values().cloned().collect()
    }

    /// The deleted project of that name.
    pub(super) fn buried(&self, id: &ProjectId) -> Option<Deleted> {
        self.buried.get(id).cloned()
    }

    /// There is a project of that name again.
    pub(super) fn unearth(&mut self, id: &ProjectId) {
        self.buried.remove(id);
    }

    pub(super) fn take(&mut self, spec: &ProjectSpec) {
        let needs = spec.depends_on.iter().map(|dependency| dependency.project.clone());
        self.needs.insert(spec.id.clone(), needs.collect());
        let taken = self.taken.entry(Place::of_spec(spec)).or_default();
        taken.ports.insert(spec.target.host_port, spec.id.clone());
        taken.shortened.extend(shortened_names(spec).into_iter().map(|name| (name, spec.id.clone())));
    }

    pub(super) fn give_up(&mut self, spec: &ProjectSpec) {
        self.needs.remove(&spec.id);
        let Some(taken) = self.taken.get_mut(&Place::of_spec(spec)) else { return };
        taken.ports.remove(&spec.target.host_port);
        for name in shortened_names(spec) {
            taken.shortened.remove(&name);
        }
    }
}

/// The names that may have been shortened to what another project's are shortened to: of load balancer and target groups.
fn shortened_names(spec: &ProjectSpec) -> Vec<String> {
    let ResourceNames { load_balancer, target_groups, .. } = ResourceNames::for_spec(spec);
    let groups = target_groups.into_iter().flat_map(|groups| [groups.a, groups.b]);
    std::iter::once(load_balancer).chain(groups).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use brain_core::project::TargetDraft;

    const ROLE: &str = "arn:aws:iam::123456789012:role/brain";

    fn spec(region: &str, role: &str) -> ProjectSpec {
        let target = TargetDraft {
            region: region.into(),
            role_arn: role.into(),
            container_port: 9_000,
            desired_count: 1,
            ..TargetDraft::default()
        };
        let draft = ProjectDraft {
            id: "user".into(),
            git_url: "https://git.example/user".into(),
            image_repository: "flowcommerce/user".into(),
            target: Some(target),
            ..ProjectDraft::default()
        };
        draft.validate(|_| Ok(6_041)).unwrap()
    }

    #[test]
    fn a_port_is_taken_in_one_account_and_region_and_free_in_others() {
        let mut claims = Claims::default();
        let user = spec("us-east-1", ROLE);
        claims.take(&user);
        let port = |claims: &Claims, region: &str, role: &str, given: Option<u16>| {
            claims.port(&Place::of(region, role), given, &(6_041..=6_042))
        };
        let taken = Err("6041 is taken by projects/user".to_owned());
        assert_eq!(port(&claims, "us-east-1", ROLE, Some(6_041)), taken);
        let same_account = "arn:aws:iam::123456789012:role/other";
        assert_eq!(port(&claims, "us-east-1", same_account, None), Ok(6_042));
        let other_account = "arn:aws:iam::210987654321:role/brain";
        for (region, role) in [("eu-west-1", ROLE), ("us-east-1", other_account), ("us-east-1", "")] {
            assert_eq!(port(&claims, region, role, Some(6_041)), Ok(6_041), "{region} {role}");
            assert_eq!(port(&claims, region, role, None), Ok(6_041), "{region} {role}");
        }
        claims.give_up(&user);
        assert_eq!(port(&claims, "us-east-1", ROLE, Some(6_041)), Ok(6_041));
    }

    #[test]
    fn a_shortened_name_is_taken_in_one_account_and_region_and_free_in_others() {
        let mut claims = Claims::default();
        let here = spec("us-east-1", "");
        // As if the names of another project were shortened to the same.
        let other = ProjectId::parse("other").unwrap();
        let names = shortened_names(&here).into_iter().map(|name| (name, other.clone()));
        claims.taken.entry(Place::of_spec(&here)).or_default().shortened.extend(names);
        assert!(matches!(claims.check_names(&here), Err(DefinitionError::Invalid(_))));
        for elsewhere in [spec("us-east-1", ROLE), spec("eu-west-1", "")] {
            assert!(claims.check_names(&elsewhere).is_ok());
        }
    }
}
