//! Spans of OpenTelemetry, sent by OTLP over HTTP. The standard variables switch it on and say where to.
//!
//! As with metrics, a process has one exporter, and only a program's `main` installs it. Where there is none, a span costs a look.
//! Who writes a span never waits: the exporter has a queue of its own, and drops what finds no room.

use anyhow::{Context, bail};
use brain_core::trace::{Place, Span};
use opentelemetry::{
    InstrumentationScope, KeyValue,
    trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState},
};
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::{
    Resource,
    trace::{BatchSpanProcessor, IdGenerator, RandomIdGenerator, SpanData, SpanProcessor},
};
use std::{
    env,
    sync::OnceLock,
    time::{Duration, SystemTime},
};
use tracing::warn;

static EXPORTER: OnceLock<Exporter> = OnceLock::new();

#[derive(Debug)]
struct Exporter {
    processor: BatchSpanProcessor,
    scope: InstrumentationScope,
}

tokio::task_local! {
    static WITHIN: Place;
}

/// Sends what is left when it is dropped, at the end of `main`.
#[derive(Debug)]
#[must_use = "what is left is sent when it is dropped"]
pub struct Installed;

/// Installs the exporter, if the standard variables ask for one: `OTEL_EXPORTER_OTLP_ENDPOINT`, or the one of traces alone.
///
/// They may be set for every program of a machine: what they ask for and brain cannot do is said in the log, and brain goes on
/// without traces. `service` is its name where they give none.
pub fn install(service: &'static str) -> Installed {
    if let Err(error) = try_install(service) {
        warn!("there are no traces: {error:#}");
    }
    Installed
}

fn try_install(service: &'static str) -> anyhow::Result<()> {
    let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    if !is_asked_for(variable)? {
        return Ok(());
    }
    let exporter = SpanExporter::builder().with_http().build().context("OpenTelemetry's variables are faulty")?;
    let mut processor = BatchSpanProcessor::builder(exporter).build();
    let detected = Resource::builder().build();
    let named =
        detected.iter().any(|(key, value)| key.as_str() == "service.name" && !value.as_str().starts_with(UNNAMED));
    let mut resource = Resource::builder();
    // The variable of the name itself goes before the attributes'.
    if let Some(name) = variable("OTEL_SERVICE_NAME") {
        resource = resource.with_service_name(name);
    } else if !named {
        resource = resource.with_service_name(service);
    }
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    processor.set_resource(&resource.with_attribute(version).build());
    let scope = InstrumentationScope::builder(service).with_version(env!("CARGO_PKG_VERSION")).build();
    let installed = EXPORTER.set(Exporter { processor, scope });
    installed.ok().context("an exporter of spans is installed already")
}

/// How the SDK begins the name of a service that nobody has named.
const UNNAMED: &str = "unknown_service";

/// Whether the variables ask for an exporter.
fn is_asked_for(variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<bool> {
    if variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Ok(false);
    }
    match variable("OTEL_TRACES_EXPORTER").as_deref() {
        None | Some("otlp") => {}
        Some("none") => return Ok(false),
        Some(other) => bail!("OTEL_TRACES_EXPORTER is {other}: brain exports spans by otlp, or none"),
    }
    let own = |name: &str| variable(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}"));
    let either = |name: &str| own(name).or_else(|| variable(&format!("OTEL_EXPORTER_OTLP_{name}")));
    if either("ENDPOINT").is_none() {
        return Ok(false);
    }
    match either("PROTOCOL").as_deref() {
        None | Some("http/protobuf") => Ok(true),
        Some(other) => bail!(
            "OTEL_EXPORTER_OTLP_PROTOCOL is {other}: brain speaks http/protobuf, at a collector's port 4318 as a rule"
        ),
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        if let Some(exporter) = EXPORTER.get() {
            // Whoever ends the program does not wait for a collector that is away.
            let _ = exporter.processor.shutdown_with_timeout(LAST_WORDS);
        }
    }
}

