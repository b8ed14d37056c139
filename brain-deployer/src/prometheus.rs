//! Prometheuses that gates ask, by the names that the configuration gives them.
//!
//! Whatever goes wrong is a figure that is missing, with the reason: a gate then holds, and a person can read why.

use crate::config::PrometheusServer;
use async_trait::async_trait;
use brain_core::time::Timestamp;
use secrecy::ExposeSecret;
use serde::Deserialize;
use std::{collections::BTreeMap, time::Duration};

/// Time for one query: an answer that takes longer is no help to a step that looks every few seconds.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer that is read. One number needs a hundred bytes; a query without an aggregation may answer megabytes.
const ANSWER_MAX: usize = 64 << 10;
/// Longest part of an error that is passed on.
const ERROR_MAX: usize = 300;

/// Where the figures of gates come from.
#[async_trait]
pub trait PrometheusPort: Send + Sync {
    /// The one number that a query gives at the Prometheus of that name: now, or as it was then. The error says why there is
    /// none.
    async fn figure(&self, server: &str, query: &str, at: Option<Timestamp>) -> Result<f64, String>;
}

/// The Prometheuses of the configuration, each with the client that all of them share.
#[derive(Debug, Default)]
pub struct Prometheus {
    servers: BTreeMap<String, (PrometheusServer, reqwest::Client)>,
}

#[derive(Deserialize)]
struct Answer {
    data: Option<Data>,
    error: Option<String>,
    /// What was left out of the figure, as by a store that did not answer.
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase", tag = "resultType", content = "result")]
enum Data {
    Vector(Vec<Element>),
    Scalar(Sample),
    Matrix(serde::de::IgnoredAny),
    String(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
struct Element {
    value: Sample,
}

/// Seconds since 1970, and the number as text: JSON knows no NaN.
type Sample = (f64, String);

impl Prometheus {
    /// A client for these servers. Without any there is none: it would read all of the machine's certificates for nothing.
    pub fn new(servers: BTreeMap<String, PrometheusServer>) -> reqwest::Result<Self> {
        if servers.is_empty() {
            return Ok(Self::default());
        }
        let client = reqwest::Client::builder()
            .user_agent(concat!("brain-deployer/", env!("CARGO_PKG_VERSION")))
            .timeout(TIMEOUT)
            // A token is for the address that was configured, and no other.
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        let servers = servers.into_iter().map(|(name, server)| (name, (server, client.clone()))).collect();
        Ok(Self { servers })
    }

    async fn ask(
        client: &reqwest::Client,
        server: &PrometheusServer,
        query: &str,
        at: Option<Timestamp>,
    ) -> Result<(u16, Vec<u8>), String> {
        let PrometheusServer { url, bearer_token } = server;
        let mut url = url.clone();
        url.set_path(&format!("{}/api/v1/query", url.path().trim_end_matches('/')));
        url.query_pairs_mut().append_pair("query", query);
        if let Some(at) = at {
            url.query_pairs_mut().append_pair("time", &at.to_string());
        }
        let mut request = client.get(url);
        if let Some(token) = bearer_token {
            request = request.bearer_auth(token.expose_secret());
        }
        // The address is the deployer's own affair: a board is no place for it.
        let unreachable = |error: reqwest::Error| {
            if error.is_timeout() { "does not answer in time" } else { "cannot be reached" }.to_owned()
        };
        let mut answer = request.send().await.map_err(unreachable)?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > ANSWER_MAX {
                return Err("answers more than one number: aggregate the query, as with sum(…)".to_owned());
            }
            body.extend_from_slice(&chunk);
        }
        Ok((answer.status().as_u16(), body))
    }
}

#[async_trait]
impl PrometheusPort for Prometheus {
    async fn figure(&self, server: &str, query: &str, at: Option<Timestamp>) -> Result<f64, String> {
        let Some((known, client)) = self.servers.get(server) else {
            return Err(format!(
                "this deployer knows no Prometheus {server}: add [prometheus.{server}] to its configuration"
            ));
        };
        let read = Self::ask(client, known, query, at).await.and_then(|(status, body)| read(status, &body));
        read.map_err(|why| format!("Prometheus {server} {why}"))
    }
}

fn read(status: u16, body: &[u8]) -> Result<f64, String> {
    let Ok(Answer { data, error, warnings }) = serde_json::from_slice(body) else {
        return Err(format!("answers {status} and nothing that can be read"));
    };
    if let Some(error) = error {
        let error: String = error.chars().take(ERROR_MAX).collect();
        return Err(format!("answers {status}: {error}"));
    }
    if let Some(warning) = warnings.first() {
        let warning: String = warning.chars().take(ERROR_MAX).collect();
        return Err(format!("answers with a warning, so that its figure may be of a part only: {warning}"));
    }
    let text = match data {
        Some(Data::Scalar((_, text))) => text,
        Some(Data::Vector(elements)) => match <[Element; 1]>::try_from(elements) {
            Ok([Element { value: (_, text) }]) => text,
            Err(none) if none.is_empty() => return Err("has no data".to_owned()),
            Err(many) => {
                return Err(format!("answers {} numbers: aggregate the query, as with sum(…)", many.len()));
            }
        },
        Some(Data::Matrix(_) | Data::String(_)) | None => return Err("answers no number".to_owned()),
    };
    text.parse().map_err(|_| format!("answers {text:?}, which is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(elements: &str) -> Result<f64, String> {
        let body = format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{elements}]}}}}"#);
        read(200, body.as_bytes())
    }

    #[test]
    fn one_number_is_read_and_whatever_else_is_none() {
        assert_eq!(vector(r#"{"metric":{},"value":[1700000000.1,"0.021"]}"#), Ok(0.021));
        let scalar = br#"{"status":"success","data":{"resultType":"scalar","result":[1700000000,"3"]}}"#;
        assert_eq!(read(200, scalar), Ok(3.0));
        assert!(vector(r#"{"metric":{},"value":[1700000000.1,"NaN"]}"#).unwrap().is_nan());
        assert_eq!(vector(r#"{"metric":{},"value":[1,"+Inf"]}"#), Ok(f64::INFINITY));
        assert_eq!(vector("").unwrap_err(), "has no data");
        let two = r#"{"metric":{"a":"1"},"value":[1,"1"]},{"metric":{"a":"2"},"value":[1,"2"]}"#;
        assert!(vector(two).unwrap_err().starts_with("answers 2 numbers"));
        let matrix = br#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#;
        assert_eq!(read(200, matrix).unwrap_err(), "answers no number");
        let refused = br#"{"status":"error","errorType":"bad_data","error":"parse error"}"#;
        assert_eq!(read(400, refused).unwrap_err(), "answers 400: parse error");
        assert!(read(502, b"<html>").is_err());
        let part =
            br#"{"status":"success","warnings":["store b: timeout"],"data":{"resultType":"scalar","result":[1,"3"]}}"#;
        assert!(read(200, part).unwrap_err().ends_with("of a part only: store b: timeout"));
    }

    #[tokio::test]
    async fn a_prometheus_that_nobody_configured_is_a_reason_and_no_figure() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let none = Prometheus::new(BTreeMap::new()).unwrap();
        assert!(none.figure("main", "1", None).await.unwrap_err().contains("[prometheus.main]"));
    }
}
