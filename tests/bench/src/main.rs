//! Measures every function against the same function in Python with boto3.
//!
//! Both run as Lambda runs them – a process, the Runtime API, AWS over TLS – and take turns, so
//! that whatever else this machine does falls on both. A counterpart has to make the same AWS
//! calls and to give the same answer, or nothing is measured.

mod authority;
mod aws;
mod report;
mod runtime_api;
mod subject;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use clap::Parser;
use serde_json::Value;
use tempfile::TempDir;

use crate::authority::Authority;
use crate::aws::Aws;
use crate::report::Measured;
use crate::runtime_api::{Invocation, Outcome, RuntimeApi};
use crate::subject::{Environment, Sample, Subject};

/// Measures the functions' zips against their counterparts in Python
#[derive(Parser)]
struct Arguments {
    /// Processes of each kind that are measured for each function
    #[arg(long, default_value_t = 11, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Events that each process gets after its first
    #[arg(long, default_value_t = 10)]
    warm: usize,
    /// Directory with FUNCTION/bootstrap.zip
    #[arg(long, default_value = "target/lambda")]
    zips: PathBuf,
    /// Python that has boto3 and awslambdaric
    #[arg(long, default_value = "target/bench-venv/bin/python")]
    python: PathBuf,
    /// Only these functions; default: all
    functions: Vec<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    run(&Arguments::parse()).await.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

/// Success where all that must hold does.
async fn run(arguments: &Arguments) -> Result<ExitCode> {
    let bench = Bench::start(arguments).await?;
    let mut functions = Vec::new();
    for name in names(arguments)? {
        eprintln!("measuring {name} ...");
        let measured = bench.measure(&name, arguments).await;
        functions.push(measured.with_context(|| format!("cannot measure {name}"))?);
    }
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "Each cell: ours / Python with boto3 = ratio. Medians of {} processes of each kind, which took turns; \
         the ratio is the median of each turn's.\n\n{}",
        arguments.rounds,
        report::table(&functions)
    )?;
    let mut code = ExitCode::SUCCESS;
    for verdict in report::verdicts(&functions) {
        let word = if verdict.holds { "yes" } else { "NO" };
        writeln!(out, "- {word}: {}", verdict.sentence)?;
        if !verdict.holds {
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}

/// The functions that have an event, or those that were asked for.
fn names(arguments: &Arguments) -> Result<Vec<String>> {
    if !arguments.functions.is_empty() {
        return Ok(arguments.functions.clone());
    }
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory("fixtures"))? {
        let entry = entry?;
        if entry.path().join(EVENT).is_file() {
            names.extend(entry.file_name().into_string());
        }
    }
    names.sort();
    Ok(names)
}

const EVENT: &str = "event.json";

fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The services of a run, and its files.
struct Bench {
    aws: Aws,
    api: RuntimeApi,
    environment: Environment,
    files: TempDir,
}

impl Bench {
    async fn start(arguments: &Arguments) -> Result<Self> {
        if !arguments.python.is_file() {
            bail!(
                "there is no {}: `make bench` makes it",
                arguments.python.display()
            );
        }
        let files = TempDir::with_prefix("bench-")?;
        let authority = Authority::new()?;
        let roots = files.path().join("roots.pem");
        authority.write_bundle(&roots)?;
        let (aws, url) = Aws::start(authority.server_config()?).await?;
        let (api, address) = RuntimeApi::start(aws.clone()).await?;
        let environment = Environment {
            runtime_api: address,
            aws: url,
            roots,
            log: files.path().join("log"),
        };
        Ok(Self {
            aws,
            api,
            environment,
            files,
        })
    }

    async fn measure(&self, name: &str, arguments: &Arguments) -> Result<Measured> {
        let fixtures = directory("fixtures");
        let own = fixtures.join(name);
        self.aws.answer_from(&[&fixtures.join("common"), &own])?;
        let event = std::fs::read(own.join(EVENT)).context("there is no event for it")?;
        let event = Bytes::from(event);
        let zip = arguments.zips.join(name).join("bootstrap.zip");
        let function = self.unpack(name, &zip)?;
        let counterpart = python(name, &arguments.python)?;

        let mut rounds = Vec::new();
        // The first round fills the machine's caches and does not count.
        for round in 0..=arguments.rounds {
            let ours = self.run(&function, name, &event, arguments).await?;
            let theirs = self
                .run(&counterpart, name, &event, arguments)
                .await
                .context("in Python")?;
            if round == 0 {
                compare(&ours.invocation, &theirs.invocation)?;
            } else {
                rounds.push((ours, theirs));
            }
        }
        let zip = std::fs::metadata(zip)?.len();
        Ok(Measured {
            name: name.to_owned(),
            zip,
            rounds,
        })
    }

