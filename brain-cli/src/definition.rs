//! Definitions as files: TOML with the API's field names. Every fault of a file is told at once, with its place.

use crate::failure::Failure;
use brain_proto::{
    convert::{draft_from_proto, spec_to_proto},
    reflect::{TOLD, descriptor, dynamic},
    v1::{Project, RolloutPolicy},
};
use prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, SerializeOptions};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use std::{fs, io::Read, path::Path};

/// A project's definition as it stands in a file, nothing filled in.
pub(crate) fn parse_project(text: &str) -> Result<Project, Vec<String>> {
    let mut value = parse(text)?;
    // People name a project by its id.
    if let Some(Value::String(name)) = value.get_mut("name")
        && !name.contains('/')
    {
        *name = format!("projects/{name}");
    }
    let mut faults = Vec::new();
    for name in TOLD {
        if value.remove(name).is_some() {
            faults.push(format!("{name} is told by the server: leave it out"));
        }
    }
    let project: Option<Project> = read(Value::Object(value), "Project", &mut faults);
    match project {
        Some(project) if faults.is_empty() => Ok(project),
        _ => Err(faults),
    }
}

/// The definition with all defaults, as the server would keep it; `port` is the one to take where none is named.
pub(crate) fn complete(project: &Project, port: u16) -> Result<Project, Vec<String>> {
    let completed = draft_from_proto(project.clone()).validate(|named| Ok(named.unwrap_or(port)));
    let completed = completed.map(|spec| spec_to_proto(&spec));
    completed.map_err(|faults| {
        let field = |field: &str| field.strip_prefix("project.").unwrap_or(field).to_owned();
        faults.into_iter().map(|fault| format!("{} {}", field(&fault.field), fault.description)).collect()
    })
}

/// Without what the server tells.
pub(crate) fn settings(project: &Project) -> Project {
    let Project { name, source, image_repository, target, rollout_policy, depends_on, deploy, .. } = project.clone();
    Project { name, source, image_repository, target, rollout_policy, depends_on, deploy, ..Default::default() }
}

/// A definition as the text of a file.
pub(crate) fn to_toml(project: &Project) -> String {
    toml::to_string(&ByFieldName(dynamic("Project", &settings(project))))
        .expect("a message has strings for keys, and no empty values")
}

/// A rollout policy from a file.
pub(crate) fn read_policy(path: &Path) -> Result<RolloutPolicy, Failure> {
    let mut faults = Vec::new();
    let value = parse(&text(path)?);
    let policy = match value {
        Ok(value) => read(Value::Object(value), "RolloutPolicy", &mut faults),
        Err(found) => {
            faults = found;
            None
        }
    };
    policy.filter(|_| faults.is_empty()).ok_or_else(|| faulty(path, &faults))
}

/// A file's text; `-` is standard input.
pub(crate) fn text(path: &Path) -> Result<String, Failure> {
    let cannot = |error: std::io::Error| Failure::usage(format!("cannot read {}: {error}", path.display()));
    if path.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().lock().read_to_string(&mut text).map_err(cannot)?;
        return Ok(text);
    }
    fs::read_to_string(path).map_err(cannot)
}

/// All faults of a file, a line each.
pub(crate) fn faulty(path: &Path, faults: &[String]) -> Failure {
    let lines: Vec<String> = faults.iter().map(|fault| format!("\n  {}: {fault}", path.display())).collect();
    Failure::usage(format!(
        "nothing was done, for there {} faulty:{}",
        if faults.len() == 1 { "is one thing" } else { "are things" },
        lines.concat()
    ))
}

fn parse(text: &str) -> Result<Map<String, Value>, Vec<String>> {
    let table: toml::Table = toml::from_str(text).map_err(|error| vec![error.to_string().trim_end().to_owned()])?;
    Ok(table.into_iter().map(|(key, value)| (key, json(value))).collect())
}

fn json(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(is) => is.into(),
        toml::Value::Datetime(time) => Value::String(time.to_string()),
        toml::Value::Array(values) => values.into_iter().map(json).collect(),
        toml::Value::Table(table) => Value::Object(table.into_iter().map(|(key, value)| (key, json(value))).collect()),
    }
}

/// A message from a value whose every field is checked by itself, so that all faults are found.
fn read<T: Message + Default>(value: Value, name: &str, faults: &mut Vec<String>) -> Option<T> {
    let descriptor = descriptor(name);
    let before = faults.len();
    check(&value, &descriptor, "", faults);
    if faults.len() > before {
        return None;
    }
    let message =
        DynamicMessage::deserialize(descriptor, value).map_err(|error| faults.push(error.to_string())).ok()?;
    message.transcode_to().map_err(|error| faults.push(error.to_string())).ok()
}

