//! Configuration: a TOML file and flags, checked whole before anything starts. Secrets are read here and shown nowhere.

use crate::source::github::auth::{App, Auth};
use brain_core::id::AgentName;
use secrecy::SecretString;
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fmt, fs,
    num::NonZeroU32,
    path::{Path, PathBuf},
    sync::Arc,
};
use thiserror::Error;
use tonic::transport::Uri;
use url::Url;

/// Where the server is unless told otherwise.
const SERVER: &str = "http://127.0.0.1:7443";
/// Requests to GitHub each second: below its secondary limit, 900 points a minute.
const GITHUB_PER_SECOND: u32 = 10;
/// Most requests each second that can be asked for.
const RATE_MAX: u32 = 100_000;

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
    /// Git hosts that are read through GitHub's API, by host.
    pub github: BTreeMap<String, GitHub>,
    /// Folder below which local repositories may be read; `None`: none may.
    pub git_folder: Option<PathBuf>,
    /// Requests each second, by host as failures name it; others have a default.
    pub rates: BTreeMap<String, NonZeroU32>,
}

/// How a registry is reached.
#[derive(Debug)]
pub struct Registry {
    /// Address; `None`: HTTPS at its host.
    pub endpoint: Option<Url>,
    /// Address of Docker Hub's own listing; `None`: the public one. For docker.io without an endpoint.
    pub hub_endpoint: Option<Url>,
    /// Region of the Amazon ECR that it is; `None`: as its host says, if that is one of ECR's.
    pub ecr_region: Option<String>,
    /// Credential; `None`: anonymous.
    pub credential: Option<Credential>,
}

/// A GitHub.
#[derive(Debug)]
pub struct GitHub {
    /// Its API.
    pub api: Url,
    /// The way in.
    pub auth: Arc<Auth>,
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
    /// Folder below which local repositories (file:///…) may be read.
    pub git_folder: Option<PathBuf>,
    /// Registries.
    #[serde(default)]
    pub registry: Vec<RegistrySettings>,
    /// Git hosts.
    #[serde(default)]
    pub git: Vec<GitSettings>,
    /// GitHub, and GitHub Enterprise servers.
    #[serde(default)]
    pub github: Vec<GitHubSettings>,
}

/// A registry, as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistrySettings {
    /// Host name, with its port where it has one.
    pub host: String,
    /// Address to use instead of HTTPS at the host: a mirror, or plain HTTP.
    pub endpoint: Option<String>,
    /// Address of Docker Hub's own listing, to use instead of the public one.
    pub hub_endpoint: Option<String>,
    /// Region, for an Amazon ECR behind another name.
    pub ecr_region: Option<String>,
    /// User name.
    pub username: Option<String>,
    /// File that holds the password or token.
    pub password_file: Option<PathBuf>,
    /// Most requests each second.
    pub requests_per_second: Option<u32>,
}

/// A git host, as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GitSettings {
    /// Host name, with its port where it has one.
    pub host: String,
    /// User name.
    pub username: Option<String>,
    /// File that holds the password or token.
    pub password_file: Option<PathBuf>,
    /// Most requests each second.
    pub requests_per_second: Option<u32>,
}

/// A GitHub, as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GitHubSettings {
    /// Host name in the projects' git addresses: "github.com".
    pub host: String,
    /// Address of the API [default: https://api.github.com; of another host, https://HOST/api/v3].
    pub api: Option<String>,
    /// File that holds a token.
    pub token_file: Option<PathBuf>,
    /// Id of a GitHub App.
    pub app_id: Option<String>,
    /// Its installation.
    pub installation_id: Option<u64>,
    /// File that holds its private key, in PEM.
    pub private_key_file: Option<PathBuf>,
    /// Most requests each second [default: 10].
    pub requests_per_second: Option<u32>,
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
        let mut checked = Checked::default();
        for settings in self.registry {
            checked.registry(settings, &mut mistakes);
        }
        for settings in self.git {
            checked.git(&settings, &mut mistakes);
        }
        for settings in self.github {
            checked.github(settings, &mut mistakes);
        }
        if let Some(folder) = self.git_folder.as_ref().filter(|folder| !folder.is_dir()) {
            mistakes.push(format!("git_folder: {} is no folder", folder.display()));
        }
        let Checked { registries, git, github, rates } = checked;
        let git_folder = self.git_folder;
        match (uri, agent) {
            (Some(server), Ok(agent)) if mistakes.is_empty() => {
                Ok(Config { server, agent, registries, git, github, git_folder, rates })
            }
            _ => Err(Mistakes(mistakes)),
        }
    }
}

/// Hosts that were checked.
#[derive(Debug, Default)]
struct Checked {
    registries: BTreeMap<String, Registry>,
    git: BTreeMap<String, Credential>,
    github: BTreeMap<String, GitHub>,
    rates: BTreeMap<String, NonZeroU32>,
}

