use super::*;
use crate::cloud::Rule;
use crate::step::{
    network::security_group,
    sample::{Sample, told},
};
use brain_core::drift::SetUp;
use std::sync::Arc;

async fn look(sample: &Sample) -> String {
    told(load_balancer(&sample.context).await).await
}

/// A project whose load balancer is set up, in an account that somebody has changed.
async fn changed(change: impl FnOnce(&mut LoadBalancer)) -> Sample {
    let mut sample = Sample::new();
    assert_eq!(told(security_group(&sample.context).await).await, "create security group user-ecs-sg");
    let acts = [
        "create load balancer user-ecs-lb",
        "set the health check of user-ecs-lb to TCP:6041",
        "set draining and cross-zone of user-ecs-lb",
        "done",
    ];
    for act in acts {
        assert_eq!(look(&sample).await, act);
    }
    sample.cloud.with(|world| change(world.balancers.get_mut("user-ecs-lb").unwrap()));
    sample.context.set_up = SetUp::Check;
    sample
}

#[tokio::test(start_paused = true)]
async fn what_brain_sets_is_compared_and_set_again_where_a_person_asks_for_that() {
    let mut sample = changed(|balancer| {
        balancer.draining_seconds = 300;
        balancer.security_groups.insert("sg-of-others".into());
    })
    .await;
    let said = "load balancer user-ecs-lb: seconds of draining: 300 → 30, load balancer user-ecs-lb: security group \
                sg-of-others: not in the definition";
    assert_eq!(look(&sample).await, said);
    sample.context.set_up = SetUp::Repair;
    assert_eq!(look(&sample).await, "set draining and cross-zone of user-ecs-lb");
    assert_eq!(look(&sample).await, "set the security groups of user-ecs-lb: sg-user-ecs-sg");
    assert_eq!(look(&sample).await, "done");
}

#[tokio::test(start_paused = true)]
async fn listeners_of_others_are_removed_only_where_a_person_asks_for_that() {
    let mut sample = changed(|balancer| {
        for port in [22, 8080] {
            balancer.listeners.insert(Listener { port, instance_port: port, certificate: None });
        }
    })
    .await;
    let said = "load balancer user-ecs-lb: listener 22 to 22: not in the definition, load balancer user-ecs-lb: listener \
                8080 to 8080: not in the definition";
    for mode in [SetUp::Make, SetUp::Check] {
        sample.context.set_up = mode;
        assert_eq!(look(&sample).await, said, "{mode:?}");
    }
    sample.context.set_up = SetUp::Repair;
    assert_eq!(look(&sample).await, "remove 2 listeners of user-ecs-lb");
    assert_eq!(look(&sample).await, "done");
}

#[tokio::test(start_paused = true)]
async fn subnets_are_compared_only_where_the_target_names_some_and_never_taken_away() {
    let mut sample = changed(|_| {}).await;
    assert_eq!(look(&sample).await, "done");
    let name = |sample: &mut Sample, subnets: &[&str]| {
        let subnets = subnets.iter().map(|subnet| (*subnet).to_owned()).collect();
        Arc::make_mut(&mut sample.context.spec).target.subnet_ids = subnets;
    };
    name(&mut sample, &["subnet-2", "subnet-3"]);
    let (besides, lacks) = (
        "load balancer user-ecs-lb: subnet subnet-1: not in the definition",
        "load balancer user-ecs-lb: subnet: none → subnet-3",
    );
    assert_eq!(look(&sample).await, format!("{besides}, {lacks}"));
    sample.context.set_up = SetUp::Repair;
    assert_eq!(look(&sample).await, "attach user-ecs-lb to subnet-3");
    assert_eq!(look(&sample).await, besides, "instances there may serve");
}

#[tokio::test(start_paused = true)]
async fn one_that_is_adopted_keeps_the_security_groups_by_which_it_serves_until_a_person_asks_for_the_repair() {
    let mut sample = changed(|balancer| balancer.security_groups = ["sg-of-others".into()].into()).await;
    let besides = "load balancer user-ecs-lb: security group sg-of-others: not in the definition";
    sample.context.set_up = SetUp::Make;
    assert_eq!(look(&sample).await, "set the security groups of user-ecs-lb: sg-of-others, sg-user-ecs-sg");
    assert_eq!(look(&sample).await, besides);
    sample.context.set_up = SetUp::Repair;
    assert_eq!(look(&sample).await, "set the security groups of user-ecs-lb: sg-user-ecs-sg");
    assert_eq!(look(&sample).await, "done");
}

#[tokio::test(start_paused = true)]
async fn a_rule_by_which_a_listener_is_reached_stays_until_that_listens_no_more() {
    let mut sample = changed(|balancer| {
        balancer.listeners.insert(Listener { port: 8080, instance_port: 6041, certificate: None });
    })
    .await;
    sample.context.set_up = SetUp::Repair;
    let rule = |port| Rule::tcp(port, "0.0.0.0/0");
    sample
        .cloud
        .with(|world| world.security_groups.get_mut("user-ecs-sg").unwrap().rules.extend([rule(8080), rule(22)]));
    let network = async |sample: &Sample| told(security_group(&sample.context).await).await;
    let stays = "security group user-ecs-sg: rule tcp 8080 from 0.0.0.0/0: not in the definition";
    assert_eq!(network(&sample).await, "add 3 rules to security group user-ecs-sg");
    assert_eq!(network(&sample).await, "take 1 rules from security group user-ecs-sg");
    assert_eq!(network(&sample).await, stays);
    assert_eq!(look(&sample).await, "remove 1 listeners of user-ecs-lb");
    assert_eq!(network(&sample).await, "take 1 rules from security group user-ecs-sg");
    assert_eq!(network(&sample).await, "done");
}
