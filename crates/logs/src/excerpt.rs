//! The end of a container's log, for the cause of what failed.

use aws_sdk_cloudwatchlogs::Client;
use aws_sdk_cloudwatchlogs::config::Region;
use bluegreen_contract::{LogLocation, printable};
use bluegreen_runtime::{AwsRequestFailed, failed};
use std::fmt;
use std::time::Duration;

/// The variable by which an SDK is told of an AWS elsewhere.
const ENDPOINT: &str = "AWS_ENDPOINT_URL";
const LINES: usize = 20;
/// A cause holds 32,768 characters in Step Functions; all lines together stay well below, also with
/// the escapes that JSON needs.
const LINE_CHARACTERS: usize = 500;
/// The log driver delivers in batches: a task may be stopped before its last lines have arrived.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(500);
/// A page with few events, or none, need not be the first of a stream: so many are read from its end on
/// (<https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_GetLogEvents.html>).
const PAGES: u32 = 10;

/// Words by which a line tells that something went wrong, in lower case.
const OF_ERRORS: [&str; 6] = ["error", "exception", "fatal", "failed", "failure", "panic"];

/// How a log ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    /// The line that says what went wrong, as far as it can be told from the others; `None` where no line
    /// is known.
    pub error: Option<String>,
    text: String,
}

impl Excerpt {
    /// A sentence in the place of a log that cannot be read.
    #[must_use]
    pub fn untold(text: String) -> Self {
        Self { error: None, text }
    }
}

/// The last lines and a way to the rest.
impl fmt::Display for Excerpt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// How a log ends. Whatever goes wrong with the log is said there instead: no verdict depends on it.
pub async fn excerpt(client: &Client, log: Option<&LogLocation>) -> Excerpt {
    let Some(log) = log else {
        return Excerpt::untold("Its output does not go to CloudWatch Logs.".to_owned());
    };
    let link = way_to(log, std::env::var(ENDPOINT).ok().as_deref());
    match last_lines(&of_region(client, &log.region), log).await {
        Ok(lines) if lines.is_empty() => {
            Excerpt::untold(format!("Its log is empty so far: {link}"))
        }
        Ok(lines) => Excerpt {
            error: error_of(&lines).map(str::to_owned),
            text: format!(
                "The last lines of its log:\n{}\nThe whole log: {link}",
                lines.join("\n")
            ),
        },
        Err(failure) => Excerpt::untold(format!("Its log could not be read ({failure}): {link}")),
    }
}

/// The client, or one like it for another region: a container may write its log there
/// (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/specify-log-config.html>).
fn of_region(client: &Client, region: &str) -> Client {
    let config = client.config();
    if config.region().is_some_and(|own| own.as_ref() == region) {
        return client.clone();
    }
    let region = Region::new(region.to_owned());
    Client::from_conf(config.to_builder().region(region).build())
}

/// The last line that tells of an error: the first cause of several is told last. Frames of a stack say only
/// where. Without such a line the last one.
fn error_of(lines: &[String]) -> Option<&str> {
    let lines = || lines.iter().map(|line| line.trim());
    let tells = |line: &&str| {
        let is_frame = line.starts_with("at ") || line.starts_with("File \"");
        let line = line.to_lowercase();
        !is_frame && OF_ERRORS.iter().any(|word| line.contains(word))
    };
    lines().rfind(tells).or_else(|| lines().next_back())
}

