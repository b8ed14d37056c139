//! The user data of an instance (the seed's): a shell script, run by root, that writes /etc/ecs/ecs.config.
//!
//! Values are quoted for the shell. What cannot stand in a file of lines is refused before it gets here, and once more here.

use base64::{Engine, prelude::BASE64_STANDARD};
use std::collections::BTreeMap;
use thiserror::Error;

/// Largest user data before it is encoded (an AWS limit).
const MAX: usize = 16 << 10;

/// Why there is no user data.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UserDataError {
    /// A value with a line break or another control character. The value itself is not repeated: it may be a secret.
    #[error("the value of {0} cannot be quoted: it must be one line without control characters")]
    Unquotable(String),
    /// More than AWS takes.
    #[error("the user data is {0} bytes, and AWS takes {MAX}: shorten target.ecs_agent_settings")]
    TooLong(usize),
}

/// The script that joins an instance to `cluster`. `auth` is the content of a dockercfg file.
pub fn script(cluster: &str, auth: Option<&str>, settings: &BTreeMap<String, String>) -> Result<String, UserDataError> {
    let mut lines = vec![("ECS_CLUSTER", cluster)];
    if let Some(auth) = auth {
        lines.push(("ECS_ENGINE_AUTH_TYPE", "dockercfg"));
        lines.push(("ECS_ENGINE_AUTH_DATA", auth));
    }
    lines.extend(settings.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let mut script = "#!/bin/bash\n".to_owned();
    for (name, value) in lines {
        if value.contains(char::is_control) {
            return Err(UserDataError::Unquotable(name.to_owned()));
        }
        // printf, and not echo: a value may begin with a hyphen or hold a backslash.
        script += &format!("printf '%s\\n' {} >> /etc/ecs/ecs.config\n", quoted(&format!("{name}={value}")));
    }
    if script.len() > MAX { Err(UserDataError::TooLong(script.len())) } else { Ok(script) }
}

/// Whether two user data, in base64, differ in nothing but the registry credential.
pub fn differ_in_credential(one: &str, other: &str) -> bool {
    let rest = |encoded: &str| {
        let script = String::from_utf8(BASE64_STANDARD.decode(encoded).ok()?).ok()?;
        let kept = script.lines().filter(|line| !line.starts_with("printf '%s\\n' 'ECS_ENGINE_AUTH_"));
        Some(kept.map(ToOwned::to_owned).collect::<Vec<String>>())
    };
    one != other && rest(one).is_some_and(|kept| rest(other) == Some(kept))
}

/// In single quotes, where a shell leaves everything but a single quote alone.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::Command;

    #[test]
    fn another_credential_is_told_from_any_other_difference() {
        let encoded = |cluster: &str, auth: Option<&str>| {
            BASE64_STANDARD.encode(script(cluster, auth, &BTreeMap::new()).unwrap())
        };
        let one = encoded("a", Some("{\"one\": {}}"));
        assert!(differ_in_credential(&one, &encoded("a", Some("{\"other\": {}}"))));
        assert!(differ_in_credential(&one, &encoded("a", None)));
        assert!(!differ_in_credential(&one, &one));
        assert!(!differ_in_credential(&one, &encoded("b", Some("{\"other\": {}}"))));
        assert!(!differ_in_credential(&one, &BASE64_STANDARD.encode("#!/bin/bash\nexit")));
    }

    /// Runs the script with bash, the file put elsewhere; answers what it wrote.
    fn run(script: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ecs.config");
        let script = script.replace("/etc/ecs/ecs.config", file.to_str().unwrap());
        assert!(Command::new("bash").arg("-c").arg(script).status().unwrap().success());
        std::fs::read_to_string(file).unwrap()
    }

    #[test]
    fn the_seeds_three_lines_are_written() {
        let auth = r#"{"https://index.docker.io/v1/":{"auth":"xxxxxyyyyyzzzzzz","email":"xxxxxx@email.com"}}"#;
        let script = script("splashpage-api-ecs-cluster", Some(auth), &BTreeMap::new()).unwrap();
        let expected = format!(
            "ECS_CLUSTER=splashpage-api-ecs-cluster\nECS_ENGINE_AUTH_TYPE=dockercfg\nECS_ENGINE_AUTH_DATA={auth}\n"
        );
        assert_eq!(run(&script), expected);
    }

    #[test]
    fn a_value_that_is_no_line_is_refused_and_not_repeated() {
        let error = script("c", Some("hunter2\nrm -rf /"), &BTreeMap::new()).unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
        let long = [("ECS_X".to_owned(), "x".repeat(MAX))].into();
        assert!(matches!(script("c", None, &long), Err(UserDataError::TooLong(_))));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn whatever_can_be_quoted_arrives_as_it_is(value in "[ -~äß€'\"$`\\\\]{0,60}") {
            let settings = [("ECS_VALUE".to_owned(), value.clone())].into();
            prop_assert_eq!(run(&script("c", None, &settings).unwrap()), format!("ECS_CLUSTER=c\nECS_VALUE={value}\n"));
        }
    }
}
