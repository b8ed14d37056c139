//! Configuration: a file and flags, checked whole before anything starts.

use serde::Deserialize;
use std::{fmt, net::SocketAddr, ops::RangeInclusive, path::PathBuf, time::Duration};
use thiserror::Error;

/// Where the API listens unless told otherwise. Loopback: whoever reaches the API can deploy.
const LISTEN: &str = "127.0.0.1:7443";

/// The server's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address of the API.
    pub listen: SocketAddr,
    /// Directory of the store.
    pub data: PathBuf,
    /// Length of a deployer's lease.
    pub lease: Duration,
    /// Time between two polls of a project.
    pub poll_interval: Duration,
    /// Time between two observations of a project's production.
    pub observe_interval: Duration,
    /// Host ports that brain allocates.
    pub host_ports: RangeInclusive<u16>,
}

/// The configuration as it is written, in a TOML file or as flags: nothing is checked.
#[derive(Debug, Clone, Default, Deserialize, clap::Args)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Address of the API [default: 127.0.0.1:7443]
    #[arg(long, env = "BRAIN_LISTEN")]
    pub listen: Option<String>,
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
    /// Host ports that brain allocates to projects [default: 6000-9999]
    #[arg(long, env = "BRAIN_HOST_PORTS")]
    pub host_ports: Option<String>,
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
        let Self { listen, data, lease, poll_interval, observe_interval, host_ports } = self;
        Self {
            listen: listen.or(file.listen),
            data: data.or(file.data),
            lease: lease.or(file.lease),
            poll_interval: poll_interval.or(file.poll_interval),
            observe_interval: observe_interval.or(file.observe_interval),
            host_ports: host_ports.or(file.host_ports),
        }
    }

    /// Checks everything and names every mistake.
    pub fn check(self) -> Result<Config, Mistakes> {
        let mut mistakes = Vec::new();
        let listen = self.listen.unwrap_or_else(|| LISTEN.to_owned());
        let listen = listen.parse().map_err(|_| {
            mistakes.push(format!("listen: {listen:?} is no address: write it as \"{LISTEN}\""));
        });
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
        let ports = self.host_ports.unwrap_or_else(|| "6000-9999".to_owned());
        let host_ports = parse_ports(&ports);
        if host_ports.is_none() {
            mistakes.push(format!("host_ports: {ports:?} must be two ports of 1 to 65535, written as \"6000-9999\""));
        }
        match (listen, host_ports) {
            (Ok(listen), Some(host_ports)) if mistakes.is_empty() => {
                Ok(Config { listen, data: data.into(), lease, poll_interval, observe_interval, host_ports })
            }
            _ => Err(Mistakes(mistakes)),
        }
    }
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
            lease: Some("0s".into()),
            host_ports: Some("9-1".into()),
            ..Settings::default()
        };
        let mistakes = settings.check().unwrap_err().0;
        assert_eq!(mistakes.len(), 3, "{mistakes:?}");
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
