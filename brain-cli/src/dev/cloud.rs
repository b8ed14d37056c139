//! The simulated account of `brain dev`: nothing goes wrong in it but what a version does, and things take seconds.

use brain_core::time::Timestamp;
use brain_deployer::{
    clouds::Clouds,
    simulated::{Act, Behaviour, Client, Director, Pace, SimulatedCloud, Treatment, World},
};
use std::{fmt, sync::Arc, time::Duration};

/// What the manifest of an image says whose tasks crash.
pub(super) const BAD: &str = "crash";
/// How long things take: short enough for a story that somebody looks on, long enough to see each share.
const PACE: Pace = Pace {
    boot_ms: 3_000,
    start_ms: 1_000,
    healthy_ms: 1_000,
    crash_ms: 1_000,
    unhealthy_ms: 5_000,
    drain_ms: 1_000,
    deleted_ms: 1_000,
};
/// Time of one call, before it takes effect.
const CALL: Duration = Duration::from_millis(10);

/// The account.
pub(super) struct Simulated(Arc<SimulatedCloud>);

impl fmt::Debug for Simulated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Simulated")
    }
}

impl Simulated {
    /// An account in which the world is so.
    pub(super) fn new(mut world: World) -> Self {
        world.pace = PACE;
        let now = || Timestamp(jiff::Timestamp::now().as_millisecond());
        Self(SimulatedCloud::new(world, Arc::new(Fair), Arc::new(now)))
    }

    /// Its control loop: runs until it is dropped.
    pub(super) fn run(&self) -> impl Future<Output = ()> + Send + 'static {
        let cloud = Arc::clone(&self.0);
        async move { cloud.run().await }
    }

    /// A deployer's way to it.
    pub(super) fn client(&self) -> Arc<dyn Clouds> {
        Arc::new(Client::new(Arc::clone(&self.0), "deployer"))
    }

    /// Tasks of these images crash from now on.
    pub(super) fn crashes(&self, digests: Vec<String>) {
        self.0.with(|world| world.images.extend(digests.into_iter().map(|digest| (digest, Behaviour::Crashes))));
    }

    /// What there is, to be kept.
    pub(super) fn world(&self) -> World {
        self.0.with(|world| world.clone())
    }
}

/// Whether tasks of the image with this manifest crash.
pub(super) fn is_bad(manifest: &str) -> bool {
    let manifest: serde_json::Value = serde_json::from_str(manifest).unwrap_or_default();
    manifest["annotations"]["brain.dev.tasks"] == BAD
}

/// Answers every call, and lets every act be.
struct Fair;

impl Director for Fair {
    fn treat(&self, _: &str, _: &'static str, _: bool) -> Treatment {
        Treatment { before: CALL, ..Treatment::default() }
    }

    fn acts(&self, _: &str, act: Act, _: &World) -> Vec<Act> {
        vec![act]
    }

    fn acting(&self, _: &str, _: &Act, _: &World) {}

    fn changed(&self, _: &World) {}
}
