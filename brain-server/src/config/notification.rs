//! Notifications as they are configured. Addresses and secrets are read from files or the environment, and shown nowhere.

use crate::notifications::{pattern::Pattern, signature::Signer};
use brain_core::event::Notice;
use secrecy::SecretString;
use serde::Deserialize;
use std::{collections::BTreeSet, env, fs, path::PathBuf};
use url::Url;

/// Most notifications: each reads the log by itself.
const NOTIFICATIONS_MAX: usize = 32;
/// Tries of a message unless told otherwise, and at most: with the pauses between them, over an hour, and half a day.
const TRIES: u32 = 20;
const TRIES_MAX: u32 = 100;
/// Secrets that are signed with at the same time: the one, and the one that follows it.
const SECRETS_MAX: usize = 2;
/// Longest name.
const NAME_MAX: usize = 63;

/// Where notices go.
#[derive(Debug, Clone)]
pub struct Notification {
    /// Its name, which its place in the log is kept under.
    pub name: String,
    /// What is sent.
    pub kind: Kind,
    /// Where to.
    pub url: SecretString,
    /// Signs what is sent; `None`: it is not signed.
    pub signer: Option<Signer>,
    /// Projects that it is of.
    pub projects: Vec<Pattern>,
    /// Notices that are sent.
    pub events: Vec<Pattern>,
    /// Tries of a message before it is given up.
    pub tries: u32,
}

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A text, as Slack's incoming webhooks take it.
    Slack,
    /// All that is known, as JSON.
    Webhook,
}

/// A notification, as it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotificationSettings {
    /// Its name: lower-case letters, digits and hyphens.
    pub name: String,
    /// "slack" or "webhook".
    pub kind: Kind,
    /// File that holds the address.
    pub url_file: Option<PathBuf>,
    /// Variable of the environment that holds it.
    pub url_env: Option<String>,
    /// File that holds the secret to sign with; two lines: both sign.
    pub secret_file: Option<PathBuf>,
    /// Variable of the environment that holds it.
    pub secret_env: Option<String>,
    /// Projects, `*` stands for any characters [default: all].
    pub projects: Option<Vec<String>>,
    /// Notices, `*` stands for any characters [default: all].
    pub events: Option<Vec<String>>,
    /// Tries before a message is given up [default: 20].
    pub tries: Option<u32>,
}

/// Checks all of them; names every mistake.
pub(super) fn check(all: Vec<NotificationSettings>, mistakes: &mut Vec<String>) -> Vec<Notification> {
    if all.len() > NOTIFICATIONS_MAX {
        mistakes.push(format!("notification: there are {}, and may be {NOTIFICATIONS_MAX}", all.len()));
    }
    let mut names = BTreeSet::new();
    let mut checked = Vec::new();
    for settings in all {
        if !names.insert(settings.name.clone()) {
            mistakes.push(format!("notification {:?}: is named twice", settings.name));
        }
        checked.extend(settings.check(mistakes));
    }
    checked
}

impl NotificationSettings {
    fn check(self, mistakes: &mut Vec<String>) -> Option<Notification> {
        let Self { name, kind, url_file, url_env, secret_file, secret_env, projects, events, tries } = self;
        let before = mistakes.len();
        let mut wrong = |why: String| mistakes.push(format!("notification {name:?}: {why}"));
        let plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
        if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(plain) {
            wrong(format!("name must be 1 to {NAME_MAX} lower-case letters, digits and hyphens"));
        }
        let url = match read("url", url_file, url_env) {
            Ok(Some(text)) => check_url(&text).map_err(&mut wrong).ok(),
            Ok(None) => {
                wrong("url_file or url_env must say where it goes".to_owned());
                None
            }
            Err(why) => {
                wrong(why);
                None
            }
        };
        let signer = match read("secret", secret_file, secret_env) {
            Ok(Some(text)) => check_secrets(&text).map_err(&mut wrong).ok(),
            Ok(None) if kind == Kind::Webhook => {
                wrong("secret_file or secret_env must hold what a webhook is signed with".to_owned());
                None
            }
            Ok(None) => None,
            Err(why) => {
                wrong(why);
                None
            }
        };
        let events = patterns(events);
        for pattern in &events {
            if !Notice::ALL.iter().any(|notice| pattern.fits(notice.name())) {
                let known: Vec<&str> = Notice::ALL.into_iter().map(Notice::name).collect();
                wrong(format!("events: {pattern} is none of {}", known.join(", ")));
            }
        }
        let tries = tries.unwrap_or(TRIES);
        if tries == 0 || tries > TRIES_MAX {
            wrong(format!("tries must be 1 to {TRIES_MAX}, not {tries}"));
        }
        let url = url.filter(|_| mistakes.len() == before)?;
        Some(Notification { name, kind, url, signer, projects: patterns(projects), events, tries })
    }
}

fn patterns(texts: Option<Vec<String>>) -> Vec<Pattern> {
    texts.unwrap_or_else(|| vec!["*".to_owned()]).into_iter().map(Pattern::new).collect()
}

/// What a file or a variable holds; the error never does.
fn read(what: &str, file: Option<PathBuf>, variable: Option<String>) -> Result<Option<SecretText>, String> {
    let text = match (file, variable) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => return Err(format!("{what}_file and {what}_env exclude each other")),
        (Some(file), None) => fs::read_to_string(&file)
            .map_err(|error| format!("{what}_file: {} cannot be read: {error}", file.display())),
        (None, Some(variable)) => {
            env::var(&variable).map_err(|_| format!("{what}_env: there is no variable {variable}, or it is no text"))
        }
    };
    text.map(|text| Some(SecretText(text.trim().to_owned())))
}

/// A text that is not shown before it is checked.
struct SecretText(String);

fn check_url(SecretText(text): &SecretText) -> Result<SecretString, String> {
    let fits = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host() && url.username().is_empty();
    match Url::parse(text).ok().filter(fits) {
        Some(url) => Ok(String::from(url).into()),
        None => Err("the address must begin with http:// or https://, without a user name".to_owned()),
    }
}

fn check_secrets(SecretText(text): &SecretText) -> Result<Signer, String> {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if lines.is_empty() || lines.len() > SECRETS_MAX {
        return Err(format!("the secret must be one line, or {SECRETS_MAX} while it is changed"));
    }
    Signer::new(&lines)
}
