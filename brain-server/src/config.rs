//! Configuration: a file and flags, checked whole before anything starts.

use notification::{Notification, NotificationSettings};
use secrecy::SecretString;
use serde::Deserialize;
use std::{
    fmt, fs,
    net::SocketAddr,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};
use thiserror::Error;
use url::Url;

pub mod notification;

/// Where the API listens unless told otherwise. Loopback: whoever reaches the API can deploy.
const LISTEN: &str = "127.0.0.1:7443";
/// Where the board is and webhooks are taken unless told otherwise.
const HTTP_LISTEN: &str = "127.0.0.1:7480";
/// Shortest webhook secret: what is shorter can be guessed.
const SECRET_MIN: usize = 16;

/// The server's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address of the API.
    pub listen: SocketAddr,
    /// Address of the HTTP port: board, webhooks and health.
    pub http_listen: SocketAddr,
    /// What GitHub signs with, and what the paths of the other webhooks are made of; `None`: no webhook is taken.
    pub webhook_secret: Option<SecretString>,
    /// Directory of the store.
    pub data: PathBuf,
    /// Length of a deployer's lease.
    pub lease: Duration,
    /// Time between two polls of a project.
    pub poll_interval: Duration,
    /// Time between two observations of a project's production.
    pub observe_interval: Duration,
    /// Time between two turns of a project's housekeeping; zero: there is none.
    pub housekeeping_interval: Duration,
    /// Whether the board is for reading only.
    pub board_read_only: bool,
    /// Host ports that brain allocates.
    pub host_ports: RangeInclusive<u16>,
    /// Where people find the board: the name that it answers to, and the links in notifications. `None`: it answers only to
    /// addresses of the machine and `localhost`, and notices have no links.
    pub board_url: Option<Url>,
    /// Where notices go.
    pub notifications: Vec<Notification>,
}

/// The configuration as it is written, in a TOML file or as flags: nothing is checked.
#[derive(Debug, Clone, Default, Deserialize, clap::Args)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Address of the API [default: 127.0.0.1:7443]
    #[arg(long, env = "BRAIN_LISTEN")]
    pub listen: Option<String>,
    /// Address of the HTTP port, for the board, webhooks and health [default: 127.0.0.1:7480]
    #[arg(long, env = "BRAIN_HTTP_LISTEN")]
    pub http_listen: Option<String>,
    /// File with the secret of the webhooks, 16 characters or more; without it none is taken
    #[arg(long, env = "BRAIN_WEBHOOK_SECRET_FILE")]
    pub webhook_secret_file: Option<PathBuf>,
    /// Directory of the store; made if it is not there [default: brain-data]
    #[arg(long, env = "BRAIN_DATA")]
    pub data: Option<String>,
    /// Length of a deployer's lease, 1s to 10m [default: 15s]
    #[arg(long, env = "BRAIN_LEASE")]
    pub lease: Option<String>,
    /// Time between two polls of a project, 100ms to 1h [default: 60s]
    #[arg(long, env = "BRAIN_POLL_INTERVAL")]
    pub poll_interval: Option<String>,
    /// Time between two observations of a project's production, 100ms to 1h [default: 15s]
    #[arg(long, env = "BRAIN_OBSERVE_INTERVAL")]
    pub observe_interval: Option<String>,
    /// Time between two turns of a project's housekeeping, 1s to 24h, or 0s for none [default: 1h]
    #[arg(long, env = "BRAIN_HOUSEKEEPING_INTERVAL")]
    pub housekeeping_interval: Option<String>,
    /// Whether nothing can be done on the board, but only be read [default: false]
    #[arg(long, env = "BRAIN_BOARD_READ_ONLY", num_args = 0..=1, default_missing_value = "true")]
    pub board_read_only: Option<bool>,
    /// Host ports that brain allocates to projects [default: 6000-9999]
    #[arg(long, env = "BRAIN_HOST_PORTS")]
    pub host_ports: Option<String>,
    /// Address at which people find the board, as https://brain.example.com/: it answers to that name, besides addresses of
    /// its machine, and notifications link to it
    #[arg(long, env = "BRAIN_BOARD_URL")]
    pub board_url: Option<String>,
    /// Where notices go; only in the file
    #[arg(skip)]
    #[serde(default)]
    pub notification: Vec<NotificationSettings>,
}

