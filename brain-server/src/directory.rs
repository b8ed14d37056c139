//! All projects, and what must be unique among them: names, host ports, load balancer names.

use crate::{
    project::{Project, Shared},
    store::{Loaded, LoadedProject, StoreError, Transition},
};
use brain_core::{
    dependency::Dependency,
    event::{Change, Event},
    id::ProjectId,
    names::ResourceNames,
    project::{ProjectDraft, ProjectSpec, Violation},
    state::ProjectState,
};
use std::{
    collections::{BTreeMap, HashMap},
    ops::{Bound, RangeInclusive},
    sync::{Arc, PoisonError, RwLock},
};
use thiserror::Error;
use tokio::sync::Mutex;

/// All projects.
#[derive(Debug)]
pub struct Directory {
    shared: Arc<Shared>,
    projects: RwLock<BTreeMap<ProjectId, Arc<Project>>>,
    /// Claims are made, and given up when a creation fails, under one lock.
    claims: Mutex<Claims>,
    ports: RangeInclusive<u16>,
}

#[derive(Debug, Default)]
struct Claims {
    ports: HashMap<u16, ProjectId>,
    shortened: HashMap<String, ProjectId>,
}

/// Why a project was not created.
#[derive(Debug, Error)]
pub enum CreateError {
    /// The definition is faulty.
    #[error("the definition is faulty")]
    Invalid(Vec<Violation>),
    /// Another definition has the name.
    #[error("project {0} exists with another definition")]
    Exists(ProjectId),
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Directory {
    /// The projects as they were loaded. Ports that brain allocates come from `ports`.
    #[must_use]
    pub fn new(shared: Arc<Shared>, loaded: Loaded, ports: RangeInclusive<u16>) -> Self {
        shared.committed(loaded.revision.0);
        let mut claims = Claims::default();
        let mut projects = BTreeMap::new();
        for LoadedProject { id, version, state } in loaded.projects {
            claims.take(&state.spec);
            projects.insert(id.clone(), Project::new(id, version, state, Arc::clone(&shared)));
        }
        Self { shared, projects: RwLock::new(projects), claims: Mutex::new(claims), ports }
    }

    /// The project of that id.
    #[must_use]
    pub fn get(&self, id: &ProjectId) -> Option<Arc<Project>> {
        self.projects.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// All projects, by id.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Project>> {
        self.projects.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// At most `count` projects by id, those after `after`.
    #[must_use]
    pub fn page(&self, after: Option<&ProjectId>, count: usize) -> Vec<Arc<Project>> {
        let projects = self.projects.read().unwrap_or_else(PoisonError::into_inner);
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        projects
            .range::<ProjectId, _>((start, Bound::Unbounded))
            .take(count)
            .map(|(_, project)| project.clone())
            .collect()
    }

    /// Creates a project. The same definition again answers the existing project.
    pub async fn create(&self, draft: ProjectDraft, by: &str) -> Result<Arc<Project>, CreateError> {
        let existing = ProjectId::parse(&draft.id).ok().and_then(|id| self.get(&id));
        if let Some(existing) = existing {
            return same(existing, draft);
        }
        let spec = {
            let mut claims = self.claims.lock().await;
            let spec = draft.validate(|port| claims.port(port, &self.ports)).map_err(CreateError::Invalid)?;
            claims.check_names(&spec)?;
            self.check_dependencies(&spec)?;
            claims.take(&spec);
            spec
        };
        let committed = self.commit(&spec, by).await;
        if committed.is_err() {
            self.claims.lock().await.give_up(&spec);
        }
        committed
    }

    fn check_dependencies(&self, spec: &ProjectSpec) -> Result<(), CreateError> {
        let missing = spec.depends_on.iter().enumerate().filter(|(_, other)| self.get(&other.project).is_none());
        let violation = |(index, other): (usize, &Dependency)| Violation {
            field: format!("project.depends_on[{index}].project"),
            description: format!("must exist: there is no projects/{}", other.project),
        };
        let missing: Vec<Violation> = missing.map(violation).collect();
        if missing.is_empty() { Ok(()) } else { Err(CreateError::Invalid(missing)) }
    }

    fn insert(&self, project: Arc<Project>) {
        self.projects.write().unwrap_or_else(PoisonError::into_inner).insert(project.id.clone(), project);
    }

    async fn commit(&self, spec: &ProjectSpec, by: &str) -> Result<Arc<Project>, CreateError> {
        let at = self.shared.clock.now();
        let change = Change::ProjectCreated(Box::new(spec.clone()));
        let event = Event { at, by: by.to_owned(), change };
        let transition = Transition { stream: spec.id.clone().into(), expected: 0, events: vec![event] };
        let revision = self.shared.store.commit(vec![transition]).await.map_err(|error| match error {
            // Two requests for one name at the same time: the other one was first.
            StoreError::Conflict { .. } => CreateError::Exists(spec.id.clone()),
            other => CreateError::Store(other),
        })?;
        self.shared.committed(revision.0);
        let project = Project::new(spec.id.clone(), 1, ProjectState::new(spec.clone(), at), Arc::clone(&self.shared));
        self.insert(Arc::clone(&project));
        let _ = self.shared.changed.send(spec.id.clone());
        self.shared.watchers.project_defined(&spec.id).await;
        self.shared.deployers.project_defined().await;
        Ok(project)
    }
}

/// The existing project, if `draft` defines the same. A port that was left out is the one it has.
fn same(existing: Arc<Project>, draft: ProjectDraft) -> Result<Arc<Project>, CreateError> {
    let has = existing.read().state.spec.clone();
    let spec = draft.validate(|port| Ok(port.unwrap_or(has.target.host_port))).map_err(CreateError::Invalid)?;
    if spec == has { Ok(existing) } else { Err(CreateError::Exists(has.id)) }
}

impl Claims {
    /// The given port if it is free, or the first free one of the range.
    fn port(&self, given: Option<u16>, range: &RangeInclusive<u16>) -> Result<u16, String> {
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

    fn check_names(&self, spec: &ProjectSpec) -> Result<(), CreateError> {
        for name in shortened_names(spec) {
            match self.shortened.get(&name) {
                Some(owner) if *owner == spec.id => return Err(CreateError::Exists(spec.id.clone())),
                Some(owner) => {
                    return Err(CreateError::Invalid(vec![Violation {
                        field: "project.name".to_owned(),
                        description: format!(
                            "would share the load balancer name {name} with projects/{owner}: choose another"
                        ),
                    }]));
                }
                None => {}
            }
        }
        Ok(())
    }

    fn take(&mut self, spec: &ProjectSpec) {
        self.ports.insert(spec.target.host_port, spec.id.clone());
        self.shortened.extend(shortened_names(spec).into_iter().map(|name| (name, spec.id.clone())));
    }

    fn give_up(&mut self, spec: &ProjectSpec) {
        self.ports.remove(&spec.target.host_port);
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
