//! What watchers observe under assignments that are not theirs any more.

use anyhow::{Context, Result};
use brain_proto::v1::{
    Observation, Observations, SourceObservation, TagObservation, WatcherHello, WatcherServiceConnectRequest,
    WatcherServiceConnectResponse, observation::What, watcher_service_client::WatcherServiceClient,
    watcher_service_connect_request::Message as ToServer, watcher_service_connect_response::Message as FromServer,
};
use brain_tests::{brain::Server, load};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// A watcher's stream, opened by hand; answers the generation under which it was handed project `user`.
async fn stream_of(
    server: &Server,
) -> Result<(mpsc::Sender<WatcherServiceConnectRequest>, tonic::Streaming<WatcherServiceConnectResponse>, u64)> {
    let (sender, receiver) = mpsc::channel(4);
    let hello = ToServer::Hello(WatcherHello { agent: "watcher".to_owned() });
    sender.send(WatcherServiceConnectRequest { message: Some(hello) }).await?;
    let mut client = WatcherServiceClient::new(load::connect(&server.address()).await?);
    let mut answers = client.connect(ReceiverStream::new(receiver)).await?.into_inner();
    loop {
        let answer = answers.message().await?.context("the stream ended")?;
        if let Some(FromServer::Assignment(assignment)) = answer.message {
            let watched = assignment.watch.first().context("nothing to watch")?;
            return Ok((sender, answers, watched.generation));
        }
    }
}

#[tokio::test]
async fn what_was_observed_under_an_earlier_assignment_is_refused() -> Result<()> {
    let server = Server::start().await?;
    load::create_projects(&load::connect(&server.address()).await?, std::iter::once("user".to_owned())).await?;
    let (former, _former_answers, earlier) = stream_of(&server).await?;
    let (sender, mut answers, later) = stream_of(&server).await?;
    assert!(later > earlier);
    drop(former);
    let observed = |sequence, generation, tags: &[&str]| {
        let tag = |name: &&str| TagObservation { name: (*name).to_owned(), commit: "a".repeat(40) };
        let source =
            SourceObservation { complete: true, tags: tags.iter().map(tag).collect(), ..SourceObservation::default() };
        Observation {
            sequence,
            project: "projects/user".to_owned(),
            observe_time: None,
            what: Some(What::Source(source)),
            generation,
            cause: String::new(),
        }
    };
    // The later one has seen 0.0.2; what the earlier one saw before that comes afterwards, and would take it away.
    let observations = vec![observed(1, later, &["0.0.1", "0.0.2"]), observed(2, earlier, &["0.0.1"])];
    let message = Some(ToServer::Observations(Observations { observations }));
    sender.send(WatcherServiceConnectRequest { message }).await?;
    loop {
        let answer = answers.message().await?.context("the stream ended")?;
        let Some(FromServer::Acknowledged(acknowledged)) = answer.message else { continue };
        let refused: Vec<u64> = acknowledged.refused.iter().map(|refused| refused.sequence).collect();
        assert_eq!((acknowledged.through_sequence, refused), (2, vec![2]));
        break;
    }
    let tags = load::tags(&load::connect(&server.address()).await?, "user").await?;
    assert!(tags.contains("0.0.2"), "{tags:?}");
    Ok(())
}
