//! What people look at: the board, in a real browser, and the command, in a real terminal.

use anyhow::{Context, Result, ensure};
use brain_tests::{
    brain::Server,
    browser::Script,
    wait::eventually,
    world::{World, text},
};
use serde_json::{Value, json};
use std::process::Stdio;
use tokio::process::Command;

mod terminal;

async fn freeze(world: &World, why: &str) -> Result<Value> {
    let request = json!({"name": "projects/user", "requestedBy": "ann", "reason": why});
    world.caller().grpcurl("ProjectService/FreezeProject", &request).await
}

/// The project, with a policy that waits for somebody when a third is on the new version.
fn held_at_a_third(world: &World) -> Value {
    let mut definition = world.definition();
    definition["rolloutPolicy"] = json!({"steps": [{"percent": 33, "hold": true}]});
    definition
}

#[tokio::test]
async fn a_person_deploys_and_steers_by_clicking_and_sees_every_share() -> Result<()> {
    let world = World::start().await?;
    let mut definition = held_at_a_third(&world);
    let steps = definition["rolloutPolicy"]["steps"].as_array_mut().context("no steps")?;
    steps.push(json!({"percent": 67, "bake": "600s"}));
    world.first_deployment_of(definition).await?;
    let mut script = Script::start("deploy", &world.server.http_address())?;
    script.says("open").await?;
    world.registry.push("flowcommerce/user", "0.0.5", "0.0.5").await?;
    script.done().await.with_context(|| world.agents.logs())?;
    let deployment = world.deployment("projects/user/deployments/2").await?;
    assert_eq!(
        (text(&deployment["requestedBy"]), text(&deployment["requestReason"])),
        ("ann".into(), "to see it".into())
    );
    let controls = deployment["controls"].as_array().context("no controls")?;
    let done: Vec<String> = controls.iter().map(|control| text(&control["what"])).collect();
    assert_eq!(done, ["promote", "pause", "resume", "promote"]);
    world.unharmed().await
}

#[tokio::test]
async fn the_board_works_without_scripts_in_the_dark_on_a_phone_and_by_keyboard() -> Result<()> {
    let world = World::start().await?;
    world.first_deployment_of(held_at_a_third(&world)).await?;
    world.registry.push("flowcommerce/user", "0.0.5", "0.0.5").await?;
    world.image_known("0.0.5").await?;
    Script::start("look", &world.server.http_address())?.done().await?;
    let deployment = world.deployment("projects/user/deployments/2").await?;
    assert_eq!(text(&deployment["requestedBy"]), "bob");
    Ok(())
}

#[tokio::test]
async fn a_person_holds_stops_and_takes_back_by_clicking() -> Result<()> {
    let world = World::start().await?;
    world.first_deployment_of(held_at_a_third(&world)).await?;
    world.registry.push("flowcommerce/user", "0.0.5", "0.0.5").await?;
    world.image_known("0.0.5").await?;
    let mut script = Script::start("steer", &world.server.http_address())?;
    script.says("held").await?;
    let release = json!({"name": "projects/user/releases/0.0.5", "requestedBy": "bob", "reason": "to look"});
    world.caller().grpcurl("ProjectService/QuarantineRelease", &release).await?;
    script.done().await.with_context(|| world.agents.logs())?;
    let deployment = world.ended("projects/user/deployments/2").await?;
    assert_eq!(text(&deployment["phase"]), "DEPLOYMENT_PHASE_CANCELLED");
    assert_eq!(world.production().await?, "0.0.4: 100%");
    world.unharmed().await
}

#[tokio::test]
async fn pages_left_open_recover_from_a_kill_of_the_server() -> Result<()> {
    let mut world = World::start().await?;
    world.first_deployment().await?;
    let mut script = Script::start("wait", &world.server.http_address())?;
    script.says("open").await?;
    world.server.kill().await?;
    world.server.restart().await?;
    eventually("the server to answer", || freeze(&world, "frozen while nobody looked")).await?;
    script.done().await
}

/// Status and body that curl gets.
async fn curl(arguments: &[&str]) -> Result<(u16, String)> {
    let mut command = Command::new("curl");
    command.args(["--silent", "--max-time", "20", "--write-out", "\n%{http_code}"]).args(arguments);
    let output = command.stderr(Stdio::inherit()).output().await?;
    let text = String::from_utf8(output.stdout)?;
    let (body, status) = text.rsplit_once('\n').context("no status")?;
    Ok((status.parse()?, body.to_owned()))
}

