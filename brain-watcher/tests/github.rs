//! The GitHub source against GitHub's own recorded answers, and against what no recording shows.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use brain_watcher::{
    config::{Config, Settings},
    host::Hosts,
    source::{client, open::Repository},
};
use serde_json::{Value, json};
use std::{fs, path::Path, sync::Arc};
use wiremock::{
    Match, Mock, MockServer, Request, ResponseTemplate,
    matchers::{body_partial_json, header, method, path, query_param},
};

/// Recorded requests and responses.
fn cassette(name: &str) -> Vec<Value> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.setup/github").join(format!("{name}.json"));
    let text = fs::read_to_string(&file).unwrap_or_else(|_| panic!("{} is missing: run `make setup`", file.display()));
    serde_json::from_str(&text).unwrap()
}

/// The recorded response to the request whose address ends like this.
fn recorded(cassette_name: &str, end: &str) -> ResponseTemplate {
    let interactions = cassette(cassette_name);
    let fits = |interaction: &&Value| interaction["url"].as_str().unwrap().ends_with(end);
    response(interactions.iter().find(fits).unwrap())
}

fn response(interaction: &Value) -> ResponseTemplate {
    let status = u16::try_from(interaction["status"].as_u64().unwrap()).unwrap();
    let body = interaction["body"].as_str().unwrap().to_owned();
    let mut response = ResponseTemplate::new(status).set_body_raw(body, "application/json");
    for (name, value) in interaction["headers"].as_object().unwrap() {
        // Those of its own time; tests of rate limits bring theirs.
        if name != "content-type" && !name.starts_with("x-ratelimit") {
            response = response.insert_header(name.as_str(), value.as_str().unwrap());
        }
    }
    response
}

/// A request under the condition of this ETag.
struct Unchanged(String);

impl Match for Unchanged {
    fn matches(&self, request: &Request) -> bool {
        request.headers.get("if-none-match").is_some_and(|etag| etag.to_str().unwrap() == self.0)
    }
}

fn config(server: &MockServer, more: &str) -> Config {
    let text = format!("[[github]]\nhost = \"github.com\"\napi = \"{}\"\n{more}", server.uri());
    toml::from_str::<Settings>(&text).unwrap().check().unwrap()
}

struct World {
    server: MockServer,
    hosts: Arc<Hosts>,
}

impl World {
    async fn start() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Self { server: MockServer::start().await, hosts: Arc::default() }
    }

    fn source(&self, repository: &str, branch: &str) -> Repository {
        self.source_with(repository, branch, "")
    }

    fn source_with(&self, repository: &str, branch: &str, more: &str) -> Repository {
        let url = format!("https://github.com/{repository}.git");
        Repository::open(&client().unwrap(), &self.hosts, &config(&self.server, more), &url, branch).unwrap()
    }

    async fn answer(&self, at: &str, answer: ResponseTemplate) {
        Mock::given(method("GET")).and(path(at)).respond_with(answer).with_priority(5).mount(&self.server).await;
    }

    /// 304 for whoever has this ETag of an address.
    async fn unchanged(&self, at: &str, etag: &str) {
        let recording = cassette("Branch_latest_sha");
        let not_modified = response(recording.iter().find(|interaction| interaction["status"] == 304).unwrap());
        Mock::given(method("GET"))
            .and(path(at))
            .and(Unchanged(etag.to_owned()))
            .respond_with(not_modified)
            .with_priority(1)
            .mount(&self.server)
            .await;
    }

    async fn requests(&self) -> usize {
        self.server.received_requests().await.unwrap().len()
    }
}

