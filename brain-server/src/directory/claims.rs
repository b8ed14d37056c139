//! What each project has to itself: ports, shortened names, its place among those that need each other, and the names of those
//! that were deleted.

use super::{DefinitionError, Deleted};
use brain_core::{
    id::ProjectId,
    names::ResourceNames,
    project::{ProjectSpec, Violation},
};
use std::{
    collections::{HashMap, HashSet},
    ops::RangeInclusive,
};

#[derive(Debug, Default)]
pub(super) struct Claims {
    ports: HashMap<u16, ProjectId>,
    shortened: HashMap<String, ProjectId>,
    /// What each project depends on.
    needs: HashMap<ProjectId, Vec<ProjectId>>,
    /// Deleted projects.
    buried: HashMap<ProjectId, Deleted>,
}

impl Claims {
    /// The given port if it is free, or the first free one of the range.
    pub(super) fn port(&self, given: Option<u16>, range: &RangeInclusive<u16>) -> Result<u16, String> {
        match given {
            Some(port) => match self.ports.get(&port) {
                Some(owner) => Err(format!("{port} is taken by projects/{owner}")),
                None => Ok(port),
            },
            None => range
                .clone()
                .find(|port| !self.ports.contains_key(port))
                .ok_or_else(|| format!("must be given: all ports from {} to {} are taken", range.start(), range.end())),
        }
    }

    /// Another request may be creating a project of that name.
    pub(super) fn check_new(&self, spec: &ProjectSpec) -> Result<(), DefinitionError> {
        if self.needs.contains_key(&spec.id) { Err(DefinitionError::Exists(spec.id.clone())) } else { Ok(()) }
    }

    pub(super) fn check_names(&self, spec: &ProjectSpec) -> Result<(), DefinitionError> {
        for name in shortened_names(spec) {
            match self.shortened.get(&name) {
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
        self.ports.insert(spec.target.host_port, spec.id.clone());
        let needs = spec.depends_on.iter().map(|dependency| dependency.project.clone());
        self.needs.insert(spec.id.clone(), needs.collect());
        self.shortened.extend(shortened_names(spec).into_iter().map(|name| (name, spec.id.clone())));
    }

    pub(super) fn give_up(&mut self, spec: &ProjectSpec) {
        self.ports.remove(&spec.target.host_port);
        self.needs.remove(&spec.id);
        for name in shortened_names(spec) {
            self.shortened.remove(&name);
        }
    }
}

/// The names that may have been shortened to what another project's are shortened to: of load balancer and target groups.
fn shortened_names(spec: &ProjectSpec) -> Vec<String> {
    let ResourceNames { load_balancer, target_groups, .. } = ResourceNames::for_spec(spec);
    let groups = target_groups.into_iter().flat_map(|groups| [groups.a, groups.b]);
    std::iter::once(load_balancer).chain(groups).collect()
}
