//! Metrics: what each program measures stands in one table, with its meaning and its buckets, and is rendered for Prometheus.

use anyhow::Context;
use metrics::{describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::{sync::OnceLock, time::Duration};

/// The media type of what [`render`] gives.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// How often samples are sorted into their buckets while nobody asks for them: they wait in memory until then.
const UPKEEP: Duration = Duration::from_secs(5);

static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();

/// Something that is measured.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name, by Prometheus's conventions: with its unit, and `_total` where it only rises.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// What it says.
    pub help: &'static str,
}

/// What a metric is.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// It only rises.
    Counter,
    /// It rises and falls.
    Gauge,
    /// Samples, counted by these upper bounds.
    Histogram(&'static [f64]),
}

/// The build, of every program.
const BUILD: Metric = Metric { name: "brain_build_info", kind: Kind::Gauge, help: "1, for the version that runs." };

/// Installs the recorder, with what this program measures. Handles that were taken before record nothing.
pub fn install(measured: &[Metric]) -> anyhow::Result<()> {
    let mut builder = PrometheusBuilder::new();
    for metric in measured {
        if let Kind::Histogram(bounds) = metric.kind {
            builder = builder.set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), bounds)?;
        }
    }
    let handle = builder.install_recorder().context("metrics cannot be recorded")?;
    for Metric { name, kind, help } in measured.iter().copied().chain([BUILD]) {
        match kind {
            Kind::Counter => describe_counter!(name, help),
            Kind::Gauge => describe_gauge!(name, help),
            Kind::Histogram(_) => describe_histogram!(name, help),
        }
    }
    metrics::gauge!(BUILD.name, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    let kept = RECORDER.get_or_init(|| handle);
    tokio::spawn(async {
        loop {
            tokio::time::sleep(UPKEEP).await;
            kept.run_upkeep();
        }
    });
    Ok(())
}

/// Everything that was measured, in Prometheus's text format; `None` where nothing is recorded.
#[must_use]
pub fn render() -> Option<String> {
    RECORDER.get().map(PrometheusHandle::render)
}