#[tokio::test]
async fn a_renamed_repository_is_read_at_its_new_name_and_told_of() {
    let world = World::start().await;
    // As recorded, the old name is redirected to the number. What GitHub does below it is made up after that: no recording
    // shows it.
    let moved = "/repositories/11439734";
    let location = cassette("Repository_tags")[0]["headers"]["location"].as_str().unwrap().to_owned();
    assert!(location.ends_with(moved), "{location}");
    let below = |rest: &str| {
        ResponseTemplate::new(301).insert_header("location", format!("{}{moved}{rest}", world.server.uri()))
    };
    world.answer("/repos/sigmavirus24/betamax/tags", below("/tags?per_page=100")).await;
    world.answer("/repos/sigmavirus24/betamax/branches/master", below("/branches/master")).await;
    world.answer(&format!("{moved}/tags"), recorded("Repository_tags", "/tags?per_page=100")).await;
    world.answer(moved, recorded("Repository_tags", moved)).await;
    let refs = world.source("sigmavirus24/betamax", "master").poll().await.unwrap();
    assert_eq!(refs.tags.len(), 21);
    assert_eq!(refs.tags["v0.1.6"], "599fe9bd96eb7cced3d8c9316cf2aed6ad557c26");
    assert_eq!(refs.moved_to.as_deref(), Some("https://github.com/betamaxpy/betamax"));
}

#[tokio::test]
async fn tags_head_and_the_commits_ahead_are_what_github_said() {
    let world = World::start().await;
    let (tag, head) = ("a811e1a270f65eecb65755eca38d888cbefcb0a7", "76dcc6cb4b9860034be81b7e58adc286a115aa97");
    let base = "/repos/sigmavirus24/github3.py";
    world
        .answer(
            &format!("{base}/tags"),
            ResponseTemplate::new(200).set_body_json(json!([{"name": "0.1.0", "commit": {"sha": tag}}])),
        )
        .await;
    world
        .answer(
            &format!("{base}/branches/develop"),
            ResponseTemplate::new(200).set_body_json(json!({"commit": {"sha": head}})),
        )
        .await;
    let compare = format!("/compare/{tag}...{head}");
    world.answer(&format!("{base}{compare}"), recorded("Repository_compare_commits", &compare)).await;
    let mut source = world.source("sigmavirus24/github3.py", "develop");
    let found = source.poll().await.unwrap().head.unwrap();
    assert_eq!((found.commit.as_str(), found.ahead_of), (head, Some(("0.1.0".to_owned(), 1))));
    let newest = &found.newest[0];
    assert_eq!((newest.id.as_str(), newest.title.as_str(), newest.author.as_str()), (head, "Fix docs", "Ian Cordasco"));
    let before = world.requests().await;
    source.poll().await.unwrap();
    assert_eq!(world.requests().await - before, 2, "what was compared is not compared again");
}

#[tokio::test]
async fn a_recorded_branch_with_a_slash_is_found_and_a_poll_without_news_is_all_304() {
    let world = World::start().await;
    let base = "/repos/PyCQA/flake8";
    let tags = ResponseTemplate::new(200).set_body_json(json!([])).insert_header("etag", "W/\"tags\"");
    world.answer(&format!("{base}/tags"), tags).await;
    world.unchanged(&format!("{base}/tags"), "W/\"tags\"").await;
    let branch = format!("{base}/branches/stable%2F2.6");
    world.answer(&branch, recorded("Branch_latest_sha", "/branches/stable/2.6")).await;
    world.unchanged(&branch, "W/\"4e0ead41fdf6d156e1dfea53f0f79b86\"").await;
    let mut source = world.source("PyCQA/flake8", "stable/2.6");
    let first = source.poll().await.unwrap();
    assert_eq!(first.head.as_ref().unwrap().commit, "1254fe8f5cfcbd4afc2f692827da4f04a3033c56");
    assert_eq!(source.poll().await.unwrap(), first);
    let report = world.hosts.report();
    assert_eq!((report[0].host.as_str(), report[0].requests, report[0].not_modified), ("github.com", 4, 2));
}

