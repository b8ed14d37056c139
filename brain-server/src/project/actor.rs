//! The actor of one project: decide → commit → apply → publish, one transition at a time.

use super::{Command, CommandError, Project, Reply, batch::Batch};
use crate::{
    SERVER,
    store::{StoreError, Transition},
};
use brain_core::{
    deployment::{
        Deployment, Effect, Fact, Request,
        control::{Control, ControlUsed},
    },
    event::{Change, Event},
    hold::HoldWish,
    housekeeping::HouseNews,
    observation::Observation,
    project::ProjectSpec,
    state::{Refusal, WayBack, Wish},
    time::Timestamp,
    trace::spans,
};
use brain_process::trace;
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::sync::mpsc;
use tracing::{Instrument, error, info, info_span, warn};

/// Pause after a deadline that could not be recorded, because the store is unavailable.
const RETRY_DEADLINE: Duration = Duration::from_secs(1);

/// Runs until the server shuts down.
pub(super) async fn run(project: Arc<Project>, commands: mpsc::Receiver<Command>) {
    let span = info_span!("project", id = %project.id);
    let shutdown = project.shared.shutdown.clone();
    let actor = Actor { project, commands, waiting: VecDeque::new(), retries: false };
    // What is under way when the server ends is unacknowledged, and will be sent again.
    shutdown.run_until_cancelled(actor.serve().instrument(span)).await;
}

struct Actor {
    project: Arc<Project>,
    commands: mpsc::Receiver<Command>,
    /// Commands that were taken from the mailbox and do not go with the batch before them.
    waiting: VecDeque<Command>,
    /// Whether a deployment that the policy asks for, or that waits to begin, is to be tried again.
    retries: bool,
}

impl Actor {
    async fn serve(mut self) {
        loop {
            if self.waiting.is_empty() {
                self.retries = false;
                self.admit().await;
                self.deploy_by_policy().await;
            }
            let command = match self.waiting.pop_front() {
                Some(command) => command,
                None => {
                    let deadline = self.until_deadline();
                    tokio::select! {
                        command = self.commands.recv() => match command {
                            Some(command) => command,
                            None => return,
                        },
                        () = tokio::time::sleep(deadline.unwrap_or(Duration::MAX)), if deadline.is_some() => {
                            self.thaw().await;
                            self.time_out().await;
                            // A deploy window may have opened or closed, which no event tells.
                            let _ = self.project.shared.changed.send(self.project.id.clone());
                            continue;
                        }
                    }
                }
            };
            self.handle(command).await;
            if self.project.read().state.deleted.is_some() {
                return self.refuse_all();
            }
        }
    }

    async fn handle(&mut self, command: Command) {
        self.thaw().await;
        match command {
            Command::Observe { by, generation, observation, reply } => {
                self.observe(by, generation, observation, reply).await;
            }
            Command::Deploy { wish, reply } => {
                let _ = reply.send(self.deploy(wish).await);
            }
            Command::RollBack { wish, why, reply } => {
                let _ = reply.send(self.roll_back(wish, why).await);
            }
            Command::Hold { by, wish, why, reply } => {
                let _ = reply.send(self.hold(by, wish, why).await);
            }
            Command::Redefine { by, spec, fields, why, reply } => {
                let _ = reply.send(self.redefine(by, *spec, fields, why).await);
            }
            Command::Delete { by, leave_running, why, reply } => {
                let _ = reply.send(self.delete(by, leave_running, why).await);
            }
            Command::KeepHouse { by, news, reply } => {
                let _ = reply.send(self.keep_house(by, news).await);
            }
            Command::Fact { by, number, fact, reply } => {
                let answer = match fact {
                    Fact::Leased(_) => self.lease(by, number, fact).await,
                    fact => self.fact(by, number, fact).await,
                };
                let _ = reply.send(answer);
            }
            Command::Barrier(reply) => {
                let _ = reply.send(Ok(()));
            }
        }
    }

    /// The project is deleted: what was observed of it is no news, and whoever else waits is told by the end of the mailbox.
    fn refuse_all(&mut self) {
        self.commands.close();
        while let Some(command) = self.waiting.pop_front().or_else(|| self.commands.try_recv().ok()) {
            if let Command::Observe { reply, .. } = command {
                let _ = reply.send(Ok(()));
            }
        }
    }