#[tokio::test]
async fn other_sites_and_bad_addresses_are_refused_with_a_word() -> Result<()> {
    let world = World::start().await?;
    world.create_project().await?;
    let board = format!("http://{}", world.server.http_address());
    let freeze = format!("{board}/user/-/do/freeze");
    let data = "by=eve&reason=from+elsewhere";
    let foreign = "Another site has sent this request";
    for (from, told) in [
        (&["--header", "Sec-Fetch-Site: cross-site"][..], foreign),
        (&["--header", "Origin: http://evil.example"], foreign),
        (&[], "programs use the API"),
    ] {
        let (status, body) = curl(&[from, &["--data", data, &freeze]].concat()).await?;
        ensure!(status == 403 && body.contains(told), "{from:?}: {status} {body}");
    }
    let (status, _) = curl(&["--header", "Sec-Fetch-Site: same-origin", "--data", data, &freeze]).await?;
    assert_eq!(status, 303);
    let held = world.caller().grpcurl("ProjectService/GetProject", &json!({"name": "projects/user"})).await?;
    assert_eq!(held["project"]["holds"]["freeze"]["origin"]["reason"], "from elsewhere");
    // Another site's name that was made to lead here is not the board's, whatever is asked; this machine's names are.
    let port = world.server.http_address().rsplit_once(':').context("no port")?.1.to_owned();
    for (host, expected) in [("evil.example", 421), ("brain.example", 421), ("localhost", 200), ("127.0.0.1", 200)] {
        for path in ["/", "/user", "/-/events", "/nobody/there"] {
            let expected = if path.starts_with("/nobody") && expected == 200 { 404 } else { expected };
            let (status, body) =
                curl(&["--header", &format!("Host: {host}:{port}"), &format!("{board}{path}")]).await?;
            ensure!(status == expected, "{host} {path}: {status} {body}");
            ensure!(status != 421 || (body.contains(host) && body.contains("board_url")), "{host} {path}: {body}");
        }
    }
    // What the project refuses is told where it was asked.
    let deploy = format!("{board}/user/-/do/deploy");
    let (status, body) =
        curl(&["--header", "Sec-Fetch-Site: same-origin", "--data", "by=ann&version=9.9.9", &deploy]).await?;
    ensure!(status == 409 && body.contains("9.9.9") && body.contains("role=\"alert\""), "{status} {body}");
    for (path, status) in [
        ("/nobody", 404),
        ("/user/deployments/9", 404),
        ("/user/deployments/x", 400),
        ("/user/-/do/explode", 404),
        ("/-/assets/..%2fCargo.toml", 404),
        ("/?page=x", 400),
        ("/?page=18446744073709551615", 200),
        ("/user/releases?page=18446744073709551615", 200),
        ("/user/releases?tag=none", 200),
        ("/user/deployments", 200),
        ("/-/events?before=x", 400),
        ("/%3Cscript%3E", 404),
        ("/healthz", 200),
    ] {
        let (answered, body) = curl(&[&format!("{board}{path}")]).await?;
        ensure!(answered == status && !body.contains("<script>"), "{path}: {answered}, not {status}: {body}");
        ensure!(
            path == "/healthz" || path.starts_with("/-/assets") || body.contains("</html>"),
            "{path} is no page: {body}"
        );
    }
    let (_, headers) = curl(&["--head", &board]).await?;
    for header in ["content-security-policy: default-src 'none'", "x-content-type-options: nosniff", "no-store"] {
        ensure!(headers.to_lowercase().contains(header), "{header} is missing: {headers}");
    }
    Ok(())
}

#[tokio::test]
async fn a_board_that_is_read_only_offers_nothing_and_does_nothing() -> Result<()> {
    let world = World::start_on(Server::start_configured("board_read_only = true\n").await?).await?;
    world.create_project().await?;
    world.image_known("0.0.4").await?;
    let board = format!("http://{}", world.server.http_address());
    for page in ["/", "/user"] {
        let (status, body) = curl(&[&format!("{board}{page}")]).await?;
        ensure!(status == 200 && body.contains("flowcommerce/user"), "{page}: {status}");
        ensure!(!body.contains("/-/do/"), "{page} offers to do something: {body}");
    }
    let of_project = ["deploy", "rollback", "approve", "pause", "resume", "promote", "promote-all", "cancel", "leave"];
    let held = ["lift", "pin", "unpin", "freeze", "thaw"];
    let paths = of_project.iter().chain(&held).map(|verb| format!("/user/-/do/{verb}"));
    for path in paths.chain(["stop", "stop-and-pause", "release"].map(|verb| format!("/-/do/{verb}"))) {
        let (asked, _) = curl(&[&format!("{board}{path}?number=1&version=0.0.4")]).await?;
        let data = "by=ann&reason=none&version=0.0.4&number=1";
        let (done, _) =
            curl(&["--header", "Sec-Fetch-Site: same-origin", "--data", data, &format!("{board}{path}")]).await?;
        ensure!((asked, done) == (403, 403), "{path}: {asked}, {done}");
    }
    let project = world.caller().grpcurl("ProjectService/GetProject", &json!({"name": "projects/user"})).await?;
    ensure!(project["project"]["holds"]["freeze"].is_null(), "{project}");
    Ok(())
}
