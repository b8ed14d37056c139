//! Tags that brain makes: for those who ask, and for projects whose policy tags every head.

use crate::{
    directory::Directory,
    project::{Project, Shared},
    watchers::{NewTag, TagError},
};
use brain_core::{
    id::ProjectId,
    observation::{Observation, ObservedBranch},
};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{broadcast::error::RecvError, mpsc},
    time::{Instant, MissedTickBehavior, interval},
};
use tracing::{info, warn};

/// Who is named in the log for tags by policy.
const POLICY: &str = "policy auto_tag";
/// Pause before a tag that could not be made is tried again.
const RETRY: Duration = Duration::from_secs(15);
/// How often is looked whether a pause is over.
const TICK: Duration = Duration::from_secs(1);
/// Tags by policy that are made at the same time.
const AT_ONCE: usize = 16;

/// Has a watcher make the tag, and keeps it as observed, so that the next one is numbered after it.
pub(crate) async fn create_tag(
    shared: &Shared,
    project: &Arc<Project>,
    tag: &str,
    commit: &str,
    by: &str,
) -> Result<(), TagError> {
    if project.read().state.tags.get(tag).is_some_and(|known| known.commit == commit) {
        return Ok(());
    }
    let new = NewTag { project: project.id.clone(), tag: tag.to_owned(), commit: commit.to_owned() };
    shared.watchers.create_tag(new).await?;
    info!(project = %project.id, tag, commit, by, "tag made");
    let moved_to = project.read().state.source_moved.clone().map(|(to, _)| to);
    let observation = Observation::Source {
        complete: false,
        tags: vec![(tag.to_owned(), commit.to_owned())],
        removed: Vec::new(),
        head: ObservedBranch::Unchanged,
        moved_to,
    };
    match project.observe(by.into(), 0, observation).await.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            warn!(%error, "the tag was made, and could not be recorded; a poll will");
            Err(TagError::NoWatcher("it was made, and could not be recorded yet"))
        }
        Err(_) => Err(TagError::NoWatcher("the server is shutting down")),
    }
}

struct Tagger {
    directory: Arc<Directory>,
    shared: Arc<Shared>,
    due: BTreeSet<ProjectId>,
    under_way: BTreeSet<ProjectId>,
    pauses: HashMap<ProjectId, Instant>,
}

/// Tags heads by policy until the server ends.
pub(crate) async fn run(directory: Arc<Directory>, shared: Arc<Shared>) {
    let shutdown = shared.shutdown.clone();
    let tagger = Tagger { directory, shared, due: BTreeSet::new(), under_way: BTreeSet::new(), pauses: HashMap::new() };
    shutdown.run_until_cancelled(tagger.serve()).await;
}

impl Tagger {
    async fn serve(mut self) {
        let mut changed = self.shared.tagging.subscribe();
        let (sender, mut done) = mpsc::channel(AT_ONCE);
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.look_at_all();
        loop {
            self.begin(&sender);
            tokio::select! {
                id = changed.recv() => match id {
                    Ok(id) => self.look_at(id),
                    Err(RecvError::Lagged(_)) => self.look_at_all(),
                    Err(RecvError::Closed) => return,
                },
                Some((id, made)) = done.recv() => {
                    self.under_way.remove(&id);
                    if made {
                        self.look_at(id);
                    } else {
                        self.pauses.insert(id, Instant::now() + RETRY);
                    }
                }
                _ = tick.tick(), if !self.pauses.is_empty() => {
                    let now = Instant::now();
                    let over: Vec<ProjectId> =
                        self.pauses.extract_if(|_, until| *until <= now).map(|(id, _)| id).collect();
                    over.into_iter().for_each(|id| self.look_at(id));
                }
            }
        }
    }

    fn look_at_all(&mut self) {
        let ids: Vec<ProjectId> = self.directory.all().iter().map(|project| project.id.clone()).collect();
        ids.into_iter().for_each(|id| self.look_at(id));
    }

    fn look_at(&mut self, id: ProjectId) {
        let wanted = self.directory.get(&id).is_some_and(|project| project.read().state.wanted_tag().is_some());
        if wanted && !self.pauses.contains_key(&id) && !self.under_way.contains(&id) {
            self.due.insert(id);
        }
    }

    fn begin(&mut self, sender: &mpsc::Sender<(ProjectId, bool)>) {
        while self.under_way.len() < AT_ONCE {
            let Some(id) = self.due.pop_first() else { return };
            let Some(project) = self.directory.get(&id) else { continue };
            let Some((tag, commit)) = project.read().state.wanted_tag() else { continue };
            self.under_way.insert(id.clone());
            let (shared, sender) = (Arc::clone(&self.shared), sender.clone());
            self.shared.tasks.spawn(async move {
                let made = make(&shared, &project, tag, commit).await;
                let _ = sender.send((id, made)).await;
            });
        }
    }
}

async fn make(shared: &Shared, project: &Arc<Project>, tag: String, commit: String) -> bool {
    let made = shared.shutdown.run_until_cancelled(create_tag(shared, project, &tag, &commit, POLICY)).await;
    let Some(Err(error)) = made else { return true };
    warn!(project = %project.id, tag, %error, "the head could not be tagged");
    let failed = Observation::TagFailed { tag, commit, why: error.to_string() };
    let _ = project.observe(POLICY.into(), 0, failed).await.await;
    false
}
