//! The watcher's stream, against a server that is made to misbehave.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use brain_proto::v1::{
    Observation, ObservationsAcknowledged, PollNow, WatchAssignment, WatchedProject, WatcherServiceConnectRequest,
    WatcherServiceConnectResponse,
    observation::What,
    watcher_service_connect_request::Message as FromWatcher,
    watcher_service_connect_response::Message,
    watcher_service_server::{WatcherService, WatcherServiceServer},
};
use brain_watcher::{
    config::{Config, Settings},
    outside::Outside,
};
use futures::stream::BoxStream;
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::mpsc, time::timeout};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::method};

const PATIENCE: Duration = Duration::from_secs(30);
const DIGEST: &str = "sha256:a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1";

/// The server's end of one stream.
struct Stream {
    from: Streaming<WatcherServiceConnectRequest>,
    to: mpsc::Sender<Result<WatcherServiceConnectResponse, Status>>,
    /// Observations that came with one that was waited for.
    pending: VecDeque<Observation>,
}

impl Stream {
    async fn next(&mut self) -> FromWatcher {
        let message = timeout(PATIENCE, self.from.message()).await.expect("a message in time").unwrap();
        message.expect("the stream goes on").message.unwrap()
    }

    async fn send(&self, message: Message) {
        self.to.send(Ok(WatcherServiceConnectResponse { message: Some(message) })).await.unwrap();
    }

    /// Hands out a project that is polled once an hour.
    async fn assign(&self) {
        let watched = WatchedProject {
            project: "projects/user".into(),
            // Nobody listens there: the git poll fails, and says so.
            git_url: "http://127.0.0.1:9/user.git".into(),
            branch: "master".into(),
            image_repository: "flowcommerce/user".into(),
            project_create_time: None,
            poll_interval: Some(prost_types::Duration { seconds: 3_600, nanos: 0 }),
            generation: 1,
        };
        self.send(Message::Assignment(WatchAssignment { watch: vec![watched], unwatch: vec![] })).await;
    }

    /// Observations until one fits.
    async fn observation(&mut self, fits: impl Fn(&What) -> bool) -> Observation {
        loop {
            while let Some(observation) = self.pending.pop_front() {
                if observation.what.as_ref().is_some_and(&fits) {
                    return observation;
                }
            }
            match self.next().await {
                FromWatcher::Observations(observations) => self.pending.extend(observations.observations),
                FromWatcher::Hosts(_) => {}
                other => panic!("no observations: {other:?}"),
            }
        }
    }
}

/// Hands each stream to the test.
struct Server(mpsc::Sender<Stream>);

#[tonic::async_trait]
impl WatcherService for Server {
    type ConnectStream = BoxStream<'static, Result<WatcherServiceConnectResponse, Status>>;

    async fn connect(
        &self,
        request: Request<Streaming<WatcherServiceConnectRequest>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let (to, answers) = mpsc::channel(16);
        let stream = Stream { from: request.into_inner(), to, pending: VecDeque::new() };
        self.0.send(stream).await.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }
}

struct World {
    streams: mpsc::Receiver<Stream>,
    registry: MockServer,
    _end: tokio_util::sync::DropGuard,
}

impl World {
    async fn start() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let registry = MockServer::start().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, streams) = mpsc::channel(4);
        let server = tonic::transport::Server::builder().add_service(WatcherServiceServer::new(Server(sender)));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        let end = CancellationToken::new();
        let config = Arc::new(config(&registry, &address.to_string()));
        let outside = Outside::real(&config).unwrap();
        tokio::spawn(brain_watcher::run(config, outside, end.clone()));
        Self { streams, registry, _end: end.drop_guard() }
    }

    /// The next stream, its hello read.
    async fn stream(&mut self) -> Stream {
        let mut stream = timeout(PATIENCE, self.streams.recv()).await.expect("a stream in time").unwrap();
        let FromWatcher::Hello(hello) = stream.next().await else { panic!("the first message is no hello") };
        assert_eq!(hello.agent, "watcher");
        stream
    }

    /// A stream on which 0.0.4 was told of, first and whole, and acknowledged; answers that too.
    async fn told(&mut self) -> (Stream, Observation) {
        self.images(&["0.0.4"]).await;
        let mut stream = self.stream().await;
        stream.assign().await;
        let first = stream.observation(is_images).await;
        let acknowledged = ObservationsAcknowledged { through_sequence: first.sequence, refused: vec![] };
        stream.send(Message::Acknowledged(acknowledged)).await;
        (stream, first)
    }

    async fn images(&self, tags: &[&str]) {
        self.registry.reset().await;
        self.show(tags).await;
    }

    /// Shows these where nothing that was asked for earlier is shown still.
    async fn show(&self, tags: &[&str]) {
        let list = ResponseTemplate::new(200).set_body_json(serde_json::json!({"tags": tags}));
        Mock::given(method("GET")).respond_with(list).mount(&self.registry).await;
        let digest = ResponseTemplate::new(200).insert_header("docker-content-digest", DIGEST);
        Mock::given(method("HEAD")).respond_with(digest).mount(&self.registry).await;
    }
}