/// Time for what is left at the end.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// Whether spans are exported.
#[must_use]
pub fn is_on() -> bool {
    EXPORTER.get().is_some()
}

/// Exports a span.
pub fn export(span: Span) {
    let Some(exporter) = EXPORTER.get() else { return };
    let at = |time: brain_core::time::Timestamp| {
        SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(time.0).unwrap_or_default())
    };
    let attributes = span.attributes.into_iter().map(|(key, value)| KeyValue::new(key, value)).collect();
    let status = span.error.map_or(Status::Unset, Status::error);
    exporter.processor.on_end(SpanData {
        attributes,
        status,
        start_time: at(span.from),
        end_time: at(span.to),
        ..exporter.data(span.place, span.parent, span.name)
    });
}

/// Runs what belongs below a span: what it calls is exported as such by [`called`].
pub async fn within<T>(place: Option<Place>, work: impl Future<Output = T>) -> T {
    match place.filter(|_| is_on()) {
        Some(place) => WITHIN.scope(place, work).await,
        None => work.await,
    }
}

/// A call of another service that began so long ago has ended now, with an error or without. It is exported where it was made
/// [`within`] a span.
pub fn called(call: &'static str, took: Duration, error: Option<String>) {
    let Some(exporter) = EXPORTER.get() else { return };
    let Ok(within) = WITHIN.try_with(|place| *place) else { return };
    let place = Place { span: RandomIdGenerator::default().new_span_id().to_bytes(), ..within };
    let end_time = SystemTime::now();
    exporter.processor.on_end(SpanData {
        span_kind: SpanKind::Client,
        start_time: end_time.checked_sub(took).unwrap_or(end_time),
        end_time,
        attributes: vec![KeyValue::new("rpc.system", "aws-api"), KeyValue::new("rpc.method", call)],
        status: error.map_or(Status::Unset, Status::error),
        ..exporter.data(place, Some(within.span), call)
    });
}

impl Exporter {
    fn data(&self, place: Place, parent: Option<[u8; 8]>, name: &'static str) -> SpanData {
        let (trace, span) = (TraceId::from_bytes(place.trace), SpanId::from_bytes(place.span));
        SpanData {
            span_context: SpanContext::new(trace, span, TraceFlags::SAMPLED, false, TraceState::default()),
            parent_span_id: parent.map_or(SpanId::INVALID, SpanId::from_bytes),
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: name.into(),
            start_time: SystemTime::UNIX_EPOCH,
            end_time: SystemTime::UNIX_EPOCH,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: Default::default(),
            links: Default::default(),
            status: Status::Unset,
            instrumentation_scope: self.scope.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(variables: &[(&str, &str)]) -> Result<bool, String> {
        let value =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        is_asked_for(value).map_err(|error| error.to_string())
    }

    #[test]
    fn the_standard_variables_switch_it_on_and_off() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");
        assert_eq!(asked(&[]), Ok(false));
        assert_eq!(asked(&[endpoint]), Ok(true));
        assert_eq!(asked(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:4318/v1/traces")]), Ok(true));
        assert_eq!(asked(&[endpoint, ("OTEL_SDK_DISABLED", "TRUE")]), Ok(false));
        assert_eq!(asked(&[endpoint, ("OTEL_TRACES_EXPORTER", "none")]), Ok(false));
        assert_eq!(asked(&[("OTEL_TRACES_EXPORTER", "otlp")]), Ok(false), "to nobody");
    }

    #[test]
    fn what_brain_does_not_speak_is_refused_with_what_it_does() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317");
        let grpc = asked(&[endpoint, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]).unwrap_err();
        assert!(grpc.contains("is grpc") && grpc.contains("http/protobuf"), "{grpc}");
        assert!(asked(&[endpoint, ("OTEL_TRACES_EXPORTER", "zipkin")]).unwrap_err().contains("zipkin"));
        let own = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf");
        assert_eq!(asked(&[endpoint, own, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]), Ok(true));
    }
}
