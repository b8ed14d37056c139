//! `brain dev`, run as a newcomer runs it: nothing but the binary.

use anyhow::{Context, Result, ensure};
use brain_tests::{
    command::{Person, Running},
    git_host::GitHost,
    lab::Lab,
    registry::Registry,
    wait::{PATIENCE, eventually},
};
use serde_json::{Value, json};
use std::{fs, path::Path, time::Duration};
use tokio::{
    net::TcpListener,
    process::Command,
    time::{Instant, timeout},
};

/// Longest story: it takes less than a minute, and the machine may be busy.
const STORY: Duration = Duration::from_secs(240);

/// The command, with any free port instead of the usual ones.
const FREE: [&str; 5] = ["dev", "--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"];

/// A `brain dev` that runs.
struct Dev {
    running: Running,
    board: String,
    api: String,
    git: String,
    data: String,
}

impl Dev {
    /// Starts it on free ports; answers once it has told where everything is.
    async fn start(ann: &Person, words: &[&str]) -> Result<Self> {
        Self::told(ann.start(&[&FREE, words].concat())?).await
    }

    async fn told(mut running: Running) -> Result<Self> {
        let board = word(&mut running, "  board ").await?;
        let api = word(&mut running, "  API ").await?;
        let git = word(&mut running, "  git ").await?;
        let data = word(&mut running, "  data ").await?;
        Ok(Self { running, board, api, git, data })
    }

    /// Presses Ctrl-C, and waits for a good end.
    async fn end(self) -> Result<()> {
        self.running.interrupt().await?;
        let begun = Instant::now();
        let ended = timeout(PATIENCE, self.running.end()).await??;
        ensure!(ended.code == Some(0), "{ended:?}");
        ensure!(begun.elapsed() < Duration::from_secs(10), "it took {:?}", begun.elapsed());
        Ok(())
    }
}

/// The word after `label` in the next line that has it.
async fn word(running: &mut Running, label: &str) -> Result<String> {
    let line = timeout(PATIENCE, running.line_with(label)).await??;
    Ok(line.split_whitespace().nth(1).context(line.clone())?.to_owned())
}

async fn page(address: &str) -> Result<String> {
    Ok(brain_tests::http::client().get(address).send().await?.error_for_status()?.text().await?)
}

fn stranger() -> Result<Person> {
    Person::at("127.0.0.1:9")
}

#[tokio::test]
async fn the_story_is_told_from_what_the_api_says() -> Result<()> {
    let mut dev = Dev::start(&stranger()?, &["--story"]).await?;
    timeout(STORY, dev.running.line_with("flowcommerce/user     0.0.4: 67%   0.0.5: 33%")).await??;
    let board = page(&dev.board).await?;
    assert!(board.contains("flowcommerce/user") && board.contains("0.0.5"), "{board}");
    let figures = page(&format!("{}metrics", dev.board)).await?;
    for name in ["brain_projects 1", "brain_polls_total", "brain_steps_total"] {
        assert!(figures.contains(name), "{name}: {figures}");
    }
    let status = Person::at(&dev.api)?.done(&["status", "user"]).await?;
    assert!(status.contains("asked for by paolo"), "{status}");
    let ended = timeout(STORY, dev.running.end()).await??;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for line in [
        "0.0.5   <not yet available>",
        "0.0.4   flowcommerce/user:0.0.4",
        "master: 0.0.5-",
        "flowcommerce/user     0.0.4: 100%",
        "flowcommerce/user     0.0.4: 33%   0.0.5: 67%",
        "flowcommerce/user     0.0.5: 100%",
        "flowcommerce/user has commits on master that are not yet tagged",
        "flowcommerce/user:0.0.5 waiting on docker image",
        "flowcommerce/user:0.0.5 deploy is in process",
        "flowcommerce/user:0.0.6 deploy failed and is rolled back: ",
        "flowcommerce/user:0.0.6 is quarantined",
        "reason: VERSION_QUARANTINED",
        "The end, after ",
    ] {
        assert!(ended.out.contains(line), "{line:?} is not in\n{}", ended.out);
    }
    assert_eq!(ended.err, "", "nobody is warned of what the story tells");
    assert!(!Path::new(&dev.data).exists(), "{} is left", dev.data);
    Ok(())
}

#[tokio::test]
async fn a_story_that_is_not_seen_fails_and_says_what_is_missing() -> Result<()> {
    let mut dev = Dev::start(&stranger()?, &["--story", "--stay"]).await?;
    timeout(STORY, dev.running.line_with("0.0.5: 25%")).await??;
    Person::at(&dev.api)?.done(&["cancel", "user", "--rollback"]).await?;
    let ended = timeout(STORY, dev.running.end()).await??;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("the story failed after") && ended.err.contains("0.0.5 to end as"), "{ended:?}");
    assert!(!Path::new(&dev.data).exists(), "{} is left", dev.data);
    Ok(())
}

