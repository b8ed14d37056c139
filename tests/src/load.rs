//! Load: many projects, and watchers that stream observations as fast as they are acknowledged.

use anyhow::{Context, Result};
use brain_proto::v1::{
    CreateProjectRequest, ImageObservation, ImageTagObservation, ListReleasesRequest, Observation, Observations,
    Project, Source, SourceObservation, TagObservation, Target, WatcherHello, WatcherServiceConnectRequest,
    observation::What, project_service_client::ProjectServiceClient, watcher_service_client::WatcherServiceClient,
    watcher_service_connect_request::Message as ToServer, watcher_service_connect_response::Message,
};
use futures::{StreamExt, TryStreamExt, stream};
use std::{collections::BTreeSet, time::Duration};
use tokio::{sync::mpsc, time::Instant};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

/// Requests at the same time while projects are made.
const AT_ONCE: usize = 256;
/// Largest message that is taken: the list of projects to watch.
const MESSAGE_MAX: usize = 16 << 20;

/// A connection to the server at `HOST:PORT`.
pub async fn connect(address: &str) -> Result<Channel> {
    Ok(Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true).connect().await?)
}

/// A small project.
#[must_use]
pub fn project(id: &str) -> Project {
    Project {
        name: format!("projects/{id}"),
        source: Some(Source { git_url: format!("http://127.0.0.1:9/{id}.git"), ..Source::default() }),
        image_repository: format!("flowcommerce/{id}"),
        target: Some(Target {
            region: "us-east-1".into(),
            container_port: 9000,
            desired_count: 3,
            ..Target::default()
        }),
        ..Project::default()
    }
}

/// Makes projects; answers when all are durable.
pub async fn create_projects(channel: &Channel, ids: impl Iterator<Item = String>) -> Result<()> {
    stream::iter(ids.map(Ok::<_, anyhow::Error>))
        .try_for_each_concurrent(AT_ONCE, |id| async move {
            let request = CreateProjectRequest { project: Some(project(&id)), ..Default::default() };
            ProjectServiceClient::new(channel.clone()).create_project(request).await?;
            Ok(())
        })
        .await
}

/// All tags that the server knows of a project.
pub async fn tags(channel: &Channel, id: &str) -> Result<BTreeSet<String>> {
    let mut client = ProjectServiceClient::new(channel.clone());
    let mut tags = BTreeSet::new();
    let mut page_token = String::new();
    loop {
        let request = ListReleasesRequest { parent: format!("projects/{id}"), page_size: 1_000, page_token };
        let page = client.list_releases(request).await?.into_inner();
        tags.extend(page.releases.into_iter().map(|release| release.tag));
        if page.next_page_token.is_empty() {
            return Ok(tags);
        }
        page_token = page.next_page_token;
    }
}

/// A watcher's stream.
#[derive(Debug)]
pub struct LoadWatcher {
    sender: mpsc::Sender<WatcherServiceConnectRequest>,
    answers: tonic::Streaming<brain_proto::v1::WatcherServiceConnectResponse>,
    sequence: u64,
}

impl LoadWatcher {
    /// Opens one.
    pub async fn open(channel: &Channel, agent: &str) -> Result<Self> {
        let (sender, receiver) = mpsc::channel(64);
        let hello = ToServer::Hello(WatcherHello { agent: agent.to_owned() });
        sender.send(WatcherServiceConnectRequest { message: Some(hello) }).await?;
        let mut client = WatcherServiceClient::new(channel.clone()).max_decoding_message_size(MESSAGE_MAX);
        let answers = client.connect(ReceiverStream::new(receiver)).await?.into_inner();
        Ok(Self { sender, answers, sequence: 0 })
    }

    /// Sends one tag for each of these projects, in one message; answers the last sequence number.
    pub async fn send(&mut self, tags: impl Iterator<Item = (String, String)>) -> Result<u64> {
        let source = |name, number| {
            let tags = vec![TagObservation { name, commit: format!("{number:040x}") }];
            What::Source(SourceObservation { tags, ..SourceObservation::default() })
        };
        self.send_each(tags, source).await
    }

