//! A project on a simulated account, for the tests of steps. Time is the runtime's, which is to be paused.

use super::{Context, Observed};
use crate::{
    cloud::{Launch, NewGroup, Service, ServiceStatus},
    config::Credentials,
    prometheus::Prometheus,
    simulated::{Act, Client, Director, ServiceState, SimulatedCloud, TaskStage, Treatment, World},
};
use brain_core::{
    names::ResourceNames,
    project::{ProjectDraft, ProjectSpec, TargetDraft},
    time::Timestamp,
};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};

/// When the account begins, milliseconds since 1970.
const BEGIN_MS: i64 = 1_800_000_000_000;
/// Tasks that the project wants.
const DESIRED: u32 = 3;

/// Lets every call and every act be.
struct Fair;

impl Director for Fair {
    fn treat(&self, _: &str, _: &'static str, _: bool) -> Treatment {
        Treatment::default()
    }

    fn acts(&self, _: &str, act: Act, _: &World) -> Vec<Act> {
        vec![act]
    }

    fn acting(&self, _: &str, _: &Act, _: &World) {}

    fn changed(&self, _: &World) {}
}

/// The account, and a step's way to it.
pub(super) struct Sample {
    pub(super) cloud: Arc<SimulatedCloud>,
    pub(super) context: Context,
}

impl Sample {
    /// An empty account.
    pub(super) fn new() -> Self {
        let begun = Instant::now();
        let now: Arc<dyn Fn() -> Timestamp + Send + Sync> = Arc::new(move || Timestamp(BEGIN_MS).plus(begun.elapsed()));
        let cloud = SimulatedCloud::new(World::default(), Arc::new(Fair), Arc::clone(&now));
        let running = Arc::clone(&cloud);
        tokio::spawn(async move { running.run().await });
        let spec = spec();
        let context = Context {
            cloud: Arc::new(Client::new(Arc::clone(&cloud), "deployer")),
            names: Arc::new(ResourceNames::for_spec(&spec)),
            services: Arc::default(),
            wanted: Arc::default(),
            makes: true,
            looks: Arc::default(),
            spec: Arc::new(spec),
            prometheus: Arc::new(Prometheus::default()),
            credentials: Arc::new(Credentials::default()),
            now,
            first_shifted: None,
            shifted: None,
            old_serves: true,
            watching: None,
            step_began_ms: 0,
            failures_since_ms: 0,
            stopped_seen_ms: Arc::default(),
            watch: Arc::default(),
            evidence: Arc::default(),
            set_up: brain_core::drift::SetUp::default(),
            adopt: false,
            made: BTreeSet::new(),
            goes_back: false,
            keeps_definition: false,
        };
        Self { cloud, context }
    }

    /// Makes the project's group, of so many instances.
    pub(super) async fn group(&self, desired: u32) {
        let group = NewGroup {
            name: self.context.names.auto_scaling_group.clone(),
            launch: Launch::Template("user-ecs-lt".to_owned()),
            load_balancer: None,
            subnets: Vec::new(),
            desired,
            max: 6,
            tags: self.context.tags(),
        };
        self.context.cloud.create_group(&group).await.unwrap();
    }

    /// A service of so many tasks, which the plan is about.
    pub(super) fn service(&mut self, name: &str, desired: u32) {
        let shown = Service {
            name: name.to_owned(),
            arn: name.to_owned(),
            status: ServiceStatus::Active,
            desired,
            running: 0,
            pending: 0,
            task_definition: format!("{name}:1"),
            target_group: None,
            health_check_grace_seconds: 0,
            tags: self.context.version_tags(name),
            events: Vec::new(),
        };
        let cluster = self.context.names.cluster.clone();
        let service = ServiceState { shown, cluster, client_token: String::new(), deleted_ms: None };
        self.cloud.with(|world| world.services.insert(name.to_owned(), service));
        self.context.services = self.context.services.iter().cloned().chain([name.to_owned()]).collect();
    }

    /// Somebody deletes a service, whatever runs in it.
    pub(super) fn deleted(&self, name: &str) {
        let now = (self.context.now)().0;
        self.cloud.with(|world| world.delete_service(name, now));
    }

    /// A task of a service ends by itself.
    pub(super) fn fails(&self, service: &str) {
        let now = (self.context.now)().0;
        self.cloud.with(|world| {
            let mut running = world.tasks.iter().filter(|(_, task)| task.stage == TaskStage::Running);
            let task = running.find(|(_, task)| task.service == service).map(|(id, _)| id.clone()).unwrap();
            world.kill_task(&task, now);
        });
    }

    /// Time passes, and what is seen next is looked at anew.
    pub(super) async fn later(&self, seconds: u64) {
        sleep(Duration::from_secs(seconds)).await;
        self.context.looks.forget();
    }
}

fn spec() -> ProjectSpec {
    let target = TargetDraft {
        region: "us-east-1".into(),
        container_port: 9000,
        desired_count: DESIRED,
        ..TargetDraft::default()
    };
    let draft = ProjectDraft {
        id: "user".into(),
        git_url: "https://git.example/user".into(),
        image_repository: "flowcommerce/user".into(),
        target: Some(target),
        ..ProjectDraft::default()
    };
    draft.validate(|_| Ok(6041)).unwrap()
}

/// What a look came to, in words; what there is to do is done.
pub(super) async fn told(observed: crate::cloud::Result<Observed>) -> String {
    match observed.unwrap() {
        Observed::Done(_) => "done".to_owned(),
        Observed::Told(drift) => drift.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        Observed::Ready(act) => {
            act.run.await.unwrap();
            act.what
        }
        Observed::Wait(why) | Observed::NoRoom(why) => format!("waits: {why}"),
        Observed::Blocked(why, found) => {
            let told = found.drift.iter().map(|drift| format!(", told: {drift}"));
            format!("blocked: {why}{}", told.collect::<String>())
        }
        Observed::Watched { why, .. } | Observed::Hold { why, .. } | Observed::Failing { why, .. } => why,
    }
}