#[tokio::test]
async fn a_newcomer_makes_a_version_and_deploys_it() -> Result<()> {
    let mut dev = Dev::start(&stranger()?, &[]).await?;
    for told in ["deploy user 0.0.4 --watch", "dev push 0.0.5", "dev push 0.0.6 --bad", "Ctrl-C ends it."] {
        timeout(PATIENCE, dev.running.line_with(told)).await??;
    }
    let ann = Person::at(&dev.api)?;
    eventually("the releases", || async {
        let releases = ann.done(&["releases", "user"]).await?;
        ensure!(releases.contains("flowcommerce/user:0.0.4") && releases.contains("<not yet available>"), "{releases}");
        Ok(())
    })
    .await?;
    ann.done(&["deploy", "user", "0.0.4", "--watch"]).await?;
    let pushed = ann.done(&["dev", "push", "0.0.6", "--bad"]).await?;
    assert!(pushed.contains("flowcommerce/user:0.0.6 is in the registry as sha256:"), "{pushed}");
    let failed = ann.brain(&["deploy", "user", "0.0.6", "--watch"]).await?;
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(failed.out.contains("Essential container in task exited"), "{failed:?}");

    // By brain, and by git itself.
    ann.done(&["dev", "commit"]).await?;
    eventually("the tag", || async { ann.done(&["tag", "user", "--bump", "patch"]).await }).await?;
    let listed = Command::new("git").args(["ls-remote", &dev.git]).output().await?;
    let refs = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(refs.contains("refs/heads/master") && refs.contains("refs/tags/0.0.7"), "{refs}");
    let cloned =
        Command::new("git").args(["clone", &dev.git, "user"]).current_dir(ann.home().path("")).output().await?;
    let why = String::from_utf8_lossy(&cloned.stderr).into_owned();
    assert!(!cloned.status.success() && why.contains("there is nothing to fetch"), "{why}");
    dev.end().await
}

