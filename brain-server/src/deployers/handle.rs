//! The hub's mailbox: what is said to it, and by what.

use super::{DeployerConnection, DeploymentKey};
use crate::project::CommandError;
use brain_core::{
    deployment::{Deployment, Lease},
    id::{AgentName, ProjectId},
    time::Timestamp,
};
use brain_proto::v1::{HousekeepingFound, HousekeepingRequest, PlanAnswer, PlanRequest};
use std::time::Duration;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

/// Messages to the hub that may wait.
const INBOX: usize = 1_024;
/// Time that a deployer has to look at a plan.
const PLAN_WITHIN: Duration = Duration::from_secs(10);

/// Speaks to the hub.
#[derive(Debug, Clone)]
pub struct DeployersHandle(mpsc::Sender<ToHub>);

#[derive(Debug)]
pub(crate) enum ToHub {
    Connected(AgentName, String, DeployerConnection),
    Disconnected(AgentName, u64),
    Renew {
        agent: AgentName,
        stream: u64,
        sequence: u64,
    },
    HandOut(ProjectId),
    Withdraw(ProjectId, u64, u64),
    Ended(ProjectId, u64, bool),
    Defined,
    List(oneshot::Sender<Vec<DeployerView>>),
    /// A plan is to be looked at. Without a deployer the sender is dropped.
    Plan(ProjectId, Box<PlanRequest>, oneshot::Sender<PlanAnswer>),
    Planned(PlanAnswer),
    /// A project is to be looked at for housekeeping. Without a deployer the sender is dropped.
    LookAfter(ProjectId, Box<HousekeepingRequest>, oneshot::Sender<(HousekeepingFound, Lease)>),
    LookedAfter(HousekeepingFound),
    KeepHouse(ProjectId, Lease, Box<HousekeepingRequest>),
    LeaveHouse(ProjectId),
    HouseKept(ProjectId, u64, AgentName),
    /// A lease was committed, or refused.
    Leased(DeploymentKey, u64, Result<Box<Deployment>, CommandError>),
    /// The end of a lease could not be committed.
    EndOfLeaseFailed(DeploymentKey, Lease),
}

/// Mail for the hub, until it runs.
#[derive(Debug)]
pub struct DeployersInbox(pub(super) mpsc::Receiver<ToHub>);

/// The two ends of the hub's mailbox.
#[must_use]
pub fn channel() -> (DeployersHandle, DeployersInbox) {
    let (sender, receiver) = mpsc::channel(INBOX);
    (DeployersHandle(sender), DeployersInbox(receiver))
}

impl DeployersHandle {
    /// The project's active deployment needs a deployer.
    pub(crate) async fn hand_out(&self, project: &ProjectId) {
        self.send(ToHub::HandOut(project.clone())).await;
    }

    /// The holder of this generation is to leave the deployment.
    pub(crate) async fn withdraw(&self, project: &ProjectId, number: u64, generation: u64) {
        self.send(ToHub::Withdraw(project.clone(), number, generation)).await;
    }

    /// The deployment is over. Where its holder is left over, that one may act until its lease ends.
    pub(crate) async fn ended(&self, project: &ProjectId, number: u64, leftover: bool) {
        self.send(ToHub::Ended(project.clone(), number, leftover)).await;
    }

    /// All connected deployers, and since when they are.
    pub(crate) async fn list(&self) -> Vec<DeployerView> {
        let (reply, answer) = oneshot::channel();
        self.send(ToHub::List(reply)).await;
        answer.await.unwrap_or_default()
    }

    /// What a deployer says of a plan; the error says why none did.
    pub(crate) async fn plan(&self, project: &ProjectId, request: PlanRequest) -> Result<PlanAnswer, &'static str> {
        let (reply, answer) = oneshot::channel();
        self.send(ToHub::Plan(project.clone(), Box::new(request), reply)).await;
        match timeout(PLAN_WITHIN, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err("no deployer is connected"),
            Err(_) => Err("the deployer did not answer in time"),
        }
    }

    /// A project is new, its definition changed, or it is gone.
    pub(crate) async fn project_defined(&self) {
        self.send(ToHub::Defined).await;
    }

    pub(crate) async fn send(&self, message: ToHub) {
        // The hub ends only when the server does.
        let _ = self.0.send(message).await;
    }
}

/// A deployer that is connected.
#[derive(Debug)]
pub(crate) struct DeployerView {
    pub(crate) agent: AgentName,
    /// Since when its stream is open.
    pub(crate) since: Timestamp,
    /// Deployments that it carries out.
    pub(crate) deployments: usize,
}