    /// Sends one image for each of these projects, by its tag, in one message; answers the last sequence number.
    pub async fn send_images(&mut self, images: impl Iterator<Item = (String, String)>) -> Result<u64> {
        let image = |tag, number| {
            let images = vec![ImageTagObservation { tag, digest: format!("sha256:{number:064x}") }];
            What::Images(ImageObservation { images, ..ImageObservation::default() })
        };
        self.send_each(images, image).await
    }

    async fn send_each(
        &mut self,
        names: impl Iterator<Item = (String, String)>,
        what: impl Fn(String, u64) -> What,
    ) -> Result<u64> {
        let mut observations = Vec::new();
        for (project, name) in names {
            self.sequence += 1;
            observations.push(Observation {
                sequence: self.sequence,
                project: format!("projects/{project}"),
                observe_time: None,
                what: Some(what(name, self.sequence)),
                generation: 0,
                cause: String::new(),
            });
        }
        let message = Some(ToServer::Observations(Observations { observations }));
        self.sender.send(WatcherServiceConnectRequest { message }).await?;
        Ok(self.sequence)
    }

    /// The next sequence number up to which everything is durable.
    pub async fn acknowledged(&mut self) -> Result<u64> {
        loop {
            let answer = self.answers.message().await?.context("the stream has ended")?;
            if let Some(Message::Acknowledged(acknowledged)) = answer.message {
                anyhow::ensure!(acknowledged.refused.is_empty(), "refused: {:?}", acknowledged.refused);
                return Ok(acknowledged.through_sequence);
            }
        }
    }
}

/// What one watcher measured.
#[derive(Debug, Default)]
pub struct Measured {
    /// Observations acknowledged.
    pub observations: u64,
    /// Time from sending a message to its acknowledgement.
    pub latencies: Vec<Duration>,
}

/// Streams messages of `batch` tags, one for each of `batch` projects, `window` of them under way, until `end`.
pub async fn stream_tags(
    mut watcher: LoadWatcher,
    projects: Vec<String>,
    batch: usize,
    window: usize,
    end: Instant,
) -> Result<Measured> {
    let mut measured = Measured::default();
    let mut under_way: std::collections::VecDeque<(u64, Instant)> = std::collections::VecDeque::new();
    let mut next = 0usize;
    loop {
        while Instant::now() < end && under_way.len() < window {
            let round = next / projects.len();
            let tags = (next..next + batch)
                .map(|index| (projects[index % projects.len()].clone(), format!("0.{round}.{index}")));
            let sent = Instant::now();
            let through = watcher.send(tags).await?;
            next += batch;
            under_way.push_back((through, sent));
        }
        if under_way.is_empty() {
            return Ok(measured);
        }
        let through = watcher.acknowledged().await?;
        while let Some((sequence, sent)) = under_way.front().copied().filter(|(sequence, _)| *sequence <= through) {
            under_way.pop_front();
            measured.latencies.push(sent.elapsed());
            measured.observations = sequence;
        }
    }
}

/// [`stream_tags`] on many watchers at the same time, each with its share of the projects.
pub async fn stream_all(
    address: &str,
    watchers: usize,
    projects: &[String],
    batch: usize,
    window: usize,
    time: Duration,
) -> Result<Vec<Measured>> {
    let mut streams = Vec::new();
    for (number, share) in projects.chunks(projects.len().div_ceil(watchers)).enumerate() {
        let channel = connect(address).await?;
        streams.push((LoadWatcher::open(&channel, &format!("load-{number}")).await?, share.to_vec()));
    }
    let end = Instant::now() + time;
    let runs =
        streams.into_iter().map(|(watcher, share)| tokio::spawn(stream_tags(watcher, share, batch, window, end)));
    let runs: Vec<_> = runs.collect();
    stream::iter(runs).then(|run| async move { run.await? }).try_collect().await
}
