//! Notifications: what a real deployment tells, to receivers that take it, refuse it, never answer, or are not there.

use anyhow::{Context, Result, ensure};
use brain_proto::v1::{FreezeProjectRequest, ThawProjectRequest, project_service_client::ProjectServiceClient};
use brain_tests::{
    brain::Server,
    figures::Figures,
    load,
    sandbox::{Sandbox, free_port},
    wait::eventually,
    world::World,
};
use serde_json::{Value, json};
use std::{
    collections::VecDeque,
    fs,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{io::AsyncWriteExt, process::Command, time::Instant};
use tonic::transport::Channel;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate, matchers::any};

/// The specification's own form: 24 bytes.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// A part of the addresses, as Slack's have one.
const TOKEN: &str = "T0000-hunter2";

/// A request as it came.
#[derive(Debug, Clone)]
struct Received {
    at: Instant,
    id: String,
    timestamp: String,
    signature: String,
    body: String,
    answered: u16,
}

impl Received {
    fn json(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.body)?)
    }
}

/// What a receiver answers first, and what it got.
#[derive(Debug, Clone, Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<(u16, ResponseTemplate)>>>,
    /// When there are no more of those.
    otherwise: Arc<Mutex<u16>>,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Respond for Script {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let header = |name: &str| {
            let value = request.headers.get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let next = self.answers.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let otherwise = *self.otherwise.lock().unwrap_or_else(PoisonError::into_inner);
        let (answered, answer) = next.unwrap_or_else(|| (otherwise, ResponseTemplate::new(otherwise)));
        self.received.lock().unwrap_or_else(PoisonError::into_inner).push(Received {
            at: Instant::now(),
            id: header("webhook-id"),
            timestamp: header("webhook-timestamp"),
            signature: header("webhook-signature"),
            body: String::from_utf8_lossy(&request.body).into_owned(),
            answered,
        });
        answer
    }
}

/// A receiver on a port of its own.
struct Receiver {
    script: Script,
    server: MockServer,
}

impl Receiver {
    async fn answering(first: Vec<(u16, ResponseTemplate)>, otherwise: u16) -> Self {
        let script = Script::default();
        script.answers.lock().unwrap_or_else(PoisonError::into_inner).extend(first);
        let server = MockServer::start().await;
        Mock::given(any()).respond_with(script.clone()).mount(&server).await;
        let receiver = Self { script, server };
        receiver.answer(otherwise);
        receiver
    }

    fn answer(&self, status: u16) {
        *self.script.otherwise.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }

    fn url(&self) -> String {
        format!("{}/services/{TOKEN}", self.server.uri())
    }