/// All that is wrong with a configuration.
#[derive(Debug, Error, PartialEq, Eq)]
pub struct Mistakes(pub Vec<String>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration has mistakes; nothing was started:")?;
        self.0.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
    }
}

impl Settings {
    /// These settings, and those of `file` where these say nothing.
    #[must_use]
    pub fn or(self, file: Self) -> Self {
        let Self {
            listen,
            http_listen,
            webhook_secret_file,
            data,
            lease,
            poll_interval,
            observe_interval,
            housekeeping_interval,
            board_read_only,
            host_ports,
            board_url,
            mut notification,
        } = self;
        notification.extend(file.notification);
        Self {
            listen: listen.or(file.listen),
            http_listen: http_listen.or(file.http_listen),
            webhook_secret_file: webhook_secret_file.or(file.webhook_secret_file),
            data: data.or(file.data),
            lease: lease.or(file.lease),
            poll_interval: poll_interval.or(file.poll_interval),
            observe_interval: observe_interval.or(file.observe_interval),
            housekeeping_interval: housekeeping_interval.or(file.housekeeping_interval),
            board_read_only: board_read_only.or(file.board_read_only),
            host_ports: host_ports.or(file.host_ports),
            board_url: board_url.or(file.board_url),
            notification,
        }
    }

    /// Checks everything and names every mistake.
    pub fn check(self) -> Result<Config, Mistakes> {
        let mut mistakes = Vec::new();
        let listen = parse_address("listen", self.listen, LISTEN, &mut mistakes);
        let http_listen = parse_address("http_listen", self.http_listen, HTTP_LISTEN, &mut mistakes);
        let webhook_secret = self.webhook_secret_file.and_then(|file| read_secret(&file, &mut mistakes));
        let data = self.data.unwrap_or_else(|| "brain-data".to_owned());
        if data.is_empty() {
            mistakes.push("data: must name a directory".to_owned());
        }
        let mut length = |name: &str, text: Option<String>, default: u64, least: Duration, most: Duration| {
            let Some(text) = text else { return Duration::from_secs(default) };
            let parsed = text.parse::<jiff::SignedDuration>().ok().and_then(|length| Duration::try_from(length).ok());
            match parsed {
                Some(length) if length >= least && length <= most => length,
                _ => {
                    mistakes.push(format!("{name}: {text:?} must be {least:?} to {most:?}, written as \"{default}s\""));
                    least
                }
            }
        };
        let hour = Duration::from_hours(1);
        let tenth = Duration::from_millis(100);
        let lease = length("lease", self.lease, 15, Duration::from_secs(1), Duration::from_mins(10));
        let poll_interval = length("poll_interval", self.poll_interval, 60, tenth, hour);
        let observe_interval = length("observe_interval", self.observe_interval, 15, tenth, hour);
        let housekeeping_interval = match self.housekeeping_interval {
            // None at all is said by a time of none.
            Some(text) if matches!(text.as_str(), "0" | "0s") => Duration::ZERO,
            text => length("housekeeping_interval", text, 3_600, Duration::from_secs(1), hour * 24),
        };
        let ports = self.host_ports.unwrap_or_else(|| "6000-9999".to_owned());
        let host_ports = parse_ports(&ports);
        if host_ports.is_none() {
            mistakes.push(format!("host_ports: {ports:?} must be two ports of 1 to 65535, written as \"6000-9999\""));
        }
        let board_url = self.board_url.and_then(|text| parse_board(&text, &mut mistakes));
        let notifications = notification::check(self.notification, &mut mistakes);
        match (listen, http_listen, host_ports) {
            (Some(listen), Some(http_listen), Some(host_ports)) if mistakes.is_empty() => Ok(Config {
                listen,
                http_listen,
                webhook_secret,
                data: data.into(),
                lease,
                poll_interval,
                observe_interval,
                housekeeping_interval,
                board_read_only: self.board_read_only.unwrap_or(false),
                host_ports,
                board_url,
                notifications,
            }),
            _ => Err(Mistakes(mistakes)),
        }
    }
}

