//! Gates from data: what a real Prometheus tells decides whether traffic moves on.

use anyhow::{Context, Result, ensure};
use brain_tests::{
    prometheus::Prometheus,
    wait::eventually,
    world::{World, text},
};
use serde_json::{Value, json};

/// A gate that compares the share of errors of the new version with that of the old one.
fn errors() -> Value {
    json!({
        "name": "error-rate",
        "prometheus": {
            "server": "main",
            "query": "max_over_time(error_ratio{service=\"{{new}}\"}[{{window}}])",
            "oldQuery": "max_over_time(error_ratio{service=~\"{{old}}\"}[{{window}}])",
            "sampleQuery": "requests{service=\"{{new}}\"}",
            "minimumSamples": 100,
            "window": "2s",
        },
        "condition": "new <= old * 1.1 || new < 0.01",
    })
}

/// A world in which 0.0.4 runs, and every new version has to pass these gates with a third of the traffic.
async fn world_with(gates: Value, settings: &str) -> Result<World> {
    let mut world = World::start().await?;
    world.replace_deployer_with(settings).await?;
    let mut project = world.definition();
    project["rolloutPolicy"] = json!({"steps": [{"percent": 33, "gates": gates}]});
    world.create(project).await?;
    world.image_known("0.0.4").await?;
    let first = world.deploy("flowcommerce/user:0.0.4").await?;
    world.succeeded(&first).await?;
    Ok(world)
}

async fn with_prometheus() -> Result<(World, Prometheus)> {
    let prometheus = Prometheus::start().await?;
    let settings = format!("[prometheus.main]\nurl = \"{}\"\n", prometheus.endpoint());
    Ok((world_with(json!([errors()]), &settings).await?, prometheus))
}

/// Waits until a deployment waits with such words.
async fn waits(world: &World, name: &str, words: &str) -> Result<()> {
    let what = format!("the deployment to say {words:?}");
    let seen = eventually(&what, || async {
        let deployment = world.deployment(name).await?;
        ensure!(text(&deployment["waiting"]).contains(words), "{} {}", deployment["waiting"], deployment["reason"]);
        Ok(())
    });
    seen.await.with_context(|| world.agents.logs())
}

/// Name of a version's ECS service.
async fn service(world: &World, version: &str) -> Result<String> {
    let services = world.lab.fingerprint().await?["services"].as_object().cloned().unwrap_or_default();
    let found = services.keys().find(|name| name.contains(&format!("user-ecs-service-{version}-")));
    let found = found.with_context(|| format!("no service of {version}"))?;
    Ok(found.rsplit('/').next().unwrap_or(found).to_owned())
}

/// Lets the exporter tell figures of both versions.
async fn tell(world: &World, prometheus: &Prometheus, new: f64, requests: u32) -> Result<()> {
    let (old, newer) = (service(world, "0-0-4").await?, service(world, "0-0-5").await?);
    prometheus.set(&format!(
        "error_ratio{{service=\"{old}\"}} 0.02\nerror_ratio{{service=\"{newer}\"}} {new}\n\
         requests{{service=\"{newer}\"}} {requests}\nrequests{{service=\"{old}\"}} 1000\n"
    ));
    Ok(())
}

#[tokio::test]
async fn a_gate_holds_until_there_are_figures_and_passes_when_they_are_good() -> Result<()> {
    let (world, prometheus) = with_prometheus().await?;
    let shift = world.begin_shift().await?;
    waits(&world, &shift, "gate error-rate: no count of samples: Prometheus main has no data").await?;
    ensure!(world.production().await? == "0.0.4: 67% 0.0.5: 33%", "{}", world.production().await?);
    tell(&world, &prometheus, 0.021, 99).await?;
    waits(&world, &shift, "gate error-rate: too few samples: 99 of 100").await?;
    tell(&world, &prometheus, 0.021, 100).await?;
    let deployment = world.succeeded(&shift).await?;
    let steps = deployment["steps"].as_array().cloned().unwrap_or_default();
    let gate = steps.iter().find(|step| step["description"] == "pass gate error-rate").context("no step")?;
    let reading = &gate["gateReading"];
    let figures = (&reading["verdict"], &reading["newFigure"], &reading["oldFigure"]);
    ensure!(figures == (&json!("GATE_VERDICT_PASS"), &json!(0.021), &json!(0.02)), "{gate}");
    world.unharmed().await
}

