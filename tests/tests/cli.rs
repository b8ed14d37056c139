//! `brain`, the command: against a real server, and with deployments that succeed and fail.

use anyhow::{Context, Result, ensure};
use brain_tests::{
    brain::Server,
    command::Person,
    paths,
    wait::{PATIENCE, eventually},
    world::{World, text},
};
use serde_json::{Value, json};
use std::{fs, process::Stdio};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    process::Command,
    time::timeout,
};

const USER: &str = r#"
name = "user"
image_repository = "flowcommerce/user"

[source]
git_url = "http://127.0.0.1:9/user.git"

[target]
region = "us-east-1"
host_port = 6041
container_port = 9000
desired_count = 3
"#;

/// What grpcurl prints, without defaults.
async fn grpcurl(server: &str, method: &str, request: &Value) -> Result<Value> {
    let mut command = Command::new(paths::tool("venv/bin/grpcurl")?);
    command.args(["-plaintext", "-d", &request.to_string(), server, &format!("brain.v1.{method}")]);
    let output = command.output().await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

#[tokio::test]
async fn a_project_is_applied_after_a_look_at_the_difference_and_again_to_no_effect() -> Result<()> {
    let server = Server::start().await?;
    let ann = Person::at(&server.address())?;
    fs::write(ann.home().path("user.toml"), USER)?;
    let apply = ["apply", "-f", "user.toml"];

    let looked = ann.done(&["apply", "-f", "user.toml", "--dry-run"]).await?;
    assert!(looked.contains("user: new") && looked.contains("+ host_port = 6041"), "{looked}");
    let unasked = ann.brain(&apply).await?;
    assert_eq!(unasked.code, Some(2), "nobody can be asked: {unasked:?}");
    assert!(unasked.err.contains("--yes"), "{unasked:?}");
    assert_eq!(ann.done(&["project", "list", "-o", "json"]).await?.trim(), "{}", "nothing was made");

    let made = ann.done(&["apply", "-f", "user.toml", "--yes"]).await?;
    assert!(made.contains("user is made, on host port 6041"), "{made}");
    assert_eq!(ann.done(&apply).await?, "user: unchanged\n", "there is nothing to ask");

    // What the server keeps is a file that changes nothing.
    fs::write(ann.home().path("kept.toml"), ann.done(&["project", "get", "user", "--file"]).await?)?;
    assert_eq!(ann.done(&["apply", "-f", "kept.toml"]).await?, "user: unchanged\n");

    fs::write(ann.home().path("user.toml"), USER.replace("desired_count = 3", "desired_count = 5"))?;
    let changed = ann.brain(&["apply", "-f", "user.toml", "--dry-run"]).await?;
    for line in ["- desired_count = 3\n", "+ desired_count = 5\n"] {
        assert!(changed.out.contains(line), "{changed:?}");
    }
    let done = ann.done(&["apply", "-f", "user.toml", "--yes", "--reason", "more people"]).await?;
    assert!(done.contains("user is changed"), "{done}");
    assert_eq!(ann.done(&apply).await?, "user: unchanged\n");
    Ok(())
}

#[tokio::test]
async fn a_definition_is_edited_told_of_and_deleted() -> Result<()> {
    let server = Server::start().await?;
    let ann = Person::at(&server.address())?;
    fs::write(ann.home().path("user.toml"), USER)?;
    ann.done(&["apply", "-f", "user.toml", "--yes"]).await?;
    let edit = async |script: &str| {
        let mut command = ann.command(&["project", "edit", "user", "--yes", "--reason", "it grows"])?;
        let output = command.env("EDITOR", script).env_remove("VISUAL").stdin(Stdio::null()).output().await?;
        let text = String::from_utf8(output.stdout)? + &String::from_utf8(output.stderr)?;
        anyhow::Ok((output.status.code(), text))
    };
    let (code, text) = edit("sed -i s/^desired_count.*/desired_count=4/ ").await?;
    assert_eq!(code, Some(2), "max_instances is too small: {text}");
    let kept = text.split("your text is in ").nth(1).context("where the text is")?.trim();
    ensure!(fs::read_to_string(kept)?.contains("desired_count=4"), "what was typed is lost");
    let (code, text) =
        edit("sed -i -e s/^desired_count.*/desired_count=4/ -e s/^max_instances.*/max_instances=8/").await?;
    assert_eq!((code, text.contains("+ desired_count = 4")), (Some(0), true), "{text}");
    assert_eq!(edit("true").await?, (Some(0), "nothing was changed\n".to_owned()));
    let (code, text) = edit("false").await?;
    assert_eq!((code, text.contains("the editor `false` ended with")), (Some(2), true), "{text}");

    let told = ann.done(&["events", "user", "--topic", "project"]).await?;
    let lines: Vec<&str> = told.lines().collect();
    assert!(lines[0].ends_with("the project was created"), "{told}");
    let expected = "the definition changed: target.desired_count, target.max_instances (it grows)";
    assert!(lines[1].ends_with(expected), "{told}");
    assert_eq!(ann.done(&["events", "-n", "1"]).await?.lines().count(), 1);

    let mut followed = ann.start(&["events", "--follow", "-n", "1"])?;
    followed.line_with("the definition changed").await?;
    let unasked = ann.brain(&["project", "delete", "user"]).await?;
    assert_eq!((unasked.code, unasked.err.contains("--yes")), (Some(2), true), "{unasked:?}");
    ann.done(&["project", "delete", "user", "--yes", "--reason", "no longer needed"]).await?;
    let line = followed.line_with("deleted").await?;
    assert!(line.contains("user") && line.ends_with("the project was deleted (no longer needed)"), "{line}");
    followed.interrupt().await?;
    assert_eq!(followed.end().await?.code, Some(130));
    assert_eq!(ann.brain(&["project", "get", "user"]).await?.code, Some(4));
    Ok(())
}

#[tokio::test]
async fn every_fault_of_every_file_is_named_at_once() -> Result<()> {
    let server = Server::start().await?;
    let ann = Person::at(&server.address())?;
    let faulty = USER.replace("region", "regin").replace("9000", "\"many\"");
    fs::write(ann.home().path("first.toml"), faulty)?;
    fs::write(ann.home().path("second.toml"), "name = \"Second\"\n[target]\nregion = \"us-east-1\"\n")?;
    let outcome = ann.brain(&["apply", "-f", "first.toml", "-f", "second.toml", "--yes"]).await?;
    assert_eq!(outcome.code, Some(2), "{outcome:?}");
    for expected in [
        "first.toml: target.regin is no field of Target: did you mean region?",
        "first.toml: target.container_port ",
        "second.toml: name ",
        "second.toml: source.git_url ",
        "second.toml: image_repository ",
        "second.toml: target.container_port ",
    ] {
        assert!(outcome.err.contains(expected), "{expected:?} is not in {}", outcome.err);
    }

    // What only the server can know is told as readably.
    fs::write(ann.home().path("user.toml"), USER)?;
    ann.done(&["apply", "-f", "user.toml", "--yes"]).await?;
    fs::write(ann.home().path("other.toml"), USER.replace("name = \"user\"", "name = \"other\""))?;
    let taken = ann.brain(&["apply", "-f", "other.toml", "--yes"]).await?;
    assert_eq!(taken.code, Some(2), "{taken:?}");
    assert!(taken.err.contains("project.target.host_port 6041 is taken by projects/user"), "{}", taken.err);
    Ok(())
}

#[tokio::test]
async fn exit_codes_and_words_tell_what_is_wrong() -> Result<()> {
    let server = Server::start().await?;
    let ann = Person::at(&server.address())?;
    fs::write(ann.home().path("user.toml"), USER)?;
    ann.done(&["apply", "-f", "user.toml", "--yes"]).await?;
    for (words, code, expected) in [
        (&["releases", "none"][..], 4, "there is no projects/none"),
        (&["deploy", "user", "0.0.9"], 4, "0.0.9"),
        (&["deploy", "user"], 2, "brain releases user"),
        (&["status", "user/x"], 2, "user/3"),
        (&["pause", "user"], 4, "has no deployment yet"),
        (&["frobnicate"], 2, "unrecognized subcommand"),
        (
            &["--server", "127.0.0.1:9", "board"],
            5,
            "no brain server answers at http://127.0.0.1:9/: Connection refused",
        ),
        (&["--server", "https://brain.internal", "board"], 2, "TLS"),
        (&["windows", "set", "user", "--window", "0 25 * * *, 8h, Mars/Base"], 2, "windows[0].time_zone"),
        (&["line", "stop", "--reason", "an outage"], 0, ""),
        (&["tag", "user", "--bump", "patch"], 3, "HEAD_UNKNOWN"),
    ] {
        let outcome = ann.brain(words).await?;
        assert_eq!(outcome.code, Some(code), "{words:?}: {outcome:?}");
        assert!(outcome.err.contains(expected), "{words:?}: {expected:?} is not in {}", outcome.err);
    }
    let status = ann.done(&["status"]).await?;
    assert!(status.starts_with("the line is stopped by ann"), "{status}");
    Ok(())
}

#[tokio::test]
async fn settings_come_from_the_file_where_nothing_else_says_so() -> Result<()> {
    let server = Server::start().await?;
    let ann = Person::at(&server.address())?;
    fs::create_dir_all(ann.home().path(".config/brain"))?;
    let file = ann.home().path(".config/brain/config.toml");
    fs::write(&file, format!("server = \"{}\"\noutput = \"json\"\nas = \"bob\"\n", server.address()))?;
    let by_file = ann.command(&["line", "stop"])?.env_remove("BRAIN_SERVER").output().await?;
    let answer: Value = serde_json::from_slice(&by_file.stdout).context("not JSON")?;
    assert_eq!(answer["line"]["origin"]["setBy"], "bob");
    let typed = ann.done(&["-o", "table", "line", "get"]).await?;
    assert!(typed.starts_with("the line is stopped by bob"), "{typed}");
    fs::write(&file, "sever = 1\n")?;
    let faulty = ann.brain(&["line", "get"]).await?;
    assert_eq!(faulty.code, Some(2), "{faulty:?}");
    assert!(faulty.err.contains("config.toml is faulty") && faulty.err.contains("sever"), "{faulty:?}");
    Ok(())
}

#[tokio::test]
async fn output_that_nobody_reads_ends_quietly() -> Result<()> {
    let server = Server::start().await?;
    let ann = Person::at(&server.address())?;
    let mut child = ann.command(&["board", "--watch"])?.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    drop(child.stdout.take());
    // The first change is written to nobody.
    fs::write(ann.home().path("user.toml"), USER)?;
    ann.done(&["apply", "-f", "user.toml", "--yes"]).await?;
    let output = child.wait_with_output().await?;
    assert_eq!((output.status.code(), output.stderr.len()), (Some(141), 0), "{output:?}");
    Ok(())
}

#[tokio::test]
async fn completions_and_manual_pages_name_every_command() -> Result<()> {
    let ann = Person::at("127.0.0.1:9")?;
    for shell in ["bash", "zsh", "fish"] {
        let text = ann.done(&["completions", shell]).await?;
        assert!(text.contains("rollback") && text.contains("quarantine"), "{shell}: {text}");
    }
    ann.done(&["man", "man1"]).await?;
    for page in ["brain.1", "brain-deploy.1", "brain-line-stop.1"] {
        let text = fs::read_to_string(ann.home().path("man1").join(page)).context(page)?;
        assert!(text.contains(".SH") && text.contains("Examples"), "{page}: {text}");
    }
    Ok(())
}

/// One world, for it takes its time to be made: what is asked of it is asked in the order of a working day.
#[tokio::test]
async fn a_day_with_deployments_that_are_watched() -> Result<()> {
    let world = World::start().await?;
    let server = world.server.address();
    let ann = Person::at(&server)?;
    world.first_deployment().await?;
    world.registry.push("flowcommerce/user", "0.0.5", "0.0.5").await?;
    world.image_known("0.0.5").await?;

    // As grpcurl prints it.
    for (words, method, request) in [
        (&["releases", "user"][..], "ProjectService/ListReleases", json!({"parent": "projects/user"})),
        (&["project", "get", "user"], "ProjectService/GetProject", json!({"name": "projects/user"})),
        (&["status", "user/1"], "DeploymentService/GetDeployment", json!({"name": "projects/user/deployments/1"})),
        (&["board"], "BoardService/GetBoard", json!({})),
    ] {
        let answer: Value = serde_json::from_str(&ann.done(&[words, &["-o", "json"]].concat()).await?)?;
        assert_eq!(answer, grpcurl(&server, method, &request).await?, "{words:?}");
    }
    let yaml = ann.done(&["releases", "user", "-o", "yaml"]).await?;
    assert!(yaml.starts_with("releases:\n") && yaml.contains("flowcommerce/user:0.0.5"), "{yaml}");
    let releases = ann.done(&["releases", "user"]).await?;
    assert!(releases.contains("0.0.4") && releases.contains("head: 0.0.5-"), "{releases}");

    // The plan names steps and calls, and does nothing.
    let plan = ann.done(&["deploy", "user", "0.0.5", "--plan", "--steps", "33%:2s"]).await?;
    assert!(plan.contains("CreateService") && plan.contains("steps; nothing is done"), "{plan}");

    // Detached by Ctrl-C at a hold, the deployment goes on.
    let mut watch =
        ann.start(&["deploy", "user", "0.0.5", "--watch", "--steps", "33%:0s:hold", "--request-id", "a"])?;
    watch.line_with("user/2 flowcommerce/user:0.0.5, asked for by ann").await?;
    watch.line_with("production 0.0.4: 67% 0.0.5: 33%").await?;
    watch.interrupt().await?;
    let detached = watch.end().await?;
    assert_eq!(detached.code, Some(130), "{detached:?}");
    assert!(detached.err.contains("deployment user/2 goes on"), "{detached:?}");
    assert!(detached.err.contains("brain status user/2 --watch"), "{detached:?}");
    let again = ann.done(&["deploy", "user", "0.0.5", "--steps", "33%:0s:hold", "--request-id", "a"]).await?;
    assert!(again.contains("user/2"), "the same request is the same deployment: {again}");
    let refused = ann.brain(&["deploy", "user", "0.0.4"]).await?;
    assert_eq!(refused.code, Some(3), "{refused:?}");
    assert!(refused.err.contains("next: brain status user --watch"), "{refused:?}");
    eventually("the hold", || async {
        let deployment = world.deployment("projects/user/deployments/2").await?;
        ensure!(deployment["pause"]["pausedBy"] == "rollout policy", "{}", deployment["headline"]);
        Ok(())
    })
    .await?;

    // What could not be deployed now is planned all the same.
    let plan = ann.brain(&["deploy", "user", "0.0.4", "--plan"]).await?;
    assert_eq!(plan.code, Some(3), "{plan:?}");
    let plan = plan.out;
    let why = "It could not be deployed now: projects/user/deployments/2: deployment 2 of 0.0.5 is in progress";
    assert!(plan.starts_with(why) && plan.contains("steps; nothing is done"), "{plan}");

    // Promoted, and watched to its end.
    let promoted = ann.brain(&["promote", "user", "--watch"]).await?;
    assert_eq!(promoted.code, Some(0), "{promoted:?}");
    for line in ["promote", "production 0.0.5: 100%", "✓ flowcommerce/user:0.0.5 succeeded"] {
        assert!(promoted.out.contains(line), "{line:?} is not in {}", promoted.out);
    }
    let events = ann.done(&["events", "user", "--topic", "deployment"]).await?;
    assert!(events.contains("promoted past step "), "the step is named to the server: {events}");
    let status = ann.done(&["status", "user"]).await?;
    assert!(status.contains("user/2") && status.contains("succeeded") && status.contains("100%"), "{status}");

    a_version_that_crashes(&world, &ann).await
}

async fn a_version_that_crashes(world: &World, ann: &Person) -> Result<()> {
    world.user.tag("0.0.6").await?;
    world.registry.push("flowcommerce/user", "0.0.6", "0.0.6").await?;
    world.image_known("0.0.6").await?;
    world.lab.settings(json!({"behaviours": [{"match": "0-0-6", "behaviour": "crash", "delay_ms": 50}]})).await?;
    let failed = ann.brain(&["deploy", "flowcommerce/user:0.0.6", "--watch"]).await?;
    assert_eq!(failed.code, Some(1), "{failed:?}");
    for line in ["failed: ", "rolling back", "✗ flowcommerce/user:0.0.6 failed"] {
        assert!(failed.out.contains(line), "{line:?} is not in {}", failed.out);
    }
    let refused = ann.brain(&["deploy", "user", "0.0.6"]).await?;
    assert_eq!(refused.code, Some(3), "{refused:?}");
    assert!(refused.err.contains("VERSION_QUARANTINED"), "{refused:?}");
    let lifted = ann.done(&["lift", "user", "0.0.6"]).await?;
    assert_eq!(lifted, "user: nothing is held\n");
    ensure!(text(&world.deployment("projects/user/deployments/3").await?["phase"]) == "DEPLOYMENT_PHASE_FAILED");
    Ok(())
}

#[tokio::test]
async fn a_watch_goes_on_over_a_restart_of_the_server_and_gives_up_on_one_that_is_gone() -> Result<()> {
    let mut world = World::start().await?;
    let ann = Person::at(&world.server.address())?;
    world.create_project().await?;
    world.image_known("0.0.4").await?;
    let mut watch = ann.start(&["deploy", "user", "0.0.4", "--watch"])?;
    watch.line_with("step ").await?;
    world.server.kill().await?;
    watch.line_with("lost: ").await?;
    world.server.restart().await?;
    watch.line_with("connected again").await?;
    let ended = watch.end().await?;
    assert_eq!(ended.code, Some(0), "{ended:?}");

    let mut board = ann.start(&["board", "--watch", "--patience", "1"])?;
    board.line_with("flowcommerce/user").await?;
    world.server.kill().await?;
    let given_up = board.end().await?;
    assert_eq!(given_up.code, Some(5), "{given_up:?}");
    assert!(given_up.err.contains("has not answered for 1 s"), "{given_up:?}");
    Ok(())
}

/// Waits until a request has come: a HEADERS frame behind HTTP/2's preface.
async fn asked(connection: &mut TcpStream) -> Result<()> {
    connection.read_exact(&mut [0; 24]).await?;
    loop {
        let mut head = [0; 9];
        connection.read_exact(&mut head).await?;
        let [a, b, c, kind, ..] = head;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        connection.read_exact(&mut vec![0; length]).await?;
        if kind == 1 {
            return Ok(());
        }
    }
}

#[tokio::test]
async fn who_ends_a_request_before_its_answer_learns_that_it_may_have_come_through() -> Result<()> {
    // A server that takes everything and answers nothing.
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let ann = Person::at(&listener.local_addr()?.to_string())?;
    for words in [
        &["deploy", "user", "0.0.5", "--watch", "--request-id", "build-7"][..],
        &["rollback", "user", "--request-id", "build-7"],
    ] {
        let running = ann.start(words)?;
        let (mut connection, _) = listener.accept().await?;
        timeout(PATIENCE, asked(&mut connection)).await??;
        running.interrupt().await?;
        let outcome = timeout(PATIENCE, running.end()).await??;
        assert_eq!(outcome.code, Some(130), "{outcome:?}");
        for told in ["may have been accepted", "brain status", "--request-id build-7"] {
            assert!(outcome.err.contains(told), "{told:?} is not in {outcome:?}");
        }
    }
    Ok(())
}
