//! awslogs (<https://github.com/jorgebastida/awslogs>), with which people read what tasks write.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::program::{aws, program, run};
use crate::support::eventually;

/// `awslogs get` of a group, from a day ago on.
async fn get(group: &str) -> Command {
    let mut command = program("awslogs").await;
    command.args(["get", group, "ALL", "-s1d"]);
    command
}

async fn put(group: &str, stream: &str, messages: &[&str]) {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let events: Vec<String> = messages
        .iter()
        .enumerate()
        .map(|(place, message)| {
            format!(
                "timestamp={},message={message}",
                now.as_millis() + place as u128
            )
        })
        .collect();
    aws(&format!(
        "logs put-log-events --log-group-name {group} --log-stream-name {stream} --log-events {}",
        events.join(" ")
    ))
    .await;
}

async fn create(group: &str, streams: &[&str]) {
    aws(&format!("logs create-log-group --log-group-name {group}")).await;
    for stream in streams {
        aws(&format!(
            "logs create-log-stream --log-group-name {group} --log-stream-name {stream}"
        ))
        .await;
    }
}

pub(crate) async fn awslogs_shows_the_logs_of_all_tasks_of_a_day() {
    create("/shown", &["web/1", "web/2"]).await;
    put("/shown", "web/1", &["one", "two"]).await;
    put("/shown", "web/2", &["three"]).await;
    let output = run(&mut get("/shown").await).await;
    assert!(output.status.success(), "{output:?}");
    let shown = String::from_utf8(output.stdout).unwrap();
    let shown: Vec<Vec<&str>> = shown
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        shown,
        [
            ["/shown", "web/1", "one"],
            ["/shown", "web/1", "two"],
            ["/shown", "web/2", "three"]
        ]
    );
}

pub(crate) async fn awslogs_goes_on_to_show_what_comes() {
    create("/watched", &["web"]).await;
    put("/watched", "web", &["before"]).await;
    let mut command = get("/watched").await;
    command.arg("--watch").stdout(Stdio::piped());
    let mut watching = command.spawn().unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    for message in ["before", "next", "last"] {
        if message != "before" {
            put("/watched", "web", &[message]).await;
        }
        // Each is shown once, in its order.
        let line = lines.next_line().await.unwrap().unwrap();
        assert!(line.ends_with(message), "{line:?} is not {message}");
    }
    watching.kill().await.unwrap();
    eventually(async || watching.try_wait().unwrap()).await;
}