fn config(registry: &MockServer, server: &str) -> Config {
    let text = format!(
        "server = \"http://{server}\"\n[[registry]]\nhost = \"docker.io\"\nendpoint = \"{}\"\n",
        registry.uri()
    );
    toml::from_str::<Settings>(&text).unwrap().check().unwrap()
}

fn is_images(what: &What) -> bool {
    matches!(what, What::Images(_))
}

#[tokio::test]
async fn what_was_not_acknowledged_is_sent_again_on_the_next_stream() {
    let mut world = World::start().await;
    world.images(&["0.0.4"]).await;
    let mut stream = world.stream().await;
    stream.assign().await;
    let first = stream.observation(is_images).await;
    let Some(What::Images(images)) = &first.what else { panic!("no images") };
    assert!(images.complete && images.images[0].tag == "0.0.4" && images.images[0].digest == DIGEST);
    drop(stream);
    let mut stream = world.stream().await;
    assert_eq!(stream.observation(is_images).await, first, "it is sent again without a new assignment");
}

#[tokio::test]
async fn a_poke_makes_a_poll_at_once_and_only_what_changed_is_told() {
    let mut world = World::start().await;
    let (mut stream, first) = world.told().await;
    world.images(&["0.0.4", "0.0.5"]).await;
    stream
        .send(Message::PollNow(PollNow { projects: vec!["projects/user".into()], target: 0, cause: "a test".into() }))
        .await;
    let observation = stream.observation(is_images).await;
    assert_eq!((first.cause.as_str(), observation.cause.as_str()), ("", "a test"));
    let Some(What::Images(images)) = observation.what else { panic!("no images") };
    assert!(!images.complete);
    assert_eq!(images.images.iter().map(|image| image.tag.as_str()).collect::<Vec<_>>(), ["0.0.5"]);
}

#[tokio::test]
async fn a_change_that_is_told_before_it_is_shown_is_seen_a_moment_later() {
    let mut world = World::start().await;
    let (mut stream, _) = world.told().await;
    world.registry.reset().await;
    let stale = ResponseTemplate::new(200).set_body_json(serde_json::json!({"tags": ["0.0.4"]}));
    Mock::given(method("GET")).respond_with(stale).up_to_n_times(1).mount(&world.registry).await;
    world.show(&["0.0.4", "0.0.5"]).await;
    // Once, and no more.
    stream
        .send(Message::PollNow(PollNow { projects: vec!["projects/user".into()], target: 0, cause: "a test".into() }))
        .await;
    let Some(What::Images(images)) = stream.observation(is_images).await.what else { panic!("no images") };
    assert_eq!(images.images.iter().map(|image| image.tag.as_str()).collect::<Vec<_>>(), ["0.0.5"]);
}

#[tokio::test]
async fn a_poll_that_fails_is_told_with_why_and_told_again_when_it_works() {
    let mut world = World::start().await;
    Mock::given(method("GET")).respond_with(ResponseTemplate::new(403)).mount(&world.registry).await;
    let mut stream = world.stream().await;
    stream.assign().await;
    let is_failure =
        |of: &'static str| move |what: &What| matches!(what, What::Poll(poll) if poll.failure.contains(of));
    stream.observation(is_failure("registry docker.io answers 403")).await;
    world.images(&["0.0.4"]).await;
    stream
        .send(Message::PollNow(PollNow { projects: vec!["projects/user".into()], target: 0, cause: "a test".into() }))
        .await;
    stream.observation(is_images).await;
    let works = |what: &What| matches!(what, What::Poll(poll) if poll.failure.is_empty());
    stream.observation(works).await;
}
