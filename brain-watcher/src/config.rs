//! Configuration: a TOML file and flags, checked whole before anything starts. Secrets are read here and shown nowhere.

use brain_core::id::AgentName;
use secrecy::SecretString;
use serde::Deserialize;
use std::{collections::BTreeMap, fmt, fs, path::PathBuf};
use thiserror::Error;
use tonic::transport::Uri;
use url::Url;

/// Where the server is unless told otherwise.
const SERVER: &str = "http://127.0.0.1:7443";

/// The watcher's configuration.
#[derive(Debug)]
pub struct Config {
    /// The server.
    pub server: Uri,
    /// Name of this watcher.
    pub agent: AgentName,
    /// Registries by host.
    pub registries: BTreeMap<String, Registry>,
    /// Credentials of git hosts by host.
    pub git: BTreeMap<String, Credential>,
}

/// How a registry is reached.
#[derive(Debug)]
pub struct Registry {
    /// Address; `None`: HTTPS at its host.
    pub endpoint: Option<Url>,
    /// Credential; `None`: anonymous.
    pub credential: Option<Credential>,
}

/// A user name and password.
#[derive(Debug, Clone)]
pub struct Credential {
    /// User name.
    pub username: String,
    /// Password or token.
    pub password: SecretString,
}

/// The configuration as it is written in a file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Address of the server.
    pub server: Option<String>,
    /// Name of this watcher.
    pub agent: Option<String>,
    /// Registries.
    #[serde(default)]
    pub registry: Vec<HostSettings>,
    /// Git hosts.
    #[serde(default)]
    pub git: Vec<HostSettings>,
}

/// One host, as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostSettings {
    /// Host name, with its port where it has one.
    pub host: String,
    /// Address to use instead of HTTPS at the host: a mirror, or plain HTTP. Registries only.
    pub endpoint: Option<String>,
    /// User name.
    pub username: Option<String>,
    /// File that holds the password or token.
    pub password_file: Option<PathBuf>,
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
        let agent = AgentName::parse(self.agent.as_deref().unwrap_or("watcher"));
        if let Err(error) = &agent {
            mistakes.push(format!("agent: {error}"));
        }
        let mut registries = BTreeMap::new();
        for settings in self.registry {
            let host = settings.host.clone();
            let registry = check_registry(settings, &mut mistakes);
            if registries.insert(host.clone(), registry).is_some() {
                mistakes.push(format!("registry {host:?}: is named twice"));
            }
        }
        let mut git = BTreeMap::new();
        for settings in self.git {
            let host = settings.host.clone();
            if settings.endpoint.is_some() {
                mistakes
                    .push(format!("git {host:?}: endpoint is for registries; a project's git_url says where git is"));
            }
            if let Some(credential) = check_credential("git", &settings, &mut mistakes)
                && git.insert(host.clone(), credential).is_some()
            {
                mistakes.push(format!("git {host:?}: is named twice"));
            }
        }
        match (uri, agent) {
            (Some(server), Ok(agent)) if mistakes.is_empty() => Ok(Config { server, agent, registries, git }),
            _ => Err(Mistakes(mistakes)),
        }
    }
}

fn check_registry(settings: HostSettings, mistakes: &mut Vec<String>) -> Registry {
    let credential = check_credential("registry", &settings, mistakes);
    let endpoint = settings.endpoint.and_then(|text| match Url::parse(&text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() && url.username().is_empty() => Some(url),
        _ => {
            mistakes.push(format!(
                "registry {:?}: endpoint must be an address such as \"http://127.0.0.1:5000\", without a user name",
                settings.host
            ));
            None
        }
    });
    Registry { endpoint, credential }
}

fn check_credential(kind: &str, settings: &HostSettings, mistakes: &mut Vec<String>) -> Option<Credential> {
    let HostSettings { host, endpoint: _, username, password_file } = settings;
    match (username, password_file) {
        (None, None) => None,
        (Some(username), Some(file)) => match fs::read_to_string(file) {
            Ok(text) => Some(Credential { username: username.clone(), password: text.trim().to_owned().into() }),
            Err(error) => {
                mistakes.push(format!("{kind} {host:?}: password_file {} cannot be read: {error}", file.display()));
                None
            }
        },
        _ => {
            mistakes.push(format!("{kind} {host:?}: username and password_file belong together"));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_mistakes_are_named_at_once() {
        let text = "server = \"nowhere\"\nagent = \"\"\n[[registry]]\nhost = \"docker.io\"\nendpoint = \"x\"\n\
                    [[registry]]\nhost = \"docker.io\"\nusername = \"me\"\n[[git]]\nhost = \"h\"\nusername = \"me\"\n\
                    password_file = \"/does/not/exist\"\n";
        let mistakes = toml::from_str::<Settings>(text).unwrap().check().unwrap_err().0;
        assert_eq!(mistakes.len(), 6, "{mistakes:?}");
    }

    #[test]
    fn a_password_is_not_shown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "hunter2\n").unwrap();
        let text = format!("[[git]]\nhost = \"h\"\nusername = \"me\"\npassword_file = {:?}\n", file.path());
        let config = toml::from_str::<Settings>(&text).unwrap().check().unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
