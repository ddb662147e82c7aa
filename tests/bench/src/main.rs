//! Measures every function against the same function in Python with boto3, and by itself.
//!
//! Both run as Lambda runs them – a process, the Runtime API, AWS over TLS – and take turns, so
//! that whatever else this machine does falls on both. A counterpart has to make the same AWS
//! calls and to give the same answer, or nothing is measured.

mod agreement;
mod authority;
mod aws;
mod instructions;
mod report;
mod runtime_api;
mod shares;
mod subject;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use clap::Parser;
use tempfile::TempDir;

use crate::authority::Authority;
use crate::aws::Aws;
use crate::instructions::{Counter, Instructions, Roots};
use crate::report::Measured;
use crate::runtime_api::RuntimeApi;
use crate::shares::{SIZES, Share, Sized};
use crate::subject::{Environment, Run, Sample, Subject};

/// Measures the functions' zips against their counterparts in Python
#[derive(Parser)]
struct Arguments {
    /// Processes of each kind that are measured for each function
    #[arg(long, default_value_t = 11, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Events that each process gets after its first. A release has one for each function, and a stack's
    /// releases come minutes apart: so few that no process uses up the burst that it has at ECS
    #[arg(long, default_value_t = 2)]
    warm: usize,
    /// Directory with FUNCTION/bootstrap.zip
    #[arg(long, default_value = "target/lambda")]
    zips: PathBuf,
    /// Python that has boto3 and awslambdaric
    #[arg(long, default_value = "target/bench-venv/bin/python")]
    python: PathBuf,
    /// Measure nothing: only check that each function and its counterpart do the same
    #[arg(long)]
    agree: bool,
    /// Only these functions; default: all
    functions: Vec<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    bench::exit_code(run(&Arguments::parse()).await)
}