fn check(value: &Value, message: &MessageDescriptor, path: &str, faults: &mut Vec<String>) {
    let Value::Object(fields) = value else {
        faults.push(format!("{path} must be a table, such as [{path}]"));
        return;
    };
    for (name, value) in fields {
        let at = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let Some(field) = message.get_field_by_name(name).or_else(|| message.get_field_by_json_name(name)) else {
            faults.push(unknown(&at, name, message));
            continue;
        };
        match (field.kind(), value) {
            (Kind::Message(inner), Value::Array(items)) if is_ours(&inner) && field.is_list() => {
                for (index, item) in items.iter().enumerate() {
                    check(item, &inner, &format!("{at}[{index}]"), faults);
                }
            }
            (Kind::Message(inner), _) if is_ours(&inner) && !field.is_list() && !field.is_map() => {
                check(value, &inner, &at, faults);
            }
            _ => check_value(value, message, &field, &at, faults),
        }
    }
}

/// Whether a message has fields that people write, unlike a time, which they write as a string.
fn is_ours(message: &MessageDescriptor) -> bool {
    message.package_name() == "brain.v1"
}

fn check_value(
    value: &Value,
    message: &MessageDescriptor,
    field: &FieldDescriptor,
    at: &str,
    faults: &mut Vec<String>,
) {
    let alone: Map<String, Value> = [(field.name().to_owned(), value.clone())].into_iter().collect();
    if let Err(error) = DynamicMessage::deserialize(message.clone(), Value::Object(alone)) {
        let is_duration = matches!(field.kind(), Kind::Message(kind) if kind.full_name() == "google.protobuf.Duration");
        let right = if is_duration { ": write seconds as \"300s\"" } else { "" };
        faults.push(format!("{at} {error}{right}"));
    }
}

fn unknown(at: &str, name: &str, message: &MessageDescriptor) -> String {
    let fields: Vec<String> =
        message.fields().map(|field| field.name().to_owned()).filter(|name| !TOLD.contains(&name.as_str())).collect();
    let known: Vec<&str> = fields.iter().map(String::as_str).collect();
    match similar::get_close_matches(name, &known, 1, 0.6).first() {
        Some(close) => format!("{at} is no field of {}: did you mean {close}?", message.name()),
        None => format!("{at} is no field of {}, which has {}", message.name(), known.join(", ")),
    }
}

/// A message with its fields named as in the .proto files, which is how people write TOML.
struct ByFieldName(DynamicMessage);

impl Serialize for ByFieldName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize_with_options(serializer, &SerializeOptions::new().use_proto_field_name(true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: &str = r#"
name = "user"
image_repository = "flowcommerce/user"

[source]
git_url = "https://github.com/flowcommerce/user.git"

[target]
region = "us-east-1"
container_port = 9000
desired_count = 3
environment = { MODE = "production" }
health_check_grace_period = "90s"

[rollout_policy]
step_timeout = "300s"
steps = [{ percent = 10, bake = "60s", hold = true }]
"#;

    #[test]
    fn a_file_has_the_names_of_the_api() {
        let project = parse_project(USER).unwrap();
        assert_eq!(project.name, "projects/user");
        let target = project.target.clone().unwrap_or_default();
        assert_eq!(target.container_port, 9_000);
        assert_eq!(target.health_check_grace_period.map(|period| period.seconds), Some(90));
        let policy = project.rollout_policy.clone().unwrap_or_default();
        assert_eq!(policy.step_timeout.map(|timeout| timeout.seconds), Some(300));
        assert!(policy.steps[0].hold);
        let complete = complete(&project, 6_041).unwrap();
        assert_eq!(complete.source.map(|source| source.branch), Some("master".to_owned()));
        assert_eq!(complete.target.map(|target| target.host_port), Some(6_041));
    }

    #[test]
    fn what_is_written_reads_back_as_itself() {
        let project = complete(&parse_project(USER).unwrap(), 6_041).unwrap();
        let text = to_toml(&project);
        assert_eq!(parse_project(&text), Ok(project), "{text}");
    }

    #[test]
    fn every_fault_is_named_with_its_place() {
        let text = r#"
nam = "user"
etag = "x"
source = "https://github.com/flowcommerce/user.git"
[target]
regin = "us-east-1"
container_port = "nine thousand"
[rollout_policy]
step_timeout = "5 minutes"
steps = [{ percent = 10 }, { percnt = 20 }]
"#;
        let faults = parse_project(text).unwrap_err();
        let begins = |start: &str| faults.iter().any(|fault| fault.starts_with(start));
        for start in [
            "nam is no field of Project: did you mean name?",
            "etag is told by the server",
            "source must be a table",
            "target.regin is no field of Target: did you mean region?",
            "target.container_port ",
            "rollout_policy.step_timeout ",
            "rollout_policy.steps[1].percnt is no field of RolloutStep: did you mean percent?",
        ] {
            assert!(begins(start), "{start:?} is not among {faults:#?}");
        }
        assert_eq!(faults.len(), 7, "{faults:#?}");
    }

    #[test]
    fn what_breaks_the_rules_is_told_before_the_server_is_asked() {
        let project = parse_project("name = \"user\"\n[target]\nregion = \"us-east-1\"\n").unwrap();
        let faults = complete(&project, 6_041).unwrap_err();
        for field in ["source.git_url", "image_repository", "target.container_port", "target.desired_count"] {
            assert!(faults.iter().any(|fault| fault.starts_with(field)), "{field} is not among {faults:#?}");
        }
    }
}
