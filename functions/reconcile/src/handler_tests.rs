use super::*;
use aws_sdk_cloudformation::operation::describe_stacks::DescribeStacksOutput;
use aws_sdk_cloudformation::types::{Output, Stack, StackStatus};
use aws_sdk_dynamodb::operation::get_item::GetItemOutput;
use aws_sdk_dynamodb::operation::query::QueryOutput;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_ecr::operation::describe_images::DescribeImagesOutput;
use aws_sdk_ecr::operation::describe_repositories::DescribeRepositoriesOutput;
use aws_sdk_ecr::operation::list_tags_for_resource::{
    ListTagsForResourceError, ListTagsForResourceOutput,
};
use aws_sdk_ecr::types::{ImageDetail, Repository, Tag};
use aws_sdk_sfn::operation::start_execution::StartExecutionOutput;
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
use aws_smithy_types::DateTime;
use bluegreen_runtime::diagnostic;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::Duration;

const MACHINE: &str = "arn:aws:states:us-east-1:123456789012:stateMachine:deploy";
/// 2026-01-01T00:10:00Z
const NOW: u64 = 1_767_226_200;

/// An account of one stack, `demo`, and its repository of the same name. Times are seconds before
/// now.
struct World {
    images: Vec<(&'static str, &'static str, u64)>,
    /// What was deployed to the stack last, if anything was.
    deployed: Option<u64>,
    /// Digests of releases and when they began, the newest first; and of the one that waits.
    released: Vec<(&'static str, u64)>,
    waiting: Option<&'static str>,
    image_tags: &'static str,
    status: StackStatus,
}

fn world() -> World {
    World {
        images: vec![
            ("v1", "sha256:1", 3600),
            ("v2", "sha256:2", 300),
            ("other", "sha256:3", 200),
        ],
        deployed: Some(3590),
        released: vec![("sha256:1", 3590)],
        waiting: None,
        image_tags: "v*",
        status: StackStatus::CreateComplete,
    }
}

fn before_now(seconds: u64) -> String {
    DateTime::from_secs(i64::try_from(NOW - seconds).unwrap())
        .fmt(aws_smithy_types::date_time::Format::DateTime)
        .unwrap()
}

impl World {
    fn ecr(&self) -> aws_sdk_ecr::Client {
        use aws_sdk_ecr::Client;
        let repositories = mock!(Client::describe_repositories).then_output(|| {
            let named = |name: &str| Repository::builder().repository_name(name).build();
            DescribeRepositoriesOutput::builder()
                .repositories(named("unlinked"))
                .repositories(named("broken"))
                .repositories(named("demo"))
                .build()
        });
        let tags = |name: &'static str, stacks: Option<&'static str>| {
            mock!(Client::list_tags_for_resource)
                .match_requests(move |request| request.resource_arn().unwrap().ends_with(name))
                .then_output(move || {
                    let tag = stacks.map(|stacks| {
                        Tag::builder()
                            .key("bluegreen:stacks")
                            .value(stacks)
                            .build()
                            .unwrap()
                    });
                    ListTagsForResourceOutput::builder()
                        .set_tags(tag.map(|tag| vec![tag]))
                        .build()
                })
        };
        let (unlinked, demo) = (tags("/unlinked", None), tags("/demo", Some("demo")));
        let broken = mock!(Client::list_tags_for_resource).then_error(|| {
            ListTagsForResourceError::generic(
                aws_sdk_ecr::error::ErrorMetadata::builder()
                    .code("AccessDeniedException")
                    .message("not you")
                    .build(),
            )
        });
        let listed = self.images.clone();
        let images = mock!(Client::describe_images)
            .match_requests(|request| request.repository_name() == Some("demo"))
            .then_output(move || {
                let details = listed.iter().map(|(tag, digest, ago)| {
                    ImageDetail::builder()
                        .image_tags(*tag)
                        .image_digest(*digest)
                        .image_pushed_at(DateTime::from_secs(i64::try_from(NOW - ago).unwrap()))
                        .build()
                });
                DescribeImagesOutput::builder()
                    .set_image_details(Some(details.collect()))
                    .build()
            });
        mock_client!(
            aws_sdk_ecr,
            RuleMode::MatchAny,
            &[&repositories, &unlinked, &demo, &broken, &images]
        )
    }

    fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        use aws_sdk_dynamodb::Client;
        let text = |value: &str| AttributeValue::S(value.to_owned());
        let mut turn = HashMap::from([("item".to_owned(), text("turn"))]);
        if let Some(ago) = self.deployed {
            let order = format!("{}#later", &before_now(ago)[..19]);
            turn.insert("deployed:demo".to_owned(), text(&order));
        }
        if let Some(digest) = self.waiting {
            turn.insert("waiting".to_owned(), text("arn:waits"));
            turn.insert("waitingDigest".to_owned(), text(digest));
        }
        let turn = mock!(Client::get_item)
            .match_requests(|request| request.table_name() == Some("releases"))
            .then_output(move || {
                GetItemOutput::builder()
                    .set_item(Some(turn.clone()))
                    .build()
            });
        // Each page has one record.
        let pages = self.released.len().max(1);
        let released = self.released.clone();
        let page = move |number: usize| {
            let items = released.get(number).map(|(digest, ago)| {
                let begun = before_now(*ago);
                HashMap::from([
                    ("item".to_owned(), text(&format!("release#{begun}#x"))),
                    ("verdict".to_owned(), text("failed")),
                    ("startedAt".to_owned(), text(&begun)),
                    ("digest".to_owned(), text(digest)),
                ])
            });
            let after = HashMap::from([("item".to_owned(), text(&number.to_string()))]);
            QueryOutput::builder()
                .set_items(Some(items.into_iter().collect()))
                .set_last_evaluated_key((number + 1 < pages).then_some(after))
                .build()
        };
        let query = mock!(Client::query)
            .match_requests(|request| request.table_name() == Some("releases"))
            .then_compute_output(move |request| {
                let after = request.exclusive_start_key().map(|key| &key["item"]);
                let number = after.map(|it| it.as_s().unwrap().parse::<usize>().unwrap());
                page(number.map_or(0, |number| number + 1))
            });
        mock_client!(aws_sdk_dynamodb, RuleMode::MatchAny, &[&turn, &query])
    }