    fn received(&self) -> Vec<Received> {
        self.script.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The types of what it has taken, in their order.
    fn taken(&self) -> Vec<String> {
        let taken = self.received().into_iter().filter(|received| received.answered == 200);
        let kind = |received: Received| received.json().map(|body| body["type"].as_str().unwrap_or("").to_owned());
        taken.map(|received| kind(received).unwrap_or_default()).collect()
    }
}

/// Writes a notification's files; answers its part of the configuration.
fn configured(folder: &Sandbox, name: &str, kind: &str, url: &str, more: &str) -> Result<String> {
    let (address, secret) = (folder.path(format!("{name}-url")), folder.path(format!("{name}-secret")));
    fs::write(&address, format!("{url}\n"))?;
    fs::write(&secret, format!("{SECRET}\n"))?;
    Ok(format!(
        "[[notification]]\nname = {name:?}\nkind = {kind:?}\nurl_file = {address:?}\nsecret_file = {secret:?}\n{more}\n"
    ))
}

/// The signature as Python's standard library makes it, by the specification's words.
async fn signature(received: &Received) -> Result<String> {
    let script = "import sys, hmac, hashlib, base64\n\
                  secret, id, timestamp = sys.argv[1:]\n\
                  signed = f'{id}.{timestamp}.'.encode() + sys.stdin.buffer.read()\n\
                  key = base64.b64decode(secret.removeprefix('whsec_'))\n\
                  print('v1,' + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode())";
    let mut command = Command::new("python3");
    command.args(["-c", script, SECRET, &received.id, &received.timestamp]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().context("no pipe")?;
    stdin.write_all(received.body.as_bytes()).await?;
    drop(stdin);
    Ok(String::from_utf8(child.wait_with_output().await?.stdout)?.trim().to_owned())
}

#[tokio::test]
async fn a_deployment_is_told_in_order_and_signed_and_waits_for_no_receiver() -> Result<()> {
    let folder = Sandbox::new()?;
    let busy = || (500, ResponseTemplate::new(500));
    let pipeline = Receiver::answering(vec![busy(), busy()], 200).await;
    let chat = Receiver::answering(Vec::new(), 200).await;
    let others = Receiver::answering(Vec::new(), 200).await;
    let silent = Receiver::answering(
        (0..100).map(|_| (0, ResponseTemplate::new(200).set_delay(Duration::from_secs(600)))).collect(),
        200,
    )
    .await;
    let gone = format!("http://127.0.0.1:{}/{TOKEN}", free_port()?);
    let deployments = "events = [\"deployment.*\"]";
    let settings = [
        "board_url = \"https://brain.example\"\n".to_owned(),
        configured(&folder, "pipeline", "webhook", &pipeline.url(), &format!("projects = [\"us*\"]\n{deployments}"))?,
        configured(&folder, "chat", "slack", &chat.url(), "events = [\"deployment.succeeded\"]")?,
        configured(&folder, "others", "webhook", &others.url(), "projects = [\"usher\", \"use\"]")?,
        configured(&folder, "silent", "webhook", &silent.url(), deployments)?,
        configured(&folder, "gone", "webhook", &gone, deployments)?,
    ];
    let mut world = World::start_on(Server::start_configured(&settings.concat()).await?).await?;
    world.first_deployment().await?;

    let expected = ["deployment.requested", "deployment.started", "deployment.succeeded"];
    eventually("the pipeline to be told of everything", || async {
        ensure!(pipeline.taken() == expected, "{:?}\n{}", pipeline.taken(), world.server.sandbox().logs());
        Ok(())
    })
    .await?;
    let received = pipeline.received();
    ensure!(received.len() == 5, "two tries more than messages: {received:#?}");
    let ids: Vec<&String> = received.iter().map(|received| &received.id).collect();
    ensure!(ids[0] == ids[1] && ids[1] == ids[2] && ids[2] != ids[3] && ids[3] != ids[4], "{ids:?}");
    for received in &received {
        assert_eq!(received.signature, signature(received).await?, "{received:?}");
        let body = received.json()?;
        let expected = json!({
            "id": received.id, "project": "projects/user", "deployment": "projects/user/deployments/1",
            "version": "0.0.4", "link": "https://brain.example/user/deployments/1",
        });
        for (field, value) in expected.as_object().into_iter().flatten() {
            assert_eq!(&body[field], value, "{field}: {body}");
        }
    }
    let succeeded = received[4].json()?;
    let sentence = succeeded["sentence"].as_str().unwrap_or_default();
    ensure!(sentence.starts_with("0.0.4: succeeded: step"), "{succeeded}");
    assert_eq!((&succeeded["topic"], &succeeded["by"]), (&json!("deployment"), &json!("deployer deployer-1")));
    assert_eq!(received[0].json()?["by"], "paolo");

    eventually("the chat to be told of the end", || async {
        ensure!(chat.received().len() == 1, "{:?}", chat.received());
        Ok(())
    })
    .await?;
    let text = chat.received()[0].json()?["text"].as_str().unwrap_or_default().to_owned();
    ensure!(text.starts_with("*user* 0.0.4: succeeded: step"), "{text}");
    ensure!(text.ends_with("<https://brain.example/user/deployments/1|board>"), "{text}");
    ensure!(others.received().is_empty(), "{:?}", others.received());

    let told = Figures::of(&world.server.http_address()).await?;
    let count = |name: &str, outcome: &str| {
        told.sum("brain_notifications_total", &[&format!("name=\"{name}\""), &format!("outcome=\"{outcome}\"")])
    };
    ensure!(count("pipeline", "delivered") == 3.0 && count("chat", "delivered") == 1.0, "{}", told.text());
    ensure!(count("silent", "delivered") == 0.0 && count("gone", "delivered") == 0.0, "{}", told.text());
    ensure!(told.sum("brain_notification_tries_total", &["name=\"gone\"", "outcome=\"failed\""]) >= 1.0);
    told.lint().await?;
    nothing_is_shown(&mut world, told.text()).await
}

/// Neither a secret nor an address is in the log, an answer, or the list of processes.
async fn nothing_is_shown(world: &mut World, figures: &str) -> Result<()> {
    let process = world.server.process().context("it runs")?;
    let (log, id) = (process.output(), process.id().context("it runs")?);
    let mut shown = vec![("the log", log), ("metrics", figures.to_owned())];
    shown.push(("the list of processes", fs::read_to_string(format!("/proc/{id}/cmdline"))?));
    for call in ["EventService/ListEvents", "BoardService/GetBoard", "AgentService/ListAgents"] {
        shown.push((call, world.caller().grpcurl(call, &json!({})).await?.to_string()));
    }
    for page in ["", "user", "-/events", "-/agents", "healthz"] {
        let url = format!("http://{}/{page}", world.server.http_address());
        shown.push(("a page", brain_tests::http::client().get(url).send().await?.text().await?));
    }
    for (what, text) in shown {
        ensure!(!text.is_empty() || what == "a page", "{what} is empty");
        ensure!(!text.contains(TOKEN) && !text.contains(SECRET) && !text.contains(&SECRET[6..]), "{what}: {text}");
    }
    Ok(())
}

async fn freeze(channel: &Channel, reason: &str) -> Result<()> {
    let (name, requested_by, reason) = ("projects/a".to_owned(), "ann".to_owned(), reason.to_owned());
    let request = FreezeProjectRequest { name, requested_by, reason, ..FreezeProjectRequest::default() };
    ProjectServiceClient::new(channel.clone()).freeze_project(request).await?;
    Ok(())
}

async fn thaw(channel: &Channel) -> Result<()> {
    let (name, requested_by) = ("projects/a".to_owned(), "bob".to_owned());
    let request = ThawProjectRequest { name, requested_by, reason: String::new() };
    ProjectServiceClient::new(channel.clone()).thaw_project(request).await?;
    Ok(())
}

#[tokio::test]
async fn nothing_is_lost_over_a_kill_of_the_server_and_what_was_taken_does_not_come_again() -> Result<()> {
    let folder = Sandbox::new()?;
    let receiver = Receiver::answering(Vec::new(), 503).await;
    let settings = configured(&folder, "ops", "webhook", &receiver.url(), "events = [\"hold.*\"]")?;
    let mut server = Server::start_configured(&settings).await?;
    let channel = load::connect(&server.address()).await?;
    load::create_projects(&channel, std::iter::once("a".to_owned())).await?;
    freeze(&channel, "<holidays>").await?;
    thaw(&channel).await?;
    eventually("a first try", || async {
        ensure!(!receiver.received().is_empty(), "none yet");
        Ok(())
    })
    .await?;
    server.kill().await?;
    receiver.answer(200);
    server.restart().await?;
    eventually("both notices", || async {
        ensure!(receiver.taken() == ["hold.set", "hold.lifted"], "{:?}", receiver.taken());
        Ok(())
    })
    .await?;
    let first = receiver.received()[0].clone();
    let taken: Vec<Received> = receiver.received().into_iter().filter(|received| received.answered == 200).collect();
    assert_eq!(taken[0].id, first.id, "the message is the same over the kill");
    assert_eq!(taken[0].json()?["reason"], "<holidays>");

    // What happened since is all that comes after one more kill.
    eventually("the place to be kept", || async {
        let place = fs::read_to_string(server.sandbox().path("data/notifications/ops"))?;
        let id: Vec<&str> = taken[1].id.split('_').collect();
        ensure!(place.trim() == format!("{}.{}", id[2], id[3]), "{place} after {id:?}");
        Ok(())
    })
    .await?;
    server.kill().await?;
    server.restart().await?;
    let address = server.address();
    let channel = eventually("the server to answer", || load::connect(&address)).await?;
    freeze(&channel, "again").await?;
    eventually("the last notice", || async {
        ensure!(receiver.taken() == ["hold.set", "hold.lifted", "hold.set"], "{:?}", receiver.taken());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_receiver_is_asked_again_when_it_says_and_given_up_after_all_tries() -> Result<()> {
    let folder = Sandbox::new()?;
    let later = ResponseTemplate::new(429).insert_header("retry-after", "3");
    let waiting = Receiver::answering(vec![(429, later)], 200).await;
    let elsewhere = Receiver::answering(Vec::new(), 200).await;
    let moved = ResponseTemplate::new(308).insert_header("location", elsewhere.url().as_str());
    let refusing = Receiver::answering(vec![(308, moved)], 500).await;
    let settings = configured(&folder, "waiting", "webhook", &waiting.url(), "")?
        + &configured(&folder, "refusing", "webhook", &refusing.url(), "tries = 2")?;
    let server = Server::start_configured(&settings).await?;
    let channel = load::connect(&server.address()).await?;
    load::create_projects(&channel, std::iter::once("a".to_owned())).await?;
    freeze(&channel, "").await?;
    thaw(&channel).await?;
    eventually("both notices to be taken here and given up there", || async {
        let of_holds = |taken: Vec<String>| taken.into_iter().filter(|kind| kind.starts_with("hold.")).count();
        ensure!(of_holds(waiting.taken()) == 2, "{:?}", waiting.taken());
        let figures = Figures::of(&server.http_address()).await?;
        let given_up = figures.sum("brain_notifications_total", &["name=\"refusing\"", "outcome=\"given_up\""]);
        ensure!(given_up >= 2.0, "{given_up} given up");
        Ok(())
    })
    .await?;
    let asked = waiting.received();
    ensure!(asked[0].id == asked[1].id && asked[1].at - asked[0].at >= Duration::from_secs(3), "{asked:?}");
    let refused = refusing.received();
    ensure!(refused[0].id == refused[1].id && refused[1].id != refused[2].id, "two tries each: {refused:?}");
    ensure!(elsewhere.received().is_empty(), "a redirection was followed");
    Ok(())
}
