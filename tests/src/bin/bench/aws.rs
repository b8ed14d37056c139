//! AWS, on the lab: the calls and the time of a deployment beside other tools', many deployments at once, idle observation.

use super::row;
use anyhow::{Context, Result, ensure};
use brain_tests::{lab::Lab, many::Many, paths, world::World};
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};
use tokio::{
    process::Command,
    time::{Instant, sleep},
};

/// Deployments at once.
const MANY: usize = 200;
/// Services observed while nothing is deployed.
const IDLE_SERVICES: usize = 1_000;
/// How much higher the limits are while those are set up, of which nothing is measured.
const SET_UP: &str = "aws_limits = 50.0\n";
/// How many of them are set up at once.
const SET_UP_AT_ONCE: usize = 50;
/// How long idle observation is measured.
const IDLE: Duration = Duration::from_secs(120);

/// AWS's own limits by class, calls a second, as the lab's table has them.
const QUOTAS: [(&str, f64, &[&str]); 5] = [
    (
        "ECS services and tasks",
        20.0,
        &[
            "DescribeServices",
            "ListServices",
            "DescribeTasks",
            "ListTasks",
            "DescribeContainerInstances",
            "ListContainerInstances",
        ],
    ),
    ("ECS clusters", 20.0, &["DescribeClusters"]),
    ("ECS service changes", 5.0, &["CreateService", "UpdateService", "DeleteService"]),
    ("ECS task definition changes", 1.0, &["RegisterTaskDefinition", "DeregisterTaskDefinition"]),
    (
        "load balancers",
        10.0,
        &["DescribeInstanceHealth", "DescribeLoadBalancers", "DescribeLoadBalancerAttributes", "DescribeTags"],
    ),
];

type Calls = BTreeMap<String, u64>;

/// What a deployment took.
struct Taken {
    wall: Duration,
    /// Of it, how long nothing was on its way in AWS, so that brain could have gone on.
    beyond: Duration,
    calls: Calls,
}

/// Calls and time of a first deployment and of shifts, at the lab's pace and at one nearer to AWS's; then other tools.
pub(crate) async fn deployments() -> Result<()> {
    let mut world = World::start_at_ease().await?;
    world.create_project().await?;
    let first = measured(&world, "0.0.4").await?;
    row("AWS calls of a first deployment", told(&first.calls));
    let mut shifts = Vec::new();
    for tag in ["0.0.5", "0.0.6", "0.0.7"] {
        shifts.push(measured(&world, tag).await?);
    }
    shifts.sort_by_key(|taken| total(&taken.calls));
    row("AWS calls of a shift of 3 instances, median of 3", told(&shifts[1].calls));
    shifts.sort_by_key(|taken| taken.beyond);
    row("… its time, and of it beyond the lab's own waiting, median of 3", beyond(&shifts[1]));
    let slow =
        json!({"boot_delay_ms": 10_000, "pull_delay_ms": 2_000, "health_delay_ms": 4_000, "drain_delay_ms": 3_000});
    world.lab.settings(slow).await?;
    measured(&world, "0.0.8").await?;
    let taken = measured(&world, "0.0.9").await?;
    row("… where instances boot in 10 s and tasks start in 6 s, after one such shift", beyond(&taken));
    row("… its AWS calls", told(&taken.calls));
    world.deployer.kill().await?;
    let quick = json!({"boot_delay_ms": 400, "pull_delay_ms": 150, "health_delay_ms": 200, "drain_delay_ms": 200});
    world.lab.settings(quick).await?;
    others(&world).await
}

