//! The `awslogs` log driver: a container's lines go to CloudWatch Logs.

use std::time::{Duration, SystemTime};

use aws_sdk_cloudwatchlogs::Client;
use aws_sdk_cloudwatchlogs::config::Region;
use aws_sdk_cloudwatchlogs::error::ProvideErrorMetadata;
use aws_sdk_cloudwatchlogs::types::InputLogEvent;
use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

/// How long lines are gathered before they are sent.
const GATHERING: Duration = Duration::from_millis(200);
/// Limits of PutLogEvents: events and bytes of a batch, bytes counted beyond each message.
const MAX_EVENTS: usize = 10_000;
const MAX_BATCH_BYTES: usize = 1_048_576;
const EVENT_OVERHEAD: usize = 26;
/// Longer lines are cut into several events.
const MAX_LINE_BYTES: u64 = 256 * 1024 - EVENT_OVERHEAD as u64;
/// Lines that wait to be sent; a container that writes faster has to wait, so that memory stays
/// bounded (the driver's `blocking` mode).
const WAITING_LINES: usize = 256;
const ATTEMPTS: u32 = 3;

/// The options of a container's `logConfiguration`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogOptions {
    pub(crate) group: String,
    pub(crate) stream: String,
    /// Where the group is, if not in this region.
    pub(crate) region: Option<String>,
    pub(crate) create_group: bool,
}

impl LogOptions {
    /// The client for the region of the group.
    fn client(&self, ours: &Client) -> Client {
        match &self.region {
            Some(region) => {
                let config = ours.config().to_builder();
                Client::from_conf(config.region(Region::new(region.clone())).build())
            }
            None => ours.clone(),
        }
    }
}

/// Why the log driver refused to start; ECS puts the text behind `ResourceInitializationError: `.
#[derive(Debug, Error)]
#[error(
    "failed to validate logger args: create stream has been retried 1 times: failed to create \
     Cloudwatch log stream: {code}: {message} : exit status 1"
)]
pub(crate) struct LogError {
    code: String,
    message: String,
}

impl LogError {
    fn new(error: &impl ProvideErrorMetadata) -> Self {
        Self {
            code: error.code().unwrap_or("RequestError").to_owned(),
            message: error.message().unwrap_or("send request failed").to_owned(),
        }
    }
}

/// Creates the stream, and before it the group where the options ask for it.
pub(crate) async fn create_stream(client: &Client, options: &LogOptions) -> Result<(), LogError> {
    let client = options.client(client);
    if options.create_group
        && let Err(error) = client
            .create_log_group()
            .log_group_name(&options.group)
            .send()
            .await
    {
        let error = error.into_service_error();
        if !error.is_resource_already_exists_exception() {
            return Err(LogError::new(&error));
        }
    }
    let created = client
        .create_log_stream()
        .log_group_name(&options.group)
        .log_stream_name(&options.stream)
        .send()
        .await;
    match created.map_err(aws_sdk_cloudwatchlogs::error::SdkError::into_service_error) {
        Err(error) if !error.is_resource_already_exists_exception() => Err(LogError::new(&error)),
        _ => Ok(()),
    }
}

/// Sends the container's lines until its output ends, and returns when the last has arrived.
pub(crate) async fn ship(client: &Client, options: LogOptions, output: pipe::Receiver) {
    let client = options.client(client);
    let (sender, receiver) = mpsc::channel(WAITING_LINES);
    tokio::join!(
        read_lines(output, sender),
        send_batches(client, options, receiver)
    );
}

/// Reads the container's output and forgets it, where the container has no log driver.
pub(crate) async fn discard(mut output: pipe::Receiver) {
    let _ = tokio::io::copy(&mut output, &mut tokio::io::sink()).await;
}

async fn read_lines(output: pipe::Receiver, lines: mpsc::Sender<InputLogEvent>) {
    let mut reader = BufReader::new(output);
    let mut last = 0;
    loop {
        let mut line = Vec::new();
        let read = (&mut reader)
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut line)
            .await;
        if !matches!(read, Ok(count) if count > 0) {
            return;
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end_matches(['\n', '\r']);
        if text.is_empty() {
            continue;
        }
        // A batch has to be in chronological order, even if the machine's clock is set back.
        last = now_milliseconds().max(last);
        let event = InputLogEvent::builder()
            .timestamp(last)
            .message(text)
            .build();
        let Ok(event) = event else { return };
        if lines.send(event).await.is_err() {
            return;
        }
    }
}

async fn send_batches(
    client: Client,
    options: LogOptions,
    mut lines: mpsc::Receiver<InputLogEvent>,
) {
    let mut pending: Option<InputLogEvent> = None;
    loop {
        let first = match pending.take() {
            Some(event) => event,
            None => match lines.recv().await {
                Some(event) => event,
                None => return,
            },
        };
        let mut bytes = size(&first);
        let mut batch = vec![first];
        let deadline = Instant::now() + GATHERING;
        while batch.len() < MAX_EVENTS {
            let Ok(Some(event)) = timeout_at(deadline, lines.recv()).await else {
                break;
            };
            bytes += size(&event);
            if bytes > MAX_BATCH_BYTES {
                pending = Some(event);
                break;
            }
            batch.push(event);
        }
        put(&client, &options, batch).await;
    }
}

fn size(event: &InputLogEvent) -> usize {
    event.message().len() + EVENT_OVERHEAD
}

async fn put(client: &Client, options: &LogOptions, batch: Vec<InputLogEvent>) {
    for attempt in 1..=ATTEMPTS {
        let sent = client
            .put_log_events()
            .log_group_name(&options.group)
            .log_stream_name(&options.stream)
            .set_log_events(Some(batch.clone()))
            .send()
            .await;
        let Err(error) = sent else { return };
        let error = error.into_service_error();
        tracing::warn!(group = options.group, stream = options.stream, attempt, %error, "log lines were not taken");
        tokio::time::sleep(GATHERING * attempt).await;
    }
}

fn now_milliseconds() -> i64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .ok()
        .and_then(|elapsed| i64::try_from(elapsed.as_millis()).ok())
        .unwrap_or(0)
}
