use super::*;

const TICK_MS: i64 = 250;
const MINUTE_MS: i64 = 60_000;

/// A service of three tasks on three instances.
fn serving() -> World {
    let mut world = World::default();
    let shown = Service {
        name: "user".into(),
        arn: "user".into(),
        status: ServiceStatus::Active,
        desired: 3,
        running: 0,
        pending: 0,
        task_definition: "user:1".into(),
        target_group: None,
        health_check_grace_seconds: 0,
        tags: Tags::new(),
        events: Vec::new(),
    };
    let (cluster, client_token) = ("user-ecs-cluster".to_owned(), String::new());
    world.services.insert("user".into(), ServiceState { shown, cluster, client_token, deleted_ms: None });
    let group = Group {
        desired: 3,
        min: 0,
        max: 6,
        instances: Vec::new(),
        passing: BTreeSet::new(),
        subnets: Vec::new(),
        rebalances: false,
        health_check: "EC2".into(),
        load_balancers: Vec::new(),
        tags: Tags::new(),
        launch: None,
        template_id: None,
    };
    world.groups.insert("user-ecs-asg".into(), group);
    world
}

/// Numbers of healthy tasks that were seen from then until then.
fn healthy(world: &mut World, from_ms: i64, until_ms: i64) -> BTreeSet<u32> {
    let mut seen = BTreeSet::new();
    let mut now_ms = from_ms;
    while now_ms < until_ms {
        world.tick(now_ms);
        seen.insert(world.healthy().get("user").copied().unwrap_or(0));
        now_ms += TICK_MS;
    }
    seen
}

#[test]
fn a_version_that_turns_sick_stays_so_until_it_is_healed() {
    for behaviour in [Behaviour::NeverHealthy, Behaviour::Crashes, Behaviour::Leaks] {
        let mut world = serving();
        assert!(healthy(&mut world, 0, MINUTE_MS).contains(&3));
        world.sicken("user", behaviour, MINUTE_MS);
        let seen = healthy(&mut world, 2 * MINUTE_MS, 5 * MINUTE_MS);
        assert!(seen.contains(&0) || behaviour == Behaviour::Leaks, "{behaviour:?}: {seen:?}");
        assert!(seen.iter().any(|healthy| *healthy < 3), "{behaviour:?}: {seen:?}");
        let stopped = world.tasks.values().filter(|task| task.stopped.is_some()).count();
        assert!(stopped > 3, "{behaviour:?}: those that are started anew are sick too: {stopped}");
        world.heal("user");
        healthy(&mut world, 5 * MINUTE_MS, 6 * MINUTE_MS);
        assert_eq!(healthy(&mut world, 6 * MINUTE_MS, 9 * MINUTE_MS), BTreeSet::from([3]), "{behaviour:?}");
    }
}

#[test]
fn what_takes_the_place_of_a_sick_task_is_well() {
    let mut world = serving();
    healthy(&mut world, 0, MINUTE_MS);
    world.sicken_tasks("user", Behaviour::NeverHealthy, 1, MINUTE_MS);
    assert_eq!(healthy(&mut world, MINUTE_MS, MINUTE_MS + 10_000), BTreeSet::from([2]));
    healthy(&mut world, MINUTE_MS + 10_000, 2 * MINUTE_MS);
    assert_eq!(healthy(&mut world, 2 * MINUTE_MS, 5 * MINUTE_MS), BTreeSet::from([3]));
}

#[test]
fn an_instance_whose_boot_fails_is_in_its_group_and_never_in_the_cluster() {
    let mut world = serving();
    world.stillborn = 1;
    healthy(&mut world, 0, 60 * MINUTE_MS);
    assert_eq!((world.groups["user-ecs-asg"].instances.len(), world.stillborn), (3, 0));
    assert_eq!(world.hosts.values().filter(|host| !host.joined).count(), 1);
    assert_eq!(healthy(&mut world, 60 * MINUTE_MS, 61 * MINUTE_MS), BTreeSet::from([2]));
}