/// Deploys a version; answers what that took.
async fn measured(world: &World, tag: &str) -> Result<Taken> {
    if !["0.0.4", "0.0.5"].contains(&tag) {
        world.user.tag(tag).await?;
    }
    // The image of the world's first version is there.
    if tag != "0.0.4" {
        world.registry.push("flowcommerce/user", tag, tag).await?;
    }
    world.image_known(tag).await?;
    world.lab.reset_record().await?;
    let name = world.deploy(&format!("flowcommerce/user:{tag}")).await?;
    let deployment = world.succeeded(&name).await?;
    let record = world.lab.record().await?;
    let time =
        |field: &str| deployment[field].as_str().context("no time")?.parse::<jiff::Timestamp>().map_err(Into::into);
    let (begun, ended): (Result<_>, Result<_>) = (time("createTime"), time("endTime"));
    let wall = Duration::try_from(ended?.duration_since(begun?))?;
    let moving = Duration::from_millis(record["moving_ms"].as_u64().context("the lab tells no moving_ms")?);
    Ok(Taken { wall, beyond: wall.saturating_sub(moving), calls: calls(&record) })
}

/// A rolling update of the service that serves, by tools that only do that: all its tasks at once, no set-up, no floor.
async fn others(world: &World) -> Result<()> {
    let services = world.lab.fingerprint().await?["services"].clone();
    let mut serving =
        services.as_object().context("no services")?.iter().filter(|(_, service)| service["desired"] == 3);
    let (cluster, service) = serving.next().and_then(|(name, _)| name.split_once('/')).context("nothing serves")?;
    let image = "flowcommerce/user:0.0.5";
    let ecs_deploy = "ecs deploy --ignore-warnings --timeout 300 --region us-east-1 --no-deregister \"$1\" \"$2\" -i user-ecs-container \"$3\"";
    let aws = "aws ecs describe-task-definition --task-definition user-ecs-task --query 'taskDefinition.{family:family,\
               containerDefinitions:containerDefinitions}' >definition.json && \
               sed -i -E \"s#\\\"image\\\": \\\"[^\\\"]+\\\"#\\\"image\\\": \\\"$3\\\"#\" definition.json && \
               aws ecs register-task-definition --cli-input-json file://definition.json >registered.json && \
               aws ecs update-service --cluster \"$1\" --service \"$2\" --task-definition user-ecs-task >updated.json && \
               aws ecs wait services-stable --cluster \"$1\" --services \"$2\"";
    for (tool, script) in [("ecs-deploy", ecs_deploy), ("the aws command", aws)] {
        world.lab.reset_record().await?;
        let begun = Instant::now();
        run(&world.lab, script, &[cluster, service, image]).await.with_context(|| tool.to_owned())?;
        let seconds = begun.elapsed().as_secs_f64();
        let calls = told(&calls(&world.lab.record().await?));
        row(
            &format!("AWS calls of {tool}: a rolling update of that service, all 3 tasks at once"),
            format!("{calls}; {seconds:.1} s"),
        );
    }
    Ok(())
}

/// Runs a script with the tools of the benchmark against the lab.
async fn run(lab: &Lab, script: &str, arguments: &[&str]) -> Result<()> {
    let folder = brain_tests::sandbox::Sandbox::new()?;
    let tools = paths::tool("bench/bin/ecs")?;
    let path = format!("{}:{}", tools.parent().context("no folder")?.display(), std::env::var("PATH")?);
    let mut command = Command::new("bash");
    command.args(["-euc", script, "bench"]).args(arguments).current_dir(folder.path(".")).env("PATH", path);
    command.env("AWS_ENDPOINT_URL", lab.endpoint()).env("AWS_DEFAULT_REGION", "us-east-1").env("AWS_PAGER", "");
    command.envs([("AWS_ACCESS_KEY_ID", "lab"), ("AWS_SECRET_ACCESS_KEY", "lab")]);
    let output = command.output().await?;
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{told}");
    Ok(())
}

