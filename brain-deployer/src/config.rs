//! Configuration: a TOML file and flags, checked whole before anything starts. Secrets are read here and shown nowhere.

use brain_core::id::AgentName;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use std::{collections::BTreeMap, fmt, fs, ops::RangeInclusive, path::PathBuf, time::Duration};
use thiserror::Error;
use tonic::transport::Uri;
use url::Url;

/// Where the server is unless told otherwise.
const SERVER: &str = "http://127.0.0.1:7443";
/// Pause between two looks at a step that waits: short beside what AWS takes, long beside its limits.
const STEP_INTERVAL: Duration = Duration::from_secs(2);
/// Parts of AWS's default limits that an account may have.
const LIMITS: RangeInclusive<f64> = 0.01..=100.0;

/// The deployer's configuration.
#[derive(Debug)]
pub struct Config {
    /// The server.
    pub server: Uri,
    /// Name of this deployer.
    pub agent: AgentName,
    /// Pause between two looks at a step that waits.
    pub step_interval: Duration,
    /// The part of AWS's default limits that brain's deployers have together.
    pub aws_limits: f64,
    /// Registry credentials that projects name.
    pub credentials: Credentials,
    /// The Prometheuses that gates name.
    pub prometheus: BTreeMap<String, PrometheusServer>,
}

/// A Prometheus.
#[derive(Debug)]
pub struct PrometheusServer {
    /// Its address, without `/api/v1/query`.
    pub url: Url,
    /// Token that it is shown.
    pub bearer_token: Option<SecretString>,
}

/// Contents of dockercfg files, by the names that projects use.
#[derive(Debug, Default)]
pub struct Credentials(BTreeMap<String, SecretString>);

impl Credentials {
    /// The credential of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(ExposeSecret::expose_secret)
    }
}

/// The configuration as it is written in a file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Address of the server.
    pub server: Option<String>,
    /// Name of this deployer.
    pub agent: Option<String>,
    /// Pause between two looks at a step that waits.
    pub step_interval: Option<String>,
    /// The part of AWS's default limits that brain's deployers have together, and share by themselves: 2.0 where AWS has doubled
    /// them, 0.5 where other tools need the rest; 1.0 unless told otherwise.
    pub aws_limits: Option<f64>,
    /// Registry credentials by name.
    #[serde(default)]
    pub registry_credential: BTreeMap<String, CredentialSettings>,
    /// Prometheuses by name.
    #[serde(default)]
    pub prometheus: BTreeMap<String, PrometheusSettings>,
}

/// A Prometheus, as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrometheusSettings {
    /// Its address, such as `http://prometheus.internal:9090`.
    pub url: String,
    /// File with a bearer token.
    pub bearer_token_file: Option<PathBuf>,
}

/// A registry credential, as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialSettings {
    /// File in the form of a dockercfg: `{"https://index.docker.io/v1/":{"auth":"…","email":"…"}}`.
    pub file: PathBuf,
}

/// All that is wrong with a configuration.
#[derive(Debug, Error)]
pub struct Mistakes(pub Vec<String>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration has mistakes; nothing was started:")?;
        self.0.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
    }
}