#[tokio::test]
async fn a_version_whose_tasks_crash_while_a_gate_holds_has_failed_whatever_the_gate_says() -> Result<()> {
    let (world, _prometheus) = with_prometheus().await?;
    let shift = world.begin_shift().await?;
    waits(&world, &shift, "no data").await?;
    world.lab.settings(json!({"behaviours": [{"match": "0-0-5", "behaviour": "crash", "delay_ms": 50}]})).await?;
    world.stop_tasks_of("0-0-5").await?;
    let deployment = world.ended(&shift).await?;
    ensure!(deployment["phase"] == "DEPLOYMENT_PHASE_FAILED", "{deployment}");
    let reason = text(&deployment["reason"]);
    ensure!(reason.contains("tasks of user-ecs-service-0-0-5") && reason.contains("exit code 1"), "{reason}");
    ensure!(deployment["taskFailures"].as_array().is_some_and(|failures| failures.len() >= 3), "{deployment}");
    Ok(())
}

#[tokio::test]
async fn a_version_that_fails_a_gate_is_rolled_back_with_its_figures() -> Result<()> {
    let (world, prometheus) = with_prometheus().await?;
    let shift = world.begin_shift().await?;
    waits(&world, &shift, "no data").await?;
    let waiting = world.deployment(&shift).await?;
    ensure!(text(&waiting["stepDeadlineTime"]) > text(&waiting["createTime"]), "{waiting}");
    tell(&world, &prometheus, 0.5, 1000).await?;
    let ended = world.ended(&shift).await?;
    ensure!(ended["stepDeadlineTime"].is_null(), "{ended}");
    let steps = ended["steps"].as_array().cloned().unwrap_or_default();
    let reading = &steps.iter().find(|step| !step["gateReading"].is_null()).context("no reading")?["gateReading"];
    ensure!(reading["verdict"] == "GATE_VERDICT_FAIL" && reading["newFigure"] == 0.5, "{reading}");
    ensure!(text(&reading["why"]) == "new 0.5, old 0.02, needs new <= old * 1.1 || new < 0.01", "{reading}");
    let reason = text(&ended["reason"]);
    ensure!(
        reason.contains("gate error-rate: new 0.5, old 0.02, needs new <= old * 1.1 || new < 0.01; 2 looks in a row"),
        "{reason}"
    );
    ensure!(world.production().await? == "0.0.4: 100%", "{}", world.production().await?);
    world.unharmed().await
}

#[tokio::test]
async fn a_gate_whose_prometheus_is_gone_holds_until_a_person_passes_it_over() -> Result<()> {
    let (world, mut prometheus) = with_prometheus().await?;
    prometheus.kill().await?;
    let shift = world.begin_shift().await?;
    waits(&world, &shift, "gate error-rate: no count of samples: Prometheus main cannot be reached").await?;
    let request = json!({"name": shift, "requestedBy": "ann", "reason": "I looked myself"});
    world.caller().grpcurl("DeploymentService/PromoteDeployment", &request).await?;
    world.succeeded(&shift).await?;
    world.unharmed().await
}

/// A gate on the share of errors that services count in CloudWatch, by points of a second.
fn metrics() -> Value {
    let metric = |id: &str, name: &str, zero: bool| {
        json!({
            "id": id, "namespace": "User", "name": name, "dimensions": {"ServiceName": "{{service}}", "Cluster": "{{cluster}}"},
            "statistic": "Sum", "zeroWhenMissing": zero,
        })
    };
    json!({
        "name": "errors",
        "cloudwatchMetrics": {
            "metrics": [metric("errors", "Errors", true), metric("requests", "Requests", false)],
            "figure": "errors / requests",
            "sampleFigure": "requests",
            "minimumSamples": 100,
            "window": "30s", "period": "1s", "delay": "0s",
        },
        "condition": "new <= old * 1.1",
    })
}

