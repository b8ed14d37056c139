//! The Docker Hub source against a listing that looks as Docker Hub's does.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use brain_watcher::{
    config::Settings,
    host::Hosts,
    source::{client, open::Images},
};
use serde_json::{Value, json};
use std::fs;
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{body_json, header, method, path, query_param},
};

const LIST: &str = "/v2/namespaces/flowcommerce/repositories/user/tags";

fn digest(number: usize) -> String {
    format!("sha256:{number:064x}")
}

fn page(numbers: std::ops::Range<usize>, next: Option<String>) -> Value {
    let results: Vec<Value> = numbers
        .map(|number| json!({"name": format!("0.0.{number}"), "digest": digest(number), "images": [], "full_size": 1}))
        .collect();
    json!({"count": 150, "next": next, "previous": null, "results": results})
}

fn images(server: &MockServer, more: &str) -> Images {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let text = format!("[[registry]]\nhost = \"docker.io\"\nhub_endpoint = \"{}\"\n{more}", server.uri());
    let config = toml::from_str::<Settings>(&text).unwrap().check().unwrap();
    Images::open(&client().unwrap(), &Hosts::default(), &config, "flowcommerce/user").unwrap()
}

#[tokio::test]
async fn all_pages_of_the_listing_are_read_after_a_login() {
    let server = MockServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("password"), "hunter2\n").unwrap();
    Mock::given(method("POST"))
        .and(path("/v2/auth/token"))
        .and(body_json(json!({"identifier": "flow", "secret": "hunter2"})))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!({"access_token": "jwt"})))
        .expect(1)
        .mount(&server)
        .await;
    let next = format!("{}{LIST}?page=2&page_size=100", server.uri());
    for (number, body) in [("2", page(100..150, None)), ("", page(0..100, Some(next)))] {
        let given = Mock::given(method("GET")).and(path(LIST)).and(header("authorization", "Bearer jwt"));
        let given = if number.is_empty() { given } else { given.and(query_param("page", number)) };
        given.respond_with(ResponseTemplate::new(200).set_body_json(body)).mount(&server).await;
    }
    let more = format!("username = \"flow\"\npassword_file = {:?}\n", folder.path().join("password"));
    let mut images = images(&server, &more);
    let found = images.poll(false).await.unwrap();
    assert_eq!(found.len(), 150);
    assert_eq!(found["0.0.149"].to_string(), digest(149));
    images.poll(false).await.unwrap();
}

#[tokio::test]
async fn a_tag_that_moved_has_its_new_digest_and_a_repository_that_is_not_there_no_tags() {
    let server = MockServer::start().await;
    let list = |number: usize| {
        let tag = json!({"name": "0.0.4", "digest": digest(number)});
        ResponseTemplate::new(200).set_body_json(json!({"next": null, "results": [tag]}))
    };
    let first = Mock::given(path(LIST)).respond_with(list(1)).up_to_n_times(1);
    first.mount(&server).await;
    Mock::given(path(LIST)).respond_with(list(2)).up_to_n_times(1).mount(&server).await;
    let mut images = images(&server, "");
    assert_eq!(images.poll(false).await.unwrap()["0.0.4"].to_string(), digest(1));
    assert_eq!(images.poll(false).await.unwrap()["0.0.4"].to_string(), digest(2));
    assert!(images.poll(false).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_next_page_elsewhere_is_not_followed_and_an_endless_one_ends() {
    let server = MockServer::start().await;
    let elsewhere = ResponseTemplate::new(200).set_body_json(page(0..1, Some("http://127.0.0.1:9/steal".into())));
    Mock::given(path(LIST)).respond_with(elsewhere).up_to_n_times(1).mount(&server).await;
    let next = format!("{}{LIST}?page_size=100", server.uri());
    let endless = ResponseTemplate::new(200).set_body_json(page(0..1, Some(next)));
    Mock::given(path(LIST)).respond_with(endless).mount(&server).await;
    let mut images = images(&server, "");
    assert_eq!(images.poll(false).await.unwrap().len(), 1);
    let error = images.poll(false).await.unwrap_err();
    assert!(error.message.contains("without end"), "{error}");
}
