//! A tree of lines: what belongs to what, for a terminal that is watched and for text that is piped.

use std::fmt::Write as _;
use std::io::Write as _;

use anstyle::{AnsiColor, Style};
use bluegreen_contract::printable;
use ratatui::style::{Color, Modifier};
use ratatui::text::{Line, Span};

/// How a word is meant, which a terminal shows by its colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    #[default]
    Plain,
    /// A name.
    Strong,
    Good,
    Bad,
    /// In progress.
    Busy,
    /// Of little interest.
    Quiet,
}

/// Words of one tone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    text: String,
    tone: Tone,
}

/// A line and the lines that belong to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    words: Vec<Words>,
    children: Vec<Node>,
}

impl Node {
    /// A line of plain words.
    pub fn new(text: impl AsRef<str>) -> Self {
        Self::default().and(Tone::Plain, text)
    }

    /// Adds words, of which a terminal obeys none.
    #[must_use]
    pub fn and(mut self, tone: Tone, text: impl AsRef<str>) -> Self {
        let text = printable(&text.as_ref().replace(['\n', '\t'], " "));
        self.words.push(Words { text, tone });
        self
    }

    /// Adds lines that belong to this one.
    #[must_use]
    pub fn with(mut self, children: impl IntoIterator<Item = Node>) -> Self {
        self.children.extend(children);
        self
    }

    /// All lines, each with the branches that lead to it.
    #[must_use]
    pub fn lines(&self) -> Vec<Vec<Words>> {
        let mut lines = vec![self.words.clone()];
        grow(&self.children, "", &mut lines);
        lines
    }
}

fn grow(children: &[Node], before: &str, lines: &mut Vec<Vec<Words>>) {
    for (number, child) in children.iter().enumerate() {
        let is_last = number + 1 == children.len();
        let (branch, below) = if is_last {
            ("└─ ", "   ")
        } else {
            ("├─ ", "│  ")
        };
        let branch = Words {
            text: format!("{before}{branch}"),
            tone: Tone::Quiet,
        };
        lines.push(std::iter::once(branch).chain(child.words.clone()).collect());
        grow(&child.children, &format!("{before}{below}"), lines);
    }
}

/// The lines as text without colours.
#[must_use]
pub fn plain(lines: &[Vec<Words>]) -> String {
    let text = |line: &Vec<Words>| line.iter().map(|words| words.text.as_str()).collect();
    lines.iter().map(text).collect::<Vec<String>>().join("\n")
}

/// The lines as text with the escape sequences of colours.
fn coloured(lines: &[Vec<Words>]) -> String {
    let mut text = String::new();
    for line in lines {
        for Words { text: words, tone } in line {
            let style = style(*tone);
            // Nothing fails to be written into a string.
            let _ = write!(text, "{style}{words}{style:#}");
        }
        text.push('\n');
    }
    text
}

/// Prints a tree, in colours where stdout is a terminal that has them and `NO_COLOR` is not set.
///
/// # Errors
/// Nobody reads it.
pub fn print(node: &Node) -> std::io::Result<()> {
    anstream::stdout().write_all(coloured(&node.lines()).as_bytes())
}

fn style(tone: Tone) -> Style {
    let coloured = |colour: AnsiColor| Style::new().fg_color(Some(colour.into()));
    match tone {
        Tone::Plain => Style::new(),
        Tone::Strong => Style::new().bold(),
        Tone::Good => coloured(AnsiColor::Green),
        Tone::Bad => coloured(AnsiColor::Red).bold(),
        Tone::Busy => coloured(AnsiColor::Cyan),
        Tone::Quiet => Style::new().dimmed(),
    }
}

/// The lines for a view that is drawn anew, no more than `height` of them.
#[must_use]
pub fn drawn(lines: &[Vec<Words>], height: usize) -> Vec<Line<'static>> {
    let shown = if lines.len() > height {
        height.saturating_sub(1)
    } else {
        lines.len()
    };
    let mut drawn: Vec<Line<'static>> = lines.iter().take(shown).map(|it| line(it)).collect();
    if shown < lines.len() && height > 0 {
        drawn.push(Line::from(format!("… {} more lines", lines.len() - shown)));
    }
    drawn
}

fn line(words: &[Words]) -> Line<'static> {
    let span = |words: &Words| {
        let style = match words.tone {
            Tone::Plain => ratatui::style::Style::new(),
            Tone::Strong => ratatui::style::Style::new().add_modifier(Modifier::BOLD),
            Tone::Good => ratatui::style::Style::new().fg(Color::Green),
            Tone::Bad => ratatui::style::Style::new()
                .fg(Color::Red)
                .add_modifier(Modifier::BOLD),
            Tone::Busy => ratatui::style::Style::new().fg(Color::Cyan),
            Tone::Quiet => ratatui::style::Style::new().add_modifier(Modifier::DIM),
        };
        Span::styled(words.text.clone(), style)
    };
    Line::from(words.iter().map(span).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Node {
        let services = Node::new("services").with([Node::new("web"), Node::new("worker")]);
        Node::new("shop")
            .and(Tone::Good, " serves")
            .with([services, Node::new("alarms")])
    }

    #[test]
    fn branches_lead_to_every_line() {
        let expected = "shop serves\n├─ services\n│  ├─ web\n│  └─ worker\n└─ alarms";
        assert_eq!(plain(&tree().lines()), expected);
    }

    #[test]
    fn colours_are_around_the_words_and_of_others_words_none_is_obeyed() {
        let node = Node::new("a\u{1b}[2Jb").and(Tone::Good, " c\nd");
        let lines = node.lines();
        assert_eq!(plain(&lines), "a\u{fffd}[2Jb c d");
        assert_eq!(coloured(&lines), "a\u{fffd}[2Jb\u{1b}[32m c d\u{1b}[0m\n");
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let lines = tree().lines();
        let text = |height| {
            let drawn = drawn(&lines, height);
            drawn.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(text(5).len(), 5);
        assert_eq!(text(3), ["shop serves", "├─ services", "… 3 more lines"]);
        assert_eq!(text(1), ["… 5 more lines"]);
        assert_eq!(text(0), [] as [&str; 0]);
    }
}
