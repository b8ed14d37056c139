//! Words beside numbers.

use std::fmt::Display;

/// `1 task`, `2 tasks`.
#[must_use]
pub fn counted<N: Display + PartialEq + From<u8>>(count: N, what: &str) -> String {
    let plural = if count == N::from(1) { "" } else { "s" };
    format!("{count} {what}{plural}")
}