/// Counts something of a service, twice, as two of its tasks would.
async fn count(world: &World, service: &str, name: &str, half: u32) -> Result<()> {
    let dimensions =
        format!("[dict(Name='ServiceName', Value='{service}'), dict(Name='Cluster', Value='user-ecs-cluster')]");
    let datum = format!("dict(MetricName='{name}', Dimensions={dimensions}, Value={half}, StorageResolution=1)");
    let line = format!("boto3.client('cloudwatch').put_metric_data(Namespace='User', MetricData=[{datum}, {datum}])");
    world.lab.boto3(&line).await
}

#[tokio::test]
async fn metrics_hold_without_data_and_pass_or_fail_a_version_beside_the_old_one() -> Result<()> {
    let world = world_with(json!([metrics()]), "").await?;
    let shift = world.begin_shift().await?;
    waits(&world, &shift, "gate errors: its figures are of what came after traffic moved from 20").await?;
    waits(&world, &shift, "gate errors: no figure of the new version: metric requests has no data").await?;
    let (old, new) = (service(&world, "0-0-4").await?, service(&world, "0-0-5").await?);
    count(&world, &new, "Requests", 20).await?;
    waits(&world, &shift, "gate errors: too few samples: 40 of 100").await?;
    count(&world, &new, "Requests", 30).await?;
    waits(&world, &shift, "gate errors: no figure of the old version: metric requests has no data").await?;
    // 2 of 100 errors beside none, which are not told.
    count(&world, &new, "Errors", 1).await?;
    count(&world, &old, "Requests", 500).await?;
    let ended = world.ended(&shift).await?;
    let reason = text(&ended["reason"]);
    ensure!(reason.contains("gate errors: new 0.02, old 0, needs new <= old * 1.1; 2 looks in a row"), "{reason}");
    ensure!(world.production().await? == "0.0.4: 100%", "{}", world.production().await?);
    let release = json!({"name": "projects/user/releases/0.0.5"});
    world.caller().grpcurl("ProjectService/LiftQuarantine", &release).await?;
    let again = world.deploy("flowcommerce/user:0.0.5").await?;
    waits(&world, &again, "gate errors: its figures are of what came after traffic moved from 20").await?;
    count(&world, &new, "Requests", 50).await?;
    count(&world, &new, "Errors", 1).await?;
    count(&world, &old, "Requests", 500).await?;
    count(&world, &old, "Errors", 10).await?;
    world.succeeded(&again).await?;
    world.unharmed().await
}

#[tokio::test]
async fn tasks_that_end_by_themselves_fail_a_gate_and_those_that_are_well_pass_it() -> Result<()> {
    let exits = json!({"name": "exits", "tasks": {"figure": "exits", "window": "6s"}, "condition": "new <= old"});
    let well = json!({"name": "well", "tasks": {"figure": "healthy / desired"}, "condition": "new >= old"});
    let world = world_with(json!([exits, well]), "").await?;
    // They are well long enough to be taken for healthy.
    let crashes = json!([{"match": "0-0-5", "behaviour": "crash", "delay_ms": 3_000}]);
    world.lab.settings(json!({"behaviours": crashes})).await?;
    let shift = world.begin_shift().await?;
    let ended = world.ended(&shift).await?;
    let reason = text(&ended["reason"]);
    ensure!(reason.contains("gate exits: new ") && reason.contains(", old 0, needs new <= old"), "{reason}");
    ensure!(world.production().await? == "0.0.4: 100%", "{}", world.production().await?);

    world.lab.settings(json!({"behaviours": []})).await?;
    world.lab.reset_record().await?;
    let release = json!({"name": "projects/user/releases/0.0.5"});
    world.caller().grpcurl("ProjectService/LiftQuarantine", &release).await?;
    let again = world.deploy("flowcommerce/user:0.0.5").await?;
    let deployment = world.succeeded(&again).await?;
    let steps = deployment["steps"].as_array().cloned().unwrap_or_default();
    for (gate, figure) in [("exits", 0), ("well", 1)] {
        let step = steps.iter().find(|step| step["description"] == format!("pass gate {gate}")).context("no step")?;
        let reading = &step["gateReading"];
        let figures = (&reading["verdict"], &reading["newFigure"], &reading["oldFigure"]);
        ensure!(figures == (&json!("GATE_VERDICT_PASS"), &json!(figure), &json!(figure)), "{step}");
    }
    world.unharmed().await
}

