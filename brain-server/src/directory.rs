//! All projects, and what must be unique among them: names, and in each account and region host ports and load balancer names.
//!
//! Definitions are decided here, for they must fit all others; what a project's own state forbids, its actor decides.

use crate::{
    project::{CommandError, Project, Shared},
    store::{Loaded, LoadedProject, StoreError, Transition},
};
use brain_core::{
    dependency::Dependency,
    event::{Change, Event},
    id::ProjectId,
    project::{ProjectDraft, ProjectSpec, Violation},
    state::ProjectState,
};
use claims::{Claims, Place};
use std::{
    collections::BTreeMap,
    ops::{Bound, RangeInclusive},
    sync::{Arc, PoisonError, RwLock, atomic::Ordering},
};
use thiserror::Error;
use tokio::sync::Mutex;

mod claims;

/// All projects.
#[derive(Debug)]
pub struct Directory {
    shared: Arc<Shared>,
    projects: RwLock<BTreeMap<ProjectId, Arc<Project>>>,
    /// Claims are made, and given up when a creation fails, under one lock.
    claims: Mutex<Claims>,
    ports: RangeInclusive<u16>,
}

/// Why a project was not created, changed or deleted.
#[derive(Debug, Error)]
pub enum DefinitionError {
    /// The definition is faulty.
    #[error("the definition is faulty")]
    Invalid(Vec<Violation>),
    /// Another definition has the name.
    #[error("project {0} exists with another definition")]
    Exists(ProjectId),
    /// There is no such project.
    #[error("there is no project {0}")]
    Missing(ProjectId),
    /// It is not as whoever asks has read it.
    #[error("the definition has changed since: its etag is {0} now")]
    Stale(String),
    /// Others depend on it.
    #[error("it is needed by {}", by.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    Needed {
        /// They.
        by: Vec<ProjectId>,
    },
    /// The project's own state forbids it.
    #[error(transparent)]
    Refused(CommandError),
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The server ended meanwhile.
    #[error("the server is shutting down")]
    ShuttingDown,
}

/// A change of a definition.
pub struct Redefinition<M> {
    /// Whose.
    pub id: ProjectId,
    /// The etag that it must have; empty: any.
    pub etag: String,
    /// The new definition, made of the one that it has.
    pub made: M,
    /// Paths of the fields in which two definitions differ.
    pub differences: fn(&ProjectSpec, &ProjectSpec) -> Vec<String>,
    /// Who asks.
    pub by: String,
    /// Why; may be empty.
    pub why: String,
}

/// A project that was deleted.
#[derive(Debug, Clone)]
pub(crate) struct Deleted {
    pub(crate) id: ProjectId,
    /// Version of its stream.
    pub(crate) version: u64,
    pub(crate) state: ProjectState,
    /// Generation of its last assignment to a watcher, under which nothing is to be taken any more.
    watched: u64,
}

impl Deleted {
    fn of(project: &Project) -> Self {
        let watched = project.watch_generation.load(Ordering::Relaxed);
        let inner = project.read();
        Self { id: project.id.clone(), version: inner.version, state: inner.state.clone(), watched }
    }
}

/// The end of a project.
#[derive(Debug)]
pub struct Deletion {
    /// Whose.
    pub id: ProjectId,
    /// The etag that it must have; empty: any.
    pub etag: String,
    /// Whether what runs is left running.
    pub leave_running: bool,
    /// Who asks.
    pub by: String,
    /// Why; may be empty.
    pub why: String,
}

