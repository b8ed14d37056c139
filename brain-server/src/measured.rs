//! Calls of the gRPC API, counted and timed as they end. What is called that the API does not have is counted as one method, so
//! that nobody makes series by calling names.

use crate::metrics::{GRPC_DURATION, GRPC_REQUESTS, GRPC_STREAMS};
use anyhow::Context;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use prost::Message;
use prost_types::FileDescriptorSet;
use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Poll, ready},
};
use tokio::time::Instant;
use tonic::{
    Code, Status,
    body::Body,
    codegen::{Context as TaskContext, http},
};
use tower::{Layer, Service};

/// The codes of gRPC, 0 to 16.
const CODES: usize = 17;
/// What is called that is not there.
const OTHER: &str = "other";

/// One method, with the handles of what is measured of it.
struct Method {
    service: String,
    method: String,
    streams: Option<Gauge>,
    took: Option<Histogram>,
    /// Made when a code first comes: few of them ever do.
    codes: [OnceLock<Counter>; CODES],
}

impl Method {
    fn new(service: &str, method: &str, streams: bool) -> Self {
        let labels = [("service", service.to_owned()), ("method", method.to_owned())];
        Self {
            service: service.to_owned(),
            method: method.to_owned(),
            streams: streams.then(|| gauge!(GRPC_STREAMS, &labels)),
            // A stream is as long as its reader stays.
            took: (!streams).then(|| histogram!(GRPC_DURATION, &labels)),
            codes: std::array::from_fn(|_| OnceLock::new()),
        }
    }

    fn count(&self, code: Code) {
        let Some(cell) = self.codes.get(code as usize) else { return };
        let counted = cell.get_or_init(|| {
            let labels =
                [("service", self.service.clone()), ("method", self.method.clone()), ("code", format!("{code:?}"))];
            counter!(GRPC_REQUESTS, &labels)
        });
        counted.increment(1);
    }
}

/// A call that is under way. One that is dropped was left by its caller.
struct Call {
    method: Arc<Method>,
    began: Instant,
    ended: bool,
}

impl Call {
    fn new(method: Arc<Method>) -> Self {
        if let Some(streams) = &method.streams {
            streams.increment(1.0);
        }
        Self { method, began: Instant::now(), ended: false }
    }

    fn end(&mut self, code: Code) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let Method { streams, took, .. } = &*self.method;
        self.method.count(code);
        if let Some(streams) = streams {
            streams.decrement(1.0);
        }
        if let Some(took) = took {
            took.record(self.began.elapsed());
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.end(Code::Cancelled);
    }
}

/// Measures what it is laid around.
#[derive(Clone)]
pub(crate) struct Measured {
    methods: Arc<HashMap<String, Arc<Method>>>,
    other: Arc<Method>,
}

impl Measured {
    /// The methods of these services.
    pub(crate) fn new(descriptors: &[&[u8]]) -> anyhow::Result<Self> {
        let mut methods = HashMap::new();
        for descriptor in descriptors {
            let set = FileDescriptorSet::decode(*descriptor).context("the API's own description cannot be read")?;
            for file in set.file {
                for service in &file.service {
                    let name = format!("{}.{}", file.package(), service.name());
                    for method in &service.method {
                        let measured = Method::new(&name, method.name(), method.server_streaming());
                        methods.insert(format!("/{name}/{}", method.name()), Arc::new(measured));
                    }
                }
            }
        }
        Ok(Self { methods: Arc::new(methods), other: Arc::new(Method::new(OTHER, OTHER, false)) })
    }
}

impl<S> Layer<S> for Measured {
    type Service = Calls<S>;

    fn layer(&self, inner: S) -> Calls<S> {
        Calls { inner, measured: self.clone() }
    }
}

/// Calls that are measured.
#[derive(Clone)]
pub(crate) struct Calls<S> {
    inner: S,
    measured: Measured,
}

impl<S, B> Service<http::Request<Body>> for Calls<S>
where
    S: Service<http::Request<Body>, Response = http::Response<B>>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Answer<B>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut TaskContext<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let Measured { methods, other } = &self.measured;
        let method = methods.get(request.uri().path()).unwrap_or(other);
        let mut call = Call::new(Arc::clone(method));
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            // An error without a message stands in the headers, everything else in the trailers.
            if let Some(status) = Status::from_header_map(answer.headers()) {
                call.end(status.code());
            }
            Ok(answer.map(|body| Answer { body, call }))
        })
    }
}

/// The body of an answer, whose end is the call's.
pub(crate) struct Answer<B> {
    body: B,
    call: Call,
}

impl<B: http_body::Body + Unpin> http_body::Body for Answer<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<http_body::Frame<B::Data>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(trailers) = frame.trailers_ref()
        {
            let status = Status::from_header_map(trailers);
            self.call.end(status.map_or(Code::Unknown, |status| status.code()));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}
