//! Where a release is watched: in a terminal a tree that is drawn anew below the lines of a log, elsewhere a
//! line for each thing that has changed.

use std::io::{IsTerminal, Stdout, stdout};

use bluegreen_contract::printable;
use ratatui::backend::CrosstermBackend;
use ratatui::text::Line;
use ratatui::widgets::{Paragraph, Widget, Wrap};
use ratatui::{Terminal, TerminalOptions, Viewport};

use crate::say::Say;
use crate::status::{Service, Status, tree};
use crate::tree::{drawn, print};

/// The lines of the picture, where the terminal has so many.
const HEIGHT: u16 = 20;

/// Where it is shown.
pub enum Screen {
    /// In a terminal.
    Live(Box<Terminal<CrosstermBackend<Stdout>>>),
    /// Line by line.
    Plain(Plain),
}

/// What was told line by line.
pub struct Plain {
    say: Say,
    told: Vec<String>,
}

impl Screen {
    /// A live view where stdout is a terminal that can have one; else lines for `say`.
    #[must_use]
    pub fn new(say: &Say) -> Self {
        let live = stdout().is_terminal().then(live).flatten();
        live.unwrap_or_else(|| Self::plain(say))
    }

    /// Lines alone.
    #[must_use]
    pub fn plain(say: &Say) -> Self {
        Self::Plain(Plain {
            say: say.clone(),
            told: Vec::new(),
        })
    }

    /// A line of the migration's log.
    pub fn log(&mut self, text: &str) {
        self.line(&format!("migration | {text}"));
    }

    /// A line that stays.
    pub fn line(&mut self, text: &str) {
        match self {
            Self::Live(terminal) => insert(terminal, text),
            Self::Plain(plain) => plain.say.line(text),
        }
    }

    /// How things are now.
    pub fn show(&mut self, status: &Status) {
        match self {
            Self::Live(terminal) => {
                let lines = tree(status).lines();
                // A terminal that can not be drawn on has nobody who looks at it.
                let _ = terminal.draw(|frame| {
                    let area = frame.area();
                    let lines = drawn(&lines, area.height.into());
                    frame.render_widget(Paragraph::new(lines), area);
                });
            }
            Self::Plain(plain) => plain.show(status),
        }
    }

    /// Leaves the last picture on the terminal.
    pub fn end(self, last: Option<&Status>) {
        if let Self::Live(mut terminal) = self {
            let top = terminal.get_frame().area().as_position();
            let _ = terminal.clear();
            let _ = terminal.set_cursor_position(top);
            drop(terminal);
            if let Some(status) = last {
                let _ = print(&tree(status));
            }
        }
    }
}

fn live() -> Option<Screen> {
    let (_, rows) = ratatui::crossterm::terminal::size().ok()?;
    let height = HEIGHT.min(rows.saturating_sub(1)).max(1);
    let options = TerminalOptions {
        viewport: Viewport::Inline(height),
    };
    let terminal = Terminal::with_options(CrosstermBackend::new(stdout()), options).ok()?;
    Some(Screen::Live(Box::new(terminal)))
}

fn insert(terminal: &mut Terminal<CrosstermBackend<Stdout>>, text: &str) {
    let line = Line::from(printable(text));
    let width = terminal.size().map_or(80, |size| size.width).max(1);
    // Wrapping at words can need a line more than wrapping at letters.
    let height = match line.width().div_ceil(width.into()) {
        0 | 1 => 1,
        more => more + 1,
    };
    let height = u16::try_from(height).unwrap_or(1);
    let paragraph = Paragraph::new(line).wrap(Wrap { trim: false });
    let _ = terminal.insert_before(height, |buffer| paragraph.render(buffer.area, buffer));
}

impl Plain {
    /// A line for all that differs from what was told last.
    fn show(&mut self, status: &Status) {
        let facts = facts(status);
        for fact in facts.iter().filter(|fact| !self.told.contains(fact)) {
            self.say.line(fact);
        }
        self.told = facts;
    }
}

/// What a status says, without what changes by the second.
fn facts(status: &Status) -> Vec<String> {
    let mut facts = Vec::new();
    if let Some(release) = &status.release {
        let steps = release.steps.iter();
        facts.extend(steps.map(|step| {
            let time = step.from.strftime("%H:%M:%S");
            format!("{time} UTC  {}", step.phase.word())
        }));
        facts.extend(
            release
                .awaits
                .iter()
                .map(|awaits| format!("waits: {awaits}")),
        );
    }
    facts.extend(status.services.iter().map(service));
    let firing = status.alarms.iter().filter(|alarm| alarm.in_alarm);
    facts.extend(firing.map(|alarm| format!("alarm {} is in ALARM", alarm.name)));
    if let Some(waiting) = &status.waiting {
        facts.push(format!("{} waits for its turn", waiting.name));
    }
    facts
}

fn service(service: &Service) -> String {
    let tasks = service.revisions.iter().map(|it| {
        let (running, desired) = (it.running, it.desired);
        format!("{} {running} of {desired}", it.version)
    });
    let tasks = tasks.collect::<Vec<_>>().join(", ");
    let stage = service.deployment.as_ref().map_or_else(String::new, |it| {
        let stage = it.lifecycle_stage.as_deref().unwrap_or_default();
        format!("{} {stage}; ", it.status).replace(" ;", ";")
    });
    format!("service {}: {stage}{tasks}", service.name)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::status::sample::in_progress;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn where_nothing_is_drawn_each_change_is_a_line_and_nothing_is_told_twice() {
        let written = Written::default();
        let mut screen = Screen::plain(&Say::to(written.clone()));
        let told = || {
            let bytes = std::mem::take(&mut *written.0.lock().unwrap());
            String::from_utf8(bytes).unwrap()
        };
        let mut status = in_progress();
        screen.show(&status);
        let expected = "\
09:10:11 UTC  plan
09:10:12 UTC  migrate
09:10:19 UTC  verify
service web: IN_PROGRESS BAKE_TIME; v42 1 of 2, v41 2 of 2
shop-v43 waits for its turn
";
        assert_eq!(told(), expected);
        screen.show(&status);
        assert_eq!(told(), "");
        status.services[0].revisions[0].running = 2;
        screen.log("CREATE TABLE");
        screen.show(&status);
        let expected = "\
migration | CREATE TABLE
service web: IN_PROGRESS BAKE_TIME; v42 2 of 2, v41 2 of 2
";
        assert_eq!(told(), expected);
    }
}
