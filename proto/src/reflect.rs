//! The API's messages by their descriptors: to read and write them by field names, and to change some of their fields.

use crate::v1;
use brain_core::{event::FIELDS_TOLD, project::Violation};
use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage};
use std::sync::LazyLock;

/// Fields of a project that the server tells, and nobody sets.
pub const TOLD: [&str; 7] = ["etag", "create_time", "head", "holds", "drift", "housekeeping", "production_unobserved"];

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(crate::FILE_DESCRIPTOR_SET).expect("the descriptors were made with the code they describe")
});

/// The descriptor of a message of `brain.v1`, which there must be.
#[must_use]
pub fn descriptor(name: &str) -> MessageDescriptor {
    POOL.get_message_by_name(&format!("brain.v1.{name}")).expect("callers name messages of brain.v1")
}

/// A message of `brain.v1` with its descriptor.
#[must_use]
pub fn dynamic(name: &str, message: &impl prost::Message) -> DynamicMessage {
    let bytes = message.encode_to_vec();
    DynamicMessage::decode(descriptor(name), bytes.as_slice()).expect("a message reads back as what it is")
}

/// `project` with the fields that `paths` name as they are in `wish`; "*": all of them. Every path that names nothing that can
/// be set is a fault.
pub fn masked(project: &v1::Project, wish: &v1::Project, paths: &[String]) -> Result<v1::Project, Vec<Violation>> {
    let fault = |description: String| Violation { field: "update_mask".to_owned(), description };
    if paths.is_empty() {
        return Err(vec![fault(
            "is required: the fields to set, such as \"target.desired_count\", or \"*\"".to_owned(),
        )]);
    }
    let wished = dynamic("Project", wish);
    if let [only] = paths
        && only == "*"
    {
        return Ok(v1::Project { name: project.name.clone(), ..wish.clone() });
    }
    let mut masked = dynamic("Project", project);
    let mut faults = Vec::new();
    for path in paths {
        let parts: Vec<&str> = path.split('.').collect();
        if let Err(why) = put(&mut masked, &wished, &parts) {
            faults.push(fault(format!("names {path:?}, which {why}")));
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(masked.transcode_to().expect("a message reads back as what it is"))
}

fn put(into: &mut DynamicMessage, from: &DynamicMessage, path: &[&str]) -> Result<(), String> {
    let Some((name, rest)) = path.split_first() else { return Ok(()) };
    let message = into.descriptor();
    let field = message.get_field_by_name(name).or_else(|| message.get_field_by_json_name(name));
    let Some(field) = field else { return Err(format!("is no field of {}", message.name())) };
    if message.name() == "Project" && (field.name() == "name" || TOLD.contains(&field.name())) {
        return Err("cannot be set".to_owned());
    }
    if field.name() == "preset" {
        return Err("only fills in a whole policy: name \"rollout_policy\"".to_owned());
    }
    if rest.is_empty() {
        if from.has_field(&field) {
            into.set_field(&field, from.get_field(&field).into_owned());
        } else {
            into.clear_field(&field);
        }
        return Ok(());
    }
    let inner = from.get_field(&field);
    match (is_message(&field), inner.as_message(), into.get_field_mut(&field).as_message_mut()) {
        (true, Some(from), Some(into)) => put(into, from, rest),
        _ => Err(format!("names a part of {}: only the whole of it can be set", field.name())),
    }
}

fn is_message(field: &FieldDescriptor) -> bool {
    matches!(field.kind(), Kind::Message(_)) && !field.is_list() && !field.is_map()
}

/// Paths of the fields in which two projects differ, at most [`FIELDS_TOLD`].
#[must_use]
pub fn differences(one: &v1::Project, other: &v1::Project) -> Vec<String> {
    let mut paths = Vec::new();
    differ(&dynamic("Project", one), &dynamic("Project", other), "", &mut paths);
    paths.truncate(FIELDS_TOLD);
    paths
}

fn differ(one: &DynamicMessage, other: &DynamicMessage, prefix: &str, paths: &mut Vec<String>) {
    for field in one.descriptor().fields() {
        let (left, right) = (one.get_field(&field), other.get_field(&field));
        if left == right {
            continue;
        }
        let path = format!("{prefix}{}", field.name());
        match (left.as_message(), right.as_message()) {
            (Some(left), Some(right)) if left.descriptor().package_name() == "brain.v1" => {
                differ(left, right, &format!("{path}."), paths);
            }
            _ => paths.push(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project() -> v1::Project {
        let target = v1::Target { desired_count: 3, memory_mib: 500, region: "us-east-1".into(), ..Default::default() };
        let source = v1::Source { branch: "master".into(), ..Default::default() };
        v1::Project { name: "projects/user".into(), source: Some(source), target: Some(target), ..Default::default() }
    }

    fn mask(paths: &[&str]) -> Vec<String> {
        paths.iter().map(|path| (*path).to_owned()).collect()
    }

    #[test]
    fn only_what_the_mask_names_changes_and_what_is_left_out_there_is_cleared() {
        let wish = v1::Target { desired_count: 5, cpu_units: 7, ..Default::default() };
        let wish = v1::Project { target: Some(wish), image_repository: "a/b".into(), ..Default::default() };
        let changed = masked(&project(), &wish, &mask(&["target.desired_count", "target.memory_mib"])).unwrap();
        let expected = v1::Target { desired_count: 5, memory_mib: 0, ..project().target.unwrap() };
        assert_eq!((changed.target, changed.image_repository.as_str()), (Some(expected), ""));
        assert_eq!(changed.source, project().source);
        let whole = masked(&project(), &wish, &mask(&["*"])).unwrap();
        assert_eq!((whole.name.as_str(), whole.source), ("projects/user", None));
    }

    #[test]
    fn every_path_that_cannot_be_set_is_named() {
        let wrong =
            mask(&["name", "etag", "target.size", "targets", "depends_on.project", "rollout_policy.preset", "*"]);
        let faults = masked(&project(), &project(), &wrong).unwrap_err();
        assert_eq!(faults.len(), wrong.len(), "{faults:?}");
        assert!(masked(&project(), &project(), &[]).is_err());
    }

    #[test]
    fn differences_are_told_by_path() {
        let mut other = project();
        other.target = other.target.map(|target| v1::Target { desired_count: 4, command: vec!["a".into()], ..target });
        other.source = None;
        let told = differences(&project(), &other);
        assert_eq!(told, ["source.branch", "target.desired_count", "target.command"]);
    }
}
