//! What people intend for the project while others deploy it: they hold, approve and lift at the worst moment, and at last
//! lift everything.

use super::{faults::Faults, house::BEGIN_MS, referee::Referee};
use anyhow::Result;
use brain_core::{
    deployment::{Fact, Lease},
    event::{Change, Event},
    hold::{Frozen, Hold, Holds},
    id::AgentName,
    image::Digest,
    line::{Line, Moment},
    state::{ProjectState, Wish},
    time::Timestamp,
};
use brain_proto::{
    convert::{duration_to_proto, spec_from_proto},
    v1::{
        ApproveDeploymentRequest, DeployWindow, FreezeProjectRequest, LiftQuarantineRequest, PinProjectRequest,
        ReleaseLineRequest, SetDeployWindowsRequest, SetRequiredApprovalsRequest, StopLineRequest, ThawProjectRequest,
        UnpinProjectRequest, deployment_service_client::DeploymentServiceClient,
        line_service_client::LineServiceClient, project_service_client::ProjectServiceClient,
    },
};
use std::time::Duration;
use tonic::{Status, transport::Channel};

/// Different things that people do.
pub const DEEDS: u64 = 12;

const PROJECT: &str = "projects/user";

/// One of them.
pub async fn deed(people: &Channel, what: u64, flag: bool, active: Option<u64>) -> Result<(), Status> {
    let mut projects = ProjectServiceClient::new(people.clone());
    let mut line = LineServiceClient::new(people.clone());
    let name = PROJECT.to_owned();
    match what {
        0 => line.stop_line(StopLineRequest { pause_running: flag, ..StopLineRequest::default() }).await.map(drop),
        1 => line.release_line(ReleaseLineRequest::default()).await.map(drop),
        2 => projects.freeze_project(FreezeProjectRequest { name, ..FreezeProjectRequest::default() }).await.map(drop),
        3 => projects.thaw_project(ThawProjectRequest { name, ..ThawProjectRequest::default() }).await.map(drop),
        4 => {
            let version = if flag { "0.0.4" } else { "0.0.5" }.to_owned();
            let request = PinProjectRequest { name, version, ..PinProjectRequest::default() };
            projects.pin_project(request).await.map(drop)
        }
        5 => projects.unpin_project(UnpinProjectRequest { name, ..UnpinProjectRequest::default() }).await.map(drop),
        6 | 7 => {
            // Half of the time, in pieces of five minutes.
            let duration = Some(duration_to_proto(Duration::from_secs(300)));
            let window = DeployWindow { cron: "*/10 * * * *".to_owned(), duration, time_zone: "UTC".to_owned() };
            let windows = if what == 6 { vec![window] } else { Vec::new() };
            let request = SetDeployWindowsRequest { name, windows, ..SetDeployWindowsRequest::default() };
            projects.set_deploy_windows(request).await.map(drop)
        }
        8 => {
            let count = u32::from(flag);
            let request = SetRequiredApprovalsRequest { name, count, ..SetRequiredApprovalsRequest::default() };
            projects.set_required_approvals(request).await.map(drop)
        }
        9 | 10 => {
            let Some(active) = active else { return Ok(()) };
            let (name, requested_by) = (format!("{PROJECT}/deployments/{active}"), "carl".to_owned());
            let request = ApproveDeploymentRequest { name, requested_by, ..ApproveDeploymentRequest::default() };
            DeploymentServiceClient::new(people.clone()).approve_deployment(request).await.map(drop)
        }
        _ => {
            let name = format!("{PROJECT}/releases/0.0.5");
            let request = LiftQuarantineRequest { name, ..LiftQuarantineRequest::default() };
            projects.lift_quarantine(request).await.map(drop)
        }
    }
}

/// Lifts whatever is held. What is refused is tried again by the next call.
pub async fn lift(people: &Channel, referee: &Referee) {
    if referee.stopped_line() != Line::default() {
        let _ = deed(people, 1, false, None).await;
    }
    let Some(state) = referee.state() else { return };
    let Holds { pin, freeze, quarantines, windows, approvals } = &state.holds;
    let lifts = [
        (pin.is_some(), 5),
        (freeze.is_some(), 3),
        (!quarantines.is_empty(), 11),
        (windows.is_some(), 7),
        (approvals.is_some(), 8),
    ];
    for (_, what) in lifts.into_iter().filter(|(held, _)| *held) {
        let _ = deed(people, what, false, None).await;
    }
}

/// What a referee says of states that no server may store.
pub fn against_intent() -> Result<Vec<String>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    let _paused = runtime.enter();
    let referee = Referee::new(Faults::new(0, None, None));
    let at = Timestamp(BEGIN_MS);
    let mut project = crate::load::project("user");
    if let Some(target) = &mut project.target {
        target.host_port = 6041;
    }
    let mut state = ProjectState::new(spec_from_proto(project)?, at);
    let event = |by: &str, change| Event { at, by: by.to_owned(), change };
    let digest = Digest::parse(&format!("sha256:{}", "05".repeat(32)))?;
    state.apply(&event("test", Change::ImageObserved { tag: "0.0.5".to_owned(), digest }))?;
    referee.committed(state.clone(), false);
    let wish = Wish { tag: "0.0.5".to_owned(), requested_by: "ann".to_owned(), ..Wish::default() };
    let request = state.request_deployment(wish, &Moment::default())?;
    let mut begun = state.clone();
    begun.apply(&event("ann", Change::DeploymentRequested(Box::new(request))))?;
    let mut line = Line::default();
    line.apply(&event("ann", Change::LineStopped { pause_running: true, why: String::new() }))?;
    referee.line(line.clone());
    referee.committed(begun.clone(), false);
    referee.line(Line::default());
    for hold in [Hold::Freeze(Frozen { until: None }), Hold::Approvals(1)] {
        referee.committed(state.clone(), false);
        let mut against = begun.clone();
        against.apply(&event("ann", Change::HoldSet { hold, why: String::new() }))?;
        referee.committed(against, false);
    }
    referee.committed(begun.clone(), false);
    let mut frozen = begun.clone();
    let hold = Hold::Freeze(Frozen { until: None });
    frozen.apply(&event("ann", Change::HoldSet { hold, why: String::new() }))?;
    referee.committed(frozen.clone(), false);
    let lease = Lease { agent: AgentName::parse("deployer-1")?, instance: "i".to_owned() };
    frozen.apply(&event("test", Change::DeploymentChanged { number: 1, fact: Fact::Leased(lease.clone()) }))?;
    referee.committed(frozen, false);
    referee.committed(begun.clone(), false);
    for fact in [Fact::Leased(lease), Fact::LineStopped { by: "ann".to_owned(), why: String::new() }] {
        begun.apply(&event("test", Change::DeploymentChanged { number: 1, fact }))?;
    }
    referee.line(line);
    referee.committed(begun.clone(), false);
    begun.apply(&event("test", Change::DeploymentChanged { number: 1, fact: Fact::LineReleased }))?;
    referee.committed(begun, false);
    Ok(referee.violations())
}
