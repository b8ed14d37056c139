//! Where a registry's credential comes from: the configuration, or for Amazon ECR from AWS, which gives one for 12 hours.

use super::super::PollError;
use crate::config::{Credential, Registry};
use aws_config::{BehaviorVersion, Region};
use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;
use tokio::time::timeout;

/// Time in which AWS must have answered, its own retries included.
const WITHIN: Duration = Duration::from_secs(30);
/// A token is renewed this long before its end.
const MARGIN: SignedDuration = SignedDuration::from_mins(10);

/// A credential, or the way to one.
#[derive(Debug)]
pub(super) enum Credentials {
    /// None is needed, or none is known.
    Anonymous,
    /// As configured.
    Configured(Credential),
    /// From AWS, with whatever credentials the SDK finds.
    Ecr { region: String, client: Option<aws_sdk_ecr::Client>, token: Option<(Credential, Timestamp)> },
}

impl Credentials {
    /// What the configuration says; a host of ECR tells its region itself.
    pub(super) fn of(configured: Option<&Registry>, host: &str) -> Self {
        if let Some(credential) = configured.and_then(|configured| configured.credential.clone()) {
            return Self::Configured(credential);
        }
        let region = configured.and_then(|configured| configured.ecr_region.clone()).or_else(|| ecr_region(host));
        region.map_or(Self::Anonymous, |region| Self::Ecr { region, client: None, token: None })
    }

    pub(super) async fn get(&mut self, peer: &str) -> Result<Option<Credential>, PollError> {
        match self {
            Self::Anonymous => Ok(None),
            Self::Configured(credential) => Ok(Some(credential.clone())),
            Self::Ecr { region, client, token } => {
                if let Some((credential, until)) = token.as_ref()
                    && Timestamp::now() < *until
                {
                    return Ok(Some(credential.clone()));
                }
                let client = match client {
                    Some(client) => client,
                    None => client.insert(connect(region.clone()).await),
                };
                let fresh = timeout(WITHIN, authorize(client, peer)).await;
                let fresh = fresh.map_err(|_| PollError::new(format!("AWS gives no token for {peer} in time")))??;
                Ok(Some(token.insert(fresh).0.clone()))
            }
        }
    }
}

async fn connect(region: String) -> aws_sdk_ecr::Client {
    let config = aws_config::defaults(BehaviorVersion::latest()).region(Region::new(region)).load().await;
    aws_sdk_ecr::Client::new(&config)
}

async fn authorize(client: &aws_sdk_ecr::Client, peer: &str) -> Result<(Credential, Timestamp), PollError> {
    let answer = client.get_authorization_token().send().await.map_err(|error| {
        let why = error.as_service_error().map(|error| error.meta().code().unwrap_or("an error").to_owned());
        let why = why.unwrap_or_else(|| "it cannot be reached, or no AWS credential was found".to_owned());
        PollError::new(format!(
            "AWS gives no token for {peer}: {why}; the watcher needs ecr:GetAuthorizationToken, ecr:BatchGetImage and ecr:ListImages"
        ))
    })?;
    let faulty = || PollError::new(format!("AWS answers with what is no token for {peer}"));
    let data = answer.authorization_data().first().ok_or_else(faulty)?;
    let decoded = data.authorization_token().and_then(|token| BASE64_STANDARD.decode(token).ok());
    let text = decoded.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(faulty)?;
    let (username, password) = text.split_once(':').ok_or_else(faulty)?;
    let credential = Credential { username: username.to_owned(), password: password.to_owned().into() };
    let expires = data.expires_at().and_then(|time| Timestamp::from_second(time.secs()).ok()).ok_or_else(faulty)?;
    Ok((credential, expires.saturating_sub(MARGIN).unwrap_or(expires)))
}

/// The region in a host such as "123456789012.dkr.ecr.eu-west-1.amazonaws.com".
fn ecr_region(host: &str) -> Option<String> {
    let (account, rest) = host.split_once(".dkr.ecr.")?;
    let (region, domain) = rest.split_once('.')?;
    let ours = matches!(domain, "amazonaws.com" | "amazonaws.com.cn") && account.bytes().all(|b| b.is_ascii_digit());
    ours.then(|| region.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_of_ecr_tells_its_region() {
        assert_eq!(ecr_region("123456789012.dkr.ecr.eu-west-1.amazonaws.com").as_deref(), Some("eu-west-1"));
        for other in ["ghcr.io", "x.dkr.ecr.eu-west-1.amazonaws.com", "1.dkr.ecr.eu-west-1.amazonaws.com.evil.example"]
        {
            assert_eq!(ecr_region(other), None, "{other}");
        }
    }
}
