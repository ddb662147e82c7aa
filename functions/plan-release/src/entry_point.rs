//! What a container runs whose command is replaced. Its entry point stays
//! (<https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerOverride.html>): most take
//! the words as a command, but a shell's `-c` takes the first one as its script and the others for
//! that script's parameters, so that `sh -c rails db:migrate` runs `rails` and ends well.

/// Programs whose option `-c` takes a script, and what follows for its `$0` and `$@`.
const SHELLS: [&str; 9] = [
    "sh", "ash", "bash", "dash", "fish", "ksh", "mksh", "rbash", "zsh",
];
/// Programs whose option `-c` takes a script for a shell, among operands of their own.
const SHELL_CALLERS: [&str; 4] = ["flock", "runuser", "script", "su"];
/// Options of shells that have a value, in the next word.
const LONG_WITH_VALUE: [&str; 2] = ["--rcfile", "--init-file"];

/// The command would not run: the entry point has a script of its own that does nothing with it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ignored {
    /// What runs instead.
    pub(crate) script: String,
}

/// The words that take the place of the container's command, so that `command` runs.
///
/// A shell that waits for its script gets the command as one word, quoted unless it is one word
/// already. A script that hands its arguments on gets the words, behind one for its `$0` where
/// nothing else is that. Any other entry point gets the words as they are.
///
/// # Errors
/// [`Ignored`].
pub(crate) fn words(entry_point: &[String], command: Vec<String>) -> Result<Vec<String>, Ignored> {
    match Script::of(&split(entry_point)) {
        None => Ok(command),
        Some(Script::Awaited) if command.len() == 1 => Ok(command),
        Some(Script::Awaited) => Ok(vec![line(&command)]),
        Some(Script::OfCaller { script }) => Err(Ignored { script }),
        Some(Script::Given { script, own_name }) => {
            let uses = Parameters::of(&script);
            match (uses.all, own_name || uses.name) {
                (false, _) => Err(Ignored { script }),
                (true, true) => Ok(command),
                (true, false) => Ok([vec!["sh".to_owned()], command].concat()),
            }
        }
    }
}

/// As a person would type it.
pub(crate) fn line(words: &[String]) -> String {
    // A word with NUL cannot be quoted, nor can it be in a command: outputs with it are refused.
    let quoted = |word: &String| shlex::try_quote(word).map_or_else(|_| word.clone(), Into::into);
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// What a shell of an entry point is to run.
#[derive(Debug, PartialEq, Eq)]
enum Script {
    /// The first word that follows.
    Awaited,
    Given {
        script: String,
        /// The entry point has a word for `$0` too.
        own_name: bool,
    },
    /// Among a caller's operands, which may stand anywhere: nobody can say which word is `$0`.
    OfCaller { script: String },
}

impl Script {
    /// Of the first shell that has the option `-c`, whatever calls it.
    fn of(words: &[String]) -> Option<Self> {
        (0..words.len()).find_map(|at| {
            let (program, rest) = (program(&words[at]), &words[at + 1..]);
            if SHELLS.contains(&program) {
                Self::of_shell(rest)
            } else if SHELL_CALLERS.contains(&program) {
                Self::of_caller(rest)
            } else {
                None
            }
        })
    }

    /// Options come before the script, in any order
    /// (<https://pubs.opengroup.org/onlinepubs/9799919799/utilities/sh.html>).
    fn of_shell(words: &[String]) -> Option<Self> {
        let mut words = words.iter().map(String::as_str).peekable();
        let mut takes_script = false;
        while let Some(word) = words.next_if(|word| word.starts_with(['-', '+'])) {
            if matches!(word, "-" | "--") {
                break;
            }
            if word.starts_with("--") {
                takes_script |= word == "--command";
                if LONG_WITH_VALUE.contains(&word) {
                    words.next();
                }
            } else {
                takes_script |= word.starts_with('-') && word.contains('c');
                // `-o pipefail`, `-euo pipefail`, `+O extglob`.
                for _ in word.matches(['o', 'O']) {
                    words.next();
                }
            }
        }
        if !takes_script {
            return None;
        }
        Some(match words.next() {
            None => Self::Awaited,
            Some(script) => Self::Given {
                script: script.to_owned(),
                own_name: words.next().is_some(),
            },
        })
    }

    /// `su app -c`, `su -c SCRIPT app`.
    fn of_caller(words: &[String]) -> Option<Self> {
        let is_option = |word: &String| {
            let short = word.starts_with('-') && !word.starts_with("--");
            word == "--command" || (short && word.ends_with('c'))
        };
        let at = words.iter().position(is_option)?;
        Some(match words.get(at + 1) {
            None => Self::Awaited,
            Some(script) => Self::OfCaller {
                script: script.clone(),
            },
        })
    }
}

/// Which of its parameters a script uses, outside of single quotes and comments.
#[derive(Debug, Default, PartialEq, Eq)]
struct Parameters {
    /// `$@` or `$*`
    all: bool,
    /// `$0`
    name: bool,
}

impl Parameters {
    fn of(script: &str) -> Self {
        let mut found = Self::default();
        let (mut quoted, mut before) = (false, ' ');
        let mut rest = script.chars().peekable();
        while let Some(character) = rest.next() {
            match character {
                '\\' => drop(rest.next()),
                '"' => quoted = !quoted,
                '\'' if !quoted => drop(rest.find(|next| *next == '\'')),
                '#' if !quoted && before.is_whitespace() => drop(rest.find(|next| *next == '\n')),
                '$' => {
                    rest.next_if_eq(&'{');
                    found.all |= rest.next_if(|next| matches!(next, '@' | '*')).is_some();
                    found.name |= rest.next_if_eq(&'0').is_some();
                }
                _ => {}
            }
            before = character;
        }
        found
    }
}

/// The name of the program, whatever directory it is in.
fn program(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

/// `env -S 'bash -c'` is the words `env bash -c`
/// (<https://www.gnu.org/software/coreutils/manual/html_node/env-invocation.html>).
fn split(entry_point: &[String]) -> Vec<String> {
    let mut words = Vec::new();
    let mut entry_point = entry_point.iter();
    while let Some(word) = entry_point.next() {
        let after_env = words
            .last()
            .is_some_and(|last: &String| program(last) == "env");
        let text = match after_env {
            true if matches!(&**word, "-S" | "--split-string") => entry_point.next(),
            _ => None,
        };
        let text = text.map(String::as_str).or_else(|| {
            let joined = word
                .strip_prefix("--split-string=")
                .or(word.strip_prefix("-S"));
            joined.filter(|_| after_env)
        });
        match text.and_then(shlex::split) {
            Some(parts) => words.extend(parts),
            None => words.push(word.clone()),
        }
    }
    words
}

#[cfg(test)]
#[path = "entry_point_tests.rs"]
mod tests;
