//! What brain knows and how promptly: webhooks, tags that it makes itself, watchers that come and go, hosts in trouble.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use anyhow::{Context, Result, ensure};
use brain_tests::{
    brain::{self, Server, once},
    calls::Caller,
    git_host::{GitHost, Repository},
    http::client,
    registry::{Registry, Settings, htpasswd},
    sandbox::{Process, Sandbox},
    wait::eventually,
    webhook::{github_event, sign},
    world::text,
};
use serde_json::{Value, json};
use std::{fs, time::Duration};
use tokio::{net::TcpListener, time::Instant};

/// So long a period that nothing is seen by a poll that nobody asked for.
const NEVER: &str = "1h";

struct World {
    server: Server,
    git: GitHost,
    registry: Registry,
    user: Repository,
    agents: Sandbox,
}

impl World {
    async fn start(poll_interval: &str) -> Result<Self> {
        let (server, git, registry) =
            tokio::try_join!(Server::start_polling(poll_interval), GitHost::start(), Registry::start())?;
        let user = git.repository("user").await?;
        Ok(Self { server, git, registry, user, agents: Sandbox::new()? })
    }

    fn watcher(&self, name: &str) -> Result<Process> {
        brain::watcher(&self.agents, name, &self.server.address(), &self.registry.endpoint())
    }

    fn caller(&self) -> Caller {
        self.server.caller()
    }

    async fn create(&self, id: &str, git_url: &str, more: Value) -> Result<Value> {
        let mut project = json!({
            "name": format!("projects/{id}"),
            "source": {"gitUrl": git_url},
            "imageRepository": format!("flowcommerce/{id}"),
            "target": {"region": "us-east-1", "containerPort": 9000, "desiredCount": 3}
        });
        if let (Some(source), Some(more)) = (project["source"].as_object_mut(), more.as_object()) {
            source.extend(more.clone());
        }
        self.caller().grpcurl("ProjectService/CreateProject", &json!({"project": project})).await
    }

    async fn releases(&self, id: &str) -> Result<Value> {
        self.caller().grpcurl("ProjectService/ListReleases", &json!({"parent": format!("projects/{id}")})).await
    }

    /// Waits until the releases fit.
    async fn known(&self, id: &str, what: &str, fits: impl Fn(&Value) -> bool) -> Result<Value> {
        let known = eventually(what, || async {
            let releases = self.releases(id).await?;
            ensure!(fits(&releases), "{releases}");
            Ok(releases)
        });
        known.await.with_context(|| self.agents.logs())
    }

    /// Who caused the first event that begins so.
    async fn cause(&self, id: &str, words: &str) -> Result<String> {
        let request = json!({"project": format!("projects/{id}")});
        let events = self.caller().grpcurl("EventService/ListEvents", &request).await?;
        let mut told = events["events"].as_array().into_iter().flatten().rev();
        let event = told.find(|event| text(&event["text"]).starts_with(words)).context("no such event")?;
        Ok(text(&event["causedBy"]))
    }

    async fn sentences(&self) -> Result<Vec<String>> {
        let board = self.caller().grpcurl("BoardService/GetBoard", &json!({})).await?;
        let projects = board["projects"].as_array().cloned().unwrap_or_default();
        let sentences =
            projects.iter().flat_map(|project| project["sentences"].as_array().cloned().unwrap_or_default());
        Ok(sentences.map(|sentence| text(&sentence["text"])).collect())
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: String) -> Result<u16> {
        let mut request = client().post(format!("http://{}{path}", self.server.http_address())).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Ok(request.send().await?.status().as_u16())
    }
}

fn has_tag(releases: &Value, tag: &str) -> bool {
    releases["releases"].as_array().is_some_and(|releases| releases.iter().any(|release| release["tag"] == tag))
}

fn has_image(releases: &Value, tag: &str) -> bool {
    let fits = |release: &Value| release["tag"] == tag && release["imageDigest"] != "";
    releases["releases"].as_array().is_some_and(|releases| releases.iter().any(fits))
}