    async fn run(
        &self,
        subject: &Subject,
        name: &str,
        event: &Bytes,
        arguments: &Arguments,
    ) -> Result<Sample> {
        subject
            .measure(name, &self.api, &self.environment, event, arguments.warm)
            .await
    }

    /// The function as it is in its zip.
    fn unpack(&self, name: &str, zip: &Path) -> Result<Subject> {
        let file = std::fs::File::open(zip)
            .with_context(|| format!("cannot open {}: `make functions` makes it", zip.display()))?;
        let directory = self.files.path().join(name);
        zip::ZipArchive::new(file)?.extract(&directory)?;
        Ok(Subject {
            program: directory.join("bootstrap"),
            arguments: Vec::new(),
            directory,
        })
    }
}

fn python(name: &str, python: &Path) -> Result<Subject> {
    let handler = format!("{}.handler", name.replace('-', "_"));
    Ok(Subject {
        program: std::path::absolute(python)?,
        arguments: vec!["-m".to_owned(), "awslambdaric".to_owned(), handler],
        directory: directory("python"),
    })
}

/// Sentences for people may be worded differently; all else is the same.
const PROSE: [&str; 2] = ["reason", "cause"];

fn compare(ours: &Invocation, python: &Invocation) -> Result<()> {
    if ours.calls.is_empty() {
        bail!(
            "it makes no AWS call: there is nothing to measure over TLS: {:?}",
            ours.outcome
        );
    }
    let calls_agree = ours.calls == python.calls;
    let outcomes_agree = match (&ours.outcome, &python.outcome) {
        (Outcome::Answer(ours), Outcome::Answer(python)) => {
            without_prose(ours) == without_prose(python)
        }
        (Outcome::Error { name: ours, .. }, Outcome::Error { name: python, .. }) => ours == python,
        _ => false,
    };
    if calls_agree && outcomes_agree {
        return Ok(());
    }
    bail!("its counterpart in Python is another function:\nours: {ours:?}\nPython: {python:?}")
}

fn without_prose(value: &Value) -> Value {
    match value {
        Value::Object(members) => members
            .iter()
            .filter(|(key, _)| !PROSE.contains(&key.as_str()))
            .map(|(key, value)| (key.clone(), without_prose(value)))
            .collect(),
        Value::Array(items) => items.iter().map(without_prose).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use serde_json::json;

    fn invocation(outcome: Outcome, calls: &[&str]) -> Invocation {
        let calls = calls.iter().map(|&call| call.to_owned()).collect();
        Invocation {
            took: Duration::ZERO,
            outcome,
            calls,
        }
    }

    fn answer(value: Value, calls: &[&str]) -> Invocation {
        invocation(Outcome::Answer(value), calls)
    }

    fn error(name: &str, message: &str) -> Invocation {
        let (name, message) = (name.to_owned(), message.to_owned());
        invocation(Outcome::Error { name, message }, &["logs.GetLogEvents"])
    }

    #[test]
    fn a_counterpart_gives_the_same_answer_in_its_own_words() {
        let calls = ["ecs.DescribeTasks"];
        let ours = answer(json!({"stopped": true, "cause": "It stopped."}), &calls);
        assert!(
            compare(
                &ours,
                &answer(json!({"stopped": true, "cause": "stopped"}), &calls)
            )
            .is_ok()
        );
        assert!(
            compare(
                &ours,
                &answer(json!({"stopped": false, "cause": "It stopped."}), &calls)
            )
            .is_err()
        );
        assert!(compare(&error("A", "x"), &error("A", "y")).is_ok());
        assert!(compare(&error("A", "x"), &error("B", "x")).is_err());
        assert!(compare(&ours, &error("A", "x")).is_err());
    }

    #[test]
    fn a_counterpart_makes_the_same_calls() {
        let one = answer(json!(1), &["ecs.DescribeTasks"]);
        let two = answer(json!(1), &["ecs.DescribeTasks", "ecs.RunTask"]);
        let none = answer(json!(1), &[]);
        assert!(compare(&one, &one).is_ok());
        assert!(compare(&one, &two).is_err());
        assert!(compare(&none, &none).is_err());
    }

    #[test]
    fn every_function_has_an_event_and_a_counterpart() {
        let arguments = Arguments::parse_from(["bench"]);
        let names = names(&arguments).unwrap();
        let functions = directory("../../functions");
        let mut crates: Vec<String> = std::fs::read_dir(&functions)
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.path().join("src/main.rs").is_file())
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        crates.sort();
        assert_eq!(names, crates);
        for name in names {
            let file = directory("python").join(format!("{}.py", name.replace('-', "_")));
            assert!(file.is_file(), "{}", file.display());
        }
    }
}
