//! Nothing of the local AWS outlives it, however it ends.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![cfg(target_os = "linux")]

mod support;

use std::collections::BTreeSet;
use std::path::PathBuf;

use aws_sdk_lambda::primitives::Blob;
use local_aws::client::{LocalAws, StartOptions};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{NewFunction, create, create_role, eventually, python, start};

/// The processes that have `root` above them, and `root` itself.
fn family(root: i32) -> BTreeSet<i32> {
    let mut family = BTreeSet::from([root]);
    loop {
        let before = family.len();
        for (process, parent) in parents() {
            if family.contains(&parent) {
                family.insert(process);
            }
        }
        if family.len() == before {
            return family;
        }
    }
}

fn parents() -> Vec<(i32, i32)> {
    let directories = std::fs::read_dir("/proc").unwrap().flatten();
    directories
        .filter_map(|directory| {
            let process = directory.file_name().to_str()?.parse().ok()?;
            Some((process, stat(process)?.1))
        })
        .collect()
}

/// State and parent of a process, from `/proc/PID/stat`.
fn stat(process: i32) -> Option<(String, i32)> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    let state = fields.next()?.to_owned();
    Some((state, fields.next()?.parse().ok()?))
}

fn lives(process: i32) -> bool {
    stat(process).is_some_and(|(state, _)| state != "Z")
}

/// A local AWS with a function that runs, and its processes: itself, moto, the function.
async fn busy() -> (LocalAws, i32, BTreeSet<i32>) {
    let aws = start().await;
    create_role(aws.endpoint()).await;
    let client = aws_sdk_lambda::Client::new(&aws.sdk_config());
    let new = NewFunction {
        bootstrap: python("return os.getpid()"),
        ..NewFunction::default()
    };
    let name = create(&client, new).await;
    let request = client.invoke().function_name(name);
    let answer = request.payload(Blob::new("{}")).send().await.unwrap();
    let function: i32 = serde_json::from_slice(answer.payload().unwrap().as_ref()).unwrap();
    let (_, server) = parents()
        .into_iter()
        .find(|(process, _)| *process == function)
        .unwrap();
    let family = family(server);
    assert!(
        family.contains(&function) && family.len() >= 3,
        "{family:?}"
    );
    (aws, server, family)
}

async fn all_end(processes: BTreeSet<i32>) {
    eventually(async || (!processes.iter().any(|process| lives(*process))).then_some(())).await;
}

#[tokio::test]
async fn an_orderly_end_leaves_no_process() {
    let (aws, _, family) = busy().await;
    aws.shut_down().await.unwrap();
    all_end(family).await;
}

#[tokio::test]
async fn a_dropped_client_leaves_no_process() {
    let (aws, _, family) = busy().await;
    drop(aws);
    all_end(family).await;
}

#[tokio::test]
async fn a_killed_server_leaves_no_process() {
    let (_aws, server, family) = busy().await;
    kill(Pid::from_raw(server), Signal::SIGKILL).unwrap();
    all_end(family).await;
}

#[tokio::test]
async fn a_terminated_server_ends_in_order() {
    let (aws, server, family) = busy().await;
    kill(Pid::from_raw(server), Signal::SIGTERM).unwrap();
    all_end(family).await;
    aws.shut_down().await.unwrap();
}

#[tokio::test]
async fn a_missing_python_environment_says_what_to_do() {
    let state = tempfile::tempdir().unwrap();
    let error = LocalAws::start(StartOptions {
        venv: PathBuf::from("/nowhere"),
        state: state.path().join("made/if/missing"),
        speed: 1.0,
        binary: env!("CARGO_BIN_EXE_local-aws").into(),
        record_ecs: None,
    })
    .await
    .unwrap_err();
    assert!(error.to_string().contains("run `make setup`"), "{error}");
}
