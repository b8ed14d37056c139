//! Patterns of names, as people write filters.

use std::fmt;

/// A name in which `*` stands for any characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// The pattern as it is written.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// Whether the whole name fits.
    #[must_use]
    pub fn fits(&self, name: &str) -> bool {
        let Some((first, rest)) = self.0.split_once('*') else { return self.0 == name };
        let Some(mut name) = name.strip_prefix(first) else { return false };
        let Some((between, last)) = rest.rsplit_once('*') else { return name.ends_with(rest) };
        // What stands first between two stars may as well be found first.
        for part in between.split('*') {
            let Some(at) = name.find(part) else { return false };
            name = &name[at + part.len()..];
        }
        name.ends_with(last)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters_and_the_rest_for_itself() {
        let fits = |pattern: &str, name: &str| Pattern::new(pattern.to_owned()).fits(name);
        for (pattern, name) in [
            ("*", ""),
            ("*", "user"),
            ("user", "user"),
            ("acme-*", "acme-"),
            ("*-api", "a-api"),
            ("a*b*c", "aXbbc"),
            ("*a*", "xax"),
        ] {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("", "a"),
            ("user", "user2"),
            ("acme-*", "acme"),
            ("*-api", "api"),
            ("a*b*c", "acb"),
            ("ab*bc", "abc"),
            ("a*b*b", "ab"),
        ] {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
    }
}
