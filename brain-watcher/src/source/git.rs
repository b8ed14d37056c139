//! Git over smart HTTP, protocol version 2, without a clone: refs by `ls-refs`, and how far the branch is ahead by a `fetch`
//! of which only the first bytes are read.
//!
//! Requests go through our own HTTP client, framed by gix's packet lines: gix's own transport blocks, and bounds neither the
//! time nor the size of an answer.

use super::{PollError, TAGS_MAX, refused, send};
use crate::{
    config::Credential,
    host::{Host, Hosts},
};
use brain_core::release::Commit;
use gix_packetline::{
    PacketLineRef,
    decode::{Stream, streaming},
};
use local::Local;
use reqwest::{Client, RequestBuilder};
use secrecy::ExposeSecret;
use std::{collections::BTreeMap, path::Path, sync::Arc};
use url::Url;

mod local;
mod push;

/// What stands at the end of a message.
const FLUSH: &[u8] = b"0000";
/// What stands between a command and its arguments.
const DELIMITER: &[u8] = b"0001";

/// A git repository.
#[derive(Debug)]
pub struct GitSource {
    client: Client,
    hosts: Arc<Hosts>,
    url: Url,
    branch: String,
    credential: Option<Credential>,
    /// Set when the repository is on this machine.
    local: Option<Local>,
    /// Whether the host can count commits; asked once.
    can_filter: Option<bool>,
    /// The last count, by head and tag commit.
    counted: Option<(String, String, u32)>,
}

/// Tags and head.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Refs {
    /// Tags and their commits, annotated ones peeled.
    pub tags: BTreeMap<String, String>,
    /// The head of the branch; `None`: the branch does not exist.
    pub head: Option<Head>,
    /// Where the repository has moved to, where its host tells.
    pub moved_to: Option<String>,
}

/// The head of the branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Commit.
    pub commit: String,
    /// Latest version tag and the commits ahead of it, where the host can tell.
    pub ahead_of: Option<(String, u32)>,
    /// The newest of those commits, newest first, where the host lists them.
    pub newest: Vec<Commit>,
}

impl GitSource {
    /// The repository at `url`.
    pub fn new(
        client: Client,
        hosts: Arc<Hosts>,
        url: &str,
        branch: &str,
        credential: Option<Credential>,
        folder: Option<&Path>,
    ) -> Result<Self, PollError> {
        let mut url = Url::parse(url).map_err(|error| PollError::new(format!("the git address is faulty: {error}")))?;
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        let branch = branch.to_owned();
        let local = if url.scheme() == "file" { Some(Local::new(&url, folder)?) } else { None };
        Ok(Self { client, hosts, url, branch, credential, local, can_filter: None, counted: None })
    }

    /// Tags and head as they are now.
    pub async fn poll(&mut self) -> Result<Refs, PollError> {
        let can_filter = match self.can_filter {
            Some(known) => known,
            None => {
                let can = self.capabilities().await?;
                *self.can_filter.insert(can)
            }
        };
        let mut refs = self.ls_refs().await?;
        let latest = latest_tag(&refs.tags);
        if let (Some(head), Some((tag, commit))) = (&mut refs.head, latest) {
            let count = self.count(&head.commit, &commit, can_filter).await;
            head.ahead_of = count.map(|commits| (tag, commits));
        }
        Ok(refs)
    }

    /// Whether the host speaks version 2 and can leave trees and blobs out of a fetch.
    async fn capabilities(&self) -> Result<bool, PollError> {
        let answer = match &self.local {
            Some(local) => local.capabilities().await?,
            None => {
                let mut url = self.below("info/refs");
                url.set_query(Some("service=git-upload-pack"));
                self.http(self.client.get(url)).await?
            }
        };
        let lines = self.lines(&answer)?;
        if !lines.iter().any(|line| line == "version 2") {
            return Err(PollError::new(format!("{} does not speak git's protocol version 2", self.peer())));
        }
        Ok(lines
            .iter()
            .any(|line| line.strip_prefix("fetch=").is_some_and(|can| can.split(' ').any(|can| can == "filter"))))
    }

    async fn ls_refs(&self) -> Result<Refs, PollError> {
        let branch = format!("refs/heads/{}", self.branch);
        let arguments = ["peel".to_owned(), "ref-prefix refs/tags/".to_owned(), format!("ref-prefix {branch}")];
        let answer = self.upload_pack(command("ls-refs", &arguments)).await?;
        let lines = self.lines(&answer)?;
        let mut refs = Refs::default();
        for line in &lines {
            let mut words = line.split(' ');
            let (Some(id), Some(name)) = (words.next(), words.next()) else {
                return Err(PollError::new(format!("{} answers with what are no refs", self.peer())));
            };
            let peeled = words.find_map(|word| word.strip_prefix("peeled:"));
            if name == branch {
                refs.head = Some(Head { commit: id.to_owned(), ahead_of: None, newest: Vec::new() });
            } else if let Some(tag) = name.strip_prefix("refs/tags/") {
                refs.tags.insert(tag.to_owned(), peeled.unwrap_or(id).to_owned());
            }
        }
        if refs.tags.len() > TAGS_MAX {
            return Err(PollError::new(format!("{} has more than {TAGS_MAX} tags", self.peer())));
        }
        Ok(refs)
    }

