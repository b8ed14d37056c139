//! ProductionService.

use super::{Api, Watch, cut_off};
use crate::project::Project;
use brain_core::{event::Change, production::Production};
use brain_proto::{
    convert::production_to_proto,
    error, name,
    v1::{
        GetProductionRequest, GetProductionResponse, WatchProductionRequest, WatchProductionResponse,
        production_service_server::ProductionService,
    },
};
use std::sync::Arc;
use tokio::sync::{broadcast::error::RecvError, mpsc};
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl ProductionService for Api {
    async fn get_production(
        &self,
        request: Request<GetProductionRequest>,
    ) -> Result<Response<GetProductionResponse>, Status> {
        let project = self.production_named(&request.into_inner().name)?;
        let production = production_to_proto(&project.id, project.read().state.production.as_ref());
        Ok(Response::new(GetProductionResponse { production: Some(production) }))
    }

    type WatchProductionStream = Watch<WatchProductionResponse>;

    async fn watch_production(
        &self,
        request: Request<WatchProductionRequest>,
    ) -> Result<Response<Self::WatchProductionStream>, Status> {
        let project = self.production_named(&request.into_inner().name)?;
        Ok(Response::new(self.watch(|sender| watch(project, sender))))
    }
}

impl Api {
    fn production_named(&self, name: &str) -> Result<Arc<Project>, Status> {
        let id = name::parse_production(name).map_err(|error| error::invalid_field("name", error))?;
        self.project(&id)
    }
}

/// Sends what runs now, then every state that production goes through, none left out.
async fn watch(project: Arc<Project>, sender: mpsc::Sender<Result<WatchProductionResponse, Status>>) {
    let mut news = project.subscribe();
    let (seen, now) = {
        let inner = project.read();
        (inner.version, production_to_proto(&project.id, inner.state.production.as_ref()))
    };
    let message = |production| Ok(WatchProductionResponse { production: Some(production) });
    if sender.send(message(now)).await.is_err() {
        return;
    }
    loop {
        let news = match news.recv().await {
            Ok(news) => news,
            Err(RecvError::Lagged(_)) => {
                let _ = sender.send(Err(cut_off(&name::production(&project.id)))).await;
                return;
            }
            Err(RecvError::Closed) => return,
        };
        if news.version <= seen {
            continue;
        }
        for event in &news.events {
            let Change::ProductionObserved { services } = &event.change else { continue };
            let production = Production::new(services.clone(), event.at);
            if sender.send(message(production_to_proto(&project.id, Some(&production)))).await.is_err() {
                return;
            }
        }
    }
}