#[tokio::test]
async fn metrics_that_cannot_be_read_hold() -> Result<()> {
    let world = world_with(json!([metrics()]), "").await?;
    world.lab.faults(json!({"action": "GetMetricData", "fault": "error500"})).await?;
    let shift = world.begin_shift().await?;
    waits(&world, &shift, "gate errors: AWS answers GetMetricData with").await?;
    let request = json!({"name": shift, "requestedBy": "ann", "reason": "I looked myself"});
    world.caller().grpcurl("DeploymentService/PromoteDeployment", &request).await?;
    world.succeeded(&shift).await?;
    world.unharmed().await
}

#[tokio::test]
async fn every_fault_of_a_gate_is_named_by_its_field() -> Result<()> {
    let world = World::start().await?;
    let mut bad = errors();
    bad["condition"] = json!("new <= odl");
    bad["prometheus"]["query"] = json!("x{{nwe}}");
    bad["consecutiveFailures"] = json!(1);
    let mut project = world.definition();
    let mut worse = metrics();
    worse["cloudwatchMetrics"]["figure"] = json!("errors / request");
    worse["cloudwatchMetrics"]["metrics"][1]["statistic"] = json!("Mean");
    worse["cloudwatchMetrics"]["period"] = json!("7s");
    let worst = json!({"name": "exits", "tasks": {"figure": "crashes", "window": "3600s"}, "condition": "new <= old"});
    project["rolloutPolicy"] = json!({"steps": [{"percent": 33, "gates": [bad, worse, worst]}]});
    let refused = world.create(project).await.expect_err("the gates are faulty").to_string();
    let fields = ["[0].condition", "[0].prometheus.query", "[0].consecutive_failures"];
    let more = ["figure", "metrics[1].statistic", "period"].map(|field| format!("[1].cloudwatch_metrics.{field}"));
    let tasks = ["[2].tasks.figure", "[2].tasks.window"];
    for field in fields.into_iter().chain(tasks).map(str::to_owned).chain(more) {
        let field = format!("project.rollout_policy.steps[0].gates{field}");
        ensure!(refused.contains(&field), "{field} is not named: {refused}");
    }
    Ok(())
}

#[tokio::test]
async fn alarms_that_were_red_before_hold_and_one_that_goes_red_rolls_the_version_back() -> Result<()> {
    let gate = json!({"name": "alarms", "cloudwatchAlarms": {"names": ["user-errors"]}});
    let world = world_with(json!([gate]), "").await?;
    let alarm = |state: &str| {
        format!(
            "boto3.client('cloudwatch').set_alarm_state(AlarmName='user-errors', StateValue='{state}', StateReason='test')"
        )
    };
    world
        .lab
        .boto3(
            "boto3.client('cloudwatch').put_metric_alarm(AlarmName='user-errors', Namespace='user', MetricName='errors', \
             Statistic='Sum', Period=10, EvaluationPeriods=1, Threshold=1, ComparisonOperator='GreaterThanThreshold')",
        )
        .await?;
    world.lab.boto3(&alarm("ALARM")).await?;
    let shift = world.begin_shift().await?;
    waits(&world, &shift, "gate alarms: alarm user-errors was red before traffic moved, since 20").await?;
    world.lab.boto3(&alarm("INSUFFICIENT_DATA")).await?;
    waits(&world, &shift, "gate alarms: alarm user-errors has not enough data").await?;
    world.lab.boto3(&alarm("ALARM")).await?;
    let ended = world.ended(&shift).await?;
    let reason = text(&ended["reason"]);
    ensure!(reason.contains("gate alarms: alarm user-errors is red"), "{reason}");
    ensure!(world.production().await? == "0.0.4: 100%", "{}", world.production().await?);
    world.lab.boto3(&alarm("OK")).await?;
    let release = json!({"name": "projects/user/releases/0.0.5"});
    world.caller().grpcurl("ProjectService/LiftQuarantine", &release).await?;
    let again = world.deploy("flowcommerce/user:0.0.5").await?;
    waits(&world, &again, "gate alarms: alarm user-errors has to look at 10 s of what came after traffic moved")
        .await?;
    world.succeeded(&again).await?;
    world.unharmed().await
}
