use super::*;
use crate::{
    cloud::Tags,
    step::{
        network::security_group,
        sample::{Sample, told},
    },
};
use brain_core::{drift::SetUp, names::ResourceNames, traffic::LoadBalancerKind};
use std::sync::Arc;

async fn look(sample: &Sample) -> String {
    told(load_balancer(&sample.context).await).await
}

/// A project whose load balancer is set up, to which nothing is to be done unasked any longer.
async fn set_up() -> Sample {
    let mut sample = Sample::new();
    let spec = Arc::make_mut(&mut sample.context.spec);
    spec.target.load_balancer_kind = LoadBalancerKind::Application;
    sample.context.names = Arc::new(ResourceNames::for_spec(spec));
    assert_eq!(told(security_group(&sample.context).await).await, "create security group user-ecs-sg");
    let acts = [
        "create load balancer user-ecs-lb",
        "create target group user-ecs-tg-a",
        "let targets of user-ecs-tg-a drain for 30 s",
        "create target group user-ecs-tg-b",
        "let targets of user-ecs-tg-b drain for 30 s",
        "create listener of user-ecs-lb",
        "done",
    ];
    for act in acts {
        assert_eq!(look(&sample).await, act);
    }
    sample.context.set_up = SetUp::Check;
    sample
}

fn name_subnets(sample: &mut Sample, subnets: &[&str]) {
    let subnets = subnets.iter().map(|subnet| (*subnet).to_owned()).collect();
    Arc::make_mut(&mut sample.context.spec).target.subnet_ids = subnets;
}

#[tokio::test(start_paused = true)]
async fn what_others_changed_is_told_and_set_back_where_a_person_asks_for_that_and_what_is_another_projects_never() {
    let mut sample = set_up().await;
    let front = |port: u16, tags: Tags| {
        let arn = format!("user-ecs-lb/{port}");
        (arn.clone(), ("user-ecs-lb".to_owned(), Front { arn, port, certificate: None, tags }))
    };
    sample.cloud.with(|world| {
        world.applications.get_mut("user-ecs-lb").unwrap().security_groups.insert("sg-of-others".into());
        world.targets.get_mut("user-ecs-tg-b").unwrap().checks = [30, 5, 5, 2];
        let theirs: Tags = [(TAG_PROJECT.to_owned(), "auth".to_owned())].into();
        world.fronts.extend([front(8080, Tags::new()), front(9090, theirs)]);
    });
    let left = "load balancer user-ecs-lb: listener 9090: not in the definition";
    let said = [
        "load balancer user-ecs-lb: security group sg-of-others: not in the definition",
        "target group user-ecs-tg-b: health checks: every 30 s, answered within 5 s, well after 5, ill after 2 → every 10 s, \
         answered within 5 s, well after 2, ill after 2",
        "load balancer user-ecs-lb: listener 8080: not in the definition",
        left,
    ];
    assert_eq!(look(&sample).await, said.join(", "));
    sample.context.set_up = SetUp::Repair;
    let acts = [
        "set the security groups of user-ecs-lb: sg-user-ecs-sg",
        "set the health check of user-ecs-tg-b to HTTP / answered by 200-499",
        "remove the listener 8080 of user-ecs-lb",
        left,
    ];
    for act in acts {
        assert_eq!(look(&sample).await, act);
    }
}

#[tokio::test(start_paused = true)]
async fn subnets_are_compared_only_where_the_target_names_some() {
    let mut sample = set_up().await;
    assert_eq!(look(&sample).await, "done");
    name_subnets(&mut sample, &["subnet-1", "subnet-3"]);
    let (besides, lacks) = (
        "load balancer user-ecs-lb: subnet subnet-2: not in the definition",
        "load balancer user-ecs-lb: subnet: none → subnet-3",
    );
    assert_eq!(look(&sample).await, format!("{besides}, {lacks}"));
    sample.context.set_up = SetUp::Repair;
    assert_eq!(look(&sample).await, "attach user-ecs-lb to subnet-3");
    assert_eq!(look(&sample).await, besides);
}
