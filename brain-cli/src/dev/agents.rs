//! What the watcher and the deployer of `brain dev` work with: this machine alone, or the world.

use super::cloud::Simulated;
use anyhow::Context;
use brain_core::image::ImageRepository;
use brain_deployer::{config as deployer, outside::Outside as DeployerOutside};
use brain_proto::v1::HostState;
use brain_watcher::{
    config as watcher,
    outside::Outside as WatcherOutside,
    source::{
        PollError,
        port::{ImagesPort, RealSources, RepositoryPort, Sources},
    },
};
use serde::de::DeserializeOwned;
use std::{fs, net::SocketAddr, path::Path, sync::Arc};
use url::{Host, Url};

/// Pause between two looks at a step that waits: what is simulated takes fractions of a second.
const STEP_INTERVAL: &str = "200ms";
/// The registry that the local one stands in for.
const REGISTRY: &str = "docker.io";

/// A watcher and a deployer, not started yet.
pub(super) struct Agents {
    /// The watcher's.
    pub watcher: (Arc<watcher::Config>, WatcherOutside),
    /// The deployer's.
    pub deployer: (deployer::Config, DeployerOutside),
}

impl Agents {
    /// With the local git host and registry at `hosts`, and the simulated cloud.
    pub(super) fn of_this_machine(server: &str, hosts: SocketAddr, cloud: &Simulated) -> anyhow::Result<Self> {
        let registry = watcher::RegistrySettings {
            host: REGISTRY.to_owned(),
            endpoint: Some(format!("http://{hosts}")),
            hub_endpoint: None,
            ecr_region: None,
            username: None,
            password_file: None,
            requests_per_second: None,
        };
        let settings =
            watcher::Settings { server: Some(server.to_owned()), registry: vec![registry], ..Default::default() };
        let config = Arc::new(settings.check()?);
        let sources = RealSources::of_this_machine(Arc::clone(&config)).context("no HTTP client")?;
        let outside = WatcherOutside {
            sources: Arc::new(ThisMachine(sources)),
            ..WatcherOutside::real(&config).context("no HTTP client")?
        };
        let settings = deployer::Settings {
            server: Some(server.to_owned()),
            step_interval: Some(STEP_INTERVAL.to_owned()),
            ..Default::default()
        };
        let deployer = settings.check()?;
        let acts = DeployerOutside { clouds: cloud.client(), ..DeployerOutside::real(deployer.aws_limits) };
        Ok(Self { watcher: (config, outside), deployer: (deployer, acts) })
    }

    /// With AWS and every git host and registry, as their own programs have them.
    pub(super) fn of_the_world(server: &str, watches: Option<&Path>, deploys: Option<&Path>) -> anyhow::Result<Self> {
        let mut settings: watcher::Settings = read(watches)?;
        settings.server = Some(server.to_owned());
        let config = Arc::new(settings.check()?);
        let outside = WatcherOutside::real(&config).context("no HTTP client")?;
        let mut settings: deployer::Settings = read(deploys)?;
        settings.server = Some(server.to_owned());
        let deployer = settings.check()?;
        let acts = DeployerOutside::real(deployer.aws_limits);
        Ok(Self { watcher: (config, outside), deployer: (deployer, acts) })
    }
}

/// A TOML file; the default where none is named.
fn read<T: DeserializeOwned + Default>(path: Option<&Path>) -> anyhow::Result<T> {
    let Some(path) = path else { return Ok(T::default()) };
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("{} is faulty", path.display()))
}

/// Sources on this machine. What a project names elsewhere is refused, and the board says so: nothing leaves the machine.
struct ThisMachine(RealSources);

impl Sources for ThisMachine {
    fn repository(&self, url: &str, branch: &str) -> Result<Box<dyn RepositoryPort>, PollError> {
        if is_here(url) { self.0.repository(url, branch) } else { Err(elsewhere(url)) }
    }

    fn images(&self, name: &str) -> Result<Box<dyn ImagesPort>, PollError> {
        let local = ImageRepository::parse(name).is_ok_and(|repository| repository.registry() == REGISTRY);
        if local { self.0.images(name) } else { Err(elsewhere(name)) }
    }

    fn hosts(&self) -> Vec<HostState> {
        self.0.hosts()
    }
}

fn is_here(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        // A name may mean any machine.
        Some(Host::Domain(_)) | None => false,
    })
}

fn elsewhere(what: &str) -> PollError {
    PollError::new(format!("{what} is not on this machine, which `brain dev` does not leave unless it is told --aws"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_this_machine_are_asked() {
        assert!(is_here("http://127.0.0.1:4000/user.git") && is_here("http://[::1]:4000/user.git"));
        for url in
            ["https://github.com/flowcommerce/user.git", "http://localhost/x", "file:///etc", "http://10.0.0.1/x"]
        {
            assert!(!is_here(url), "{url}");
        }
    }
}