/// Success where all that must hold does.
async fn run(arguments: &Arguments) -> Result<ExitCode> {
    let bench = Bench::start(arguments).await?;
    let names = names(arguments)?;
    if arguments.agree {
        for name in &names {
            let agreed = bench.agree(name, arguments).await;
            agreed.with_context(|| format!("{name} and its counterpart"))?;
        }
        writeln!(
            std::io::stdout(),
            "{} functions do what their counterparts in Python do",
            names.len()
        )?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut functions = Vec::new();
    for name in &names {
        eprintln!("measuring {name} ...");
        let measured = bench.measure(name, arguments).await;
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
    match instructions::is_installed().await {
        true => {
            let counted = bench.count_all(&names).await?;
            writeln!(out, "{}", instructions::table(&counted))?;
        }
        false => writeln!(
            out,
            "skipped: the instructions are not counted, for want of valgrind (Debian's package of that name)\n"
        )?,
    }
    match shares() {
        Ok(shares) => {
            let sized = bench.measure_shares(&shares, &names, arguments).await?;
            writeln!(out, "{}", shares::table(&sized))?;
        }
        Err(error) => writeln!(
            out,
            "skipped: nothing is measured at the share of a processor that Lambda gives 128, 256 and 512 MB: {error:#}\n"
        )?,
    }
    Ok(bench::tell(&report::verdicts(&functions), out)?)
}

/// One for each size.
fn shares() -> Result<Vec<(u32, Share)>> {
    let shares = SIZES.map(|size| Ok((size, Share::of(size)?)));
    shares.into_iter().collect()
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

/// The endpoint's root certificate alone.
const ROOT: &str = "root.pem";
/// It and the system's.
const ROOTS: &str = "roots.pem";

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
        authority.write_root(&files.path().join(ROOT))?;
        authority.write_bundle(&files.path().join(ROOTS))?;
        let (aws, url) = Aws::start(authority.server_config()?).await?;
        let (api, address) = RuntimeApi::start(aws.clone()).await?;
        let environment = Environment {
            runtime_api: address,
            aws: url,
            log: files.path().join("log"),
        };
        Ok(Self {
            aws,
            api,
            environment,
            files,
        })
    }

    /// Answers for the function from now on, and returns its event.
    fn prepare(&self, name: &str) -> Result<Bytes> {
        let fixtures = directory("fixtures");
        let own = fixtures.join(name);
        self.aws.answer_from(&[&fixtures.join("common"), &own])?;
        let event = std::fs::read(own.join(EVENT)).context("there is no event for it")?;
        Ok(Bytes::from(event))
    }

    async fn measure(&self, name: &str, arguments: &Arguments) -> Result<Measured> {
        let event = self.prepare(name)?;
        let function = self.unpack(name, arguments)?;
        let counterpart = self.python(name, arguments)?;
        let run = several(name, &event, arguments, Duration::ZERO);
        let mut rounds = Vec::new();
        // The first round fills the machine's caches and does not count.
        for round in 0..=arguments.rounds {
            let ours = self.sample(&function, run).await?;
            let theirs = self.sample(&counterpart, run).await;
            let theirs = theirs.context("in Python")?;
            if round == 0 {
                agreement::compare(&ours.invocation, &theirs.invocation)?;
            } else {
                rounds.push((ours, theirs));
            }
        }
        Ok(Measured {
            name: name.to_owned(),
            zip: std::fs::metadata(zip(name, arguments))?.len(),
            rounds,
        })
    }

    async fn agree(&self, name: &str, arguments: &Arguments) -> Result<()> {
        let event = self.prepare(name)?;
        let once = Run {
            name,
            event: &event,
            times: 1,
            pause: Duration::ZERO,
        };
        let ours = self.sample(&self.unpack(name, arguments)?, once).await?;
        let theirs = self.sample(&self.python(name, arguments)?, once).await;
        agreement::compare(&ours.invocation, &theirs.context("in Python")?.invocation)
    }

    async fn count_all(&self, names: &[String]) -> Result<Vec<(String, Instructions)>> {
        let (one, system) = (self.files.path().join(ROOT), self.files.path().join(ROOTS));
        let counter = Counter {
            aws: &self.aws,
            api: &self.api,
            environment: &self.environment,
            directory: self.files.path(),
            roots: Roots {
                one: &one,
                system: &system,
            },
        };
        let mut counted = Vec::new();
        for name in names {
            eprintln!("counting the instructions of {name} ...");
            let event = self.prepare(name)?;
            let function = self.function(name);
            let instructions = counter.count(&function, name, &event).await?;
            counted.push((name.clone(), instructions));
        }
        Ok(counted)
    }

    async fn measure_shares(
        &self,
        shares: &[(u32, Share)],
        names: &[String],
        arguments: &Arguments,
    ) -> Result<Vec<(String, Vec<Sized>)>> {
        let mut all = Vec::new();
        for name in names {
            eprintln!("measuring {name} at Lambda's shares ...");
            let event = self.prepare(name)?;
            let run = several(name, &event, arguments, shares::PAUSE);
            let mut sizes = Vec::new();
            for (size, share) in shares {
                let function = share.around(&self.function(name));
                let mut samples = Vec::new();
                for _ in 0..arguments.rounds {
                    samples.push(self.sample(&function, run).await?);
                }
                sizes.extend(Sized::of(*size, &samples));
            }
            all.push((name.clone(), sizes));
        }
        Ok(all)
    }

    async fn sample(&self, subject: &Subject, run: Run<'_>) -> Result<Sample> {
        subject.measure(run, &self.api, &self.environment).await
    }

    /// Unpacks the function as it is in its zip.
    fn unpack(&self, name: &str, arguments: &Arguments) -> Result<Subject> {
        let zip = zip(name, arguments);
        let file = std::fs::File::open(&zip)
            .with_context(|| format!("cannot open {}: `make functions` makes it", zip.display()))?;
        zip::ZipArchive::new(file)?.extract(self.files.path().join(name))?;
        Ok(self.function(name))
    }

    /// The function, once it is unpacked. In Lambda it has its root certificates decoded in the
    /// binary; what it takes here instead is the one of the endpoint.
    fn function(&self, name: &str) -> Subject {
        let directory = self.files.path().join(name);
        Subject {
            program: directory.join("bootstrap"),
            arguments: Vec::new(),
            directory,
            roots: Some(self.files.path().join(ROOT)),
            under: Vec::new(),
        }
    }

    /// Its counterpart. boto3 comes with a file of roots, which it reads at every start.
    fn python(&self, name: &str, arguments: &Arguments) -> Result<Subject> {
        let handler = format!("{}.handler", name.replace('-', "_"));
        Ok(Subject {
            program: std::path::absolute(&arguments.python)?,
            arguments: vec!["-m".to_owned(), "awslambdaric".to_owned(), handler],
            directory: directory("python"),
            roots: Some(self.files.path().join(ROOTS)),
            under: Vec::new(),
        })
    }
}

fn zip(name: &str, arguments: &Arguments) -> PathBuf {
    arguments.zips.join(name).join("bootstrap.zip")
}

fn several<'a>(name: &'a str, event: &'a Bytes, arguments: &Arguments, pause: Duration) -> Run<'a> {
    Run {
        name,
        event,
        times: arguments.warm + 1,
        pause,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