#[tokio::test]
async fn a_signed_github_event_makes_a_poll_at_once_and_another_one_nothing() -> Result<()> {
    let world = World::start(NEVER).await?;
    let _watcher = world.watcher("watcher")?;
    world.create("user", &world.user.url, json!({})).await?;
    world.known("user", "the first poll", |releases| releases["head"]["commit"].is_string()).await?;
    for (event, tag) in [("push", "0.0.1"), ("create", "0.0.2")] {
        world.user.tag(tag).await?;
        let body = github_event(event, &world.user.url)?;
        let headers = |signature| [("x-github-event", event), ("x-hub-signature-256", signature)];
        assert_eq!(world.post("/webhooks/github", &[("x-github-event", event)], body.clone()).await?, 401);
        let wrong = format!("sha256={}", "0".repeat(64));
        assert_eq!(world.post("/webhooks/github", &headers(&wrong), body.clone()).await?, 401);
        assert!(!has_tag(&world.releases("user").await?, tag), "what is not signed does nothing");
        let signature = sign(&body).await?;
        assert_eq!(world.post("/webhooks/github", &headers(&signature), body.clone()).await?, 202);
        world.known("user", tag, |releases| has_tag(releases, tag)).await?;
        assert_eq!(world.post("/webhooks/github", &headers(&signature), format!("{body} ")).await?, 401);
    }
    assert_eq!(world.cause("user", "tag 0.0.2 ").await?, "watcher watcher, told by a GitHub webhook");
    // Deleted, and said so: gone.
    world.user.git(&["push", "--quiet", "origin", ":refs/tags/0.0.2"]).await?;
    let body = github_event("delete", &world.user.url)?;
    let signature = sign(&body).await?;
    world.post("/webhooks/github", &[("x-github-event", "delete"), ("x-hub-signature-256", &signature)], body).await?;
    world.known("user", "0.0.2 is gone", |releases| !has_tag(releases, "0.0.2")).await?;
    // A repository that nobody has: taken, one line in the log.
    let body = github_event("push", "https://github.com/nobody/nothing.git")?;
    let signature = sign(&body).await?;
    let headers = [("x-github-event", "push"), ("x-hub-signature-256", signature.as_str())];
    assert_eq!(world.post("/webhooks/github", &headers, body).await?, 202);
    assert_eq!(world.post("/webhooks/github", &headers, "x".repeat(3 << 20)).await?, 413);
    Ok(())
}

#[tokio::test]
async fn docker_hubs_webhook_and_a_registrys_notification_bring_the_image_at_once() -> Result<()> {
    let mut world = World::start(NEVER).await?;
    let webhooks = async |world: &World| -> Result<Value> {
        world.caller().grpcurl("ProjectService/GetWebhooks", &json!({"name": "projects/fulfillment"})).await
    };
    world.create("fulfillment", &world.user.url, json!({})).await?;
    let paths = webhooks(&world).await?;
    let notify = format!("http://{}{}", world.server.http_address(), text(&paths["registry"]));
    world.registry = Registry::start_with(Settings { notify: Some(notify), ..Settings::default() }).await?;
    let _watcher = world.watcher("watcher")?;
    world.known("fulfillment", "the first poll", |releases| releases["head"]["commit"].is_string()).await?;
    // The registry itself says that something was pushed.
    world.registry.push("flowcommerce/fulfillment", "0.0.3", "0.0.3").await?;
    world.known("fulfillment", "0.0.3", |releases| has_image(releases, "0.0.3")).await?;
    // Moved: the same tag, another digest, and shown as such.
    world.registry.push("flowcommerce/fulfillment", "0.0.3", "again").await?;
    world
        .known("fulfillment", "the move", |releases| {
            text(&releases["releases"][0]["imageMove"]["from"]).starts_with("sha256:")
        })
        .await?;
    // The seed's payload, on the project's own path and on none else.
    let payload = json!({
        "push_data": {"pushed_at": 1_454_425_945, "images": [], "tag": "0.0.4", "pusher": "flowcommerce"},
        "callback_url": "https://registry.hub.docker.com/u/flowcommerce/fulfillment/hook/2fij20bc20ce44d2cf140ej0cfeci01f5/",
        "repository": {"status": "Active", "owner": "flowcommerce", "name": "fulfillment", "namespace": "flowcommerce",
            "is_private": true, "star_count": 0, "repo_name": "flowcommerce/fulfillment"}
    })
    .to_string();
    let path = text(&paths["dockerHub"]);
    assert_eq!(world.post(&path, &[], payload.clone()).await?, 202);
    assert_eq!(world.post(&format!("{path}0"), &[], payload.clone()).await?, 404);
    assert_eq!(world.post("/webhooks/dockerhub/fulfillment/", &[], payload.clone()).await?, 404);
    let guessed = format!("/webhooks/dockerhub/fulfillment/{}", "0".repeat(32));
    assert_eq!(world.post(&guessed, &[], payload.clone()).await?, 404);
    assert_eq!(world.post(&path, &[], payload.replace("flowcommerce/fulfillment", "else/where")).await?, 202);
    assert_eq!(world.post(&path, &[], "{".into()).await?, 400);
    Ok(())
}