#[tokio::test]
async fn five_thousand_tags_are_read_by_their_links_and_then_by_304() {
    let world = World::start().await;
    let list = "/repos/acme/big/tags";
    for page in 1..=50 {
        let tags: Vec<Value> = (0..100)
            .map(|number| json!({"name": format!("0.{page}.{number}"), "commit": {"sha": "a".repeat(40)}}))
            .collect();
        let etag = format!("\"page-{page}\"");
        let mut answer = ResponseTemplate::new(200).set_body_json(tags).insert_header("etag", etag.as_str());
        if page < 50 {
            let next = format!("<{}{list}?per_page=100&page={}>; rel=\"next\"", world.server.uri(), page + 1);
            answer = answer.insert_header("link", next);
        }
        let given = Mock::given(method("GET")).and(path(list));
        let given = if page == 1 { given } else { given.and(query_param("page", page.to_string())) };
        given.respond_with(answer).with_priority(if page == 1 { 6 } else { 5 }).mount(&world.server).await;
        world.unchanged(list, &etag).await;
    }
    world.answer("/repos/acme/big/branches/master", ResponseTemplate::new(404)).await;
    let mut source = world.source("acme/big", "master");
    assert_eq!(source.poll().await.unwrap().tags.len(), 5_000);
    assert_eq!(source.poll().await.unwrap().tags.len(), 5_000);
    assert_eq!(world.hosts.report()[0].not_modified, 50);
}

#[tokio::test]
async fn an_empty_repository_has_no_head_and_one_that_cannot_be_seen_is_told_of() {
    let world = World::start().await;
    world.answer("/repos/acme/empty/tags", ResponseTemplate::new(200).set_body_json(json!([]))).await;
    world.answer("/repos/acme/empty/branches/master", ResponseTemplate::new(404)).await;
    let refs = world.source("acme/empty", "master").poll().await.unwrap();
    assert!(refs.tags.is_empty() && refs.head.is_none());
    let error = world.source("acme/private", "master").poll().await.unwrap_err();
    assert!(error.message.contains("github.com answers 404"), "{error}");
}

#[tokio::test]
async fn a_rate_limit_that_is_used_up_is_obeyed_by_all_projects_and_told_with_its_end() {
    let world = World::start().await;
    let reset = jiff::Timestamp::now().as_second() + 600;
    let limited = ResponseTemplate::new(403)
        .insert_header("x-ratelimit-limit", "5000")
        .insert_header("x-ratelimit-remaining", "0")
        .insert_header("x-ratelimit-reset", reset.to_string());
    Mock::given(method("GET")).respond_with(limited).mount(&world.server).await;
    let error = world.source("acme/one", "master").poll().await.unwrap_err();
    assert!(error.message.starts_with("github.com allows no more requests until "), "{error}");
    assert!(error.retry_after.unwrap().as_secs() > 500);
    let other = world.source("acme/two", "master").poll().await.unwrap_err();
    assert_eq!(other.message, error.message);
    assert_eq!(world.requests().await, 1, "nothing is sent until then");
    let state = world.hosts.report().remove(0);
    assert_eq!((state.rate_limit, state.rate_remaining), (Some(5_000), Some(0)));
    assert!(state.pause_until_time.unwrap().seconds >= reset);
}

#[tokio::test]
async fn a_secondary_limit_is_obeyed_for_as_long_as_it_asks() {
    let world = World::start().await;
    let limited = ResponseTemplate::new(403).insert_header("retry-after", "120");
    Mock::given(method("GET")).respond_with(limited).mount(&world.server).await;
    let error = world.source("acme/one", "master").poll().await.unwrap_err();
    assert_eq!(error.retry_after.unwrap().as_secs(), 120);
    world.source("acme/two", "master").poll().await.unwrap_err();
    assert_eq!(world.requests().await, 1);
}

#[tokio::test]
async fn a_refused_credential_is_no_rate_limit_and_hostile_json_no_panic() {
    let world = World::start().await;
    world.answer("/repos/acme/private/tags", ResponseTemplate::new(403)).await;
    let error = world.source("acme/private", "master").poll().await.unwrap_err();
    assert!(error.message.contains("check the credential of github.com") && error.retry_after.is_none(), "{error}");
    for (name, body) in [("cut", "[{\"name\": \"0.1\", \"com"), ("deep", &"[".repeat(200_000)), ("other", "{\"a\": 1}")]
    {
        world.answer(&format!("/repos/acme/{name}/tags"), ResponseTemplate::new(200).set_body_string(body)).await;
        let error = world.source(&format!("acme/{name}"), "master").poll().await.unwrap_err();
        assert!(error.message.contains("what is not GitHub's API"), "{error}");
    }
}