/// Many deployments at once on one deployer, within AWS's limits.
pub(crate) async fn many() -> Result<()> {
    let mut many = Many::start(MANY, SET_UP).await?;
    many.lab.settings(json!({"tick_ms": 200})).await?;
    many.deploy_all("0.0.1", progress("set up", MANY)).await?;
    many.replace_deployer("").await?;
    many.lab.settings(json!({"throttle": true})).await?;
    many.lab.reset_record().await?;
    let begun = Instant::now();
    many.deploy_all("0.0.2", progress("shifted", MANY)).await?;
    let seconds = begun.elapsed().as_secs_f64();
    let record = many.lab.record().await?;
    let calls = calls(&record);
    let throttled: u64 =
        record["throttled"].as_object().into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum();
    row(
        &format!("{MANY} shifts of one instance at once, on one deployer"),
        format!(
            "{seconds:.0} s, {:.1} calls each, {:.1} of each in a minute, {throttled} of {} throttled",
            total(&calls) as f64 / MANY as f64,
            total(&calls) as f64 / MANY as f64 / (seconds / 60.0),
            total(&calls)
        ),
    );
    row("… calls, in percent of AWS's limits in that time", shares(&calls, seconds));
    Ok(())
}

/// Nothing but observation: by the deployer that has seen all services, and by one that has just begun and has seen none.
pub(crate) async fn idle() -> Result<()> {
    let mut many = Many::start(IDLE_SERVICES, SET_UP).await?;
    many.lab.settings(json!({"tick_ms": 1_000})).await?;
    many.deploy_in_turns("0.0.1", SET_UP_AT_ONCE, progress("set up", IDLE_SERVICES)).await?;
    many.lab.settings(json!({"throttle": true})).await?;
    observed(&many, &format!("idle observation of {IDLE_SERVICES} services")).await?;
    many.replace_deployer("").await?;
    observed(&many, "… by a deployer that has just begun").await
}

/// Calls of some minutes in which nothing is deployed.
async fn observed(many: &Many, what: &str) -> Result<()> {
    many.lab.reset_record().await?;
    sleep(IDLE).await;
    let calls = calls(&many.lab.record().await?);
    let minutes = IDLE.as_secs_f64() / 60.0;
    row(
        &format!("{what}: AWS calls of each in a minute"),
        format!("{:.2}: {}", total(&calls) as f64 / IDLE_SERVICES as f64 / minutes, told(&calls)),
    );
    row("… calls, in percent of AWS's limits", shares(&calls, IDLE.as_secs_f64()));
    Ok(())
}

fn progress(what: &'static str, of: usize) -> impl Fn(usize) {
    move |ended| eprint!("\r{ended} of {of} are {what}  {}", if ended == of { "\n" } else { "" })
}

fn calls(record: &Value) -> Calls {
    let calls = record["calls"].as_object().into_iter().flatten();
    calls.filter_map(|(name, count)| Some((name.clone(), count.as_u64()?))).collect()
}

fn total(calls: &Calls) -> u64 {
    calls.values().sum()
}

/// All, and by name, the most frequent first.
fn told(calls: &Calls) -> String {
    let mut list: Vec<(&String, &u64)> = calls.iter().collect();
    list.sort_by(|one, other| other.1.cmp(one.1).then_with(|| one.0.cmp(other.0)));
    let list: Vec<String> = list.into_iter().map(|(name, count)| format!("{name} {count}")).collect();
    format!("{}: {}", total(calls), list.join(", "))
}

fn beyond(taken: &Taken) -> String {
    let Taken { wall, beyond, calls: _ } = taken;
    let (wall, beyond) = (wall.as_secs_f64(), beyond.as_secs_f64());
    format!("{wall:.1} s, {beyond:.2} s beyond ({:.0} %)", beyond / wall * 100.0)
}

/// The part of AWS's limits that these calls were.
fn shares(calls: &Calls, seconds: f64) -> String {
    let share = |(class, quota, names): &(&str, f64, &[&str])| {
        let made: u64 = names.iter().filter_map(|name| calls.get(*name)).sum();
        format!("{class} {:.1}", made as f64 / (quota * seconds) * 100.0)
    };
    QUOTAS.iter().map(share).collect::<Vec<_>>().join(", ")
}
