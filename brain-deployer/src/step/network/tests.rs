use super::*;
use crate::step::sample::{Sample, told};
use brain_core::drift::SetUp;

async fn look(sample: &Sample) -> String {
    told(security_group(&sample.context).await).await
}

/// A project whose security group is set up.
async fn set_up() -> Sample {
    let sample = Sample::new();
    assert_eq!(look(&sample).await, "create security group user-ecs-sg");
    assert_eq!(look(&sample).await, "add 3 rules to security group user-ecs-sg");
    assert_eq!(look(&sample).await, "done");
    sample
}

fn rules_of(sample: &Sample) -> BTreeSet<Rule> {
    sample.cloud.with(|world| world.security_groups["user-ecs-sg"].rules.clone())
}

#[tokio::test(start_paused = true)]
async fn rules_of_others_are_told_and_taken_away_only_where_a_person_asks_for_that() {
    let mut sample = set_up().await;
    let brains = rules_of(&sample);
    let everything = Rule { port: None, source: "sg-1".into(), last: None, protocol: "-1".into() };
    sample.cloud.with(|world| {
        let group = world.security_groups.get_mut("user-ecs-sg").unwrap();
        group.rules.extend([Rule::tcp(SSH, EVERYWHERE), everything]);
    });
    let said = "security group user-ecs-sg: rule everything from sg-1: not in the definition, \
                security group user-ecs-sg: rule tcp 22 from 0.0.0.0/0: not in the definition";
    for mode in [SetUp::Make, SetUp::Check] {
        sample.context.set_up = mode;
        assert_eq!(look(&sample).await, said, "{mode:?}");
    }
    sample.context.set_up = SetUp::Repair;
    assert_eq!(look(&sample).await, "take 2 rules from security group user-ecs-sg");
    assert_eq!(look(&sample).await, "done");
    assert_eq!(rules_of(&sample), brains);
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_was_changed_is_added_again_before_the_other_one_is_taken_away() {
    let mut sample = set_up().await;
    sample.cloud.with(|world| {
        let group = world.security_groups.get_mut("user-ecs-sg").unwrap();
        group.rules.remove(&Rule::tcp(80, EVERYWHERE));
        group.rules.insert(Rule::tcp(80, "10.0.0.0/8"));
    });
    sample.context.set_up = SetUp::Check;
    let (missing, other) = ("rule for port 80: none → 0.0.0.0/0", "rule tcp 80 from 10.0.0.0/8: not in the definition");
    let said = format!("security group user-ecs-sg: {missing}, security group user-ecs-sg: {other}");
    assert_eq!(look(&sample).await, said);
    sample.context.set_up = SetUp::Repair;
    assert_eq!(look(&sample).await, "add 1 rules to security group user-ecs-sg");
    assert_eq!(look(&sample).await, "take 1 rules from security group user-ecs-sg");
    assert_eq!(look(&sample).await, "done");
}

#[tokio::test(start_paused = true)]
async fn the_host_port_is_open_to_every_network_of_the_vpc_and_ssh_to_its_first_alone() {
    let blocks = ["10.0.0.0/16", "100.64.0.0/16"].map(ToOwned::to_owned);
    let network = Network { vpc: "vpc-1".into(), cidr: blocks[0].clone(), blocks: blocks.to_vec(), subnets: vec![] };
    let context = Sample::new().context;
    let from = |port: u16| -> Vec<String> {
        let opens = rules(&context, &network).into_iter().filter(|rule| rule.opens(port));
        opens.map(|rule| rule.source).collect()
    };
    assert_eq!(from(context.target().host_port), blocks);
    assert_eq!(from(SSH), [blocks[0].clone()]);
}

#[test]
fn a_network_is_compared_as_ec2_stores_it() {
    for (given, stored) in [
        ("10.1.2.3/8", "10.0.0.0/8"),
        ("10.1.2.3/32", "10.1.2.3/32"),
        ("10.1.2.3/0", "0.0.0.0/0"),
        ("192.168.1.77/26", "192.168.1.64/26"),
        ("10.0.0.0/33", "10.0.0.0/33"),
    ] {
        assert_eq!(as_stored(given), stored);
    }
}