#[tokio::test]
async fn brain_tags_what_it_is_asked_to_and_says_why_it_cannot() -> Result<()> {
    let world = World::start(NEVER).await?;
    let create = async |request: Value| world.caller().grpcurl("ProjectService/CreateTag", &request).await;
    world.create("user", &world.user.url, json!({})).await?;
    let part = |part: &str| json!({"parent": "projects/user", "next": format!("VERSION_PART_{part}")});
    let error = create(part("PATCH")).await.unwrap_err().to_string();
    assert!(error.contains("FailedPrecondition") && error.contains("no head"), "{error}");
    world.user.tag("v0.0.4").await?;
    let begin = world.user.head().await?;
    let head = world.user.commit("more").await?;
    // It polls once and never again.
    let _watcher = world.watcher("watcher")?;
    world.known("user", "the head", |releases| releases["head"]["commit"] == *head).await?;
    let made = create(part("PATCH")).await?;
    assert_eq!((&made["release"]["tag"], &made["release"]["commit"]), (&json!("v0.0.5"), &json!(head)));
    assert_eq!(world.user.git(&["ls-remote", "origin", "refs/tags/v0.0.5"]).await?.split('\t').next(), Some(&*head));
    // Again on the same head: the next patch, and by name on another commit.
    assert_eq!(create(part("MINOR")).await?["release"]["tag"], "v0.1.0");
    let named = json!({"parent": "projects/user", "tag": "0.0.1", "commit": begin, "requestedBy": "ann"});
    assert_eq!(create(named.clone()).await?["release"]["commit"], json!(begin));
    assert_eq!(create(named).await?["release"]["tag"], "0.0.1", "again is as good");
    assert_eq!(world.cause("user", "tag 0.0.1 ").await?, "ann");
    let error = create(json!({"parent": "projects/user", "tag": "0.0.1"})).await.unwrap_err().to_string();
    assert!(error.contains("FailedPrecondition") && error.contains(&begin), "{error}");
    let unknown = json!({"parent": "projects/user", "tag": "0.0.2", "commit": "b".repeat(40)});
    let error = create(unknown).await.unwrap_err().to_string();
    assert!(error.contains("FailedPrecondition") && error.contains("git host"), "{error}");
    let faulty = json!({"parent": "projects/user", "tag": "latest", "commit": "HEAD", "requestedBy": "a\tb"});
    let error = create(faulty).await.unwrap_err().to_string();
    assert!(
        ["InvalidArgument", "requested_by must", "tag must", "commit must"].iter().all(|part| error.contains(part)),
        "{error}"
    );
    Ok(())
}

