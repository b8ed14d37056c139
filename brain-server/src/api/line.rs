//! LineService.

use super::{Api, RETRY_AFTER, deployment::request::Faults};
use brain_core::{
    event::Change,
    line::{Line, Stop},
};
use brain_proto::{
    convert::line_to_proto,
    error,
    v1::{
        GetLineRequest, GetLineResponse, ReleaseLineRequest, ReleaseLineResponse, StopLineRequest, StopLineResponse,
        line_service_server::LineService,
    },
};
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl LineService for Api {
    async fn get_line(&self, _: Request<GetLineRequest>) -> Result<Response<GetLineResponse>, Status> {
        let line = Some(line_to_proto(self.shared.line.line()));
        Ok(Response::new(GetLineResponse { line }))
    }

    async fn stop_line(&self, request: Request<StopLineRequest>) -> Result<Response<StopLineResponse>, Status> {
        let StopLineRequest { requested_by, reason, pause_running } = request.into_inner();
        let stop = |line: &Line, why| line.request_stop(Stop { pause_running }, why);
        let line = Some(line_to_proto(self.throw(requested_by, reason, stop).await?));
        Ok(Response::new(StopLineResponse { line }))
    }

    async fn release_line(
        &self,
        request: Request<ReleaseLineRequest>,
    ) -> Result<Response<ReleaseLineResponse>, Status> {
        let ReleaseLineRequest { requested_by, reason } = request.into_inner();
        let line = Some(line_to_proto(self.throw(requested_by, reason, Line::request_release).await?));
        Ok(Response::new(ReleaseLineResponse { line }))
    }
}

impl Api {
    async fn throw(
        &self,
        requested_by: String,
        reason: String,
        decide: impl FnOnce(&Line, String) -> Option<Change>,
    ) -> Result<Line, Status> {
        let mut faults = Faults::default();
        faults.request("", &requested_by);
        faults.reason(&reason);
        faults.end(Some(()))?;
        let by = if requested_by.is_empty() { "unknown".to_owned() } else { requested_by };
        let thrown = self.shared.line.throw(&self.shared, by, |line| decide(line, reason)).await;
        thrown.map_err(|failure| error::unavailable("STORE_UNAVAILABLE", failure.to_string(), RETRY_AFTER))
    }
}
