//! The OCI source against a registry that does what no real one at hand can be made to do.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use brain_core::image::Digest;
use brain_watcher::{
    config::{Config, Settings},
    host::Hosts,
    source::{client, oci::OciSource},
};
use std::{collections::BTreeMap, io::Write, time::Duration};
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{header, header_exists, method, path, path_regex, query_param},
};

const DIGEST: &str = "sha256:a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1";
const OTHER: &str = "sha256:b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2";

/// A watcher's configuration that finds docker.io at the mock, with a credential.
fn config(server: &MockServer) -> Config {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"hunter2").unwrap();
    let text = format!(
        "[[registry]]\nhost = \"docker.io\"\nendpoint = \"{}\"\nusername = \"me\"\npassword_file = {:?}\n",
        server.uri(),
        file.path()
    );
    toml::from_str::<Settings>(&text).unwrap().check().unwrap()
}

fn source(server: &MockServer) -> OciSource {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    OciSource::new(client().unwrap(), &Hosts::default(), &config(server).registries, "flowcommerce/user").unwrap()
}

fn tags(names: &[&str]) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(serde_json::json!({"name": "flowcommerce/user", "tags": names}))
}

async fn list(server: &MockServer, answer: ResponseTemplate) {
    Mock::given(method("GET")).and(path("/v2/flowcommerce/user/tags/list")).respond_with(answer).mount(server).await;
}

async fn digests(server: &MockServer, digest: &str) {
    Mock::given(method("HEAD"))
        .and(path_regex("^/v2/flowcommerce/user/manifests/.*"))
        .and(header_exists("accept"))
        .respond_with(ResponseTemplate::new(200).insert_header("docker-content-digest", digest))
        .mount(server)
        .await;
}

#[tokio::test]
async fn pages_are_followed_by_their_links() {
    let server = MockServer::start().await;
    let list = "/v2/flowcommerce/user/tags/list";
    Mock::given(method("GET"))
        .and(path(list))
        .and(query_param("last", "0.0.4"))
        .respond_with(tags(&["0.0.5"]))
        .with_priority(1)
        .mount(&server)
        .await;
    let next = format!("<{list}?last=0.0.4&n=1000>; rel=\"next\"");
    self::list(&server, tags(&["0.0.4"]).insert_header("link", next.as_str())).await;
    digests(&server, DIGEST).await;
    let images = source(&server).poll(false).await.unwrap();
    assert_eq!(images.keys().collect::<Vec<_>>(), ["0.0.4", "0.0.5"]);
}

#[tokio::test]
async fn links_that_go_in_a_circle_are_refused() {
    let server = MockServer::start().await;
    let next = "</v2/flowcommerce/user/tags/list?n=1000>; rel=\"next\"";
    list(&server, tags(&["0.0.4"]).insert_header("link", next)).await;
    let error = source(&server).poll(false).await.unwrap_err().to_string();
    assert!(error.contains("without end"), "{error}");
}