#[tokio::test]
async fn a_policy_tags_every_head_and_a_failure_is_on_the_board() -> Result<()> {
    let world = World::start("300ms").await?;
    let _watcher = world.watcher("watcher")?;
    world.create("user", &world.user.url, json!({"autoTag": "VERSION_PART_PATCH"})).await?;
    let tagged = |commit: String, tag: &'static str| {
        move |releases: &Value| releases["head"]["commit"] == *commit && releases["head"]["label"] == tag
    };
    world.known("user", "0.0.1 on the first head", tagged(world.user.head().await?, "0.0.1")).await?;
    let second = world.user.commit("second").await?;
    world.known("user", "0.0.2 on the second head", tagged(second, "0.0.2")).await?;
    // The host takes no more: it is on the board, with why, and the head stays untagged.
    let hook = world.user.bare().join("hooks/pre-receive");
    fs::write(&hook, "#!/bin/sh\nexit 1\n")?;
    let mut permissions = fs::metadata(&hook)?.permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
    fs::set_permissions(&hook, permissions)?;
    world.user.git(&["config", "user.name", "test"]).await?;
    let third = world.user.git(&["commit-tree", "-p", "HEAD", "-m", "third", "HEAD^{tree}"]).await?.trim().to_owned();
    // Past the hook, as an administrator would.
    let object = world.user.git(&["cat-file", "commit", &third]).await?;
    let bare = world.user.bare().display().to_string();
    fs::write(world.agents.path("commit"), object)?;
    let file = world.agents.path("commit").display().to_string();
    world.user.git(&["--git-dir", &bare, "hash-object", "-t", "commit", "-w", &file]).await?;
    world.user.git(&["--git-dir", &bare, "update-ref", "refs/heads/master", &third]).await?;
    eventually("the failure on the board", || async {
        let sentences = world.sentences().await?;
        let fits = |sentence: &String| sentence.contains("the head cannot be tagged as 0.0.3: git host");
        ensure!(sentences.iter().any(fits), "{sentences:?}");
        Ok(())
    })
    .await?;
    fs::remove_file(&hook)?;
    world.known("user", "0.0.3 after all", tagged(third, "0.0.3")).await?;
    assert!(!world.sentences().await?.iter().any(|sentence| sentence.contains("cannot be tagged")));
    Ok(())
}

#[tokio::test]
async fn a_watch_of_a_project_begins_with_everything_and_goes_on_with_what_changes() -> Result<()> {
    let world = World::start("300ms").await?;
    let _watcher = world.watcher("watcher")?;
    world.user.tag("0.0.4").await?;
    world.create("user", &world.user.url, json!({})).await?;
    world.known("user", "0.0.4", |releases| has_tag(releases, "0.0.4")).await?;
    let mut watch = world.caller().watch("ProjectService/WatchProject", &json!({"name": "projects/user"}))?;
    let first = watch.next().await?.context("a snapshot")?;
    assert_eq!((&first["snapshot"], &first["releases"][0]["tag"]), (&json!(true), &json!("0.0.4")));
    let head = world.user.commit("more").await?;
    let next = watch.next().await?.context("a change")?;
    assert_eq!((&next["snapshot"], &next["project"]["head"]["commit"]), (&json!(false), &json!(head)));
    assert_eq!(next["project"]["head"]["label"], format!("0.0.4-{}", &head[..8]));
    world.user.git(&["push", "--quiet", "origin", ":refs/tags/0.0.4"]).await?;
    let token = loop {
        let next = watch.next().await?.context("a change")?;
        if next["removedReleases"] == json!(["projects/user/releases/0.0.4"]) {
            break next["resumeToken"].clone();
        }
    };
    // With the last token, and nothing changed since, the first message is the next change.
    let request = json!({"name": "projects/user", "resumeToken": token});
    let mut resumed = world.caller().watch("ProjectService/WatchProject", &request)?;
    world.user.tag("0.0.5").await?;
    let next = resumed.next().await?.context("a change")?;
    assert_eq!(next["releases"][0]["tag"], "0.0.5", "{next}");
    Ok(())
}