    /// Decides an observation, and with it those that wait and do not depend on it.
    async fn observe(&mut self, by: Arc<str>, generation: u64, observation: Observation, reply: Reply<()>) {
        let at = self.project.shared.clock.now();
        let mut batch = Batch::default();
        batch.admit(&observation);
        let mut events = Vec::new();
        self.decide(&by, generation, observation, at, &mut events);
        let mut replies = vec![reply];
        while self.waiting.is_empty() {
            match self.commands.try_recv() {
                Ok(Command::Observe { by, generation, observation, reply }) if batch.admit(&observation) => {
                    self.decide(&by, generation, observation, at, &mut events);
                    replies.push(reply);
                }
                Ok(other) => self.waiting.push_back(other),
                Err(_) => break,
            }
        }
        let answer = self.commit(events).await;
        for reply in replies {
            let _ = reply.send(answer.clone());
        }
    }

    fn decide(&self, by: &str, generation: u64, observation: Observation, at: Timestamp, events: &mut Vec<Event>) {
        if !self.project.is_watched_under(generation) {
            // The definition changed while it waited: whoever watches by the new one looks again.
            return;
        }
        let changes = self.project.read().state.observe(observation);
        events.extend(changes.into_iter().map(|change| Event { at, by: by.to_owned(), change }));
    }

    async fn deploy(&mut self, wish: Wish) -> Result<Deployment, CommandError> {
        if let Some(deployment) = self.repeated(&wish) {
            return Ok(deployment);
        }
        let shared = Arc::clone(&self.project.shared);
        let _steady = shared.line.steady().await;
        let wish = Wish { unseen: !self.project.production_is_current(), ..wish };
        let request = self.project.read().state.request_deployment(wish, &shared.moment())?;
        self.begin(Box::new(request), Vec::new()).await
    }

    /// Deploys what the project's policy asks for. What goes wrong is tried again with the next command, or after a pause.
    async fn deploy_by_policy(&mut self) {
        let Some(wish) = self.wanted_deployment() else { return };
        let tag = wish.tag.clone();
        match self.deploy(wish).await {
            Ok(deployment) => info!(tag, number = deployment.number, "deployed by policy"),
            // Forbidden since: it is not wanted any more.
            Err(CommandError::Refused(Refusal::Held(_))) => {}
            Err(error) => {
                warn!(%error, tag, "the policy's deployment could not begin, trying again");
                self.retries = true;
            }
        }
    }

    /// Lets a deployment begin that has all it needs, or records what forbids it.
    async fn admit(&mut self) {
        let ready = |deployment: &Deployment| deployment.is_ready_to_begin();
        if !self.project.read().state.active().is_some_and(ready) {
            return;
        }
        let shared = Arc::clone(&self.project.shared);
        let _steady = shared.line.steady().await;
        let admission = self.project.read().state.admission(&shared.moment());
        let Some((number, fact)) = admission else { return };
        if let Err(error) = self.fact(SERVER.to_owned(), number, fact).await {
            warn!(%error, number, "the deployment could not be let begin, trying again");
            self.retries = true;
        }
    }

    /// Lets a deployer take a deployment. What people have held since it was accepted does not begin.
    async fn lease(&mut self, by: String, number: u64, fact: Fact) -> Result<Deployment, CommandError> {
        let shared = Arc::clone(&self.project.shared);
        let _steady = shared.line.steady().await;
        let forbidden = self.project.read().state.forbidden_since(number, &shared.moment());
        let Some(barrier) = forbidden else { return self.fact(by, number, fact).await };
        self.fact(SERVER.to_owned(), number, Fact::HeldBack { why: barrier.to_string() }).await?;
        Err(Refusal::Held(barrier).into())
    }

    fn wanted_deployment(&self) -> Option<Wish> {
        let state = &self.project.read().state;
        if !state.spec.deploy.automatic {
            return None;
        }
        state.wanted_deployment(&self.project.shared.moment())
    }

    async fn hold(&mut self, by: String, wish: HoldWish, why: String) -> Result<(), CommandError> {
        let at = self.project.shared.clock.now();
        let change = self.project.read().state.request_hold(wish, why)?;
        self.commit(change.map(|change| Event { at, by, change }).into_iter().collect()).await?;
        // What is pinned now may be what housekeeping is about to remove.
        self.project.shared.deployers.leave_house(&self.project.id).await;
        Ok(())
    }

