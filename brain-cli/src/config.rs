//! Settings: from the command line, the environment and a file, in this order.

use crate::failure::Failure;
use serde::Deserialize;
use std::{
    env, fs, io,
    path::{Path, PathBuf},
};
use tonic::transport::Uri;

/// Where the server listens by default.
pub(crate) const DEFAULT_SERVER: &str = "http://127.0.0.1:7443";

/// How answers are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// The API's messages in the JSON mapping of Protocol Buffers, as grpcurl prints them; a watch writes one to a line.
    Json,
    /// The same as YAML.
    Yaml,
}

/// Whether colours are used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Color {
    /// In a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What somebody has set. What is left out comes from the next place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Given {
    pub server: Option<String>,
    pub output: Option<Format>,
    pub color: Option<Color>,
    #[serde(rename = "as")]
    pub who: Option<String>,
}

/// All settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    pub server: Uri,
    pub output: Format,
    pub color: Color,
    pub who: String,
}

impl Settings {
    /// What was typed (or is in the environment) goes before the file, and the file before defaults.
    pub(crate) fn of(typed: Given, file: Given, user: Option<String>) -> Result<Self, Failure> {
        let server = typed.server.or(file.server).unwrap_or_else(|| DEFAULT_SERVER.to_owned());
        Ok(Self {
            server: address(&server)?,
            output: typed.output.or(file.output).unwrap_or_default(),
            color: typed.color.or(file.color).unwrap_or_default(),
            who: typed.who.or(file.who).or(user).unwrap_or_default(),
        })
    }
}

fn address(text: &str) -> Result<Uri, Failure> {
    let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let faulty = |why: &str| Failure::usage(format!("--server {text:?} {why}: write it as {DEFAULT_SERVER}"));
    let uri: Uri = whole.parse().map_err(|_| faulty("is no address"))?;
    match uri.scheme_str() {
        Some("http") if uri.host().is_some_and(|host| !host.is_empty()) => Ok(uri),
        Some("https") => Err(faulty("asks for TLS, which the server does not speak")),
        _ => Err(faulty("is no address")),
    }
}

/// The file's place: `brain/config.toml` in the folder for configuration.
pub(crate) fn path() -> Option<PathBuf> {
    let folder = env::var_os("XDG_CONFIG_HOME").filter(|folder| Path::new(folder).is_absolute()).map(PathBuf::from);
    let folder = folder.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".config")))?;
    Some(folder.join("brain/config.toml"))
}

/// Reads the file; one that is not there sets nothing.
pub(crate) fn read(path: Option<&Path>) -> Result<Given, Failure> {
    let Some(path) = path else { return Ok(Given::default()) };
    match fs::read_to_string(path) {
        Ok(text) => parse(&text).map_err(|why| Failure::usage(format!("{} is faulty: {why}", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Given::default()),
        Err(error) => Err(Failure::usage(format!("cannot read {}: {error}", path.display()))),
    }
}

fn parse(text: &str) -> Result<Given, String> {
    toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(typed: Given, file: &str) -> Settings {
        Settings::of(typed, parse(file).unwrap(), Some("ann".to_owned())).unwrap()
    }

    #[test]
    fn what_is_typed_goes_before_the_file_and_the_file_before_defaults() {
        let file = "server = \"brain.internal:7443\"\noutput = \"yaml\"\nas = \"bob\"\n";
        let typed = Given { output: Some(Format::Json), ..Given::default() };
        let both = settings(typed, file);
        assert_eq!(both.output, Format::Json, "typed");
        assert_eq!(
            (both.server.to_string().as_str(), both.who.as_str()),
            ("http://brain.internal:7443/", "bob"),
            "file"
        );
        let none = settings(Given::default(), "");
        assert_eq!((none.server.host(), none.who.as_str()), (Some("127.0.0.1"), "ann"), "defaults");
    }

    #[test]
    fn a_faulty_file_or_address_says_what_is_wrong() {
        assert!(parse("servr = \"x\"").unwrap_err().contains("servr"));
        for (text, why) in [("https://x", "TLS"), ("http://", "no address"), ("a b", "no address"), ("ftp://x", "no")] {
            let failure = address(text).unwrap_err();
            assert!(failure.text.contains(why), "{text}: {}", failure.text);
        }
    }
}
