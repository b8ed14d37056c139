//! A version that is bad is cancelled where it stands, at any moment, and the next one is deployed: nothing that was left in
//! the midst may stand in its way.

use super::{Faults, House, Referee, Setting, create_projects, deploy, digest, past, settle, weights};
use anyhow::{Context, Result, bail, ensure};
use brain_core::deployment::Phase;
use brain_deployer::simulated::{Behaviour, Chance, World};
use brain_proto::{
    channel,
    v1::{
        CancelDeploymentRequest, CreateDeploymentRequest, RolloutPolicy, RolloutPreset,
        create_deployment_request::What, deployment_service_client::DeploymentServiceClient,
    },
};
use std::{sync::Arc, time::Duration};
use tokio::time::sleep;
use tonic::transport::{Channel, Uri};

/// Time in which the good version is there. One step alone that had to time out would take ten minutes.
const MENDED_WITHIN: Duration = Duration::from_mins(8);

/// Plays one seed.
pub fn mended(seed: u64) -> Result<()> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    runtime.block_on(play(seed))
}

async fn play(seed: u64) -> Result<()> {
    let mut random = fastrand::Rng::with_seed(seed);
    let bad = [Behaviour::Crashes, Behaviour::NeverHealthy, Behaviour::CannotBePulled][random.usize(0..3)];
    let mut world = World::default();
    world.images.insert(digest(5), bad);
    world.chance = Chance::of_seed(seed);
    past::leave(&mut world);
    let referee = Arc::new(Referee::new(Faults::new(seed, None, None)));
    let house = House::new(world, Arc::clone(&referee), Duration::from_secs(90));
    let kind = weights::kind(Setting { seed, ..Setting::default() });
    create_projects(&house, &[], false, &[4, 5, 6], kind).await?;
    house.start_server()?;
    house.start_watcher("watcher-1")?;
    house.start_deployer("deployer-1", None)?;
    let people = Arc::clone(&house.wires)
        .connect_lazily("people".to_owned(), &channel::endpoint(Uri::from_static("http://brain")));
    while referee.state().is_none_or(|state| state.images.len() < 3) {
        sleep(Duration::from_secs(1)).await;
    }
    if random.u32(0..4) > 0 {
        deploy(&house, &people, "0.0.4", None, None).await?;
    }
    leave(&people, &mut random).await?;
    referee.note(format!("{bad:?} is left as it is"));
    sleep(Duration::from_millis(random.u64(0..40_000))).await;
    let before = house.now();
    deploy(&house, &people, "0.0.6", None, None).await?;
    let took = house.now().since(before);
    let state = referee.state().context("nothing is stored")?;
    let last = state.deployments.back().context("nothing is deployed")?;
    let told = || format!("{}\n\nseed {seed}, {bad:?}: {:?} after {took:?}", referee.history().join("\n"), last.phase);
    if (last.phase, &*last.tag) != (Phase::Succeeded, "0.0.6") || took > MENDED_WITHIN {
        bail!("{}", told());
    }
    settle(&house).await;
    house.cloud.with(|world| referee.at_end(world));
    ensure!(referee.violations().is_empty(), "{}\n{:#?}", told(), referee.violations());
    Ok(())
}

/// Asks for the bad version, and cancels it as it stands a while later.
async fn leave(people: &Channel, random: &mut fastrand::Rng) -> Result<()> {
    let presets = [RolloutPreset::OneByOne, RolloutPreset::BlueGreen, RolloutPreset::Canary];
    // It is a person who finds it bad, before the failures are enough.
    let preset = presets[random.usize(0..presets.len())].into();
    let policy = RolloutPolicy { preset, max_task_failures: 100, ..RolloutPolicy::default() };
    let mut client = DeploymentServiceClient::new(people.clone());
    let request = CreateDeploymentRequest {
        parent: "projects/user".to_owned(),
        what: Some(What::Version("0.0.5".to_owned())),
        requested_by: "ann".to_owned(),
        rollout_policy: Some(policy),
        ..CreateDeploymentRequest::default()
    };
    let name = client.create_deployment(request).await?.into_inner().deployment.unwrap_or_default().name;
    sleep(Duration::from_millis(random.u64(0..120_000))).await;
    let requested_by = "bob".to_owned();
    client
        .cancel_deployment(CancelDeploymentRequest { name, requested_by, reason: String::new(), rollback: false })
        .await?;
    Ok(())
}