fn parse_address(name: &str, text: Option<String>, default: &str, mistakes: &mut Vec<String>) -> Option<SocketAddr> {
    let text = text.unwrap_or_else(|| default.to_owned());
    let address = text.parse().ok();
    if address.is_none() {
        mistakes.push(format!("{name}: {text:?} is no address: write it as \"{default}\""));
    }
    address
}

/// The board's address, with the slash at its end that pages are joined to.
fn parse_board(text: &str, mistakes: &mut Vec<String>) -> Option<Url> {
    let whole = format!("{}/", text.trim_end_matches('/'));
    let url = Url::parse(&whole).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if url.is_none() {
        mistakes.push(format!("board_url: {text:?} is no address: write it as \"https://brain.example.com/\""));
    }
    url
}

fn read_secret(file: &Path, mistakes: &mut Vec<String>) -> Option<SecretString> {
    match fs::read_to_string(file) {
        Ok(text) if text.trim().len() >= SECRET_MIN => return Some(text.trim().to_owned().into()),
        Ok(_) => {
            mistakes.push(format!("webhook_secret_file: {} must hold at least {SECRET_MIN} characters", file.display()))
        }
        Err(error) => mistakes.push(format!("webhook_secret_file: {} cannot be read: {error}", file.display())),
    }
    None
}

fn parse_ports(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-')?;
    let (first, last) = (first.trim().parse::<u16>().ok()?, last.trim().parse::<u16>().ok()?);
    (first >= 1 && first <= last).then_some(first..=last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_mistakes_are_named_at_once() {
        let settings = Settings {
            listen: Some("here".into()),
            webhook_secret_file: Some("/does/not/exist".into()),
            lease: Some("0s".into()),
            host_ports: Some("9-1".into()),
            ..Settings::default()
        };
        let mistakes = settings.check().unwrap_err().0;
        assert_eq!(mistakes.len(), 4, "{mistakes:?}");
    }

    #[test]
    fn all_mistakes_of_notifications_are_named_at_once_and_no_secret_with_them() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "hunter2").unwrap();
        let text = format!(
            "board_url = \"nowhere\"\n\
             [[notification]]\nname = \"Ops\"\nkind = \"webhook\"\nurl_file = \"/does/not/exist\"\n\
             [[notification]]\nname = \"chat\"\nkind = \"slack\"\ntries = 0\nevents = [\"deploy.*\"]\n\
             [[notification]]\nname = \"chat\"\nkind = \"webhook\"\nurl_file = {0:?}\nsecret_file = {0:?}\n\
             [[notification]]\nname = \"both\"\nkind = \"slack\"\nurl_file = {0:?}\nurl_env = \"X\"\n",
            file.path()
        );
        let mistakes = toml::from_str::<Settings>(&text).unwrap().check().unwrap_err();
        assert_eq!(mistakes.0.len(), 11, "{mistakes}");
        assert!(!mistakes.to_string().contains("hunter2"), "{mistakes}");
    }

    #[test]
    fn a_notification_shows_neither_its_address_nor_its_secret() {
        let (url, secret) = (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
        fs::write(url.path(), "https://hooks.example/hunter2\n").unwrap();
        fs::write(secret.path(), "hunter3 hunter3 hunter3 hunter3\n").unwrap();
        let text = format!(
            "[[notification]]\nname = \"ops\"\nkind = \"webhook\"\nurl_file = {:?}\nsecret_file = {:?}\n",
            url.path(),
            secret.path()
        );
        let config = toml::from_str::<Settings>(&text).unwrap().check().unwrap();
        assert_eq!(config.notifications.len(), 1);
        assert!(!format!("{config:?}").contains("hunter"), "{config:?}");
    }

    #[test]
    fn without_settings_it_listens_on_loopback() {
        assert!(Settings::default().check().unwrap().listen.ip().is_loopback());
    }

    #[test]
    fn a_flag_wins_over_the_file() {
        let flag = Settings { lease: Some("2s".into()), ..Settings::default() };
        let file = Settings { lease: Some("9s".into()), poll_interval: Some("5s".into()), ..Settings::default() };
        let config = flag.or(file).check().unwrap();
        assert_eq!((config.lease, config.poll_interval), (Duration::from_secs(2), Duration::from_secs(5)));
    }
}
