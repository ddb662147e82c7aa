//! What a person sees: in a terminal a story above a live picture, elsewhere plain lines.

use std::io::{IsTerminal, Stdout, Write, stdout};
use std::time::{Duration, Instant};

use end_to_end::execution::Stay;
use end_to_end::visitor::Visits;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use ratatui::backend::CrosstermBackend;
use ratatui::layout::Constraint;
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Paragraph, Row, Table, Widget, Wrap};
use ratatui::{Frame, Terminal, TerminalOptions, Viewport};

const PICTURE_HEIGHT: u16 = 6;
const BAR_WIDTH: usize = 30;
/// How often plain lines tell who answers, while nothing else changes.
const PLAIN_PAUSE: Duration = Duration::from_secs(2);

/// The state of things at one moment.
#[derive(Debug)]
pub(crate) struct Status {
    state: String,
    since: Option<Timestamp>,
    visits: Visits,
}

impl Status {
    /// A state that is entered again and again, while something is waited for, counts from its
    /// first time.
    pub(crate) fn new(stays: &[Stay], visits: Visits) -> Self {
        let state = stays.last().map(|stay| stay.state.clone());
        let state = state.unwrap_or_else(|| "(not started)".to_owned());
        let since = stays.iter().find(|stay| stay.state == state);
        Self {
            since: since.map(|stay| stay.entered),
            state,
            visits,
        }
    }

    fn since(&self) -> String {
        self.since.map_or_else(String::new, |since| {
            let clock = since.to_zoned_datetime(TimeZone::system()).strftime("%H:%M:%S");
            let seconds = Timestamp::now().duration_since(since).as_secs_f64();
            format!("since {clock} ({seconds:.1} s)")
        })
    }
}

/// Where the demo is shown.
pub(crate) enum View {
    /// Lines scroll above a picture that is drawn anew.
    Live(Box<Terminal<CrosstermBackend<Stdout>>>),
    /// Lines only.
    Plain(Plain),
}

/// What was last told in plain lines.
#[derive(Debug)]
pub(crate) struct Plain {
    started: Instant,
    states: Vec<String>,
    told: Instant,
}

impl View {
    /// A live view where stdout is a terminal that can have one.
    pub(crate) fn new() -> Self {
        if stdout().is_terminal() {
            let options = TerminalOptions {
                viewport: Viewport::Inline(PICTURE_HEIGHT),
            };
            if let Ok(terminal) = Terminal::with_options(CrosstermBackend::new(stdout()), options) {
                return Self::Live(Box::new(terminal));
            }
        }
        let now = Instant::now();
        Self::Plain(Plain {
            started: now,
            states: Vec::new(),
            told: now,
        })
    }

    /// A line of the story.
    pub(crate) fn say(&mut self, text: &str) {
        self.line(Line::from(text.to_owned()).bold());
    }

    /// A line of the migration's log.
    pub(crate) fn log(&mut self, text: &str) {
        let line = vec![
            Span::styled("  migration | ", Style::new().fg(Color::Cyan)),
            Span::raw(text.to_owned()),
        ];
        self.line(Line::from(line));
    }

    /// What holds now.
    pub(crate) fn show(&mut self, status: Status) {
        match self {
            Self::Live(terminal) => {
                // A terminal that can not be written to any more has nobody who looks at it.
                let _ = terminal.draw(|frame| draw(frame, &status));
            }
            Self::Plain(plain) => plain.show(&status),
        }
    }

    /// Leaves the terminal as it was, below all that was said.
    pub(crate) fn end(&mut self) {
        if let Self::Live(terminal) = self {
            let _ = terminal.clear();
        }
    }

    fn line(&mut self, line: Line<'static>) {
        match self {
            Self::Live(terminal) => {
                let width = terminal.size().map_or(80, |size| size.width).max(1);
                // Wrapping at words can need a line more than wrapping at letters.
                let height = line.width().div_ceil(width.into()) + 1;
                let height = if height > 2 { height } else { 1 };
                let paragraph = Paragraph::new(line).wrap(Wrap { trim: false });
                let height = u16::try_from(height).unwrap_or(1);
                let _ = terminal.insert_before(height, |buffer| {
                    paragraph.render(buffer.area, buffer);
                });
            }
            Self::Plain(plain) => plain.print(&line.to_string()),
        }
    }
}

impl Plain {
    fn print(&self, text: &str) {
        let seconds = self.started.elapsed().as_secs_f64();
        // Nobody reads on: nothing to be done about it.
        let _ = writeln!(stdout(), "{seconds:6.1} s  {text}");
    }

    /// Each state once, when it is entered first, and now and then who answers.
    fn show(&mut self, status: &Status) {
        let new_state = !self.states.contains(&status.state);
        if new_state {
            self.states.push(status.state.clone());
            self.print(&format!("  state {} {}", status.state, status.since()));
        }
        if new_state || self.told.elapsed() >= PLAIN_PAUSE {
            self.told = Instant::now();
            self.print(&format!("    {}", answers(&status.visits)));
        }
    }
}

fn answers(visits: &Visits) -> String {
    let versions: Vec<_> = visits
        .by_heading
        .iter()
        .map(|(heading, count)| format!("{heading} {count}"))
        .collect();
    format!(
        "answers: {}; failed {}; last: {}",
        versions.join(", "),
        visits.failed,
        visits.latest
    )
}

fn draw(frame: &mut Frame<'_>, status: &Status) {
    let total = status.visits.sent().max(1);
    let mut rows = vec![Row::new([
        Cell::from("state"),
        Cell::from(status.state.clone().green().bold()),
        Cell::from(status.since()),
    ])];
    for (heading, count) in &status.visits.by_heading {
        let bar = "█".repeat((count * BAR_WIDTH).div_ceil(total));
        let mark = if *heading == status.visits.latest {
            "answers now"
        } else {
            ""
        };
        rows.push(Row::new([
            Cell::from(mark),
            Cell::from(format!("{heading}: {count}")),
            Cell::from(bar),
        ]));
    }
    let failed = format!("failed: {}", status.visits.failed);
    rows.push(Row::new([
        Cell::from(""),
        Cell::from(if status.visits.failed == 0 {
            failed.green()
        } else {
            failed.red().bold()
        }),
        Cell::from(""),
    ]));
    let widths = [
        Constraint::Length(12),
        Constraint::Length(24),
        Constraint::Min(BAR_WIDTH as u16),
    ];
    let table = Table::new(rows, widths).block(Block::bordered().title(" bluegreen "));
    frame.render_widget(table, frame.area());
}
