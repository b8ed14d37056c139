//! How a registry lets somebody in: a 401 names a realm, the realm gives a token, the token goes with the next request.

use super::super::{Answer, PollError, refused, send};
use crate::{config::Credential, host::Host};
use reqwest::{Client, RequestBuilder, header};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use std::{collections::HashMap, time::Duration};
use tokio::time::Instant;
use url::Url;

/// Life of a token that does not tell its own (a rule of the token authentication specification).
const LIFE_DEFAULT: u64 = 60;
/// A token is renewed this long before its end.
const MARGIN: Duration = Duration::from_secs(5);

/// What lets requests in.
#[derive(Debug)]
pub(super) struct Token {
    way: Way,
    until: Option<Instant>,
}

#[derive(Debug)]
enum Way {
    Bearer(SecretString),
    Basic(Credential),
}

/// What a 401 asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer { realm: Url, service: Option<String>, scope: Option<String> },
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<SecretString>,
    access_token: Option<SecretString>,
    expires_in: Option<u64>,
}

impl Token {
    pub(super) fn is_fresh(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() < until)
    }

    pub(super) fn apply(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.way {
            Way::Bearer(token) => request.bearer_auth(token.expose_secret()),
            Way::Basic(Credential { username, password }) => {
                request.basic_auth(username, Some(password.expose_secret()))
            }
        }
    }
}

impl Challenge {
    /// The challenge of an answer; `None` when it has none that is understood.
    pub(super) fn of(answer: &Answer) -> Option<Self> {
        let challenge = answer.headers.get(header::WWW_AUTHENTICATE)?.to_str().ok()?;
        Self::parse(challenge)
    }

    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let mut parameters = parameters(rest);
        let realm = Url::parse(&parameters.remove("realm")?).ok()?;
        if !matches!(realm.scheme(), "http" | "https") {
            return None;
        }
        Some(Self::Bearer { realm, service: parameters.remove("service"), scope: parameters.remove("scope") })
    }

    /// Gets what the challenge asks for; `None` when it asks for a credential and there is none.
    pub(super) async fn answer(
        &self,
        client: &Client,
        host: &Host,
        peer: &str,
        credential: Option<&Credential>,
    ) -> Result<Option<Token>, PollError> {
        let Self::Bearer { realm, service, scope } = self else {
            return Ok(credential.map(|credential| Token { way: Way::Basic(credential.clone()), until: None }));
        };
        let mut url = realm.clone();
        for (name, value) in [("service", service), ("scope", scope)] {
            if let Some(value) = value {
                url.query_pairs_mut().append_pair(name, value);
            }
        }
        let mut request = client.get(url);
        if let Some(Credential { username, password }) = credential {
            request = request.basic_auth(username, Some(password.expose_secret()));
        }
        let asked = Instant::now();
        let peer = format!("the token service of {peer}");
        let answer = send(host, &peer, request).await?;
        if !answer.status.is_success() {
            return Err(refused(&peer, &answer, "check the registry's credential in the watcher's configuration"));
        }
        let faulty = || PollError::new(format!("{peer} answers with what is no token"));
        let token: TokenAnswer = serde_json::from_slice(&answer.body).map_err(|_| faulty())?;
        let life = Duration::from_secs(token.expires_in.unwrap_or(LIFE_DEFAULT)).saturating_sub(MARGIN);
        let token_text = token.token.or(token.access_token).ok_or_else(faulty)?;
        Ok(Some(Token { way: Way::Bearer(token_text), until: asked.checked_add(life) }))
    }
}

/// `name="value"` pairs, separated by commas that may also stand inside a value.
fn parameters(mut text: &str) -> HashMap<String, String> {
    let mut found = HashMap::new();
    while let Some((name, rest)) = text.split_once("=\"") {
        let Some((value, rest)) = rest.split_once('"') else { break };
        found.insert(name.trim_matches([',', ' ']).to_ascii_lowercase(), value.to_owned());
        text = rest;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_taken_apart() {
        let text = r#"Bearer realm="https://auth.example/token",service="reg",scope="repository:a/b:pull,push""#;
        let Some(Challenge::Bearer { realm, service, scope }) = Challenge::parse(text) else {
            panic!("not understood")
        };
        assert_eq!(realm.as_str(), "https://auth.example/token");
        assert_eq!((service.as_deref(), scope.as_deref()), (Some("reg"), Some("repository:a/b:pull,push")));
        assert_eq!(Challenge::parse("Basic realm=\"x\""), Some(Challenge::Basic));
        assert_eq!(Challenge::parse("Bearer realm=\"file:///etc/passwd\""), None);
        assert_eq!(Challenge::parse("Negotiate"), None);
    }
}