impl Directory {
    /// The projects as they were loaded. Ports that brain allocates come from `ports`.
    #[must_use]
    pub fn new(shared: Arc<Shared>, loaded: Loaded, ports: RangeInclusive<u16>) -> Self {
        shared.committed(loaded.revision.0);
        let mut claims = Claims::default();
        let mut projects = BTreeMap::new();
        for LoadedProject { id, version, state } in loaded.projects {
            if state.deleted.is_some() {
                claims.bury(Deleted { id, version, state, watched: 0 });
                continue;
            }
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

    /// Creates a project. The same definition again answers the existing project. It is seen through when whoever asks leaves
    /// meanwhile: what is stored is known here too.
    pub async fn create(self: &Arc<Self>, draft: ProjectDraft, by: String) -> Result<Arc<Project>, DefinitionError> {
        let this = Arc::clone(self);
        self.see_through(async move { this.create_now(draft, by).await }).await
    }

    /// Changes a definition; the answer is the project after it. It is seen through, as a creation is.
    pub async fn redefine<M>(self: &Arc<Self>, redefinition: Redefinition<M>) -> Result<Arc<Project>, DefinitionError>
    where
        M: FnOnce(&ProjectSpec) -> Result<ProjectDraft, Vec<Violation>> + Send + 'static,
    {
        let this = Arc::clone(self);
        self.see_through(async move { this.redefine_now(redefinition).await }).await
    }

    /// Deletes a project. It is seen through, as a creation is.
    pub async fn delete(self: &Arc<Self>, deletion: Deletion) -> Result<(), DefinitionError> {
        let this = Arc::clone(self);
        self.see_through(async move { this.delete_now(deletion).await }).await
    }

    async fn see_through<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, DefinitionError>> + Send + 'static,
    ) -> Result<T, DefinitionError> {
        self.shared.tasks.spawn(work).await.unwrap_or(Err(DefinitionError::ShuttingDown))
    }

    async fn create_now(&self, draft: ProjectDraft, by: String) -> Result<Arc<Project>, DefinitionError> {
        let existing = ProjectId::parse(&draft.id).ok().and_then(|id| self.get(&id));
        if let Some(existing) = existing {
            return same(existing, draft);
        }
        let (spec, buried) = {
            let mut claims = self.claims.lock().await;
            let place = Place::of_draft(&draft);
            let spec = draft.validate(|port| claims.port(&place, port, &self.ports));
            let spec = spec.map_err(DefinitionError::Invalid)?;
            claims.check_new(&spec)?;
            claims.check_names(&spec)?;
            self.check_dependencies(&spec)?;
            claims.take(&spec);
            let buried = claims.buried(&spec.id);
            (spec, buried)
        };
        let committed = self.commit(&spec, buried, by).await;
        let mut claims = self.claims.lock().await;
        match &committed {
            Ok(project) => claims.unearth(&project.id),
            Err(_) => claims.give_up(&spec),
        }
        drop(claims);
        if committed.is_ok() {
            self.tell(&spec.id).await;
        }
        committed
    }

    async fn redefine_now<M>(&self, redefinition: Redefinition<M>) -> Result<Arc<Project>, DefinitionError>
    where
        M: FnOnce(&ProjectSpec) -> Result<ProjectDraft, Vec<Violation>>,
    {
        let Redefinition { id, etag, made, differences, by, why } = redefinition;
        // Kept until the end, so that no other definition is decided meanwhile.
        let mut claims = self.claims.lock().await;
        let project = self.current(&id, &etag)?;
        let has = project.read().state.spec.clone();
        let draft = made(&has).map_err(DefinitionError::Invalid)?;
        let (place, own) = (Place::of_draft(&draft), has.target.host_port);
        let stays = place == Place::of_spec(&has);
        let port = |port: Option<u16>| match port.unwrap_or(own) {
            port if port == own && stays => Ok(own),
            // Where it moves to, others may have the one that it has.
            port => claims.port(&place, Some(port), &self.ports),
        };
        let spec = draft.validate(port).map_err(DefinitionError::Invalid)?;
        claims.check_names(&spec)?;
        self.check_dependencies(&spec)?;
        claims.check_circles(&spec)?;
        let fields = differences(&has, &spec);
        project.redefine(by, spec.clone(), fields, why).await.map_err(DefinitionError::Refused)?;
        claims.give_up(&has);
        claims.take(&spec);
        drop(claims);
        if has.is_polled_otherwise(&spec) {
            self.shared.watchers.project_defined(&id).await;
        }
        self.shared.deployers.project_defined().await;
        Ok(project)
    }

    async fn delete_now(&self, deletion: Deletion) -> Result<(), DefinitionError> {
        let Deletion { id, etag, leave_running, by, why } = deletion;
        let mut claims = self.claims.lock().await;
        let project = self.current(&id, &etag)?;
        let by_others = claims.needed_by(&id);
        if !by_others.is_empty() {
            return Err(DefinitionError::Needed { by: by_others });
        }
        let has = project.read().state.spec.clone();
        project.delete(by, leave_running, why).await.map_err(DefinitionError::Refused)?;
        self.projects.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
        claims.give_up(&has);
        claims.bury(Deleted::of(&project));
        drop(claims);
        self.tell(&id).await;
        Ok(())
    }

    /// The project, if it is as whoever asks has read it.
    fn current(&self, id: &ProjectId, etag: &str) -> Result<Arc<Project>, DefinitionError> {
        let project = self.get(id).ok_or_else(|| DefinitionError::Missing(id.clone()))?;
        let is = project.read().state.spec.etag();
        if etag.is_empty() || etag == is { Ok(project) } else { Err(DefinitionError::Stale(is)) }
    }

    fn check_dependencies(&self, spec: &ProjectSpec) -> Result<(), DefinitionError> {
        let missing = spec.depends_on.iter().enumerate().filter(|(_, other)| self.get(&other.project).is_none());
        let violation = |(index, other): (usize, &Dependency)| Violation {
            field: format!("project.depends_on[{index}].project"),
            description: format!("must exist: there is no projects/{}", other.project),
        };
        let missing: Vec<Violation> = missing.map(violation).collect();
        if missing.is_empty() { Ok(()) } else { Err(DefinitionError::Invalid(missing)) }
    }

    /// All projects, and those that were deleted, of one moment.
    pub(crate) async fn with_deleted(&self) -> (Vec<Arc<Project>>, Vec<Deleted>) {
        let claims = self.claims.lock().await;
        (self.all(), claims.all_buried())
    }

    fn insert(&self, project: Arc<Project>) {
        self.projects.write().unwrap_or_else(PoisonError::into_inner).insert(project.id.clone(), project);
    }

    /// Creates the project, after `buried`, the deleted one of its name.
    async fn commit(
        &self,
        spec: &ProjectSpec,
        buried: Option<Deleted>,
        by: String,
    ) -> Result<Arc<Project>, DefinitionError> {
        let at = self.shared.clock.now();
        let event = Event { at, by, change: Change::ProjectCreated(Box::new(spec.clone())) };
        let (expected, watched) = buried.as_ref().map_or((0, 0), |deleted| (deleted.version, deleted.watched));
        let before = buried.map(|deleted| deleted.state);
        let transition = Transition { stream: spec.id.clone().into(), expected, events: vec![event.clone()] };
        let revision = self.shared.store.commit(vec![transition]).await.map_err(|error| match error {
            // Two requests for one name at the same time: the other one was first.
            StoreError::Conflict { .. } => DefinitionError::Exists(spec.id.clone()),
            other => DefinitionError::Store(other),
        })?;
        self.shared.committed(revision.0);
        let mut state = before;
        if let Err(misfit) = ProjectState::fold(&mut state, &event) {
            return Err(DefinitionError::Refused(misfit.into()));
        }
        let state = state.unwrap_or_else(|| ProjectState::new(spec.clone(), at));
        let project = Project::new(spec.id.clone(), expected + 1, state, Arc::clone(&self.shared));
        project.watch_generation.store(watched + 1, Ordering::Relaxed);
        self.insert(Arc::clone(&project));
        Ok(project)
    }

    /// Tells who watches and who observes that the project is defined otherwise, or is gone.
    async fn tell(&self, id: &ProjectId) {
        let _ = self.shared.changed.send(id.clone());
        self.shared.watchers.project_defined(id).await;
        self.shared.deployers.project_defined().await;
    }
}

/// The existing project, if `draft` defines the same. A port that was left out is the one it has.
fn same(existing: Arc<Project>, draft: ProjectDraft) -> Result<Arc<Project>, DefinitionError> {
    let has = existing.read().state.spec.clone();
    let spec = draft.validate(|port| Ok(port.unwrap_or(has.target.host_port))).map_err(DefinitionError::Invalid)?;
    if spec == has { Ok(existing) } else { Err(DefinitionError::Exists(has.id)) }
}
