//! The watcher's sources against the real git host and the real registry.

use anyhow::{Context, Result};
use brain_tests::{git_host::GitHost, http::client, registry::Registry};
use brain_watcher::{
    config::Settings,
    host::Hosts,
    source::{git::GitSource, oci::OciSource},
};
use std::sync::Arc;

fn git_source(url: &str, branch: &str) -> Result<GitSource> {
    Ok(GitSource::new(client(), Arc::new(Hosts::default()), url, branch, None, None)?)
}

#[tokio::test]
async fn tags_head_and_commits_ahead_are_what_git_itself_says() -> Result<()> {
    let host = GitHost::start().await?;
    let repository = host.repository("user").await?;
    repository.annotated_tag("v0.0.9").await?;
    let tagged = repository.head().await?;
    repository.tag("not-a-version").await?;
    for number in 0..7 {
        repository.commit(&format!("change {number}")).await?;
    }
    let mut source = git_source(&repository.url, "master")?;
    let refs = source.poll().await?;
    assert_eq!(refs.tags.get("v0.0.9"), Some(&tagged), "an annotated tag is peeled");
    let head = refs.head.context("there is a head")?;
    assert_eq!(head.commit, repository.head().await?);
    let count: u32 = repository.git(&["rev-list", "--count", "v0.0.9..HEAD"]).await?.trim().parse()?;
    assert_eq!(head.ahead_of, Some(("v0.0.9".to_owned(), count)));

    // The branch is rewritten and a tag is deleted.
    repository.git(&["reset", "--quiet", "--hard", "HEAD~3"]).await?;
    repository.commit("another way").await?;
    repository.git(&["push", "--quiet", "origin", ":refs/tags/not-a-version"]).await?;
    let refs = source.poll().await?;
    assert!(!refs.tags.contains_key("not-a-version"));
    assert_eq!(refs.head.context("there is a head")?.commit, repository.head().await?);
    assert_eq!(git_source(&repository.url, "no-such-branch")?.poll().await?.head, None);
    Ok(())
}

#[tokio::test]
async fn five_thousand_tags_are_read_in_one_poll() -> Result<()> {
    let host = GitHost::start().await?;
    let repository = host.repository("user").await?;
    let head = repository.head().await?;
    let bare = repository.git(&["remote", "get-url", "origin"]).await?;
    let packed: String = (0..5_000).map(|number| format!("{head} refs/tags/0.0.{number}\n")).collect();
    std::fs::write(format!("{}/packed-refs", bare.trim()), packed)?;
    let refs = git_source(&repository.url, "master")?.poll().await?;
    assert_eq!(refs.tags.len(), 5_000);
    assert_eq!(refs.head.context("there is a head")?.ahead_of, Some(("0.0.4999".to_owned(), 0)));
    Ok(())
}

#[tokio::test]
async fn a_repository_that_is_not_there_is_told_helpfully() -> Result<()> {
    let host = GitHost::start().await?;
    let mut url = host.repository("user").await?.url;
    url = url.replace("user.git", "none.git");
    let error = git_source(&url, "master")?.poll().await.expect_err("there is none").to_string();
    assert!(error.starts_with("git host 127.0.0.1:") && error.contains("404"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_pushed_image_is_found_and_one_that_moved_is_noticed() -> Result<()> {
    let registry = Registry::start().await?;
    let text = format!("[[registry]]\nhost = \"docker.io\"\nendpoint = \"{}\"\n", registry.endpoint());
    let config = toml::from_str::<Settings>(&text)?.check()?;
    let mut source = OciSource::new(client(), &Hosts::default(), &config.registries, "flowcommerce/user")?;
    assert!(source.poll(false).await?.is_empty());
    registry.push("flowcommerce/user", "0.0.4", "first").await?;
    let first = source.poll(true).await?;
    registry.push("flowcommerce/user", "0.0.4", "second").await?;
    let second = source.poll(true).await?;
    assert_eq!(first.keys().collect::<Vec<_>>(), ["0.0.4"]);
    assert_ne!(first["0.0.4"], second["0.0.4"]);
    Ok(())
}

#[tokio::test]
async fn an_empty_repository_and_names_of_unicode_or_great_length_are_read_as_they_are() -> Result<()> {
    let host = GitHost::start().await?;
    let repository = host.repository("user").await?;
    let long = "t".repeat(250);
    for name in ["größe-タグ", long.as_str(), "not/a/version"] {
        repository.tag(name).await?;
    }
    let mut source = git_source(&repository.url, "master")?;
    let refs = source.poll().await?;
    assert!(["größe-タグ", &long, "not/a/version"].iter().all(|name| refs.tags.contains_key(*name)), "{:?}", refs.tags);
    let bare = repository.bare().display().to_string();
    for name in ["refs/heads/master", "refs/tags/größe-タグ", &format!("refs/tags/{long}"), "refs/tags/not/a/version"]
    {
        repository.git(&["--git-dir", &bare, "update-ref", "-d", name]).await?;
    }
    let refs = source.poll().await?;
    assert!(refs.tags.is_empty() && refs.head.is_none(), "{refs:?}");
    Ok(())
}
