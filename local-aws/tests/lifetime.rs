//! Nothing of the local AWS outlives it, however it ends.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![cfg(target_os = "linux")]

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use aws_sdk_lambda::primitives::Blob;
use local_aws::client::{LocalAws, StartOptions};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpgid};
use support::{NewFunction, create, create_role, eventually, python, start, venv};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

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

/// A local AWS by itself, as `make local-aws` starts it.
fn alone(state: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_local-aws"));
    command.arg("--venv").arg(venv()).arg("--state").arg(state);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command.stderr(Stdio::null()).kill_on_drop(true);
    command
}

/// All that it says until it is ready.
async fn said(process: &mut Child) -> Vec<String> {
    let mut lines = BufReader::new(process.stdout.as_mut().unwrap()).lines();
    let mut said = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        said.push(line);
        if said.last().unwrap().starts_with("ready ") {
            return said;
        }
    }
    panic!("never ready: {said:?}");
}

/// Interrupts it, and nothing else; answers how it ended.
async fn interrupted(process: &mut Child) -> ExitStatus {
    let id = i32::try_from(process.id().unwrap()).unwrap();
    // Else it would end because that closes.
    let _stdin = process.stdin.take();
    kill(Pid::from_raw(id), Signal::SIGINT).unwrap();
    process.wait().await.unwrap()
}

#[tokio::test]
async fn alone_it_says_what_to_set_what_it_can_do_and_where_a_page_says_more() {
    let state = tempfile::tempdir().unwrap();
    let mut process = alone(state.path()).spawn().unwrap();
    let said = said(&mut process).await;
    let endpoint = said.last().unwrap().strip_prefix("ready ").unwrap();
    let said = said.join("\n");
    for told in [
        &format!("export AWS_ENDPOINT_URL={endpoint}\n"),
        "AWS_REGION=us-east-1",
        "AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test",
        "docker push",
        "docs/local-aws.md",
    ] {
        assert!(said.contains(told), "{told}: {said}");
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    assert!(root.join("docs/local-aws.md").is_file());
    assert!(interrupted(&mut process).await.success());
}

#[tokio::test]
async fn ctrl_c_ends_it_in_order_at_whatever_moment() {
    for milliseconds in [300, 1000, 2000] {
        let state = tempfile::tempdir().unwrap();
        let mut process = alone(state.path()).spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        let family = family(i32::try_from(process.id().unwrap()).unwrap());
        let status = interrupted(&mut process).await;
        assert!(status.success(), "after {milliseconds} ms: {status}");
        all_end(family).await;
    }
}

/// Else a terminal's interrupt would end it before whoever started it has done so in order.
#[tokio::test]
async fn an_interrupt_from_a_terminal_is_for_whoever_started_it() {
    let aws = start().await;
    let server = i32::try_from(aws.process_id().unwrap()).unwrap();
    assert_eq!(
        getpgid(Some(Pid::from_raw(server))).unwrap().as_raw(),
        server
    );
    aws.shut_down().await.unwrap();
}

fn options(state: &Path) -> StartOptions {
    StartOptions {
        venv: venv(),
        state: state.to_owned(),
        speed: 1.0,
        binary: env!("CARGO_BIN_EXE_local-aws").into(),
        record_ecs: None,
    }
}

#[tokio::test]
async fn two_of_them_do_not_share_a_directory() {
    let state = tempfile::tempdir().unwrap();
    let options = || options(state.path());
    let first = LocalAws::start(options()).await.unwrap();
    let refused = LocalAws::start(options()).await.unwrap_err().to_string();
    let owner = format!("process {}", first.process_id().unwrap());
    for said in [&owner, state.path().to_str().unwrap(), "--state"] {
        assert!(refused.contains(said), "{refused}");
    }
    first.shut_down().await.unwrap();
    let next = LocalAws::start(options()).await.unwrap();
    next.shut_down().await.unwrap();
}

#[tokio::test]
async fn what_a_killed_one_left_is_gone_at_the_next_start() {
    let state = tempfile::tempdir().unwrap();
    let options = || options(state.path());
    let first = LocalAws::start(options()).await.unwrap();
    let blob = first.upload_blob("layer".to_owned()).await.unwrap();
    let stored = state
        .path()
        .join("images/blobs")
        .join(&blob["sha256:".len()..]);
    assert!(stored.is_file(), "{stored:?}");
    let server = i32::try_from(first.process_id().unwrap()).unwrap();
    kill(Pid::from_raw(server), Signal::SIGKILL).unwrap();
    all_end(BTreeSet::from([server])).await;
    assert!(stored.is_file());
    let next = LocalAws::start(options()).await.unwrap();
    assert!(!stored.exists());
    next.shut_down().await.unwrap();
}

#[tokio::test]
async fn a_missing_python_environment_says_what_to_do() {
    let state = tempfile::tempdir().unwrap();
    let error = LocalAws::start(StartOptions {
        venv: PathBuf::from("/nowhere"),
        ..options(&state.path().join("made/if/missing"))
    })
    .await
    .unwrap_err();
    assert!(error.to_string().contains("run `make setup`"), "{error}");
}
