//! How GitHub lets the watcher in: with a token, or as an app, whose key buys a token for an hour.

use super::super::{PollError, refused, send};
use crate::host::Host;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::{Client, RequestBuilder, header};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use std::fmt;
use tokio::sync::Mutex;
use url::Url;

/// A token is renewed this long before its end.
const MARGIN: SignedDuration = SignedDuration::from_mins(2);
/// The key's own statement is dated back, for clocks that differ, and lives for less than the ten minutes that are allowed.
const DATED_BACK_SECONDS: i64 = 60;
const LIFE_SECONDS: i64 = 540;

/// A way in.
#[derive(Debug)]
pub enum Auth {
    /// None: public repositories, and 60 requests an hour.
    Anonymous,
    /// A personal or fine-grained token.
    Token(SecretString),
    /// A GitHub App that is installed where the repositories are.
    App(App),
}

/// A GitHub App.
pub struct App {
    app_id: String,
    installation_id: u64,
    key: EncodingKey,
    token: Mutex<Option<(SecretString, Timestamp)>>,
}

#[derive(Serialize)]
struct Claims<'a> {
    iat: i64,
    exp: i64,
    iss: &'a str,
}

#[derive(Deserialize)]
struct AccessToken {
    token: SecretString,
    expires_at: String,
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("app_id", &self.app_id).finish_non_exhaustive()
    }
}

impl App {
    /// An app by its id (or client id), its installation and its private key in PEM.
    pub fn new(app_id: String, installation_id: u64, key: &[u8]) -> Result<Self, String> {
        let key = EncodingKey::from_rsa_pem(key).map_err(|_| "is no RSA private key in PEM".to_owned())?;
        Ok(Self { app_id, installation_id, key, token: Mutex::new(None) })
    }

    async fn token(&self, client: &Client, host: &Host, peer: &str, api: &Url) -> Result<SecretString, PollError> {
        // Held while a token is bought: whoever else needs it waits for that one.
        let mut token = self.token.lock().await;
        let now = Timestamp::now();
        if let Some((token, until)) = token.as_ref()
            && now < *until
        {
            return Ok(token.clone());
        }
        let claims = Claims {
            iat: now.as_second() - DATED_BACK_SECONDS,
            exp: now.as_second() + LIFE_SECONDS,
            iss: &self.app_id,
        };
        let statement = jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, &self.key)
            .map_err(|_| PollError::new("the private key of the GitHub App does not sign"))?;
        let mut url = api.clone();
        let installation = self.installation_id.to_string();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["app", "installations", &installation, "access_tokens"]);
        }
        let request = client.post(url).bearer_auth(statement).header(header::ACCEPT, "application/vnd.github+json");
        let peer = format!("{peer}, asked for a token of the app,");
        let answer = send(host, &peer, request).await?;
        if !answer.status.is_success() {
            return Err(refused(&peer, &answer, "check app_id, installation_id and the private key"));
        }
        let AccessToken { token: fresh, expires_at } = serde_json::from_slice(&answer.body)
            .map_err(|_| PollError::new(format!("{peer} answers with what is no token")))?;
        let expires_at: Timestamp =
            expires_at.parse().map_err(|_| PollError::new(format!("{peer} answers with a token without an end")))?;
        let until = expires_at.saturating_sub(MARGIN).unwrap_or(expires_at);
        *token = Some((fresh.clone(), until));
        Ok(fresh)
    }
}

impl Auth {
    pub(super) async fn apply(
        &self,
        client: &Client,
        host: &Host,
        peer: &str,
        api: &Url,
        request: RequestBuilder,
    ) -> Result<RequestBuilder, PollError> {
        Ok(match self {
            Self::Anonymous => request,
            Self::Token(token) => request.bearer_auth(token.expose_secret()),
            Self::App(app) => request.bearer_auth(app.token(client, host, peer, api).await?.expose_secret()),
        })
    }
}
