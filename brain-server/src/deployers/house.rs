//! Housekeeping by deployers: looks, and leases that are never prolonged.

use super::{DeployersHandle, Hub, LOOK_WITHIN, Leftover, ToHub};
use crate::SERVER;
use brain_core::{
    assignment::agent_for,
    deployment::Lease,
    housekeeping::HouseNews,
    id::{AgentName, ProjectId},
};
use brain_proto::{
    name,
    v1::{HousekeepingFound, HousekeepingRequest, HousekeepingRevoked, deployer_service_connect_response::Message},
};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};
use tracing::{info, warn};

impl DeployersHandle {
    /// What a deployer sees that could be removed, and which process that is; the error says why none looked.
    pub(crate) async fn look_after(
        &self,
        project: &ProjectId,
        request: HousekeepingRequest,
    ) -> Result<(HousekeepingFound, Lease), &'static str> {
        let (reply, answer) = oneshot::channel();
        self.send(ToHub::LookAfter(project.clone(), Box::new(request), reply)).await;
        match timeout(LOOK_WITHIN, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err("no deployer is connected"),
            Err(_) => Err("the deployer did not answer in time"),
        }
    }

    /// The process that looked is to remove what it found. Nothing happens where it is gone, or a deployment has begun.
    pub(crate) async fn keep_house(&self, project: &ProjectId, lease: Lease, request: HousekeepingRequest) {
        self.send(ToHub::KeepHouse(project.clone(), lease, Box::new(request))).await;
    }

    /// Whoever keeps house of the project is to leave at once.
    pub(crate) async fn leave_house(&self, project: &ProjectId) {
        self.send(ToHub::LeaveHouse(project.clone())).await;
    }
}

impl Hub {
    pub(super) fn look_after(
        &mut self,
        project: &ProjectId,
        mut request: HousekeepingRequest,
        reply: oneshot::Sender<(HousekeepingFound, Lease)>,
    ) {
        self.looks.retain(|_, (_, waiting)| !waiting.is_closed());
        let Some(agent) = agent_for(project, self.alive()).cloned() else { return };
        let Some(deployer) = self.deployers.get(&agent) else { return };
        let lease = Lease { agent, instance: deployer.instance.clone() };
        self.last_plan += 1;
        request.id = self.last_plan;
        self.tell(&lease, Message::Housekeeping(request));
        self.looks.insert(self.last_plan, (lease, reply));
    }

    pub(super) fn looked_after(&mut self, found: HousekeepingFound) {
        if let Some((lease, reply)) = self.looks.remove(&found.id) {
            // Whoever asked may have left.
            let _ = reply.send((found, lease));
        }
    }

    /// Lets a process act that holds a lease of housekeeping. It counts its end from before this is sent, and nothing
    /// prolongs it, so that after this time it certainly acts no more.
    pub(super) fn keep_house(&mut self, project: ProjectId, lease: Lease, mut request: HousekeepingRequest) {
        let leased = self.leases.keys().any(|(other, _)| *other == project);
        let active = self.directory.get(&project).is_none_or(|project| project.read().state.active().is_some());
        let here = self.deployers.get(&lease.agent).is_some_and(|deployer| deployer.instance == lease.instance);
        if leased || active || !here || self.leftovers.contains_key(&project) {
            info!(%project, "housekeeping makes way");
            return self.end_housekeeping(&project, lease);
        }
        self.last_plan += 1;
        (request.id, request.remove) = (self.last_plan, true);
        let expires = Instant::now() + self.times.lease;
        self.tell(&lease, Message::Housekeeping(request));
        self.leftovers.insert(project, Leftover { lease, expires, house: Some(self.last_plan) });
    }

    /// Forgets processes that certainly act no more.
    pub(super) fn let_go(&mut self, now: Instant) {
        let over = self.leftovers.extract_if(.., |_, leftover| leftover.expires <= now);
        let over: Vec<(ProjectId, Leftover)> = over.collect();
        for (project, leftover) in over {
            self.end_housekeeping(&project, leftover.lease);
        }
    }

    /// Records that a process keeps house no more, if it did.
    fn end_housekeeping(&self, project: &ProjectId, lease: Lease) {
        let Some(project) = self.directory.get(project) else { return };
        if project.read().state.housekeeper.as_ref() != Some(&lease) {
            return;
        }
        self.tasks.spawn(async move {
            let news = HouseNews::Ended { lease, removed: Vec::new() };
            if let Err(error) = project.keep_house(SERVER.to_owned(), news).await {
                // A deployment ends it too, and the next start counts it anew.
                warn!(project = %project.id, %error, "the end of housekeeping was not stored");
            }
        });
    }

    /// It has ended, so that others may act.
    pub(super) fn house_kept(&mut self, project: &ProjectId, id: u64, agent: &AgentName) {
        let kept = |leftover: &Leftover| leftover.house == Some(id) && leftover.lease.agent == *agent;
        if self.leftovers.get(project).is_some_and(kept) {
            self.leftovers.remove(project);
        }
    }

    pub(super) fn leave_house(&self, project: &ProjectId) {
        if let Some(Leftover { lease, house: Some(id), .. }) = self.leftovers.get(project) {
            let revoked = HousekeepingRevoked { id: *id, project: name::project(project) };
            self.tell(lease, Message::HousekeepingRevoked(revoked));
        }
    }
}
