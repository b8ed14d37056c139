//! AWS's limits, which deployers share: each is told how many there are.

use anyhow::{Context, Result, bail, ensure};
use brain_proto::v1::{
    DeployerHello, DeployerServiceConnectRequest, DeployerServiceConnectResponse,
    deployer_service_client::DeployerServiceClient, deployer_service_connect_request::Message as ToServer,
    deployer_service_connect_response::Message as FromServer,
};
use brain_tests::{
    brain::{self, Server},
    load,
    sandbox::{Process, Sandbox},
    wait::{PATIENCE, eventually},
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

/// A deployer's stream, opened by hand.
struct Stream {
    /// It is open as long as this is.
    _sender: mpsc::Sender<DeployerServiceConnectRequest>,
    messages: Streaming<DeployerServiceConnectResponse>,
}

impl Stream {
    async fn open(server: &Server, agent: &str) -> Result<Self> {
        let (sender, receiver) = mpsc::channel(4);
        let hello = ToServer::Hello(DeployerHello { agent: agent.to_owned(), instance: agent.to_owned() });
        sender.send(DeployerServiceConnectRequest { message: Some(hello) }).await?;
        let mut client = DeployerServiceClient::new(load::connect(&server.address()).await?);
        let messages = client.connect(ReceiverStream::new(receiver)).await?.into_inner();
        Ok(Self { _sender: sender, messages })
    }

    async fn next(&mut self) -> Result<FromServer> {
        let message = timeout(PATIENCE, self.messages.message()).await.context("nothing comes")??;
        message.context("the stream ended")?.message.context("an empty message")
    }

    /// The next number of deployers that it is told.
    async fn count(&mut self) -> Result<u32> {
        loop {
            if let FromServer::DeployersConnected(connected) = self.next().await? {
                return Ok(connected.count);
            }
        }
    }
}

#[tokio::test]
async fn each_deployer_is_told_how_many_there_are_before_anything_else_and_when_that_changes() -> Result<()> {
    let server = Server::start().await?;
    let mut first = Stream::open(&server, "deployer-1").await?;
    assert_eq!(first.count().await?, 1);
    let mut second = Stream::open(&server, "deployer-2").await?;
    let welcome = second.next().await?;
    ensure!(matches!(welcome, FromServer::Welcome(_)), "{welcome:?}");
    match second.next().await? {
        FromServer::DeployersConnected(connected) => assert_eq!(connected.count, 2),
        other => bail!("{other:?}"),
    }
    assert_eq!(first.count().await?, 2);
    // One that comes back is told anew, and nobody else is.
    let mut again = Stream::open(&server, "deployer-2").await?;
    assert_eq!(again.count().await?, 2);
    drop((second, again));
    assert_eq!(first.count().await?, 1);
    Ok(())
}

/// Waits until a deployer shares the limits with so many, by its own last word.
async fn shares(deployer: &Process, deployers: &str) -> Result<()> {
    eventually(&format!("it to share the limits with {deployers}"), || async {
        let output = deployer.output();
        let told = output.rsplit_once("AWS's limits are shared in equal parts deployers=").map(|(_, told)| told);
        ensure!(told.and_then(|told| told.lines().next()) == Some(deployers), "{output}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn deployers_share_the_limits_with_those_that_are_there() -> Result<()> {
    let (mut server, agents) = (Server::start().await?, Sandbox::new()?);
    // They have no projects, and call nothing.
    let start = |name: &str, address: &str| brain::deployer(&agents, name, address, "http://127.0.0.1:9");
    let address = server.address();
    let (first, mut second) = (start("deployer-1", &address)?, start("deployer-2", &address)?);
    shares(&first, "2").await?;
    shares(&second, "2").await?;
    second.kill().await?;
    shares(&first, "1").await?;
    server.kill().await?;
    server.restart().await?;
    let third = start("deployer-3", &address)?;
    shares(&first, "2").await?;
    shares(&third, "2").await
}