    /// Commits that `head` has and `tag` has not; `None` where the host cannot tell.
    async fn count(&mut self, head: &str, tag: &str, can_filter: bool) -> Option<u32> {
        if head == tag {
            return Some(0);
        }
        if let Some((known_head, known_tag, count)) = &self.counted
            && known_head == head
            && known_tag == tag
        {
            return Some(*count);
        }
        if !can_filter {
            return None;
        }
        // Without trees and blobs, what is fetched are the commits alone, and the pack's header says how many.
        let arguments = [
            "no-progress".to_owned(),
            "filter tree:0".to_owned(),
            format!("want {head}"),
            format!("have {tag}"),
            "done".to_owned(),
        ];
        let answer = self.upload_pack(command("fetch", &arguments)).await.ok()?;
        let count = pack_objects(&answer)?;
        self.counted = Some((head.to_owned(), tag.to_owned(), count));
        Some(count)
    }

    async fn upload_pack(&self, body: Vec<u8>) -> Result<Vec<u8>, PollError> {
        match &self.local {
            Some(local) => local.serve("upload-pack", body).await,
            None => self.http(self.post("git-upload-pack", body)).await,
        }
    }

    fn post(&self, service: &str, body: Vec<u8>) -> RequestBuilder {
        self.client
            .post(self.below(service))
            .header("content-type", format!("application/x-{service}-request"))
            .header("accept", format!("application/x-{service}-result"))
            .body(body)
    }

    async fn http(&self, request: RequestBuilder) -> Result<Vec<u8>, PollError> {
        let request = self.prepare(request);
        let answer = send(&self.queue(), &self.peer(), request).await?;
        if !answer.status.is_success() {
            let hint = format!("check the credential of {} in the watcher's configuration", self.host());
            return Err(refused(&self.peer(), &answer, &hint));
        }
        Ok(answer.body)
    }

    fn lines(&self, answer: &[u8]) -> Result<Vec<String>, PollError> {
        text_lines(answer)
            .ok_or_else(|| PollError::new(format!("{} answers with what is not git's protocol", self.peer())))
    }

    fn prepare(&self, request: RequestBuilder) -> RequestBuilder {
        let request = request.header("git-protocol", "version=2");
        match &self.credential {
            Some(Credential { username, password }) => request.basic_auth(username, Some(password.expose_secret())),
            None => request,
        }
    }

    fn below(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(&format!("{}/{path}", self.url.path()));
        url
    }

    /// Its host's queue.
    pub(super) fn queue(&self) -> Arc<Host> {
        self.hosts.get(&self.host())
    }

    fn host(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        self.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    fn peer(&self) -> String {
        if self.local.is_some() {
            return "the local git repository".to_owned();
        }
        format!("git host {}", self.host())
    }
}

/// The tag with the highest version.
pub(crate) fn latest_tag(tags: &BTreeMap<String, String>) -> Option<(String, String)> {
    let versions = tags.iter().filter(|(name, _)| brain_core::version::version_of(name).is_some());
    let latest = versions.max_by(|a, b| brain_core::version::compare_tags(a.0, b.0));
    latest.map(|(name, commit)| (name.clone(), commit.clone()))
}

fn command(command: &str, arguments: &[String]) -> Vec<u8> {
    let mut body = packet(&format!("command={command}"));
    body.extend(packet("agent=brain"));
    body.extend(DELIMITER);
    for argument in arguments {
        body.extend(packet(argument));
    }
    body.extend(FLUSH);
    body
}

fn packet(text: &str) -> Vec<u8> {
    // The length counts its own four digits and the line feed.
    format!("{:04x}{text}\n", text.len() + 5).into_bytes()
}

/// The text lines of an answer, without the service announcement; `None` when it is no packet lines.
fn text_lines(mut body: &[u8]) -> Option<Vec<String>> {
    let mut lines = Vec::new();
    while !body.is_empty() {
        let Ok(Stream::Complete { line, bytes_consumed }) = streaming(body) else { return None };
        if let PacketLineRef::Data(data) = line {
            let text = std::str::from_utf8(data).ok()?.trim_end_matches('\n');
            if !text.starts_with("# service=") {
                lines.push(text.to_owned());
            }
        }
        body = &body[bytes_consumed..];
    }
    Some(lines)
}

/// The number of objects that the header of the pack in a fetch's answer tells.
fn pack_objects(mut body: &[u8]) -> Option<u32> {
    let mut pack = Vec::new();
    let mut in_pack = false;
    while pack.len() < 12 {
        let Ok(Stream::Complete { line, bytes_consumed }) = streaming(body) else { return None };
        match line {
            PacketLineRef::Data(data) if !in_pack => in_pack = data == b"packfile\n",
            // Side-band 1 carries the pack.
            PacketLineRef::Data([1, data @ ..]) => pack.extend_from_slice(data),
            _ => {}
        }
        body = &body[bytes_consumed..];
    }
    let count = pack.strip_prefix(b"PACK")?.get(4..8)?;
    Some(u32::from_be_bytes(count.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pack_header_tells_the_number_of_commits() {
        let mut body = packet("packfile");
        body.extend(b"0006\x02x");
        body.extend(b"0011\x01PACK\0\0\0\x02\0\0\0\x07");
        assert_eq!(pack_objects(&body), Some(7));
        assert_eq!(pack_objects(b"0006\x02x"), None);
        assert_eq!(pack_objects(b"garbage"), None);
    }

    #[test]
    fn what_is_no_packet_line_is_refused() {
        assert_eq!(text_lines(b"<html>"), None);
        assert_eq!(text_lines(b"000eversion 2\n0000"), Some(vec!["version 2".to_owned()]));
    }
}