#[test]
fn tasks_of_a_service_that_a_person_deletes_are_stopped() {
    let mut world = serving();
    healthy(&mut world, 0, MINUTE_MS);
    world.delete_service("user", MINUTE_MS);
    healthy(&mut world, MINUTE_MS, 2 * MINUTE_MS);
    assert_eq!(world.services["user"].shown.status, ServiceStatus::Inactive);
    assert_eq!(world.services["user"].shown.running, 0);
}

/// Seeds among which there is each choice.
const SEEDS: u64 = 40;

/// The task that goes once the service is lowered by one, with its instance.
fn scaled_in(chance: Chance) -> (String, String) {
    let mut world = World { chance, ..serving() };
    healthy(&mut world, 0, MINUTE_MS);
    world.services.get_mut("user").unwrap().shown.desired = 2;
    assert!(healthy(&mut world, MINUTE_MS, 2 * MINUTE_MS).contains(&2));
    let mut stopped = world.tasks.iter().filter(|(_, task)| task.stopped.is_some());
    let (id, task) = stopped.next().unwrap();
    assert_eq!(stopped.next(), None);
    (id.clone(), task.instance.clone())
}

#[test]
fn where_a_task_comes_and_which_one_goes_is_chosen_by_a_seed() {
    let fixed = ("task-0006".to_owned(), "i-0003".to_owned());
    assert_eq!(scaled_in(Chance::default()), fixed, "without one it is the newest, on the last host");
    assert_eq!(scaled_in(Chance::of_seed(7)), scaled_in(Chance::of_seed(7)));
    let gone: BTreeSet<(String, String)> = (0..SEEDS).map(|seed| scaled_in(Chance::of_seed(seed))).collect();
    let tasks: BTreeSet<&str> = gone.iter().map(|(task, _)| task.as_str()).collect();
    let instances: BTreeSet<&str> = gone.iter().map(|(_, instance)| instance.as_str()).collect();
    assert_eq!((tasks.len(), instances.len()), (3, 3), "{gone:?}");
    assert!(gone.len() > 3, "the tasks are not on the same hosts each time: {gone:?}");
}

/// Tasks of a service that has waited for room, once a host of another one is lost and replaced.
fn got_the_room(chance: Chance) -> u32 {
    let mut world = World { chance, ..serving() };
    healthy(&mut world, 0, MINUTE_MS);
    let mut late = world.services["user"].clone();
    late.shown.desired = 1;
    world.services.insert("late".into(), late);
    healthy(&mut world, MINUTE_MS, MINUTE_MS + 10_000);
    assert_eq!(world.services["late"].shown.running, 0);
    world.kill_host("i-0001", MINUTE_MS + 10_000);
    healthy(&mut world, MINUTE_MS + 10_000, 3 * MINUTE_MS);
    world.services["late"].shown.running
}

#[test]
fn whose_task_takes_the_room_of_a_lost_one_is_chosen_by_a_seed() {
    assert_eq!(got_the_room(Chance::default()), 1, "without one it is the first service's");
    let got: BTreeSet<u32> = (0..SEEDS).map(|seed| got_the_room(Chance::of_seed(seed))).collect();
    assert_eq!(got, BTreeSet::from([0, 1]));
}

#[test]
fn a_task_that_is_never_healthy_is_spared_for_its_services_grace_period() {
    let mut world = serving();
    world.services.get_mut("user").unwrap().shown.health_check_grace_seconds = 60;
    let task = TaskState {
        service: "user".into(),
        instance: "i".into(),
        stage: TaskStage::Running,
        since_ms: 0,
        created_ms: 0,
        behaviour: Behaviour::NeverHealthy,
        healthy: false,
        stopped: None,
    };
    world.tasks.insert("task".into(), task);
    world.tick(59_999);
    assert_eq!(world.tasks["task"].stage, TaskStage::Running);
    world.tick(60_000);
    let stopped = world.tasks["task"].stopped.as_ref().map(|stopped| stopped.reason.as_str());
    assert_eq!(stopped, Some("Task failed ELB health checks"));
}