async fn last_lines(client: &Client, log: &LogLocation) -> Result<Vec<String>, AwsRequestFailed> {
    for attempt in 1..=TRIES {
        let lines = lines_so_far(client, log).await?;
        if !lines.is_empty() {
            return Ok(lines);
        }
        if attempt < TRIES {
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(Vec::new())
}

/// The last lines of those that have arrived, page by page from the last one back.
async fn lines_so_far(client: &Client, log: &LogLocation) -> Result<Vec<String>, AwsRequestFailed> {
    let mut messages = Vec::new();
    let mut token = None;
    for _ in 0..PAGES {
        let page = client
            .get_log_events()
            .log_group_name(&log.group)
            .log_stream_name(&log.stream)
            .start_from_head(false)
            .limit(LINES as i32)
            .set_next_token(token.clone())
            .send()
            .await
            .map_err(failed(
                "logs:GetLogEvents",
                format!("{} in {}", log.stream, log.group),
            ))?;
        let before = page.next_backward_token;
        // The token that was given means that there is nothing before.
        if token.is_some() && before == token {
            break;
        }
        let events = page.events.unwrap_or_default().into_iter();
        messages.splice(0..0, events.filter_map(|event| event.message));
        if before.is_none() || messages.len() >= LINES {
            break;
        }
        token = before;
    }
    Ok(tail(messages.iter().map(String::as_str)))
}

/// The last lines of the messages, each cut to a length that can be read. A message may hold
/// several lines.
fn tail<'a>(messages: impl Iterator<Item = &'a str>) -> Vec<String> {
    let lines: Vec<&str> = messages
        .flat_map(str::lines)
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
        .collect();
    lines[lines.len().saturating_sub(LINES)..]
        .iter()
        .map(|line| cut(line))
        .collect()
}

/// A cause is read in terminals too.
fn cut(line: &str) -> String {
    let line = printable(line);
    match line.char_indices().nth(LINE_CHARACTERS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// How a person gets to the whole log. An AWS elsewhere, as the local one, has no console, and the account's
/// own would show another's log, or none.
fn way_to(log: &LogLocation, endpoint: Option<&str>) -> String {
    let LogLocation {
        group,
        stream,
        region,
    } = log;
    match endpoint {
        None => console_link(log),
        Some(endpoint) => format!(
            "aws logs get-log-events --log-group-name '{group}' --log-stream-name '{stream}' --region {region} \
             --endpoint-url {endpoint}"
        ),
    }
}

/// The stream in CloudWatch's console, whose addresses escape twice, the second time with `$`.
fn console_link(log: &LogLocation) -> String {
    let region = &log.region;
    let domain = match region {
        region if region.starts_with("cn-") => "console.amazonaws.cn",
        region if region.starts_with("us-gov-") => "console.amazonaws-us-gov.com",
        _ => "console.aws.amazon.com",
    };
    format!(
        "https://{region}.{domain}/cloudwatch/home?region={region}#logsV2:log-groups/log-group/{}/log-events/{}",
        escape(&log.group),
        escape(&log.stream)
    )
}

fn escape(name: &str) -> String {
    let mut escaped = String::new();
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                escaped.push(char::from(byte));
            }
            _ => escaped.push_str(&format!("$25{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_cloudwatchlogs::config::interceptors::BeforeTransmitInterceptorContextRef;
    use aws_sdk_cloudwatchlogs::config::{ConfigBag, Intercept, RuntimeComponents};
    use aws_sdk_cloudwatchlogs::error::BoxError;
    use aws_sdk_cloudwatchlogs::operation::get_log_events::GetLogEventsOutput;
    use aws_sdk_cloudwatchlogs::types::OutputLogEvent;
    use aws_smithy_mocks::{RuleMode, mock, mock_client};
    use std::sync::{Arc, Mutex};

    fn location(region: &str) -> LogLocation {
        LogLocation {
            group: "/ecs/demo".to_owned(),
            stream: "app/web/0123".to_owned(),
            region: region.to_owned(),
        }
    }

    #[test]
    fn the_link_leads_to_the_stream_in_its_partition() {
        assert_eq!(
            console_link(&location("us-east-1")),
            "https://us-east-1.console.aws.amazon.com/cloudwatch/home?region=us-east-1#logsV2:log-groups/log-group/$252Fecs$252Fdemo/log-events/app$252Fweb$252F0123"
        );
        assert!(
            console_link(&location("cn-north-1"))
                .starts_with("https://cn-north-1.console.amazonaws.cn/")
        );
        assert!(
            console_link(&location("us-gov-west-1"))
                .starts_with("https://us-gov-west-1.console.amazonaws-us-gov.com/")
        );
    }

    #[test]
    fn in_an_aws_elsewhere_the_way_does_not_lead_to_the_console_of_the_account() {
        let (log, endpoint) = (location("us-east-1"), "http://127.0.0.1:4566");
        assert_eq!(
            way_to(&log, Some(endpoint)),
            "aws logs get-log-events --log-group-name '/ecs/demo' --log-stream-name 'app/web/0123' \
             --region us-east-1 --endpoint-url http://127.0.0.1:4566"
        );
        assert_eq!(way_to(&log, None), console_link(&log));
    }

    #[test]
    fn no_more_than_the_last_twenty_lines_are_kept() {
        let messages: Vec<String> = (1..=15).map(|n| format!("{n}a\n{n}b\n\n")).collect();
        let lines = tail(messages.iter().map(String::as_str));
        assert_eq!(lines.len(), LINES);
        assert_eq!(lines.first().unwrap(), "6a");
        assert_eq!(lines.last().unwrap(), "15b");
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let lines = tail(["ü".repeat(5_000).as_str()].into_iter());
        assert_eq!(lines[0].chars().count(), LINE_CHARACTERS + 1);
    }

    #[test]
    fn a_terminal_obeys_nothing_in_a_line() {
        let lines = tail(["\u{1b}]0;title\u{7}failed\n"].into_iter());
        assert_eq!(lines, ["\u{fffd}]0;title\u{fffd}failed"]);
    }

    #[tokio::test(start_paused = true)]
    async fn lines_that_arrive_late_are_waited_for() {
        let rule = mock!(Client::get_log_events)
            .sequence()
            .output(|| GetLogEventsOutput::builder().build())
            .times(2)
            .output(|| {
                GetLogEventsOutput::builder()
                    .events(OutputLogEvent::builder().message("late").build())
                    .build()
            })
            .build();
        let client = mock_client!(aws_sdk_cloudwatchlogs, RuleMode::MatchAny, &[&rule]);
        let excerpt = excerpt(&client, Some(&location("us-east-1"))).await;
        assert!(excerpt.to_string().contains("late"), "{excerpt}");
        assert_eq!(excerpt.error.as_deref(), Some("late"));
    }

    #[test]
    fn the_line_that_says_what_went_wrong_is_found_among_those_that_say_where() {
        for (log, expected) in [
            (
                "applying 0002\nrelation posts exists",
                "relation posts exists",
            ),
            // Rails (<https://guides.rubyonrails.org/active_record_migrations.html>).
            (
                "rails aborted!\nStandardError: An error has occurred, all later migrations canceled:\n\
                 PG::UndefinedTable: ERROR:  relation \"posts\" does not exist\n\
                 /app/db/migrate/2_add.rb:3:in 'change'\nTasks: TOP => db:migrate\n\
                 (See full trace by running task with --trace)",
                "PG::UndefinedTable: ERROR:  relation \"posts\" does not exist",
            ),
            // Node (<https://nodejs.org/api/errors.html>).
            (
                "Error: connect ECONNREFUSED\n    at connect (node:net:1)\n    at f (/app/errors.js:2)",
                "Error: connect ECONNREFUSED",
            ),
        ] {
            let lines: Vec<String> = log.lines().map(str::to_owned).collect();
            assert_eq!(error_of(&lines), Some(expected));
        }
        assert_eq!(error_of(&[]), None);
    }

    fn page(lines: &[&str], before: &str) -> GetLogEventsOutput {
        let events = lines
            .iter()
            .map(|line| OutputLogEvent::builder().message(*line).build());
        GetLogEventsOutput::builder()
            .set_events(Some(events.collect()))
            .next_backward_token(before)
            .build()
    }

    /// API_GetLogEvents: "Partially full or empty pages don't necessarily mean that pagination is
    /// finished", and at the end of a stream the token is the one that was given.
    #[tokio::test(start_paused = true)]
    async fn pages_are_followed_until_there_is_none_before() {
        let rule = mock!(Client::get_log_events).then_compute_output(|request| {
            match request.next_token() {
                None => page(&[], "b/2"),
                Some("b/2") => page(&["second", "third"], "b/1"),
                Some("b/1") => page(&["first"], "b/0"),
                _ => page(&["never again"], "b/0"),
            }
        });
        let client = mock_client!(aws_sdk_cloudwatchlogs, RuleMode::MatchAny, &[&rule]);
        let excerpt = excerpt(&client, Some(&location("us-east-1"))).await;
        assert!(
            excerpt
                .to_string()
                .contains("first\nsecond\nthird\nThe whole"),
            "{excerpt}"
        );
        assert_eq!(rule.num_calls(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_pages_are_read_than_the_lines_need() {
        let full: Vec<String> = (1..=20).map(|number| number.to_string()).collect();
        let endless = mock!(Client::get_log_events).then_compute_output(|request| {
            let number = request.next_token().map_or(0, str::len);
            page(&["line"], &"b".repeat(number + 1))
        });
        let enough = mock!(Client::get_log_events).then_compute_output(move |_| {
            let lines: Vec<&str> = full.iter().map(String::as_str).collect();
            page(&lines, "b/1")
        });
        for (rule, calls) in [(endless, PAGES as usize), (enough, 1)] {
            let client = mock_client!(aws_sdk_cloudwatchlogs, RuleMode::MatchAny, &[&rule]);
            excerpt(&client, Some(&location("us-east-1"))).await;
            assert_eq!(rule.num_calls(), calls);
        }
    }

    /// Where requests are sent.
    #[derive(Debug, Clone, Default)]
    struct Sent(Arc<Mutex<Vec<String>>>);

    impl Intercept for Sent {
        fn name(&self) -> &'static str {
            "Sent"
        }

        fn read_before_transmit(
            &self,
            context: &BeforeTransmitInterceptorContextRef<'_>,
            _: &RuntimeComponents,
            _: &mut ConfigBag,
        ) -> Result<(), BoxError> {
            let uri = context.request().uri().to_owned();
            self.0.lock().unwrap().push(uri);
            Ok(())
        }
    }

    /// apache/airflow#70465, aws/aws-cdk#17747: `awslogs-region` may be another one than the task's.
    #[tokio::test]
    async fn a_log_in_another_region_is_read_there() {
        for region in ["us-east-1", "eu-west-1"] {
            let sent = Sent::default();
            let log = sent.clone();
            let rule = mock!(Client::get_log_events).then_output(|| page(&["it crashed"], "b/1"));
            let rules = [&rule];
            let client = mock_client!(
                aws_sdk_cloudwatchlogs,
                RuleMode::MatchAny,
                rules,
                move |config| config.interceptor(log.clone())
            );
            let excerpt = excerpt(&client, Some(&location(region))).await;
            assert!(excerpt.to_string().contains("it crashed"), "{excerpt}");
            let sent = sent.0.lock().unwrap();
            let host = format!("https://logs.{region}.");
            assert!(sent[0].starts_with(&host), "{sent:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_that_stays_empty_is_said_to_be_so() {
        let rule = mock!(Client::get_log_events)
            .sequence()
            .output(|| GetLogEventsOutput::builder().build())
            .repeatedly();
        let rule = rule.build();
        let client = mock_client!(aws_sdk_cloudwatchlogs, RuleMode::MatchAny, &[&rule]);
        let excerpt = excerpt(&client, Some(&location("us-east-1"))).await;
        assert!(excerpt.to_string().contains("empty so far"), "{excerpt}");
        assert_eq!(excerpt.error, None);
        assert_eq!(rule.num_calls(), TRIES as usize);
    }
}