    async fn redefine(
        &mut self,
        by: String,
        spec: ProjectSpec,
        fields: Vec<String>,
        why: String,
    ) -> Result<(), CommandError> {
        let at = self.project.shared.clock.now();
        let change = self.project.read().state.redefine(spec, fields, why)?;
        self.commit(change.map(|change| Event { at, by, change }).into_iter().collect()).await?;
        // It keeps house by the former definition.
        self.project.shared.deployers.leave_house(&self.project.id).await;
        Ok(())
    }

    async fn delete(&mut self, by: String, leave_running: bool, why: String) -> Result<(), CommandError> {
        let at = self.project.shared.clock.now();
        let change = self.project.read().state.delete(leave_running, why)?;
        self.commit(vec![Event { at, by, change }]).await?;
        self.project.shared.deployers.leave_house(&self.project.id).await;
        Ok(())
    }

    async fn keep_house(&mut self, by: String, news: HouseNews) -> Result<Vec<Change>, CommandError> {
        let at = self.project.shared.clock.now();
        let changes = self.project.read().state.keep_house(news);
        let event = |change: &Change| Event { at, by: by.clone(), change: change.clone() };
        self.commit(changes.iter().map(event).collect()).await?;
        Ok(changes)
    }

    /// Lifts a freeze whose end has come.
    async fn thaw(&mut self) {
        if !self.project.read().state.holds.is_over(self.project.shared.clock.now()) {
            return;
        }
        if let Err(error) = self.hold(SERVER.to_owned(), HoldWish::Thaw, "its end has come".to_owned()).await {
            warn!(%error, "the end of a freeze could not be recorded, trying again");
            tokio::time::sleep(RETRY_DEADLINE).await;
        }
    }

    async fn roll_back(&mut self, wish: Wish, why: String) -> Result<Deployment, CommandError> {
        if let Some(deployment) = self.repeated(&wish) {
            return Ok(deployment);
        }
        let shared = Arc::clone(&self.project.shared);
        let _steady = shared.line.steady().await;
        let moment = shared.moment();
        let at = moment.at;
        let (by, request_id) = (name_of(&wish.requested_by), wish.request_id.clone());
        let wish = Wish { unseen: !self.project.production_is_current(), why: why.clone(), ..wish };
        let way = self.project.read().state.request_rollback(wish, &moment)?;
        match way {
            WayBack::Cancel(number) => {
                let control = Control::Cancel { rollback: true };
                let used = ControlUsed { at, by: by.clone(), why, control, request_id };
                self.fact(by, number, Fact::Controlled(used)).await
            }
            WayBack::Deploy { cancel, request } => {
                let change = |(number, used)| Change::DeploymentChanged { number, fact: Fact::Controlled(used) };
                let cancelled = cancel.map(change).map(|change| Event { at, by, change });
                self.begin(request, cancelled.into_iter().collect()).await
            }
        }
    }

    /// The deployment that was the answer to a request with the same id: the one that it made, or cancelled to go back.
    fn repeated(&self, wish: &Wish) -> Option<Deployment> {
        let inner = self.project.read();
        inner.state.deployments.iter().rev().find(|deployment| deployment.has_answered(&wish.request_id)).cloned()
    }

    /// Begins a deployment, after other events in the same commit.
    async fn begin(&mut self, request: Box<Request>, mut events: Vec<Event>) -> Result<Deployment, CommandError> {
        let (number, by) = (request.number, name_of(&request.requested_by));
        let at = self.project.shared.clock.now();
        events.push(Event { at, by, change: Change::DeploymentRequested(request) });
        self.commit(events).await?;
        self.project.shared.deployers.hand_out(&self.project.id).await;
        self.deployment(number)
    }

    async fn fact(&mut self, by: String, number: u64, fact: Fact) -> Result<Deployment, CommandError> {
        let at = self.project.shared.clock.now();
        self.check_line(number, &fact)?;
        let after = self.project.read().state.after(number, fact.clone(), at)?.0;
        if self.project.read().state.deployment(number) == Some(&after) {
            // The same waiting reason again is no news.
            return Ok(after);
        }
        let quarantine = self.project.read().state.quarantine_of(&after);
        let mut events = vec![Event { at, by, change: Change::DeploymentChanged { number, fact } }];
        events.extend(quarantine.map(|change| Event { at, by: SERVER.to_owned(), change }));
        self.commit(events).await?;
        self.deployment(number)
    }

    /// While the line keeps deployments under way paused, no person lets one go on.
    fn check_line(&self, number: u64, fact: &Fact) -> Result<(), CommandError> {
        let Fact::Controlled(used) = fact else { return Ok(()) };
        let line = self.project.shared.line.line();
        let inner = self.project.read();
        let forbids = |deployment| line.forbids(&used.control, deployment);
        match inner.state.deployment(number).and_then(forbids) {
            Some(barrier) => Err(Refusal::Held(barrier).into()),
            None => Ok(()),
        }
    }