async fn known(ann: &Person, image: &str) -> Result<()> {
    eventually(image, || async {
        let releases = ann.done(&["releases", "user"]).await?;
        ensure!(releases.contains(image), "{releases}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn ctrl_c_ends_it_within_seconds_and_the_folder_with_it() -> Result<()> {
    let dev = Dev::start(&stranger()?, &[]).await?;
    let data = dev.data.clone();
    assert!(Path::new(&data).is_dir(), "{data}");
    dev.end().await?;
    assert!(!Path::new(&data).exists(), "{data} is left");
    Ok(())
}

#[tokio::test]
async fn a_named_folder_keeps_what_runs_and_what_was_pushed() -> Result<()> {
    let ann = stranger()?;
    let dev = Dev::start(&ann, &["--data", "kept"]).await?;
    let bob = Person::at(&dev.api)?;
    known(&bob, "flowcommerce/user:0.0.4").await?;
    bob.done(&["deploy", "user", "0.0.4", "--watch"]).await?;
    bob.done(&["dev", "push", "0.0.5"]).await?;
    let second = ann.brain(&[&FREE[..], &["--data", "kept"]].concat()).await?;
    assert_eq!(second.code, Some(2), "{second:?}");
    assert!(second.err.contains("does another `brain dev` use this folder?"), "{second:?}");
    dev.end().await?;

    let dev = Dev::start(&ann, &["--data", "kept"]).await?;
    let bob = Person::at(&dev.api)?;
    bob.done(&["deploy", "user", "0.0.5", "--watch"]).await?;
    let status = bob.done(&["status", "user"]).await?;
    assert!(status.contains("user/2") && status.contains("100%"), "{status}");
    dev.end().await?;
    let story = ann.brain(&[&FREE[..], &["--story", "--data", "kept"]].concat()).await?;
    assert_eq!(story.code, Some(2), "{story:?}");
    assert!(story.err.contains("nothing was deployed yet") && story.err.contains("leave --data out"), "{story:?}");
    Ok(())
}

#[tokio::test]
async fn nothing_leaves_the_machine() -> Result<()> {
    let dev = Dev::start(&stranger()?, &[]).await?;
    let ann = Person::at(&dev.api)?;
    let project = "name = \"web\"\nimage_repository = \"registry.example/web\"\n[source]\ngit_url = \
                   \"https://git.example/web.git\"\n[target]\nregion = \"us-east-1\"\ncontainer_port = 9000\ndesired_count = 1\n";
    fs::write(ann.home().path("web.toml"), project)?;
    ann.done(&["apply", "-f", "web.toml", "--yes"]).await?;
    eventually("both refusals on the board", || async {
        let board = ann.done(&["board"]).await?;
        for what in ["https://git.example/web.git", "registry.example/web"] {
            ensure!(board.contains(&format!("{what} is not on this machine")), "{board}");
        }
        Ok(())
    })
    .await?;
    let elsewhere = ann.brain(&["dev", "push", "1.0.0", "--project", "web"]).await?;
    assert_eq!(elsewhere.code, Some(3), "{elsewhere:?}");
    assert!(elsewhere.err.contains("is no git repository of `brain dev`"), "{elsewhere:?}");
    dev.end().await
}

#[tokio::test]
async fn what_is_typed_wrong_is_told() -> Result<()> {
    let ann = stranger()?;
    fs::write(ann.home().path("file"), "x")?;
    for (words, expected) in [
        (&["dev", "--listen", "0.0.0.0:7443"][..], "it is reached from other machines"),
        (&["dev", "--listen", "here"], "write it as 127.0.0.1:0"),
        (&["dev", "--stay"], "--story"),
        (&["dev", "--aws", "--story"], "cannot be used with"),
        (&["dev", "--deployer-config", "x.toml"], "--aws"),
        (&["dev", "--aws", "--deployer-config", "x.toml"], "cannot read x.toml"),
        (&["dev", "--data", "file"], "--data file cannot be made"),
        (&["dev", "frobnicate"], "unrecognized subcommand"),
    ] {
        let outcome = ann.brain(words).await?;
        assert_eq!(outcome.code, Some(2), "{words:?}: {outcome:?}");
        assert!(outcome.err.contains(expected), "{words:?}: {expected:?} is not in {}", outcome.err);
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let taken = listener.local_addr()?.to_string();
    let outcome = ann.brain(&["dev", "--listen", "127.0.0.1:0", "--http-listen", &taken]).await?;
    assert_eq!(outcome.code, Some(2), "{outcome:?}");
    assert!(outcome.err.contains(&format!("--http-listen: cannot listen on {taken}")), "{outcome:?}");
    drop(listener);
    let dev = Dev::start(&ann, &[]).await?;
    let faulty = Person::at(&dev.api)?.brain(&["dev", "push", "latest"]).await?;
    assert_eq!(faulty.code, Some(2), "{faulty:?}");
    assert!(faulty.err.contains("\"latest\" is no version: write it as 0.0.6"), "{faulty:?}");
    dev.end().await
}

#[tokio::test]
async fn with_aws_it_deploys_to_the_endpoint_of_the_environment() -> Result<()> {
    let (lab, registry, git) = tokio::try_join!(Lab::start(), Registry::start(), GitHost::start())?;
    let user = git.repository("user").await?;
    user.tag("0.0.4").await?;
    registry.push("flowcommerce/user", "0.0.4", "0.0.4").await?;
    let ann = stranger()?;
    let watcher = format!("[[registry]]\nhost = \"docker.io\"\nendpoint = \"{}\"\n", registry.endpoint());
    fs::write(ann.home().path("watcher.toml"), watcher)?;
    fs::write(ann.home().path("deployer.toml"), "step_interval = \"100ms\"\n")?;
    let words = ["--aws", "--watcher-config", "watcher.toml", "--deployer-config", "deployer.toml"];
    let mut command = ann.command(&[&FREE[..], &words].concat())?;
    command.env("AWS_ENDPOINT_URL", lab.endpoint()).env("AWS_REGION", "us-east-1");
    command.env("AWS_ACCESS_KEY_ID", "lab").env("AWS_SECRET_ACCESS_KEY", "lab");
    let mut running = Running::of(command)?;
    let api = word(&mut running, "  API ").await?;
    let bob = Person::at(&api)?;
    let project = format!(
        "name = \"user\"\nimage_repository = \"flowcommerce/user\"\n[source]\ngit_url = \"{}\"\n[target]\nregion = \
         \"us-east-1\"\ncontainer_port = 9000\ndesired_count = 2\n",
        user.url
    );
    fs::write(bob.home().path("user.toml"), project)?;
    bob.done(&["apply", "-f", "user.toml", "--yes"]).await?;
    known(&bob, "flowcommerce/user:0.0.4").await?;
    bob.done(&["deploy", "user", "0.0.4", "--watch"]).await?;
    let there: Value = lab.fingerprint().await?;
    assert_eq!(there["groups"]["user-ecs-asg"], json!({"desired": 2, "actual": 2}));
    running.interrupt().await?;
    let ended = timeout(PATIENCE, running.end()).await??;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    Ok(())
}
