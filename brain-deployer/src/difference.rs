//! Differences in words: "field: is → will be".

use crate::cloud::{
    BY_EC2, CHECKS, DRAINING_SECONDS, Front, Group, Launch, LaunchSettings, Listener, LoadBalancer, Rule, TargetCheck,
    Targets, checks_text,
};
use std::{collections::BTreeSet, fmt::Display};

/// A field that is one way and is to be another.
pub(crate) fn difference(field: &str, is: impl Display, will_be: impl Display) -> String {
    format!("{field}: {is} → {will_be}")
}

/// What somebody has added.
pub(crate) fn unknown(what: impl Display) -> String {
    format!("{what}: not in the definition")
}

/// A rule of brain's that is not there.
pub(crate) fn missing_rule(rule: &Rule) -> String {
    let port = rule.port.map(|port| format!(" for port {port}")).unwrap_or_default();
    difference(&format!("rule{port}"), "none", &rule.source)
}

pub(crate) fn unknown_rule(rule: &Rule) -> String {
    unknown(format_args!("rule {rule}"))
}

pub(crate) fn listener_text(listener: &Listener) -> String {
    let certificate = listener.certificate.as_ref().map(|arn| format!(" with {arn}")).unwrap_or_default();
    format!("{} to {}{certificate}", listener.port, listener.instance_port)
}

/// On what a listener of an application load balancer listens.
pub(crate) fn listens_text(port: u16, certificate: Option<&str>) -> String {
    certificate.map_or_else(|| port.to_string(), |arn| format!("{port} with {arn}"))
}

pub(crate) fn front_text(front: &Front) -> String {
    format!("listener {}", listens_text(front.port, front.certificate.as_deref()))
}

/// What of a target group's health check is not as it is to be.
pub(crate) fn target_check_differences(is: &Targets, check: &TargetCheck) -> Vec<String> {
    let mut differences = Vec::new();
    if is.check != *check {
        differences.push(difference("health check", &is.check, check));
    }
    if is.checks != CHECKS {
        differences.push(difference("health checks", checks_text(is.checks), checks_text(CHECKS)));
    }
    differences
}

/// Names in a line.
pub(crate) fn listed<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    let names: Vec<&str> = names.into_iter().map(String::as_str).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// Attributes of a classic load balancer that are not as brain sets them.
pub(crate) fn attribute_differences(is: &LoadBalancer) -> Vec<String> {
    let mut differences = Vec::new();
    if !is.draining {
        differences.push(difference("connection draining", "off", "on"));
    } else if is.draining_seconds != DRAINING_SECONDS {
        differences.push(difference("seconds of draining", is.draining_seconds, DRAINING_SECONDS));
    }
    if !is.cross_zone {
        differences.push(difference("cross-zone balancing", "off", "on"));
    }
    differences
}

/// What of a group is not as brain sets it besides its size; of `subnets` where some are named.
pub(crate) fn group_differences(is: &Group, subnets: &[String]) -> Vec<String> {
    let mut differences = Vec::new();
    if is.min > 0 {
        differences.push(difference("minimum", is.min, 0));
    }
    if is.health_check != BY_EC2 {
        differences.push(difference("health check", &is.health_check, BY_EC2));
    }
    let (has, wanted): (BTreeSet<&String>, BTreeSet<&String>) = (is.subnets.iter().collect(), subnets.iter().collect());
    if !wanted.is_empty() && has != wanted {
        differences.push(difference("subnets", listed(has), listed(wanted)));
    }
    differences
}

pub(crate) fn launch_text(launch: &Launch) -> String {
    match launch {
        Launch::Template(name) => format!("template {name}"),
        Launch::Configuration(name) => format!("configuration {name}"),
    }
}

/// The user data may hold a credential, so only that it differs is told.
pub(crate) fn settings_differences(is: Option<&LaunchSettings>, will_be: &LaunchSettings) -> Vec<String> {
    let LaunchSettings { image, instance_type, instance_profile, security_groups, user_data } = will_be;
    let groups = security_groups.join(", ");
    let mut differences = Vec::new();
    let mut compare = |field: &str, old: Option<String>, new: &str| {
        if old.as_deref() != Some(new) {
            differences.push(difference(field, old.as_deref().unwrap_or("none"), new));
        }
    };
    compare("image", is.map(|is| is.image.clone()), image);
    compare("instance type", is.map(|is| is.instance_type.clone()), instance_type);
    compare("instance profile", is.map(|is| is.instance_profile.clone()), instance_profile);
    compare("security groups", is.map(|is| is.security_groups.join(", ")), &groups);
    match is {
        None => differences.push(difference("user data", "none", "set")),
        Some(is) if is.user_data != *user_data => differences.push(difference("user data", "another", "set")),
        Some(_) => {}
    }
    differences
}
