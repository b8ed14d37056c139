//! Signatures of what is sent, as the Standard Webhooks specification has them: HMAC-SHA256 over id, time and body.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretBox};
use sha2::Sha256;
use std::{ops::RangeInclusive, sync::Arc};

/// What a secret in the specification's own form begins with.
const PREFIX: &str = "whsec_";
/// Bytes of such a secret, as the specification bounds them.
const BYTES: RangeInclusive<usize> = 24..=64;
/// Shortest secret in any other form: what is shorter can be guessed.
const TEXT_MIN: usize = 24;

/// Signs with each of its secrets.
#[derive(Debug, Clone)]
pub struct Signer(Vec<Arc<SecretBox<Vec<u8>>>>);

impl Signer {
    /// Signs with these secrets; the error does not repeat them.
    pub fn new(secrets: &[&str]) -> Result<Self, String> {
        let key = |secret: &&str| match secret.strip_prefix(PREFIX) {
            Some(encoded) => STANDARD.decode(encoded).ok().filter(|key| BYTES.contains(&key.len())).ok_or_else(|| {
                format!("a secret with {PREFIX} must go on with {} to {} bytes in base64", BYTES.start(), BYTES.end())
            }),
            None if secret.len() < TEXT_MIN => Err(format!("a secret must have at least {TEXT_MIN} characters")),
            None => Ok(secret.as_bytes().to_vec()),
        };
        let keys = secrets.iter().map(|secret| key(secret).map(|key| Arc::new(SecretBox::new(Box::new(key)))));
        keys.collect::<Result<_, _>>().map(Self)
    }

    /// The value of `webhook-signature`: one signature for each secret.
    #[must_use]
    pub fn sign(&self, id: &str, seconds: i64, body: &str) -> String {
        let signature = |key: &Arc<SecretBox<Vec<u8>>>| {
            // HMAC takes a key of any length.
            let mut mac = Hmac::<Sha256>::new_from_slice(key.expose_secret()).ok()?;
            mac.update(format!("{id}.{seconds}.{body}").as_bytes());
            Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
        };
        self.0.iter().filter_map(signature).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_example_has_the_published_signature() {
        let signer = Signer::new(&["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]).unwrap();
        let signed = signer.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn two_secrets_are_two_signatures_and_none_is_shown() {
        let signer = Signer::new(&["a secret of some length, one", "a secret of some length, two"]).unwrap();
        let signed = signer.sign("id", 1, "{}");
        let (one, two) = signed.split_once(' ').unwrap();
        assert!(one != two && one.starts_with("v1,") && two.starts_with("v1,"), "{signed}");
        assert!(!format!("{signer:?}").contains("length"));
        for bad in ["short", "whsec_c2hvcnQ=", "whsec_?"] {
            let refused = Signer::new(&[bad]).unwrap_err();
            assert!(!refused.contains(bad), "{refused}");
        }
    }
}
