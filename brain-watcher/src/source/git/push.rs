//! Making a tag: a push of one reference to a commit that the host has, and so of an empty pack.

use super::{FLUSH, GitSource, PollError, text_lines};

/// A pack of no objects: its header, and the SHA-1 of that.
const EMPTY_PACK: &[u8] =
    b"PACK\0\0\0\x02\0\0\0\0\x02\x9d\x08\x82\x3b\xd8\xa8\xea\xb5\x10\xad\x6a\xc7\x5c\x82\x3c\xfd\x3e\xd3\x1e";
/// Digits of a SHA-1; of repositories with SHA-256 the empty pack would be another.
const SHA1_DIGITS: usize = 40;

impl GitSource {
    /// Makes a lightweight tag. One that stands on the same commit already is as good.
    pub async fn create_tag(&mut self, tag: &str, commit: &str) -> Result<(), PollError> {
        if commit.len() != SHA1_DIGITS {
            return Err(PollError::new("tags can be made in repositories with SHA-1 only"));
        }
        let name = format!("refs/tags/{tag}");
        let update = format!("{} {commit} {name}\0report-status agent=brain\n", "0".repeat(SHA1_DIGITS));
        let mut body = format!("{:04x}{update}", update.len() + 4).into_bytes();
        body.extend(FLUSH);
        body.extend(EMPTY_PACK);
        let answer = match &self.local {
            Some(local) => local.serve("receive-pack", body).await?,
            None => self.http(self.post("git-receive-pack", body)).await?,
        };
        let outcome = report(&answer, &name);
        if outcome.is_ok() {
            return Ok(());
        }
        // It may stand there already.
        let refs = self.ls_refs().await?;
        match refs.tags.get(tag) {
            Some(at) if at == commit => Ok(()),
            Some(at) => Err(PollError::new(format!("{} has {tag} at {at} already", self.peer()))),
            None => {
                let why = outcome.err().unwrap_or_default();
                Err(PollError::new(format!("{} does not take the tag: {why}", self.peer())))
            }
        }
    }
}

/// What the host reports of the push.
fn report(answer: &[u8], name: &str) -> Result<(), String> {
    let lines = text_lines(answer).unwrap_or_default();
    for line in &lines {
        if line.strip_prefix("ok ") == Some(name) {
            return Ok(());
        }
        if let Some(why) = line.strip_prefix("ng ").and_then(|line| line.strip_prefix(name)) {
            return Err(why.trim().to_owned());
        }
    }
    let unpack = lines.iter().find_map(|line| line.strip_prefix("unpack ")).filter(|state| *state != "ok");
    Err(unpack.unwrap_or("it reports nothing").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_tells_whether_the_tag_was_taken() {
        let name = "refs/tags/1";
        assert_eq!(report(b"000eunpack ok\n0013ok refs/tags/1\n0000", name), Ok(()));
        let refused = report(b"000eunpack ok\n001eng refs/tags/1 hook says no\n0000", name);
        assert!(refused.is_err(), "{refused:?}");
        assert!(report(b"garbage", name).is_err());
    }
}