    fn deployment(&self, number: u64) -> Result<Deployment, CommandError> {
        let inner = self.project.read();
        let missing = CommandError::Misfit(brain_core::state::Misfit::NoDeployment(number));
        inner.state.deployment(number).cloned().ok_or(missing)
    }

    /// Commits, applies, publishes and does what follows. No events: nothing to do.
    async fn commit(&mut self, events: Vec<Event>) -> Result<(), CommandError> {
        if events.is_empty() {
            return Ok(());
        }
        let shared = &self.project.shared;
        let expected = self.project.read().version;
        let transition = Transition { stream: self.project.id.clone().into(), expected, events: events.clone() };
        let revision = match shared.store.commit(vec![transition]).await {
            Ok(revision) => revision,
            Err(error) => {
                error!(%error, "commit failed");
                if matches!(error, StoreError::Conflict { .. }) {
                    // One process owns the store, so somebody else wrote to it: nothing that is held in memory is
                    // right any more.
                    shared.shutdown.cancel();
                }
                return Err(CommandError::Store(error.to_string()));
            }
        };
        shared.committed(revision.0);
        let happened = events.iter().rev().find_map(deployment_fact);
        let number = happened.map(|(number, ..)| number);
        let traced = happened.filter(|_| trace::is_on());
        let traced = traced.and_then(|(number, fact, at)| Some((self.deployment(number).ok()?, fact.clone(), at)));
        let effects = self.project.publish(expected + 1, events)?;
        if let Some((before, fact, at)) = traced {
            self.trace(&before, &fact, at);
        }
        self.follow(number, effects).await;
        Ok(())
    }

    /// Exports what has ended of a deployment.
    fn trace(&self, before: &Deployment, fact: &Fact, at: Timestamp) {
        let inner = self.project.read();
        let after = inner.state.deployment(before.number);
        after.into_iter().flat_map(|after| spans(&inner.state, before, after, fact, at)).for_each(trace::export);
    }

    async fn follow(&self, number: Option<u64>, effects: Vec<Effect>) {
        let deployers = &self.project.shared.deployers;
        for effect in effects {
            match (effect, number) {
                (Effect::HandOut, _) => deployers.hand_out(&self.project.id).await,
                (Effect::Withdraw(generation), Some(number)) => {
                    deployers.withdraw(&self.project.id, number, generation).await;
                }
                (Effect::Ended { leftover }, Some(number)) => {
                    if let Ok(deployment) = self.deployment(number) {
                        crate::metrics::ended(&deployment);
                    }
                    deployers.ended(&self.project.id, number, leftover).await;
                }
                (_, None) => {}
            }
        }
    }

    /// Time until the active deployment's step has taken too long, a freeze ends, a deploy window opens or closes, or the
    /// policy is tried again.
    fn until_deadline(&self) -> Option<Duration> {
        let now = self.project.shared.clock.now();
        let inner = self.project.read();
        let deadline = inner.state.active().and_then(Deployment::deadline);
        let holds = &inner.state.holds;
        let times =
            [deadline, holds.thaws(), holds.next_window_change(now)].into_iter().flatten().map(|time| time.since(now));
        times.chain(self.retries.then_some(RETRY_DEADLINE)).min()
    }

    async fn time_out(&mut self) {
        let now = self.project.shared.clock.now();
        let late = |deployment: &&Deployment| deployment.deadline().is_some_and(|deadline| deadline <= now);
        let late = self.project.read().state.active().filter(late).map(|deployment| deployment.number);
        let Some(number) = late else { return };
        if let Err(error) = self.fact(SERVER.to_owned(), number, Fact::TimedOut).await {
            warn!(%error, number, "a deadline could not be recorded, trying again");
            tokio::time::sleep(RETRY_DEADLINE).await;
        }
    }
}

/// Who is named in events.
fn name_of(requested_by: &str) -> String {
    if requested_by.is_empty() { "unknown".to_owned() } else { requested_by.to_owned() }
}

/// What happens to which deployment, and when.
fn deployment_fact(event: &Event) -> Option<(u64, &Fact, Timestamp)> {
    match &event.change {
        Change::DeploymentChanged { number, fact } => Some((*number, fact, event.at)),
        _ => None,
    }
}
