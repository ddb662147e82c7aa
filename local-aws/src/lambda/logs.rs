//! Functions' log lines on their way to CloudWatch Logs.

use std::time::SystemTime;

use aws_sdk_cloudwatchlogs::Client;
use aws_sdk_cloudwatchlogs::types::InputLogEvent;
use tokio::sync::mpsc;

/// The most bytes and events one PutLogEvents call may carry, with room for overhead.
const BATCH_EVENTS: usize = 1_000;

/// The log stream of one execution environment.
#[derive(Clone, Debug)]
pub(crate) struct LogStream {
    name: String,
    lines: mpsc::UnboundedSender<Line>,
}

#[derive(Debug)]
struct Line {
    time: SystemTime,
    text: String,
}

impl LogStream {
    /// Opens a stream of `group` named as Lambda names its own; lines are sent in the background.
    pub(crate) fn open(client: Client, group: String, version: &str) -> Self {
        let day = jiff::Timestamp::now().strftime("%Y/%m/%d").to_string();
        let name = format!("{day}/[{version}]{}", uuid::Uuid::new_v4().simple());
        let (lines, receiver) = mpsc::unbounded_channel();
        tokio::spawn(deliver(client, group, name.clone(), receiver));
        Self { name, lines }
    }

    /// The stream's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Appends lines, with the time of now.
    pub(crate) fn append(&self, texts: &[String]) {
        let time = SystemTime::now();
        for text in texts.iter().filter(|text| !text.is_empty()) {
            // The receiver lives as long as any sender does.
            self.lines
                .send(Line {
                    time,
                    text: text.clone(),
                })
                .ok();
        }
    }
}

async fn deliver(
    client: Client,
    group: String,
    stream: String,
    mut lines: mpsc::UnboundedReceiver<Line>,
) {
    let mut batch = Vec::new();
    let mut created = false;
    while lines.recv_many(&mut batch, BATCH_EVENTS).await > 0 {
        if !created {
            created = create(&client, &group, &stream).await;
        }
        if let Err(error) = put(&client, &group, &stream, batch.drain(..)).await {
            tracing::warn!("the log of {group} is not written: {error:#}");
        }
    }
}

async fn create(client: &Client, group: &str, stream: &str) -> bool {
    // Lambda makes the group when the template did not; that it exists is the usual case.
    client
        .create_log_group()
        .log_group_name(group)
        .send()
        .await
        .ok();
    let request = client.create_log_stream().log_group_name(group);
    match request.log_stream_name(stream).send().await {
        Ok(_) => true,
        Err(error) => {
            let error = anyhow::Error::new(error);
            tracing::warn!("no log stream in {group}: {error:#}");
            false
        }
    }
}

async fn put(
    client: &Client,
    group: &str,
    stream: &str,
    lines: impl Iterator<Item = Line>,
) -> anyhow::Result<()> {
    let mut request = client
        .put_log_events()
        .log_group_name(group)
        .log_stream_name(stream);
    for line in lines {
        let time = line.time.duration_since(SystemTime::UNIX_EPOCH)?;
        let event = InputLogEvent::builder()
            .timestamp(i64::try_from(time.as_millis())?)
            .message(line.text)
            .build()?;
        request = request.log_events(event);
    }
    request.send().await?;
    Ok(())
}
