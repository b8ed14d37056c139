//! What changes between two texts, line by line, as people know it from git.

use console::Style;
use similar::{ChangeTag, TextDiff};

/// Unchanged lines around a change.
const AROUND: usize = 2;

/// The changed lines with some around them; empty when there are none.
pub(crate) fn lines(old: &str, new: &str) -> Vec<String> {
    let diff = TextDiff::from_lines(old, new);
    let mut lines = Vec::new();
    for (index, group) in diff.grouped_ops(AROUND).iter().enumerate() {
        if index > 0 {
            lines.push("  …".to_owned());
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let text = change.value().trim_end_matches('\n');
            lines.push(match change.tag() {
                ChangeTag::Delete => Style::new().red().apply_to(format!("- {text}")).to_string(),
                ChangeTag::Insert => Style::new().green().apply_to(format!("+ {text}")).to_string(),
                ChangeTag::Equal => format!("  {text}").trim_end().to_owned(),
            });
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changes_is_shown_with_its_surroundings() {
        let old = "a = 1\nb = 2\nc = 3\nd = 4\n";
        assert_eq!(lines(old, "a = 1\nb = 2\nc = 3\nd = 5\n"), ["  b = 2", "  c = 3", "- d = 4", "+ d = 5"]);
        assert_eq!(lines("", "a = 1\n"), ["+ a = 1"]);
        assert!(lines(old, old).is_empty());
    }
}
