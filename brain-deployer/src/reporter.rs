//! What a stream carries to the server: reports that are acknowledged, and what was observed in production.

use crate::{
    cloud::{self, Cloud},
    step::health::{self, Look},
};
use brain_core::{deployment::Outcome, names::ResourceNames};
use brain_proto::{
    convert::{duration_to_proto, outcome_to_proto, service_state_to_proto},
    v1::{
        DeployerServiceConnectRequest, ProductionReport, ReportAcknowledged, StepReport,
        deployer_service_connect_request::Message,
    },
};
use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::{Mutex, mpsc, oneshot};

/// The stream has ended, or the server refused the report: the deployment is somebody else's now.
#[derive(Debug)]
pub(crate) struct Leave;

/// What was last seen of each project's production, and told. The lock of a project is held while it is told, so that
/// what was seen later is told later.
type Told = std::sync::Mutex<HashMap<String, Arc<Mutex<Option<Look>>>>>;

/// The way to the server.
#[derive(Debug)]
pub(crate) struct Reporter {
    sender: mpsc::Sender<DeployerServiceConnectRequest>,
    sequence: AtomicU64,
    waiting: std::sync::Mutex<HashMap<u64, oneshot::Sender<bool>>>,
    told: Told,
}

/// Which step a report is about.
#[derive(Debug, Clone)]
pub(crate) struct StepKey {
    pub(crate) deployment: String,
    pub(crate) generation: u64,
    pub(crate) rollback: bool,
    pub(crate) step: u32,
}

/// Whose production is looked at, and under which assignment.
#[derive(Debug, Clone)]
pub(crate) struct Observation {
    pub(crate) project: String,
    /// The deployment whose step looks; empty: the project is observed.
    pub(crate) deployment: String,
    pub(crate) generation: u64,
}

impl Observation {
    fn report(&self) -> ProductionReport {
        let Self { project, deployment, generation } = self.clone();
        ProductionReport { project, deployment, generation, ..ProductionReport::default() }
    }
}

impl Reporter {
    pub(crate) fn new(sender: mpsc::Sender<DeployerServiceConnectRequest>) -> Self {
        Self { sender, sequence: AtomicU64::new(0), waiting: std::sync::Mutex::default(), told: Told::default() }
    }

    /// Reports how a step stands and waits until that is stored.
    pub(crate) async fn report(&self, key: &StepKey, outcome: &Outcome) -> Result<(), Leave> {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed) + 1;
        let (answer, answered) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(sequence, answer);
        let StepKey { deployment, generation, rollback, step } = key.clone();
        let outcome = Some(outcome_to_proto(outcome));
        self.send(Message::Report(StepReport { sequence, deployment, generation, rollback, step, outcome })).await?;
        match answered.await {
            Ok(false) => Ok(()),
            Ok(true) | Err(_) => Err(Leave),
        }
    }

    /// A report was acknowledged.
    pub(crate) fn acknowledged(&self, acknowledged: ReportAcknowledged) {
        let ReportAcknowledged { sequence, stale } = acknowledged;
        if let Some(answer) = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&sequence) {
            // Whoever waited may have been cancelled.
            let _ = answer.send(stale);
        }
    }

    /// Observes a project's production, unless a step has seen it within `fresh`, and tells what was seen.
    pub(crate) async fn observe(
        &self,
        cloud: &dyn Cloud,
        names: &ResourceNames,
        of: &Observation,
        fresh: Duration,
    ) -> cloud::Result<Result<(), Leave>> {
        let told = self.told(&of.project);
        {
            let told = told.lock().await;
            if let Some(look) = told.as_ref().filter(|look| look.began.elapsed() < fresh) {
                return Ok(self.tell(of, look).await);
            }
        }
        let id = of.project.strip_prefix("projects/").unwrap_or(&of.project);
        // A look that nobody waits for may take long; a step that has seen something later does not wait for it.
        let look = health::production(cloud, names, id).await?;
        Ok(self.seen(of, look).await)
    }

    /// Tells what was seen of a project's production; where something later was told, that again.
    pub(crate) async fn seen(&self, of: &Observation, look: Look) -> Result<(), Leave> {
        let told = self.told(&of.project);
        let mut told = told.lock().await;
        // What began later may have been quicker.
        let look = match told.take() {
            Some(later) if later.began >= look.began => later,
            _ => look,
        };
        self.tell(of, told.insert(look)).await
    }

    /// Tells again what was seen last of a project's production: a cheaper look shows that it is so still.
    pub(crate) async fn seen_again(&self, of: &Observation) -> Result<(), Leave> {
        let told = self.told(&of.project);
        let told = told.lock().await;
        match told.as_ref() {
            Some(look) => self.tell(of, look).await,
            None => Ok(()),
        }
    }

    /// Tells that a look has failed.
    pub(crate) async fn unseen(&self, of: &Observation, why: String) -> Result<(), Leave> {
        let report = ProductionReport { failure: why, ..of.report() };
        self.send(Message::Production(report)).await
    }

    fn told(&self, project: &str) -> Arc<Mutex<Option<Look>>> {
        let mut all = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(project.to_owned()).or_default())
    }

    async fn tell(&self, of: &Observation, look: &Look) -> Result<(), Leave> {
        let versions = look.services.iter().map(service_state_to_proto).collect();
        let age = Some(duration_to_proto(look.began.elapsed()));
        self.send(Message::Production(ProductionReport { versions, age, ..of.report() })).await
    }

    /// Sends a message.
    pub(crate) async fn send(&self, message: Message) -> Result<(), Leave> {
        let request = DeployerServiceConnectRequest { message: Some(message) };
        self.sender.send(request).await.map_err(|_| Leave)
    }
}
