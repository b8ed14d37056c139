//! Time in which no server was there. It counts for no step and no bake: whoever acts or watches does so under a lease that a
//! server renews. So before anything else is done after a start, deployments under way are told when the server was last there.

use crate::{
    SERVER,
    project::Shared,
    store::{Loaded, LoadedProject, Revision, Store, StoreError, Transition},
};
use anyhow::Context;
use brain_core::{
    deployment::Fact,
    event::{Change, Event},
    stream::Stream,
    time::Timestamp,
};
use std::{sync::Arc, time::Duration};
use tracing::warn;

/// How often it is noted that the server is there: as much is lost of a step's time, and of a bake's, when it is killed.
const NOTED_EVERY: Duration = Duration::from_secs(10);

/// Everything as it was loaded, with deployments under way told of the time until `now`.
pub(crate) async fn account(store: &dyn Store, mut loaded: Loaded, now: Timestamp) -> anyhow::Result<Loaded> {
    let waiting = |project: &&mut LoadedProject| project.state.active().is_some_and(|active| active.counts_time());
    let mut projects: Vec<&mut LoadedProject> = loaded.projects.iter_mut().filter(waiting).collect();
    if projects.is_empty() {
        return Ok(loaded);
    }
    let since = last_seen(store, loaded.revision).await?.unwrap_or_default().min(now);
    let mut batch = Vec::new();
    for project in &mut projects {
        let Some(number) = project.state.active().map(|active| active.number) else { continue };
        let change = Change::DeploymentChanged { number, fact: Fact::Unattended { since } };
        let event = Event { at: now, by: SERVER.to_owned(), change };
        project.state.apply(&event).with_context(|| format!("{} does not fit its log", project.id))?;
        let stream = Stream::Project(project.id.clone());
        batch.push(Transition { stream, expected: project.version, events: vec![event] });
        project.version += 1;
    }
    loaded.revision = store.commit(batch).await?;
    Ok(loaded)
}

/// When a server was last noted to be there, or the latest commit was made: later than that, nobody knows. What nothing tells of
/// counts as away.
async fn last_seen(store: &dyn Store, latest: Revision) -> Result<Option<Timestamp>, StoreError> {
    let commits = store.earlier(Revision(latest.0 + 1), None, 1).await?;
    let committed = commits.iter().flat_map(|commit| &commit.events).map(|event| event.at).max();
    Ok(committed.max(store.attended().await?))
}

/// Notes until the server shuts down that it is there.
pub(crate) async fn attend(shared: Arc<Shared>) {
    while shared.shutdown.run_until_cancelled(tokio::time::sleep(NOTED_EVERY)).await.is_some() {
        note(&shared).await;
    }
}

/// Notes that the server is there now.
pub(crate) async fn note(shared: &Shared) {
    if let Err(error) = shared.store.attend(shared.clock.now()).await {
        warn!(%error, "that the server is there could not be noted: after a restart this time will not count");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;
    use brain_core::{
        deployment::Lease,
        id::{AgentName, ProjectId},
        image::Digest,
        line::{Line, Moment},
        project::{ProjectDraft, TargetDraft},
        state::{ProjectState, Wish},
    };

    fn minutes(count: u64) -> Timestamp {
        Timestamp(1_700_000_000_000).plus(Duration::from_mins(count))
    }

    /// A project whose deployment was leased when the log begins, and another one to which something happens at that minute.
    async fn stored(other_at: u64) -> MemoryStore {
        let target = TargetDraft {
            region: "us-east-1".into(),
            container_port: 9000,
            desired_count: 3,
            ..TargetDraft::default()
        };
        let spec = |id: &str| {
            let draft = ProjectDraft {
                id: id.into(),
                git_url: "https://git.example/user".into(),
                image_repository: "flowcommerce/user".into(),
                target: Some(target.clone()),
                ..ProjectDraft::default()
            };
            Box::new(draft.validate(|_| Ok(6000)).unwrap())
        };
        let event = |at, change| Event { at, by: "ann".into(), change };
        let mut state = ProjectState::new(*spec("user"), minutes(0));
        let digest = Digest::parse(&format!("sha256:{}", "a1".repeat(32))).unwrap();
        let image = event(minutes(0), Change::ImageObserved { tag: "0.0.5".into(), digest });
        state.apply(&image).unwrap();
        let wish = Wish { tag: "0.0.5".into(), requested_by: "ann".into(), ..Wish::default() };
        let request = state.request_deployment(wish, &Moment { at: minutes(0), line: Line::default() }).unwrap();
        let lease = Lease { agent: AgentName::parse("deployer-1").unwrap(), instance: "i".into() };
        let leased = Change::DeploymentChanged { number: 1, fact: Fact::Leased(lease) };
        let events = vec![
            event(minutes(0), Change::ProjectCreated(spec("user"))),
            image,
            event(minutes(0), Change::DeploymentRequested(Box::new(request))),
            event(minutes(0), leased),
        ];
        let of = |id: &str| Stream::Project(ProjectId::parse(id).unwrap());
        let store = MemoryStore::default();
        store.commit(vec![Transition { stream: of("user"), expected: 0, events }]).await.unwrap();
        let events = vec![event(minutes(other_at), Change::ProjectCreated(spec("other")))];
        store.commit(vec![Transition { stream: of("other"), expected: 0, events }]).await.unwrap();
        store
    }

    #[tokio::test]
    async fn a_step_has_the_time_that_it_had_when_the_server_was_last_there() {
        let store = stored(4).await;
        let loaded = store.load().await.unwrap();
        let accounted = account(&store, loaded, minutes(300)).await.unwrap();
        assert_eq!(accounted, store.load().await.unwrap(), "what is done is stored");
        let user = accounted.projects.iter().find(|project| project.id.as_str() == "user").unwrap();
        let limit = user.state.spec.rollout_policy.step_timeout;
        let deadline = user.state.active().unwrap().deadline();
        assert_eq!(deadline, Some(minutes(300).plus(limit - Duration::from_mins(4))));
        // Another start a minute later takes nothing either.
        let again = account(&store, accounted, minutes(301)).await.unwrap();
        let user = again.projects.iter().find(|project| project.id.as_str() == "user").unwrap();
        assert_eq!(user.state.active().unwrap().deadline(), Some(minutes(301).plus(limit - Duration::from_mins(4))));
    }

    #[tokio::test]
    async fn time_in_which_the_server_was_there_and_had_nothing_to_commit_counts() {
        let store = stored(4).await;
        store.attend(minutes(7)).await.unwrap();
        let accounted = account(&store, store.load().await.unwrap(), minutes(300)).await.unwrap();
        let user = accounted.projects.iter().find(|project| project.id.as_str() == "user").unwrap();
        let limit = user.state.spec.rollout_policy.step_timeout;
        assert_eq!(user.state.active().unwrap().deadline(), Some(minutes(300).plus(limit - Duration::from_mins(7))));
    }

    #[tokio::test]
    async fn where_nothing_is_under_way_nothing_is_written() {
        let store = MemoryStore::default();
        let loaded = account(&store, store.load().await.unwrap(), minutes(1)).await.unwrap();
        assert_eq!(loaded.revision, Revision(0));
    }
}
