//! The way to the server: one channel, a client for each service, a deadline for each call.

use crate::{exit::Exit, failure::Failure};
use brain_proto::{
    channel,
    v1::{
        agent_service_client::AgentServiceClient, board_service_client::BoardServiceClient,
        deployment_service_client::DeploymentServiceClient, event_service_client::EventServiceClient,
        line_service_client::LineServiceClient, production_service_client::ProductionServiceClient,
        project_service_client::ProjectServiceClient,
    },
};
use std::{error::Error, time::Duration};
use tonic::{
    Request,
    transport::{Channel, Uri},
};

/// Longest wait for one answer. A plan, the slowest one, is answered within 10 s.
const ANSWER: Duration = Duration::from_secs(20);
/// Largest answer that is read: a page of 1,000 projects is well below it.
const LARGEST: usize = 64 << 20;

/// Connected to a server.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    channel: Channel,
}

impl Client {
    /// Connects, once: an address at which nobody answers is told at once.
    pub(crate) async fn connect(server: &Uri) -> Result<Self, Failure> {
        let channel = channel::endpoint(server.clone()).connect().await;
        let channel = channel.map_err(|error| Failure::new(Exit::Unavailable, unreachable(server, &error)))?;
        Ok(Self { channel })
    }

    pub(crate) fn agents(&self) -> AgentServiceClient<Channel> {
        AgentServiceClient::new(self.channel.clone()).max_decoding_message_size(LARGEST)
    }

    pub(crate) fn board(&self) -> BoardServiceClient<Channel> {
        BoardServiceClient::new(self.channel.clone()).max_decoding_message_size(LARGEST)
    }

    pub(crate) fn deployments(&self) -> DeploymentServiceClient<Channel> {
        DeploymentServiceClient::new(self.channel.clone()).max_decoding_message_size(LARGEST)
    }

    pub(crate) fn events(&self) -> EventServiceClient<Channel> {
        EventServiceClient::new(self.channel.clone()).max_decoding_message_size(LARGEST)
    }

    pub(crate) fn line(&self) -> LineServiceClient<Channel> {
        LineServiceClient::new(self.channel.clone()).max_decoding_message_size(LARGEST)
    }

    pub(crate) fn production(&self) -> ProductionServiceClient<Channel> {
        ProductionServiceClient::new(self.channel.clone()).max_decoding_message_size(LARGEST)
    }

    pub(crate) fn projects(&self) -> ProjectServiceClient<Channel> {
        ProjectServiceClient::new(self.channel.clone()).max_decoding_message_size(LARGEST)
    }
}

/// A request with a deadline.
pub(crate) fn ask<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(ANSWER);
    request
}

fn unreachable(server: &Uri, error: &tonic::transport::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    format!(
        "no brain server answers at {server}: {cause}\n  next: start one, or name another by --server, BRAIN_SERVER or the \
         config file"
    )
}