#[tokio::test]
async fn unicode_and_long_names_are_kept_as_they_are() {
    let world = World::start().await;
    let names = ["größe/0.1", &"t".repeat(250), "タグ"];
    let tags: Vec<Value> = names.iter().map(|name| json!({"name": name, "commit": {"sha": "a".repeat(40)}})).collect();
    world.answer("/repos/acme/names/tags", ResponseTemplate::new(200).set_body_json(tags)).await;
    world.answer("/repos/acme/names/branches/größe", ResponseTemplate::new(404)).await;
    let refs = world.source("acme/names", "größe").poll().await.unwrap();
    assert!(names.iter().all(|name| refs.tags.contains_key(*name)), "{:?}", refs.tags.keys());
}

#[tokio::test]
async fn a_tag_is_made_as_it_was_recorded_and_one_that_stands_there_is_as_good() {
    let world = World::start().await;
    let (refs, commit) = ("/repos/github3py/fork_this/git/refs", "646fc846229268a14f4510480614f395de5cdcbc");
    Mock::given(method("POST"))
        .and(path(refs))
        .and(body_partial_json(json!({"ref": "refs/tags/test-tag-646fc8", "sha": commit})))
        .respond_with(recorded("Repository_create_ref", "/git/refs"))
        .mount(&world.server)
        .await;
    let mut source = world.source("github3py/fork_this", "master");
    source.create_tag("test-tag-646fc8", commit).await.unwrap();
    let exists = ResponseTemplate::new(422).set_body_json(json!({"message": "Reference already exists"}));
    Mock::given(method("POST")).and(path(refs)).respond_with(exists).with_priority(9).mount(&world.server).await;
    let tag =
        |kind: &str, sha: &str| ResponseTemplate::new(200).set_body_json(json!({"object": {"type": kind, "sha": sha}}));
    world.answer("/repos/github3py/fork_this/git/ref/tags/0.0.1", tag("commit", commit)).await;
    let annotation = "c".repeat(40);
    world.answer("/repos/github3py/fork_this/git/ref/tags/0.0.2", tag("tag", &annotation)).await;
    world.answer(&format!("/repos/github3py/fork_this/git/tags/{annotation}"), tag("commit", commit)).await;
    source.create_tag("0.0.1", commit).await.unwrap();
    source.create_tag("0.0.2", commit).await.unwrap();
    let error = source.create_tag("0.0.1", &"b".repeat(40)).await.unwrap_err();
    assert!(error.message.contains(&format!("has 0.0.1 at {commit} already")), "{error}");
}

#[tokio::test]
async fn an_app_buys_one_token_with_its_key_and_all_projects_use_it() {
    let world = World::start().await;
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key.pem");
    let made =
        std::process::Command::new("openssl").args(["genrsa", "-traditional", "-out"]).arg(&key).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let token = json!({"token": "ghs_secret", "expires_at": "2099-01-01T00:00:00Z"});
    Mock::given(method("POST"))
        .and(path("/app/installations/7/access_tokens"))
        .respond_with(ResponseTemplate::new(201).set_body_json(token))
        .expect(1)
        .mount(&world.server)
        .await;
    Mock::given(method("GET"))
        .and(header("authorization", "Bearer ghs_secret"))
        .respond_with(ResponseTemplate::new(200).set_body_json(json!([])))
        .mount(&world.server)
        .await;
    let more = format!("app_id = \"12\"\ninstallation_id = 7\nprivate_key_file = {key:?}\n");
    let mut source = world.source_with("acme/one", "master", &more);
    // The branch's answer is a list here, and refused as such: both requests were let in.
    let first = source.poll().await.unwrap_err();
    let second = source.poll().await.unwrap_err();
    assert!(first.message.contains("not GitHub's API") && !second.message.contains("ghs_secret"), "{first}");
    let bought = world.server.received_requests().await.unwrap();
    let statement = bought[0].headers.get("authorization").unwrap().to_str().unwrap().to_owned();
    assert_eq!(statement.split('.').count(), 3, "a JSON web token");
}