    fn cloudformation(&self) -> aws_sdk_cloudformation::Client {
        use aws_sdk_cloudformation::Client;
        let (patterns, status) = (self.image_tags, self.status.clone());
        let stack = mock!(Client::describe_stacks).then_output(move || {
            let takes = Output::builder()
                .output_key("ImageTags")
                .output_value(patterns)
                .build();
            let stack = Stack::builder()
                .stack_status(status.clone())
                .outputs(takes)
                .build();
            DescribeStacksOutput::builder().stacks(stack).build()
        });
        mock_client!(aws_sdk_cloudformation, RuleMode::MatchAny, &[&stack])
    }

    async fn found(&self, starts: &Rule) -> Result<Answer, Failure> {
        let context = Context {
            cloudformation: self.cloudformation(),
            ecr: self.ecr(),
            sfn: mock_client!(aws_sdk_sfn, RuleMode::MatchAny, &[starts]),
            state_machine: StateMachine::parse(MACHINE).unwrap(),
            releases: Table::new(self.dynamodb(), "releases".to_owned()),
        };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
        handle(&context, now).await
    }

    /// The inputs of the executions that are started. One repository cannot be read, which keeps
    /// the others from nothing.
    async fn started(&self) -> Vec<Value> {
        let starts = starts();
        let failure = diagnostic(self.found(&starts).await.unwrap_err());
        assert_eq!(failure.error_type, "AwsRequestFailed");
        assert!(failure.error_message.contains("not you"), "{failure:?}");
        let (_, started) = failure.error_message.split_once("all the same: ").unwrap();
        match started.trim_end_matches('.') {
            "none" => Vec::new(),
            inputs => vec![serde_json::from_str(inputs).unwrap()],
        }
    }
}

/// The "ARN" of a started execution is its input.
fn starts() -> Rule {
    use aws_sdk_sfn::Client;
    mock!(Client::start_execution)
        .match_requests(|request| {
            request.state_machine_arn() == Some(MACHINE)
                && request.name().unwrap().starts_with("demo-v2-")
        })
        .then_compute_output(|request| {
            StartExecutionOutput::builder()
                .execution_arn(request.input().unwrap())
                .start_date(DateTime::from_secs(0))
                .build()
                .unwrap()
        })
}

#[tokio::test]
async fn the_newest_image_that_the_stack_takes_and_nobody_heard_of_is_released() {
    assert_eq!(
        world().started().await,
        [json!({
            "stack": "demo", "tag": "v2", "digest": "sha256:2", "repository": "demo",
            "pushedAt": "2026-01-01T00:05:00Z", "startedBy": "reconciler: lost push of v2"
        })]
    );
}

#[tokio::test]
async fn an_image_of_which_there_is_a_release_is_left_whatever_became_of_it() {
    let mut world = world();
    world.released.insert(0, ("sha256:2", 298));
    assert!(world.started().await.is_empty());
}

#[tokio::test]
async fn a_release_of_the_image_is_found_behind_all_that_began_since() {
    let mut world = world();
    world.released = vec![("sha256:9", 100), ("sha256:8", 200), ("sha256:2", 298)];
    assert!(world.started().await.is_empty());
}

#[tokio::test]
async fn what_was_released_before_the_push_was_no_release_of_it() {
    let mut world = world();
    // The same digest, pushed once more under another tag.
    world.released = vec![("sha256:1", 3590), ("sha256:2", 7200)];
    assert_eq!(world.started().await.len(), 1);
}

#[tokio::test]
async fn an_image_whose_release_waits_for_its_turn_is_left() {
    let mut world = world();
    world.waiting = Some("sha256:2");
    assert!(world.started().await.is_empty());
}

#[tokio::test]
async fn an_image_that_was_just_pushed_is_given_time() {
    let mut world = world();
    world.images = vec![("v2", "sha256:2", 100)];
    assert!(world.started().await.is_empty());
}

#[tokio::test]
async fn an_image_that_is_older_than_what_was_deployed_is_left() {
    let mut world = world();
    world.deployed = Some(299);
    assert!(world.started().await.is_empty());
}

#[tokio::test]
async fn a_stack_without_a_release_is_left_to_a_person() {
    let mut world = world();
    world.deployed = None;
    assert!(world.started().await.is_empty());
}

#[tokio::test]
async fn an_image_that_the_stack_does_not_take_is_left() {
    let mut world = world();
    world.image_tags = "release-*";
    assert!(world.started().await.is_empty());
}

#[tokio::test]
async fn a_stack_that_cloudformation_is_changing_is_left_to_the_release_that_waits_for_it() {
    let mut world = world();
    world.status = StackStatus::UpdateInProgress;
    assert!(world.started().await.is_empty());
}
