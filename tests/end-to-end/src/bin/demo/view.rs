//! What a person sees: in a terminal a story above a live picture, elsewhere plain lines.

use std::io::{IsTerminal, Stdout, Write, stdout};
use std::time::{Duration, Instant};

use bluegreen_contract::printable;
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
    /// Each state that was entered, with the first time, in that order.
    states: Vec<(String, Timestamp)>,
    /// The one it is in.
    state: String,
    visits: Visits,
}

impl Status {
    /// A state that is entered again and again, while something is waited for, counts from its
    /// first time.
    pub(crate) fn new(stays: &[Stay], visits: Visits) -> Self {
        let mut states: Vec<(String, Timestamp)> = Vec::new();
        for stay in stays {
            if states.iter().all(|(state, _)| *state != stay.state) {
                states.push((stay.state.clone(), stay.entered));
            }
        }
        let state = stays.last().map(|stay| stay.state.clone());
        Self {
            states,
            state: state.unwrap_or_default(),
            visits,
        }
    }

    fn since(&self) -> String {
        let entered = self.states.iter().find(|(state, _)| *state == self.state);
        entered.map_or_else(String::new, |(_, entered)| {
            let seconds = Timestamp::now().duration_since(*entered).as_secs_f64();
            format!("since {} ({seconds:.1} s)", clock(*entered))
        })
    }
}

fn clock(time: Timestamp) -> String {
    let local = time.to_zoned_datetime(TimeZone::system());
    local.strftime("%H:%M:%S").to_string()
}

/// What is shown, and where.
pub(crate) struct View {
    screen: Screen,
    /// How many of the states were told.
    told: usize,
}

/// Where the demo is shown.
enum Screen {
    /// Lines scroll above a picture that is drawn anew.
    Live(Box<Terminal<CrosstermBackend<Stdout>>>),
    /// Lines only.
    Plain(Plain),
}

/// What was last told in plain lines.
#[derive(Debug)]
struct Plain {
    started: Instant,
    answers_told: Instant,
}

impl View {
    /// A live view where stdout is a terminal that can have one.
    pub(crate) fn new() -> Self {
        Self {
            screen: Screen::new(),
            told: 0,
        }
    }

    /// A line of the story.
    pub(crate) fn say(&mut self, text: &str) {
        self.screen.print(Line::from(printable(text)).bold());
    }

    /// From now on another execution is shown.
    pub(crate) fn follow(&mut self, execution: &str) {
        self.told = 0;
        self.say(&format!("That started {execution}"));
    }

    /// A line of the migration's log.
    pub(crate) fn log(&mut self, text: &str) {
        self.screen.print(Line::from(vec![
            Span::styled("  migration | ", Style::new().fg(Color::Cyan)),
            Span::raw(printable(text)),
        ]));
    }

    /// What holds now: a line for each state that was entered since, and the picture.
    pub(crate) fn show(&mut self, status: &Status) {
        for (state, entered) in status.states.iter().skip(self.told) {
            self.screen.print(Line::from(vec![
                Span::raw("  state     | "),
                Span::raw(format!("{state:<16}")).green(),
                Span::raw(format!(" since {}", clock(*entered))),
            ]));
        }
        self.told = status.states.len();
        self.screen.draw(status);
    }

    /// Takes the picture away: what is printed next stands below all that was said. Once only,
    /// for by the second time something else stands where the picture was.
    pub(crate) fn end(&mut self) {
        let screen = std::mem::replace(&mut self.screen, Screen::plain());
        if let Screen::Live(mut terminal) = screen {
            let top = terminal.get_frame().area().as_position();
            let _ = terminal.clear();
            let _ = terminal.set_cursor_position(top);
        }
    }
}

impl Screen {
    fn new() -> Self {
        if stdout().is_terminal() {
            let options = TerminalOptions {
                viewport: Viewport::Inline(PICTURE_HEIGHT),
            };
            let terminal = Terminal::with_options(CrosstermBackend::new(stdout()), options);
            if let Ok(terminal) = terminal {
                return Self::Live(Box::new(terminal));
            }
        }
        Self::plain()
    }

    fn plain() -> Self {
        let now = Instant::now();
        Self::Plain(Plain {
            started: now,
            answers_told: now,
        })
    }

    // Neither a terminal nor a pipe that can not be written to any more has anybody who looks at
    // it; the exit code still tells.
    fn print(&mut self, line: Line<'static>) {
        match self {
            Self::Live(terminal) => {
                let width = terminal.size().map_or(80, |size| size.width).max(1);
                // Wrapping at words can need a line more than wrapping at letters.
                let height = match line.width().div_ceil(width.into()) {
                    0 | 1 => 1,
                    more => more + 1,
                };
                let height = u16::try_from(height).unwrap_or(1);
                let paragraph = Paragraph::new(line).wrap(Wrap { trim: false });
                let _ = terminal.insert_before(height, |buffer| {
                    paragraph.render(buffer.area, buffer);
                });
            }
            Self::Plain(plain) => plain.print(&line.to_string()),
        }
    }

    fn draw(&mut self, status: &Status) {
        match self {
            Self::Live(terminal) => {
                let _ = terminal.draw(|frame| draw(frame, status));
            }
            Self::Plain(plain) if plain.answers_told.elapsed() >= PLAIN_PAUSE => {
                plain.answers_told = Instant::now();
                plain.print(&format!("  visitor   | {}", answers(&status.visits)));
            }
            Self::Plain(_) => {}
        }
    }
}

impl Plain {
    fn print(&self, text: &str) {
        let seconds = self.started.elapsed().as_secs_f64();
        let _ = writeln!(stdout(), "{seconds:6.1} s  {}", printable(text));
    }
}

fn answers(visits: &Visits) -> String {
    let versions: Vec<_> = visits
        .by_heading
        .iter()
        .map(|(heading, count)| format!("{heading} {count}"))
        .collect();
    format!(
        "{}; failed {}; now: {}",
        versions.join(", "),
        visits.failed,
        visits.latest
    )
}

fn draw(frame: &mut Frame<'_>, status: &Status) {
    let total = status.visits.sent().max(1);
    let mut rows = vec![Row::new([
        Cell::from("state"),
        Cell::from(status.state.as_str().green().bold()),
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