#[tokio::test]
async fn a_killed_watchers_share_is_polled_elsewhere_and_an_added_one_takes_its_part() -> Result<()> {
    let world = World::start("300ms").await?;
    let ids: Vec<String> = (0..12).map(|number| format!("p{number}")).collect();
    for id in &ids {
        world.create(id, &world.user.url, json!({})).await?;
    }
    let share = async || -> Result<Vec<(String, u64)>> {
        let answer = world.caller().grpcurl("AgentService/ListAgents", &json!({})).await?;
        let agents = answer["agents"].as_array().cloned().unwrap_or_default();
        Ok(agents.iter().map(|agent| (text(&agent["agent"]), agent["projects"].as_u64().unwrap_or(0))).collect())
    };
    let total = |shares: &[(String, u64)]| shares.iter().map(|(_, projects)| projects).sum::<u64>();
    let mut first = world.watcher("watcher-a")?;
    let _second = world.watcher("watcher-b")?;
    let shared = eventually("two shares", || async {
        let shares = share().await?;
        ensure!(shares.len() == 2 && total(&shares) == 12 && shares.iter().all(|(_, own)| *own > 0), "{shares:?}");
        Ok(shares)
    });
    shared.await?;
    let begun = Instant::now();
    first.kill().await?;
    eventually("one share", || async {
        let shares = share().await?;
        ensure!(shares == [("watcher-b".to_owned(), 12)], "{shares:?}");
        Ok(())
    })
    .await?;
    // The promise, and far more than it takes.
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    world.user.tag("0.0.1").await?;
    for id in &ids {
        world.known(id, "the tag, whoever watches", |releases| has_tag(releases, "0.0.1")).await?;
    }
    let _third = world.watcher("watcher-c")?;
    eventually("the added one's part", || async {
        let shares = share().await?;
        let added = shares.iter().any(|(name, own)| name == "watcher-c" && *own > 0);
        ensure!(added && total(&shares) == 12, "{shares:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_registry_that_never_answers_delays_only_its_own_projects() -> Result<()> {
    let world = World::start("300ms").await?;
    // It takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await?;
    let address = silent.local_addr()?;
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((connection, _)) = silent.accept().await {
            held.push(connection);
        }
    });
    let config = format!(
        "[[registry]]\nhost = \"docker.io\"\nendpoint = \"{}\"\n[[registry]]\nhost = \"{address}\"\nendpoint = \"http://{address}\"\n",
        world.registry.endpoint()
    );
    let _watcher = brain::watcher_with(&world.agents, "watcher", &world.server.address(), &config)?;
    for number in 0..20 {
        let project = json!({
            "name": format!("projects/silent{number}"),
            "source": {"gitUrl": world.user.url},
            "imageRepository": format!("{address}/flowcommerce/silent{number}"),
            "target": {"region": "us-east-1", "containerPort": 9000, "desiredCount": 3}
        });
        world.caller().grpcurl("ProjectService/CreateProject", &json!({"project": project})).await?;
    }
    world.create("user", &world.user.url, json!({})).await?;
    world.known("user", "the first poll", |releases| releases["head"]["commit"].is_string()).await?;
    for tag in ["0.0.1", "0.0.2", "0.0.3"] {
        world.registry.push("flowcommerce/user", tag, tag).await?;
        let begun = Instant::now();
        world.known("user", tag, |releases| has_image(releases, tag)).await?;
        assert!(begun.elapsed() < Duration::from_secs(15), "{tag} took {:?}", begun.elapsed());
    }
    // The silent one is told of, by its name and since when.
    eventually("the silent registry on the board", || async {
        let sentences = world.sentences().await?;
        let why = format!("cannot be polled: registry {address} does not answer in time");
        ensure!(sentences.iter().any(|sentence| sentence.contains(&why)), "{sentences:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn once_prints_what_would_be_observed_with_the_credentials_at_hand() -> Result<()> {
    let world = World::start(NEVER).await?;
    world.user.tag("0.0.4").await?;
    world.registry.push("flowcommerce/user", "0.0.4", "0.0.4").await?;
    world.user.commit("more").await?;
    world.create("user", &world.user.url, json!({})).await?;
    let config = world.agents.path("once.toml");
    let folder = world.user.bare().parent().context("a folder")?;
    let settings = format!(
        "git_folder = {folder:?}\n[[registry]]\nhost = \"docker.io\"\nendpoint = \"{}\"\n",
        world.registry.endpoint()
    );
    fs::write(&config, settings)?;
    let config = config.display().to_string();
    let server = format!("http://{}", world.server.address());
    let (code, output) = once(&["projects/user", "--server", &server, "--config", &config], &[]).await?;
    assert!(
        output.contains("1 commits ahead of 0.0.4") && output.contains("flowcommerce/user:0.0.4 sha256:"),
        "{output}"
    );
    assert_eq!(code, Some(0), "{output}");
    // By address, without a server; on this machine's own disk.
    let local = format!("file://{}", world.user.bare().display());
    let (code, output) = once(&["--git-url", &local, "--config", &config], &[]).await?;
    assert!(code == Some(0) && output.contains("1 commits ahead of 0.0.4"), "{output}");
    let (code, output) = once(&["--git-url", "file:///etc", "--config", &config], &[]).await?;
    assert!(code == Some(1) && output.contains("git_folder"), "{output}");
    let (code, output) = once(&["--image-repository", "127.0.0.1:1/flowcommerce/user"], &[]).await?;
    assert!(code == Some(1) && output.contains("cannot be reached"), "{output}");
    let (code, output) = once(&[], &[]).await?;
    assert!(code == Some(2) && output.contains("--git-url"), "{output}");
    // Made in a local repository too.
    drop(world.git);
    Ok(())
}

#[tokio::test]
async fn a_registry_that_refuses_the_credential_is_on_the_board_with_since_when() -> Result<()> {
    let mut world = World::start("300ms").await?;
    let auth = htpasswd(&world.agents, "me", "right").await?;
    let credential = Some(("me".to_owned(), "right".to_owned()));
    world.registry = Registry::start_with(Settings { auth, credential, notify: None }).await?;
    let password = world.agents.path("password");
    fs::write(&password, "wrong")?;
    let config = format!(
        "[[registry]]\nhost = \"docker.io\"\nendpoint = \"{}\"\nusername = \"me\"\npassword_file = {password:?}\n",
        world.registry.endpoint()
    );
    world.create("user", &world.user.url, json!({})).await?;
    let watcher = brain::watcher_with(&world.agents, "watcher", &world.server.address(), &config)?;
    eventually("the refusal on the board", || async {
        let board = world.caller().grpcurl("BoardService/GetBoard", &json!({})).await?;
        let sentences = board["projects"][0]["sentences"].as_array().cloned().unwrap_or_default();
        let refusal =
            sentences.iter().find(|sentence| text(&sentence["text"]).contains("registry docker.io answers 401"));
        ensure!(refusal.is_some_and(|refusal| refusal["since"].is_string()), "{board}");
        ensure!(!board.to_string().contains("wrong"), "a password on the board");
        Ok(())
    })
    .await?;
    drop(watcher);
    fs::write(&password, "right")?;
    world.registry.push("flowcommerce/user", "0.0.4", "0.0.4").await?;
    let _watcher = brain::watcher_with(&world.agents, "watcher", &world.server.address(), &config)?;
    world.known("user", "0.0.4", |releases| has_image(releases, "0.0.4")).await?;
    assert!(world.sentences().await?.iter().all(|sentence| !sentence.contains("401")));
    Ok(())
}
