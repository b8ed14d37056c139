use super::*;
use crate::step::sample::{Sample, told};

async fn look(sample: &Sample, instances: u32) -> String {
    told(capacity(&sample.context, instances).await).await
}

fn group(sample: &Sample) -> (u32, Vec<String>) {
    let name = &sample.context.names.auto_scaling_group;
    sample.cloud.with(|world| (world.groups[name].desired, world.groups[name].instances.clone()))
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_never_joins_is_replaced_once_it_is_certain() {
    let sample = Sample::new();
    sample.cloud.with(|world| world.stillborn = 1);
    sample.group(3).await;
    sample.later(60).await;
    let stillborn = group(&sample).1[0].clone();
    assert_eq!(look(&sample, 3).await, "waits: 2 of 3 instances have joined the cluster", "it may be on its way");
    sample.later(250).await;
    let replaced = format!("replace instance {stillborn} of user-ecs-asg, which has not joined in 300 s");
    assert_eq!(look(&sample, 3).await, replaced);
    sample.later(1).await;
    let (desired, instances) = group(&sample);
    assert_eq!((desired, instances.len(), instances.contains(&stillborn)), (3, 3, false), "another is in its place");
    assert!(look(&sample, 3).await.starts_with("waits: "));
    sample.later(60).await;
    assert_eq!(look(&sample, 3).await, "done");
}

#[tokio::test(start_paused = true)]
async fn two_that_never_join_do_not_wait_for_each_other() {
    let sample = Sample::new();
    sample.group(1).await;
    sample.later(60).await;
    sample.cloud.with(|world| world.stillborn = 2);
    assert_eq!(look(&sample, 3).await, "grow user-ecs-asg from 1 to 3");
    let mut replaced = 0;
    for _ in 0..34 {
        sample.later(10).await;
        replaced += u32::from(look(&sample, 3).await.starts_with("replace instance "));
    }
    assert_eq!(replaced, 2);
    sample.later(60).await;
    assert_eq!(look(&sample, 3).await, "done");
}

#[tokio::test(start_paused = true)]
async fn where_every_new_instance_fails_the_step_is_blocked_and_says_where_to_look() {
    let sample = Sample::new();
    sample.cloud.with(|world| world.stillborn = 100);
    sample.group(1).await;
    let (mut replaced, mut looks) = (0, 0);
    let why = loop {
        sample.later(20).await;
        let seen = look(&sample, 1).await;
        replaced += u32::from(seen.starts_with("replace instance "));
        looks += 1;
        assert!(looks < 200, "{seen}");
        if seen.starts_with("blocked: ") {
            break seen;
        }
    };
    assert_eq!(replaced, REPLACED_MAX);
    assert!(why.contains("0 of 1 instances have joined the cluster; 3 had not joined user-ecs-cluster"), "{why}");
    assert!(why.contains("look at the user data, the machine image, the instance profile and the network"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_never_joined_is_the_first_to_be_given_back() {
    let sample = Sample::new();
    sample.cloud.with(|world| world.stillborn = 1);
    sample.group(4).await;
    sample.later(400).await;
    let stillborn = group(&sample).1[0].clone();
    let give_back = async || told(return_capacity(&sample.context, 3).await).await;
    assert_eq!(give_back().await, format!("end empty instance {stillborn} of user-ecs-asg"));
    sample.later(5).await;
    assert_eq!(give_back().await, "done");
    assert_eq!(group(&sample).0, 3);
}

#[tokio::test(start_paused = true)]
async fn a_host_on_which_no_task_fits_is_neither_counted_nor_in_the_way() {
    let sample = Sample::new();
    sample.group(3).await;
    sample.later(60).await;
    let small = group(&sample).1[1].clone();
    sample.cloud.with(|world| world.hosts.get_mut(&small).unwrap().small = true);
    assert_eq!(look(&sample, 2).await, "done");
    let why = look(&sample, 3).await;
    assert!(why.starts_with("blocked: needs 3 instances for a task of "), "{why}");
    assert!(why.contains(&format!("only 2 can take one: instance {small} offers 256 MiB")), "{why}");
}