impl Checked {
    fn registry(&mut self, settings: RegistrySettings, mistakes: &mut Vec<String>) {
        let RegistrySettings { host, endpoint, hub_endpoint, ecr_region, username, password_file, requests_per_second } =
            settings;
        let what = format!("registry {host:?}");
        let credential = check_credential(&what, username.as_ref(), password_file.as_ref(), mistakes);
        if ecr_region.is_some() && credential.is_some() {
            mistakes
                .push(format!("{what}: ecr_region and username exclude each other: ECR's credential comes from AWS"));
        }
        let endpoint = check_address(&what, "endpoint", endpoint, mistakes);
        let hub_endpoint = check_address(&what, "hub_endpoint", hub_endpoint, mistakes);
        self.rate(&what, &format!("registry {host}"), requests_per_second, mistakes);
        if host == "docker.io" {
            self.rate(&what, "docker.io", requests_per_second, &mut Vec::new());
        }
        let registry = Registry { endpoint, hub_endpoint, ecr_region, credential };
        if self.registries.insert(host, registry).is_some() {
            mistakes.push(format!("{what}: is named twice"));
        }
    }

    fn git(&mut self, settings: &GitSettings, mistakes: &mut Vec<String>) {
        let GitSettings { host, username, password_file, requests_per_second } = settings;
        let what = format!("git {host:?}");
        self.rate(&what, host, *requests_per_second, mistakes);
        if let Some(credential) = check_credential(&what, username.as_ref(), password_file.as_ref(), mistakes)
            && self.git.insert(host.clone(), credential).is_some()
        {
            mistakes.push(format!("{what}: is named twice"));
        }
    }

    fn github(&mut self, settings: GitHubSettings, mistakes: &mut Vec<String>) {
        let GitHubSettings { host, api, token_file, app_id, installation_id, private_key_file, requests_per_second } =
            settings;
        let what = format!("github {host:?}");
        let default = match host.as_str() {
            "github.com" => "https://api.github.com".to_owned(),
            other => format!("https://{other}/api/v3"),
        };
        let api = check_address(&what, "api", Some(api.unwrap_or(default)), mistakes);
        self.rate(&what, &host, Some(requests_per_second.unwrap_or(GITHUB_PER_SECOND)), mistakes);
        let auth = match (token_file, app_id, installation_id, private_key_file) {
            (None, None, None, None) => Some(Auth::Anonymous),
            (Some(file), None, None, None) => {
                read(&what, "token_file", &file, mistakes).map(|text| Auth::Token(text.trim().to_owned().into()))
            }
            (None, Some(app), Some(installation), Some(file)) => read(&what, "private_key_file", &file, mistakes)
                .and_then(|key| {
                    App::new(app, installation, key.as_bytes())
                        .map_err(|error| mistakes.push(format!("{what}: private_key_file {} {error}", file.display())))
                        .ok()
                        .map(Auth::App)
                }),
            _ => {
                mistakes.push(format!(
                    "{what}: give token_file, or app_id, installation_id and private_key_file, or none of them"
                ));
                None
            }
        };
        if let (Some(api), Some(auth)) = (api, auth)
            && self.github.insert(host, GitHub { api, auth: Arc::new(auth) }).is_some()
        {
            mistakes.push(format!("{what}: is named twice"));
        }
    }

    fn rate(&mut self, what: &str, host: &str, rate: Option<u32>, mistakes: &mut Vec<String>) {
        let Some(rate) = rate else { return };
        match NonZeroU32::new(rate).filter(|rate| rate.get() <= RATE_MAX) {
            Some(rate) => drop(self.rates.insert(host.to_owned(), rate)),
            None => mistakes.push(format!("{what}: requests_per_second must be 1 to {RATE_MAX}, not {rate}")),
        }
    }
}

fn check_address(what: &str, field: &str, text: Option<String>, mistakes: &mut Vec<String>) -> Option<Url> {
    let text = text?;
    match Url::parse(&text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() && url.username().is_empty() => Some(url),
        _ => {
            mistakes.push(format!(
                "{what}: {field} must be an address such as \"http://127.0.0.1:5000\", without a user name"
            ));
            None
        }
    }
}

fn check_credential(
    what: &str,
    username: Option<&String>,
    password_file: Option<&PathBuf>,
    mistakes: &mut Vec<String>,
) -> Option<Credential> {
    match (username, password_file) {
        (None, None) => None,
        (Some(username), Some(file)) => {
            let password = read(what, "password_file", file, mistakes)?;
            Some(Credential { username: username.clone(), password: password.trim().to_owned().into() })
        }
        _ => {
            mistakes.push(format!("{what}: username and password_file belong together"));
            None
        }
    }
}

fn read(what: &str, field: &str, file: &Path, mistakes: &mut Vec<String>) -> Option<String> {
    fs::read_to_string(file)
        .map_err(|error| mistakes.push(format!("{what}: {field} {} cannot be read: {error}", file.display())))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_mistakes_are_named_at_once() {
        let text = "server = \"nowhere\"\nagent = \"\"\n[[registry]]\nhost = \"docker.io\"\nendpoint = \"x\"\n\
                    [[registry]]\nhost = \"docker.io\"\nusername = \"me\"\n[[git]]\nhost = \"h\"\nusername = \"me\"\n\
                    password_file = \"/does/not/exist\"\nrequests_per_second = 0\n[[github]]\nhost = \"github.com\"\n\
                    app_id = \"1\"\n";
        let mistakes = toml::from_str::<Settings>(text).unwrap().check().unwrap_err().0;
        assert_eq!(mistakes.len(), 8, "{mistakes:?}");
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
