//! The instructions from the start of a process through its first HTTPS call, counted by callgrind.
//! They repeat to a tenth of a percent, where times do not.

use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;

use crate::aws::Aws;
use crate::runtime_api::RuntimeApi;
use crate::subject::{Environment, Run, Subject};

/// What a function needs before it can do anything.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Instructions {
    /// With the root certificates in the binary.
    pub(crate) own_roots: u64,
    /// With the system's, which `SSL_CERT_FILE` names.
    pub(crate) system_roots: u64,
}

/// Root certificates, PEM.
#[derive(Clone, Copy)]
pub(crate) struct Roots<'a> {
    /// That of the endpoint alone.
    pub(crate) one: &'a Path,
    /// That and the system's.
    pub(crate) system: &'a Path,
}

/// Where the counting takes place.
pub(crate) struct Counter<'a> {
    pub(crate) aws: &'a Aws,
    pub(crate) api: &'a RuntimeApi,
    pub(crate) environment: &'a Environment,
    /// For callgrind's file.
    pub(crate) directory: &'a Path,
    pub(crate) roots: Roots<'a>,
}

/// Until when instructions are counted.
#[derive(Clone, Copy, PartialEq)]
enum Through {
    /// The first request for an event.
    Init,
    /// The answer to the first HTTPS call.
    FirstCall,
}

/// Whether this machine has valgrind.
pub(crate) async fn is_installed() -> bool {
    let mut command = tokio::process::Command::new("valgrind");
    command.arg("--version").stdout(Stdio::null());
    command.status().await.is_ok_and(|status| status.success())
}

impl Counter<'_> {
    /// Counts for a function.
    ///
    /// No public authority vouches for the endpoint, so that a call fails that trusts the roots in
    /// the binary. What they cost is counted through init, where they are taken up; the call is
    /// counted with the endpoint's root alone, and its init taken off.
    ///
    /// # Errors
    /// Valgrind did not run the function.
    pub(crate) async fn count(
        &self,
        function: &Subject,
        name: &str,
        event: &Bytes,
    ) -> Result<Instructions> {
        let with = |roots: Option<&Path>| Subject {
            roots: roots.map(Path::to_owned),
            ..function.clone()
        };
        let (one, system) = (with(Some(self.roots.one)), with(Some(self.roots.system)));
        let count = async |subject: &Subject, through| {
            self.instructions(subject, name, event, through).await
        };
        let init = count(&with(None), Through::Init).await?;
        let init_with_one = count(&one, Through::Init).await?;
        let call_with_one = count(&one, Through::FirstCall).await?;
        Ok(Instructions {
            own_roots: (init + call_with_one).saturating_sub(init_with_one),
            system_roots: count(&system, Through::FirstCall).await?,
        })
    }

    async fn instructions(
        &self,
        subject: &Subject,
        name: &str,
        event: &Bytes,
        through: Through,
    ) -> Result<u64> {
        let file = self.directory.join("callgrind.out");
        let mut out = OsString::from("--callgrind-out-file=");
        out.push(&file);
        let under = ["valgrind", "--quiet", "--tool=callgrind"];
        let subject = Subject {
            under: under.into_iter().map(OsString::from).chain([out]).collect(),
            ..subject.clone()
        };
        let run = Run {
            name,
            event,
            times: usize::from(through == Through::FirstCall),
            pause: Duration::ZERO,
        };
        self.aws.answer_only(Some(1));
        let enough = async {
            tokio::select! {
                () = self.aws.held() => {}
                () = self.api.finished() => {}
            }
        };
        let ran = subject.run(run, self.api, self.environment, enough).await;
        self.aws.answer_only(None);
        ran?;
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("callgrind wrote no {}", file.display()))?;
        summary(&text).context("callgrind counted nothing")
    }
}

/// The total in callgrind's file (<https://valgrind.org/docs/manual/cl-format.html>).
fn summary(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("summary:"));
    line?.trim().parse().ok()
}

/// The table as Markdown; millions of instructions.
pub(crate) fn table(functions: &[(String, Instructions)]) -> String {
    let mut text = String::from(
        "| function | through the first HTTPS call, its own root certificates, M instructions | the system's by SSL_CERT_FILE, M |\n\
         |---|---|---|\n",
    );
    for (name, counted) in functions {
        let millions = |count: u64| format!("{:.2}", count as f64 / 1e6);
        let (own, system) = (millions(counted.own_roots), millions(counted.system_roots));
        text.push_str(&format!("| {name} | {own} | {system} |\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_the_summary() {
        let text = "version: 1\nevents: Ir\nfn=(1)\n16 20\n\ntotals: 15\nsummary: 16123456\n";
        assert_eq!(summary(text), Some(16_123_456));
        assert_eq!(summary("version: 1\n"), None);
    }

    #[test]
    fn a_row_has_both_counts_in_millions() {
        let counted = Instructions {
            own_roots: 4_126_000,
            system_roots: 16_000_000,
        };
        let table = table(&[("wait-task".to_owned(), counted)]);
        assert_eq!(table.lines().last(), Some("| wait-task | 4.13 | 16.00 |"));
    }
}
