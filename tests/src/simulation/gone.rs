//! Somebody deletes the old version's service in the midst of a shift, and the way back is asked for: what serves is kept, the
//! end says what is missing, and the next version is not held up.

use super::{END_WITHIN, Faults, House, Referee, Way, create_projects, deploy};
use anyhow::{Context, Result, ensure};
use brain_core::{deployment::Phase, state::ProjectState, traffic::LoadBalancerKind};
use brain_deployer::simulated::World;
use brain_proto::{
    channel,
    v1::{
        CancelDeploymentRequest, CreateDeploymentRequest, create_deployment_request::What,
        deployment_service_client::DeploymentServiceClient,
    },
};
use std::{sync::Arc, time::Duration};
use tokio::time::{sleep, timeout};
use tonic::transport::{Channel, Uri};

/// Plays it.
pub fn kept() -> Result<()> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    fastrand::seed(1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    runtime.block_on(play())
}

async fn play() -> Result<()> {
    let referee = Arc::new(Referee::new(Faults::new(1, None, None)));
    let house = House::new(World::default(), Arc::clone(&referee), Duration::from_secs(90));
    create_projects(&house, &[], false, &[4, 5, 6], LoadBalancerKind::Classic).await?;
    house.start_server()?;
    house.start_watcher("watcher-1")?;
    house.start_deployer("deployer-1", None)?;
    let people = Arc::clone(&house.wires)
        .connect_lazily("people".to_owned(), &channel::endpoint(Uri::from_static("http://brain")));
    until(&referee, "the releases", |state| state.images.len() == 3).await?;
    deploy(&house, &people, "0.0.4", None, None).await?;
    shift_and_go_back(&house, &people).await?;
    let told = || referee.history().join("\n");
    let state = referee.state().context("nothing is stored")?;
    let last = state.deployments.back().context("nothing is deployed")?;
    let reason = last.reason.clone().unwrap_or_default();
    ensure!(last.phase == Phase::Cancelled, "{}\n{:?}", told(), last.phase);
    let old = serving(&house, "0-0-4")?;
    ensure!(reason.contains(&format!("service {old} cannot be brought back: deleted by")), "{}\n{reason}", told());
    let new = serving(&house, "0-0-5")?;
    let healthy = house.cloud.with(|world| world.healthy().get(&new).copied());
    ensure!(healthy == Some(1), "{}\n{new} has {healthy:?}", told());
    deploy(&house, &people, "0.0.6", None, None).await?;
    let state = referee.state().context("nothing is stored")?;
    let last = state.deployments.back().context("nothing is deployed")?;
    ensure!((last.phase, &*last.tag) == (Phase::Succeeded, "0.0.6"), "{}\n{:?}", told(), last.reason);
    Ok(())
}

/// 0.0.5 comes to a third and waits for somebody, who has it go back to what is no more.
async fn shift_and_go_back(house: &House, people: &Channel) -> Result<()> {
    let referee = &house.referee;
    let mut client = DeploymentServiceClient::new(people.clone());
    let request = CreateDeploymentRequest {
        parent: "projects/user".to_owned(),
        what: Some(What::Version("0.0.5".to_owned())),
        requested_by: "ann".to_owned(),
        rollout_policy: Some(Way::Canary.policy()),
        ..CreateDeploymentRequest::default()
    };
    let name = client.create_deployment(request).await?.into_inner().deployment.unwrap_or_default().name;
    let holds = |state: &ProjectState| state.active().is_some_and(|active| active.paused.is_some());
    until(referee, "the hold", holds).await?;
    let (old, now) = (serving(house, "0-0-4")?, house.now().0);
    house.cloud.with(|world| world.delete_service(&old, now));
    referee.note(format!("somebody deletes {old}"));
    let requested_by = "bob".to_owned();
    client
        .cancel_deployment(CancelDeploymentRequest { name, requested_by, reason: String::new(), rollback: true })
        .await?;
    until(referee, "the end", |state| state.active().is_none()).await
}

/// The service of a version.
fn serving(house: &House, version: &str) -> Result<String> {
    let names = house.cloud.with(|world| world.services.keys().cloned().collect::<Vec<_>>());
    names.into_iter().find(|name| name.contains(version)).with_context(|| format!("there is no service of {version}"))
}

async fn until(referee: &Referee, what: &str, is_so: impl Fn(&ProjectState) -> bool) -> Result<()> {
    let so = async {
        while !referee.state().is_some_and(|state| is_so(&state)) {
            sleep(Duration::from_secs(1)).await;
        }
    };
    timeout(END_WITHIN, so).await.with_context(|| format!("waited for {what}\n{}", referee.history().join("\n")))
}
