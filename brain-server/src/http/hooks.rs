//! What lets a webhook in: GitHub's signature, and paths that nobody can guess.

use brain_core::id::ProjectId;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use std::{fmt::Write, num::NonZeroU32};

/// Webhooks each second, and in a burst; more are answered 429.
const PER_SECOND: NonZeroU32 = NonZeroU32::new(500).unwrap();
const BURST: NonZeroU32 = NonZeroU32::new(2_000).unwrap();
/// Bytes of a path's token: 128 bits.
const TOKEN_BYTES: usize = 16;

/// The webhooks' secret and their rate.
#[derive(Debug)]
pub struct Hooks {
    secret: Option<SecretString>,
    rate: DefaultDirectRateLimiter,
}

/// Paths of a project's webhooks.
#[derive(Debug)]
#[allow(missing_docs, reason = "named after who calls them")]
pub struct Paths {
    pub github: String,
    pub docker_hub: String,
    pub registry: String,
}

impl Hooks {
    /// Webhooks that this secret lets in; none without one.
    #[must_use]
    pub fn new(secret: Option<SecretString>) -> Self {
        Self { secret, rate: RateLimiter::direct(Quota::per_second(PER_SECOND).allow_burst(BURST)) }
    }

    /// Whether any webhook can be let in.
    #[must_use]
    pub fn has_secret(&self) -> bool {
        self.secret.is_some()
    }

    /// Whether one more fits the rate.
    pub(super) fn admits(&self) -> bool {
        self.rate.check().is_ok()
    }

    /// The paths of a project; `None` without a secret.
    #[must_use]
    pub fn paths(&self, project: &ProjectId) -> Option<Paths> {
        let docker_hub = self.token(&docker_hub_purpose(project.as_str()))?;
        let registry = self.token(REGISTRY)?;
        Some(Paths {
            github: "/webhooks/github".to_owned(),
            docker_hub: format!("/webhooks/dockerhub/{project}/{docker_hub}"),
            registry: format!("/webhooks/registry/{registry}"),
        })
    }

    /// Whether GitHub's `X-Hub-Signature-256` fits the body.
    pub(super) fn is_github(&self, signature: &str, body: &[u8]) -> bool {
        let Some(signature) = signature.strip_prefix("sha256=").and_then(bytes_of) else { return false };
        let Some(mut mac) = self.mac() else { return false };
        mac.update(body);
        // Compares in constant time.
        mac.verify_slice(&signature).is_ok()
    }

    /// Whether the token is that of this project's path for Docker Hub.
    pub(super) fn is_docker_hub(&self, project: &str, token: &str) -> bool {
        self.is_token(&docker_hub_purpose(project), token)
    }

    /// Whether the token is that of the registries' path.
    pub(super) fn is_registry(&self, token: &str) -> bool {
        self.is_token(REGISTRY, token)
    }

    fn is_token(&self, purpose: &str, token: &str) -> bool {
        let Some(token) = bytes_of(token).filter(|token| token.len() == TOKEN_BYTES) else { return false };
        let Some(mut mac) = self.mac() else { return false };
        mac.update(purpose.as_bytes());
        mac.verify_truncated_left(&token).is_ok()
    }

    fn token(&self, purpose: &str) -> Option<String> {
        let mut mac = self.mac()?;
        mac.update(purpose.as_bytes());
        let mut token = String::new();
        for byte in &mac.finalize().into_bytes()[..TOKEN_BYTES] {
            let _ = write!(token, "{byte:02x}");
        }
        Some(token)
    }

    fn mac(&self) -> Option<Hmac<Sha256>> {
        // HMAC takes a key of any length.
        Hmac::new_from_slice(self.secret.as_ref()?.expose_secret().as_bytes()).ok()
    }
}

const REGISTRY: &str = "brain webhook registry";

fn docker_hub_purpose(project: &str) -> String {
    format!("brain webhook docker hub {project}")
}

fn bytes_of(hexadecimal: &str) -> Option<Vec<u8>> {
    if !hexadecimal.len().is_multiple_of(2) || !hexadecimal.is_ascii() {
        return None;
    }
    (0..hexadecimal.len()).step_by(2).map(|at| u8::from_str_radix(&hexadecimal[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_that_github_documents_is_taken_and_no_other() {
        let hooks = Hooks::new(Some("It's a Secret to Everybody".to_owned().into()));
        // The test vector of GitHub's page on validating deliveries.
        let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert!(hooks.is_github(signature, b"Hello, World!"));
        assert!(!hooks.is_github(signature, b"Hello, World?"));
        assert!(!hooks.is_github(&signature[..signature.len() - 2], b"Hello, World!"));
        assert!(!hooks.is_github("sha256=zz", b"Hello, World!") && !hooks.is_github("", b"Hello, World!"));
        assert!(!Hooks::new(None).is_github(signature, b"Hello, World!"));
    }

    #[test]
    fn more_webhooks_than_the_burst_are_turned_away() {
        let hooks = Hooks::new(None);
        let admitted = (0..BURST.get() * 2).filter(|_| hooks.admits()).count();
        assert!((BURST.get() as usize..BURST.get() as usize * 2).contains(&admitted), "{admitted}");
    }

    #[test]
    fn a_path_is_its_projects_own() {
        let hooks = Hooks::new(Some("a secret of the server".to_owned().into()));
        let user = ProjectId::parse("user").unwrap();
        let path = hooks.paths(&user).unwrap().docker_hub;
        let token = path.rsplit('/').next().unwrap();
        assert!(hooks.is_docker_hub("user", token));
        assert!(!hooks.is_docker_hub("fulfillment", token) && !hooks.is_registry(token));
        assert!(!hooks.is_docker_hub("user", "") && !hooks.is_docker_hub("user", &token[..2]));
    }
}
