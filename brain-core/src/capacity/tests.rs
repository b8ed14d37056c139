use super::*;
use crate::project::{ProjectDraft, TargetDraft};

fn target() -> Target {
    let draft = ProjectDraft {
        id: "user".into(),
        git_url: "https://git.example/user".into(),
        image_repository: "flowcommerce/user".into(),
        target: Some(TargetDraft {
            region: "us-east-1".into(),
            container_port: 9000,
            desired_count: 3,
            memory_mib: 500,
            cpu_units: 100,
            ..TargetDraft::default()
        }),
        ..ProjectDraft::default()
    };
    draft.validate(|_| Ok(6041)).unwrap().target
}

fn size(memory_mib: u32, cpu_units: u32) -> Size {
    Size { memory_mib, cpu_units }
}

fn host(instance: &str, port: PortUse) -> HostRoom {
    HostRoom { instance: instance.into(), whole: size(1_900, 2_048), left: size(1_900, 2_048), port }
}

/// A group of three that may have four, each with a task.
fn room() -> Room {
    let zones = [("subnet-a", "zone-a"), ("subnet-b", "zone-b")];
    Room {
        group: Some(GroupRoom { desired: 3, max: 4 }),
        hosts: ["i-1", "i-2", "i-3"].map(|instance| host(instance, PortUse::Own)).into(),
        growth: Some(Growth {
            size: Some(size(2_048, 2_048)),
            zones: zones.map(|(subnet, zone)| (subnet.to_owned(), zone.to_owned())).into(),
            missing: Vec::new(),
            named: false,
            offering: ["zone-a".to_owned(), "zone-b".to_owned()].into(),
        }),
    }
}

fn told(room: &Room, instances: u32) -> Vec<String> {
    told_as(room, instances, true)
}

fn told_as(room: &Room, instances: u32, raises: bool) -> Vec<String> {
    let target = target();
    let max_instances = target.max_instances;
    faults(Need { target: &target, group: "user-ecs-asg", instances, max_instances, raises }, room)
}

#[test]
fn where_there_is_room_there_is_no_fault() {
    assert_eq!(told(&room(), 4), Vec::<String>::new());
    assert_eq!(told(&Room { group: None, hosts: Vec::new(), ..room() }, 4), Vec::<String>::new());
}

#[test]
fn a_maximum_that_is_drift_is_not_counted_on() {
    let small = Room { group: Some(GroupRoom { desired: 3, max: 3 }), ..room() };
    assert_eq!(told_as(&small, 4, true), Vec::<String>::new(), "the set-up raises it");
    let why = "needs 1 more instance of 3, and the maximum of user-ecs-asg is 3: ";
    let repair = "deploy with repair_drift to raise it to target.max_instances, 4";
    assert_eq!(told_as(&small, 4, false), [format!("{why}{repair}")]);
    let both = "needs 2 more instances of 3, and the maximum of user-ecs-asg is 3: set target.max_instances to 5 and deploy \
                with repair_drift";
    assert_eq!(told_as(&small, 5, false), [both]);
}

#[test]
fn a_group_that_may_not_grow_is_told_with_the_arithmetic() {
    let why = "needs 2 more instances of 3, and the maximum of user-ecs-asg is 4: set target.max_instances to 5";
    assert_eq!(told(&room(), 5), [why]);
    let mut larger = room();
    larger.group = Some(GroupRoom { desired: 4, max: 9 });
    assert_eq!(told(&larger, 5), Vec::<String>::new(), "its own maximum is never lowered");
}

#[test]
fn hosts_that_cannot_take_a_task_do_not_count() {
    let mut room = room();
    room.hosts[2].port = PortUse::Other("task t of service agent".into());
    assert_eq!(
        told(&room, 4),
        [
            "needs 4 instances for a task that needs 500 MiB and 100 CPU units, and of the 4 of user-ecs-asg only 3 can take \
          one: instance i-3 has port 6041 in use by task t of service agent: stop that"
        ]
    );
    assert_eq!(told(&room, 2), Vec::<String>::new(), "two others are enough");
    room.hosts[2] = HostRoom { left: size(499, 2_048), ..host("i-3", PortUse::Free) };
    assert!(told(&room, 4)[0].ends_with("instance i-3 has 499 MiB and 2048 CPU units left: stop what uses the rest"));
    // What an own task leaves is no matter: its place is taken over.
    room.hosts[2].port = PortUse::Own;
    assert_eq!(told(&room, 4), Vec::<String>::new());
    for host in &mut room.hosts {
        host.whole = size(400, 2_048);
    }
    room.hosts.push(room.hosts[0].clone());
    assert!(told(&room, 4)[0].ends_with(", and 1 more"), "{:?}", told(&room, 4));
}

#[test]
fn new_instances_have_to_fit_and_to_be_offered_where_they_are_to_be() {
    let changed = |change: fn(&mut Growth)| {
        let mut room = room();
        room.growth.as_mut().map(change);
        told(&room, 4)
    };
    let small = changed(|growth| growth.size = Some(size(499, 2_048)));
    assert_eq!(
        small,
        [
            "a task that needs 500 MiB and 100 CPU units, and an instance of type t3.small offers 499 MiB and 2048 CPU units: \
          set target.instance_type or target.memory_mib"
        ]
    );
    let unknown = changed(|growth| growth.size = None);
    assert_eq!(unknown, ["there is no instance type t3.small in us-east-1: set target.instance_type"]);
    assert_eq!(changed(|growth| growth.offering.retain(|zone| zone == "zone-a")), Vec::<String>::new());
    let named = changed(|growth| {
        growth.offering.retain(|zone| zone == "zone-a");
        growth.named = true;
        growth.missing.push("subnet-c".into());
    });
    assert_eq!(
        named,
        [
            "there is no subnet subnet-c: check target.subnet_ids",
            "subnet-b is in zone-b, which does not offer instances of type t3.small, as zone-a do: leave it out of \
             target.subnet_ids",
        ]
    );
    let nowhere = changed(|growth| growth.offering = ["zone-c".to_owned()].into());
    assert!(nowhere[0].contains("there is zone-a, zone-b, and zone-c would do"), "{nowhere:?}");
}

#[test]
fn every_reason_is_told_at_once() {
    let mut room = room();
    room.hosts[0].port = PortUse::Other("somebody".into());
    if let Some(growth) = &mut room.growth {
        growth.size = Some(size(100, 100));
        growth.offering.clear();
    }
    assert_eq!(told(&room, 6).len(), 4, "{:?}", told(&room, 6));
}
