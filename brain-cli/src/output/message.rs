//! Messages of the API in the JSON mapping of Protocol Buffers, as grpcurl prints them, and as YAML.

use prost_reflect::DynamicMessage;

/// JSON over several lines.
pub(crate) fn json(message: &DynamicMessage) -> String {
    serde_json::to_string_pretty(message).expect("a message has strings for keys")
}

/// JSON in one line.
pub(crate) fn json_line(message: &DynamicMessage) -> String {
    serde_json::to_string(message).expect("a message has strings for keys")
}

/// YAML.
pub(crate) fn yaml(message: &DynamicMessage) -> String {
    serde_saphyr::to_string(message).expect("a message has strings for keys")
}

#[cfg(test)]
mod tests {
    use super::*;
    use brain_proto::{reflect::dynamic, v1};

    fn example() -> DynamicMessage {
        let version = v1::VersionProduction { version: "0.0.4".to_owned(), healthy: 3, ..Default::default() };
        let observe_time = Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 500_000_000 });
        let production = v1::Production { versions: vec![version], observe_time, ..Default::default() };
        dynamic("Production", &production)
    }

    #[test]
    fn json_is_the_mapping_of_protocol_buffers_without_defaults() {
        let expected = r#"{"versions":[{"version":"0.0.4","healthy":3}],"observeTime":"2023-11-14T22:13:20.500Z"}"#;
        assert_eq!(json_line(&example()), expected);
    }

    #[test]
    fn yaml_says_the_same() {
        let expected = "versions:\n- version: 0.0.4\n  healthy: 3\nobserveTime: 2023-11-14T22:13:20.500Z\n";
        let plain = yaml(&example()).replace(['"', '\''], "");
        assert_eq!(plain, expected);
    }
}