#[tokio::test]
async fn a_token_is_fetched_with_the_credential_and_used_for_every_request() {
    let server = MockServer::start().await;
    let challenge =
        format!("Bearer realm=\"{}/token\",service=\"r\",scope=\"repository:flowcommerce/user:pull\"", server.uri());
    Mock::given(header("authorization", "Bearer let-me-in"))
        .and(method("GET"))
        .respond_with(tags(&["0.0.4"]))
        .with_priority(1)
        .mount(&server)
        .await;
    Mock::given(header("authorization", "Bearer let-me-in"))
        .and(method("HEAD"))
        .respond_with(ResponseTemplate::new(200).insert_header("docker-content-digest", DIGEST))
        .with_priority(1)
        .mount(&server)
        .await;
    // Base64 of me:hunter2.
    Mock::given(path("/token"))
        .and(query_param("service", "r"))
        .and(header("authorization", "Basic bWU6aHVudGVyMg=="))
        .respond_with(
            ResponseTemplate::new(200).set_body_json(serde_json::json!({"token": "let-me-in", "expires_in": 300})),
        )
        .expect(1)
        .mount(&server)
        .await;
    list(&server, ResponseTemplate::new(401).insert_header("www-authenticate", challenge.as_str())).await;
    assert_eq!(source(&server).poll(false).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_link_to_another_host_gets_no_credential() {
    let (server, other) = (MockServer::start().await, MockServer::start().await);
    let challenge = "Basic realm=\"r\"";
    let next = format!("<{}/v2/flowcommerce/user/tags/list?last=x>; rel=\"next\"", other.uri());
    Mock::given(header_exists("authorization"))
        .and(method("GET"))
        .respond_with(tags(&["0.0.4"]).insert_header("link", next.as_str()))
        .with_priority(1)
        .mount(&server)
        .await;
    list(&server, ResponseTemplate::new(401).insert_header("www-authenticate", challenge)).await;
    digests(&server, DIGEST).await;
    Mock::given(header_exists("authorization")).respond_with(tags(&["stolen"])).expect(0).mount(&other).await;
    list(&other, tags(&["0.0.5"])).await;
    assert_eq!(source(&server).poll(false).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_repository_that_does_not_exist_yet_has_no_images() {
    let server = MockServer::start().await;
    assert!(source(&server).poll(false).await.unwrap().is_empty());
}

#[tokio::test]
async fn failures_tell_what_happened_and_never_the_password() {
    for (answer, expected) in [
        (ResponseTemplate::new(429).insert_header("retry-after", "7"), "429"),
        (ResponseTemplate::new(500), "answers 500"),
        (ResponseTemplate::new(403), "check the credential of docker.io"),
        (ResponseTemplate::new(401), "answers 401"),
        (ResponseTemplate::new(200).set_body_string("{\"tags\": [\"0.0"), "no list of tags"),
        (ResponseTemplate::new(200).set_body_string("[[[[[[[[["), "no list of tags"),
        (ResponseTemplate::new(200).set_body_bytes(vec![b' '; (8 << 20) + 1]), "more than 8 MiB"),
    ] {
        let server = MockServer::start().await;
        list(&server, answer).await;
        let error = source(&server).poll(false).await.unwrap_err();
        assert!(error.message.contains(expected), "{expected:?} is not in {error}");
        assert!(!error.message.contains("hunter2") && error.message.len() <= 500, "{error}");
        if expected == "429" {
            assert_eq!(error.retry_after, Some(Duration::from_secs(7)));
        }
    }
}

#[tokio::test]
async fn a_tag_that_moves_is_noticed_and_old_ones_are_not_all_asked_again() {
    let server = MockServer::start().await;
    let names: Vec<String> = (0..40).map(|patch| format!("0.0.{patch}")).collect();
    list(&server, tags(&names.iter().map(String::as_str).collect::<Vec<_>>())).await;
    let first = Mock::given(method("HEAD"))
        .respond_with(ResponseTemplate::new(200).insert_header("docker-content-digest", DIGEST))
        .mount_as_scoped(&server)
        .await;
    let mut source = source(&server);
    source.poll(false).await.unwrap();
    drop(first);
    Mock::given(method("HEAD"))
        .respond_with(ResponseTemplate::new(200).insert_header("docker-content-digest", OTHER))
        .mount(&server)
        .await;
    // The two newest and one more in its turn.
    let moved = |images: BTreeMap<String, Digest>| images.values().filter(|digest| digest.to_string() == OTHER).count();
    let images = source.poll(false).await.unwrap();
    assert_eq!(images["0.0.39"].to_string(), OTHER);
    assert_eq!(moved(images), 3);
    assert_eq!(moved(source.poll(false).await.unwrap()), 4);
    // A hint says that something happened: all that were looked at lately are.
    assert_eq!(moved(source.poll(true).await.unwrap()), 40);
}

#[tokio::test]
async fn a_list_that_did_not_change_is_asked_for_under_its_etag() {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .and(header("if-none-match", "\"one\""))
        .respond_with(ResponseTemplate::new(304))
        .with_priority(1)
        .expect(1)
        .mount(&server)
        .await;
    list(&server, tags(&["0.0.4"]).insert_header("etag", "\"one\"")).await;
    digests(&server, DIGEST).await;
    let mut source = source(&server);
    let first = source.poll(false).await.unwrap();
    assert_eq!(first.len(), 1);
    assert_eq!(source.poll(false).await.unwrap(), first);
}

#[tokio::test]
async fn too_many_requests_are_answered_by_a_pause_as_long_as_is_asked_for() {
    let server = MockServer::start().await;
    list(&server, ResponseTemplate::new(429).insert_header("retry-after", "120")).await;
    let mut source = source(&server);
    let error = source.poll(false).await.unwrap_err();
    assert!(error.message.contains("429") && error.retry_after == Some(Duration::from_secs(120)), "{error}");
    let again = source.poll(false).await.unwrap_err();
    assert_eq!(again.message, error.message, "what is told stays the same while it lasts");
    assert_eq!(server.received_requests().await.unwrap().len(), 1);
}

#[tokio::test]
async fn slow_cut_and_hostile_answers_are_failures_with_words() {
    let server = MockServer::start().await;
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let deep = "[".repeat(100_000);
    let answers = [
        (tags(&["0.0.4"]).set_delay(Duration::from_secs(30)), "does not answer in time"),
        (ResponseTemplate::new(200).set_body_string("{\"tags\": [\"0.0."), "what is no list of tags"),
        (ResponseTemplate::new(200).set_body_string(deep), "what is no list of tags"),
        (ResponseTemplate::new(200).set_body_json(serde_json::json!({"tags": {"a": 1}})), "what is no list of tags"),
    ];
    for (answer, expected) in answers {
        server.reset().await;
        list(&server, answer).await;
        let client = reqwest::Client::builder().timeout(Duration::from_secs(2)).build().unwrap();
        let config = config(&server);
        let mut source = OciSource::new(client, &Hosts::default(), &config.registries, "flowcommerce/user").unwrap();
        let error = source.poll(false).await.unwrap_err();
        assert!(error.message.contains(expected), "{error}");
    }
}