impl Settings {
    /// Checks everything and names every mistake.
    pub fn check(self) -> Result<Config, Mistakes> {
        let mut mistakes = Vec::new();
        let server = self.server.unwrap_or_else(|| SERVER.to_owned());
        let uri = server.parse::<Uri>().ok().filter(|uri| uri.scheme_str() == Some("http") && uri.host().is_some());
        if uri.is_none() {
            mistakes.push(format!("server: {server:?} must be written as {SERVER:?}"));
        }
        let agent = AgentName::parse(self.agent.as_deref().unwrap_or("deployer"));
        if let Err(error) = &agent {
            mistakes.push(format!("agent: {error}"));
        }
        let step_interval = match &self.step_interval {
            None => STEP_INTERVAL,
            Some(text) => {
                let parsed =
                    text.parse::<jiff::SignedDuration>().ok().and_then(|length| Duration::try_from(length).ok());
                parsed
                    .filter(|length| (Duration::from_millis(10)..=Duration::from_mins(1)).contains(length))
                    .unwrap_or_else(|| {
                        mistakes.push(format!("step_interval: {text:?} must be 10ms to 1m, written as \"2s\""));
                        STEP_INTERVAL
                    })
            }
        };
        let aws_limits = self.aws_limits.unwrap_or(1.0);
        if !LIMITS.contains(&aws_limits) {
            mistakes.push(format!("aws_limits: {aws_limits} must be {} to {}", LIMITS.start(), LIMITS.end()));
        }
        let mut credentials = BTreeMap::new();
        for (name, CredentialSettings { file }) in self.registry_credential {
            match read_credential(&file) {
                Ok(credential) => drop(credentials.insert(name, credential)),
                Err(why) => mistakes.push(format!("registry_credential.{name}: {}: {why}", file.display())),
            }
        }
        let mut prometheus = BTreeMap::new();
        for (name, settings) in self.prometheus {
            match settings.check() {
                Ok(server) => drop(prometheus.insert(name, server)),
                Err(why) => mistakes.push(format!("prometheus.{name}.{why}")),
            }
        }
        match (uri, agent) {
            (Some(server), Ok(agent)) if mistakes.is_empty() => Ok(Config {
                server,
                agent,
                step_interval,
                aws_limits,
                credentials: Credentials(credentials),
                prometheus,
            }),
            _ => Err(Mistakes(mistakes)),
        }
    }
}

impl PrometheusSettings {
    fn check(self) -> Result<PrometheusServer, String> {
        let Self { url, bearer_token_file } = self;
        let url = Url::parse(&url).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        // An address with a password in it would be shown wherever the address is.
        let url = url.filter(|url| url.username().is_empty() && url.password().is_none());
        let url =
            url.ok_or("url: must be written as \"http://prometheus.internal:9090\", without user and password")?;
        let read = |file: PathBuf| match fs::read_to_string(&file) {
            Ok(token) if !token.trim().is_empty() => Ok(SecretString::from(token.trim())),
            Ok(_) => Err(format!("bearer_token_file: {} is empty", file.display())),
            Err(error) => Err(format!("bearer_token_file: {}: {error}", file.display())),
        };
        Ok(PrometheusServer { url, bearer_token: bearer_token_file.map(read).transpose()? })
    }
}

/// A dockercfg file, on one line as /etc/ecs/ecs.config wants it.
fn read_credential(file: &PathBuf) -> Result<SecretString, String> {
    let text = fs::read_to_string(file).map_err(|error| error.to_string())?;
    // The parser's own message would repeat parts of the file.
    let value: serde_json::Value = serde_json::from_str(&text).map_err(|_| "is not JSON".to_owned())?;
    if !value.is_object() {
        return Err("must be an object of registries, as in a dockercfg file".to_owned());
    }
    Ok(value.to_string().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_mistakes_are_named_at_once_and_no_secret_with_them() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "{hunter2").unwrap();
        let text = format!(
            "server = \"x\"\nstep_interval = \"0s\"\naws_limits = 0.0\n[registry_credential.hub]\nfile = {:?}\n[registry_credential.b]\nfile = \"/none\"\n\
             [prometheus.a]\nurl = \"http://me:hunter2@p:9090\"\n[prometheus.b]\nurl = \"http://p\"\nbearer_token_file = \"/none\"\n",
            file.path()
        );
        let mistakes = toml::from_str::<Settings>(&text).unwrap().check().unwrap_err();
        assert_eq!(mistakes.0.len(), 7, "{mistakes}");
        assert!(!mistakes.to_string().contains("hunter2"));
    }

    #[test]
    fn a_credential_is_not_shown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), r#"{"r": {"auth": "hunter2"}}"#).unwrap();
        let token = tempfile::NamedTempFile::new().unwrap();
        fs::write(token.path(), "hunter2\n").unwrap();
        let text = format!(
            "[registry_credential.hub]\nfile = {:?}\n[prometheus.p]\nurl = \"http://p\"\nbearer_token_file = {:?}\n",
            file.path(),
            token.path()
        );
        let config = toml::from_str::<Settings>(&text).unwrap().check().unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
        assert_eq!(config.credentials.get("hub"), Some(r#"{"r":{"auth":"hunter2"}}"#));
        let token = config.prometheus["p"].bearer_token.as_ref().map(ExposeSecret::expose_secret);
        assert_eq!(token, Some("hunter2"));
    }
}
