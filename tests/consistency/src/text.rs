use std::collections::BTreeSet;

/// The lines below the first heading whose text contains `title`, in any case, up to the next
/// heading of the same or a higher level. Empty where there is no such heading.
#[must_use]
pub fn section<'a>(markdown: &'a str, title: &str) -> Vec<&'a str> {
    let level = |line: &str| line.chars().take_while(|c| *c == '#').count();
    let mut lines = markdown.lines();
    let Some(heading) =
        lines.find(|line| level(line) > 0 && line.to_lowercase().contains(&title.to_lowercase()))
    else {
        return Vec::new();
    };
    lines
        .take_while(|line| level(line) == 0 || level(line) > level(heading))
        .collect()
}

/// The names in backticks that start the rows of Markdown tables.
#[must_use]
pub fn first_column<'a>(lines: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    lines
        .into_iter()
        .filter_map(|line| line.trim().strip_prefix("| `"))
        .filter_map(|rest| Some(rest.split_once('`')?.0.to_owned()))
        .collect()
}

/// All that stands between single backticks in a text.
#[must_use]
pub fn backticked(text: &str) -> BTreeSet<String> {
    text.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// Whether a text is the name of an IAM action. `ecs:RunTask` is one; `iam:PassedToService` and
/// `ecs:CreateAction` are condition keys.
#[must_use]
pub fn is_action(name: &str) -> bool {
    let Some((service, action)) = name.split_once(':') else {
        return false;
    };
    let word = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric());
    word(service)
        && word(action)
        && action.starts_with(|c: char| c.is_ascii_uppercase())
        && !["PassedToService", "CreateAction"].contains(&action)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# A\n## Failures\n| Error | Meaning |\n|---|---|\n| `X` | why |\n### More\n| `Y` | why |\n## Next\n| `Z` | why |\n";

    #[test]
    fn a_section_ends_with_the_next_heading_of_its_level() {
        assert_eq!(
            first_column(section(PAGE, "failures")),
            BTreeSet::from(["X".to_owned(), "Y".to_owned()])
        );
    }

    #[test]
    fn a_section_that_is_missing_is_empty() {
        assert!(section(PAGE, "nothing").is_empty());
    }

    #[test]
    fn what_stands_in_backticks_is_found() {
        assert_eq!(
            backticked("`a:B`, and `c:D`."),
            BTreeSet::from(["a:B".to_owned(), "c:D".to_owned()])
        );
    }

    #[test]
    fn an_action_is_told_from_a_key_and_from_other_text() {
        assert!(is_action("ecs:RunTask"));
        for other in [
            "ecs:CreateAction",
            "bluegreen:stack",
            "sha256:0",
            "ecs: RunTask",
            "x",
        ] {
            assert!(!is_action(other), "{other}");
        }
    }
}
