use super::*;
use crate::step::sample::{Sample, told};
use brain_core::drift::SetUp;
use std::sync::Arc;

async fn look(sample: &Sample) -> String {
    told(auto_scaling_group(&sample.context, 3, 6).await).await
}

/// A project whose group is set up, in an account that somebody has changed.
async fn changed(change: impl FnOnce(&mut Group)) -> Sample {
    let mut sample = Sample::new();
    sample.group(3).await;
    sample.cloud.with(|world| {
        let group = world.groups.get_mut("user-ecs-asg").unwrap();
        (group.rebalances, group.load_balancers) = (false, vec!["user-ecs-lb".into()]);
        group.subnets = vec!["subnet-1".into(), "subnet-2".into()];
        change(group);
    });
    sample.context.set_up = SetUp::Check;
    sample
}

#[tokio::test(start_paused = true)]
async fn a_minimum_and_other_health_checks_are_told_and_set_back_once_nothing_is_moved() {
    let mut sample = changed(|group| {
        (group.min, group.health_check, group.rebalances) = (2, "ELB".into(), true);
    })
    .await;
    let said = "auto-scaling group user-ecs-asg: rebalancing between zones: on → off, auto-scaling group user-ecs-asg: \
                minimum: 2 → 0, auto-scaling group user-ecs-asg: health check: ELB → EC2";
    assert_eq!(look(&sample).await, said);
    sample.context.set_up = SetUp::Repair;
    assert_eq!(look(&sample).await, "keep user-ecs-asg from moving instances between zones");
    assert_eq!(look(&sample).await, "set minimum, health check and subnets of user-ecs-asg");
    assert_eq!(look(&sample).await, "done");
}

#[tokio::test(start_paused = true)]
async fn subnets_of_a_group_are_compared_only_where_the_target_names_some() {
    let mut sample = changed(|_| {}).await;
    assert_eq!(look(&sample).await, "done");
    let target = &mut Arc::make_mut(&mut sample.context.spec).target;
    target.subnet_ids = vec!["subnet-2".into(), "subnet-1".into()];
    assert_eq!(look(&sample).await, "done", "their order is none");
    Arc::make_mut(&mut sample.context.spec).target.subnet_ids = vec!["subnet-3".into()];
    let said = "auto-scaling group user-ecs-asg: subnets: subnet-1, subnet-2 → subnet-3";
    assert_eq!(look(&sample).await, said);
    sample.context.set_up = SetUp::Make;
    assert_eq!(look(&sample).await, "set minimum, health check and subnets of user-ecs-asg");
    assert_eq!(look(&sample).await, "done", "what an adopted one has besides stays");
    sample.context.set_up = SetUp::Repair;
    assert_eq!(look(&sample).await, "set minimum, health check and subnets of user-ecs-asg");
    assert_eq!(look(&sample).await, "done");
}
