use super::*;
use aws_sdk_cloudformation::operation::describe_stacks::DescribeStacksOutput;
use aws_sdk_cloudformation::types::{Output, Stack, StackStatus};
use aws_sdk_dynamodb::operation::get_item::GetItemOutput;
use aws_sdk_dynamodb::operation::query::QueryOutput;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsOutput;
use aws_sdk_dynamodb::types::{AttributeValue, Update};
use aws_sdk_ecr::operation::describe_images::{DescribeImagesError, DescribeImagesOutput};
use aws_sdk_ecr::types::ImageDetail;
use aws_sdk_resourcegroupstagging::operation::get_resources::GetResourcesOutput;
use aws_sdk_resourcegroupstagging::types::{ResourceTagMapping, Tag};
use aws_sdk_sfn::operation::start_execution::StartExecutionOutput;
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
use aws_smithy_types::DateTime;
use bluegreen_runtime::diagnostic;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

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
    /// In how many seconds a contract command is due.
    contract: Option<i64>,
    image_tags: &'static str,
    status: StackStatus,
    /// What earlier searches remember, by key.
    searches: Arc<Mutex<HashMap<String, Attributes>>>,
}

type Attributes = HashMap<String, AttributeValue>;

/// What Lambda gives a call.
const LAMBDA_MILLIS: i64 = 115_000;

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
        contract: None,
        image_tags: "v*",
        status: StackStatus::CreateComplete,
        searches: Arc::default(),
    }
}

fn linked(repository: &str, stacks: &str) -> ResourceTagMapping {
    let arn = format!("arn:aws:ecr:us-east-1:123456789012:repository/{repository}");
    let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build().unwrap();
    ResourceTagMapping::builder()
        .resource_arn(arn)
        .tags(tag("team", "web"))
        .tags(tag("bluegreen:stacks", stacks))
        .build()
}

fn asks_for_repositories_with_the_tag(
    request: &aws_sdk_resourcegroupstagging::operation::get_resources::GetResourcesInput,
) -> bool {
    let [tag] = request.tag_filters() else {
        return false;
    };
    request.resource_type_filters() == ["ecr:repository"]
        && tag.key() == Some("bluegreen:stacks")
        && tag.values().is_empty()
        && request.resources_per_page() == Some(100)
}

/// What an update sets and removes.
fn apply(update: &Update, item: &mut Attributes) {
    let expression = update.update_expression();
    let (sets, removes) = expression
        .split_once(" REMOVE ")
        .unwrap_or((expression, ""));
    let name =
        |placeholder: &str| update.expression_attribute_names().unwrap()[placeholder].clone();
    for set in sets.trim_start_matches("SET ").split(", ") {
        let (attribute, value) = set.split_once(" = ").unwrap();
        let value = update.expression_attribute_values().unwrap()[value].clone();
        item.insert(name(attribute), value);
    }
    for remove in removes.split(", ").filter(|remove| !remove.is_empty()) {
        item.remove(&name(remove));
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
        let broken = mock!(Client::describe_images)
            .match_requests(|request| request.repository_name() == Some("broken"))
            .then_error(|| {
                DescribeImagesError::generic(
                    aws_sdk_ecr::error::ErrorMetadata::builder()
                        .code("AccessDeniedException")
                        .message("not you")
                        .build(),
                )
            });
        let listed = self.images.clone();
        let images = mock!(Client::describe_images)
            .match_requests(|request| {
                request.repository_name() == Some("demo") && request.max_results() == Some(1000)
            })
            .then_output(move || {
                let details = listed.iter().map(|(tag, digest, ago)| {
                    ImageDetail::builder()
                        .set_image_tags(Some(tag.split(' ').map(str::to_owned).collect()))
                        .image_digest(*digest)
                        .image_pushed_at(DateTime::from_secs(i64::try_from(NOW - ago).unwrap()))
                        .build()
                });
                DescribeImagesOutput::builder()
                    .set_image_details(Some(details.collect()))
                    .build()
            });
        mock_client!(aws_sdk_ecr, RuleMode::MatchAny, &[&broken, &images])
    }

    fn tagging(&self) -> aws_sdk_resourcegroupstagging::Client {
        use aws_sdk_resourcegroupstagging::Client;
        let linked = mock!(Client::get_resources)
            .match_requests(asks_for_repositories_with_the_tag)
            .then_output(|| {
                GetResourcesOutput::builder()
                    .resource_tag_mapping_list(linked("no-stacks", " "))
                    .resource_tag_mapping_list(linked("demo", "demo"))
                    .resource_tag_mapping_list(linked("broken", "demo"))
                    .pagination_token("")
                    .build()
            });
        mock_client!(
            aws_sdk_resourcegroupstagging,
            RuleMode::MatchAny,
            &[&linked]
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
        if let Some(seconds) = self.contract {
            let at = (i64::try_from(NOW).unwrap() + seconds) * 1000;
            let due = json!({"release": "release#2026-01-01T00:00:00Z#demo-v1", "at": at});
            turn.insert("contractDue:demo".to_owned(), text(&due.to_string()));
        }
        if let Some(digest) = self.waiting {
            turn.insert("waiting".to_owned(), text("arn:waits"));
            turn.insert("waitingDigest".to_owned(), text(digest));
        }
        let searches = self.searches.clone();
        let read = mock!(Client::get_item)
            .match_requests(|request| request.table_name() == Some("releases"))
            .then_compute_output(move |request| {
                let key = |name: &str| request.key().unwrap()[name].as_s().unwrap().clone();
                let item = match key("stack").as_str() {
                    "demo" => Some(turn.clone()),
                    _ => searches.lock().unwrap().get(&key("item")).cloned(),
                };
                GetItemOutput::builder().set_item(item).build()
            });
        let searches = self.searches.clone();
        let write = mock!(Client::transact_write_items).then_compute_output(move |request| {
            let update = request.transact_items()[0].update().unwrap();
            let key = update.key()["item"].as_s().unwrap().clone();
            apply(update, searches.lock().unwrap().entry(key).or_default());
            TransactWriteItemsOutput::builder().build()
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
        let rules = [&read, &write, &query];
        mock_client!(aws_sdk_dynamodb, RuleMode::MatchAny, rules)
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

    async fn found_at(&self, starts: &Rule, seconds_before_now: u64) -> Result<Answer, Failure> {
        let context = Context {
            cloudformation: self.cloudformation(),
            ecr: self.ecr(),
            sfn: mock_client!(aws_sdk_sfn, RuleMode::MatchAny, [starts]),
            tagging: self.tagging(),
            state_machine: StateMachine::parse(MACHINE).unwrap(),
            releases: Table::new(self.dynamodb(), "releases".to_owned()),
        };
        let now = i64::try_from(NOW - seconds_before_now).unwrap() * 1000;
        handle(&context, now + LAMBDA_MILLIS, &move || now).await
    }

    /// The inputs of the executions that are started. One repository cannot be read, which keeps
    /// the others from nothing.
    async fn started(&self) -> Vec<Value> {
        self.started_at(0).await
    }

    async fn started_at(&self, seconds_before_now: u64) -> Vec<Value> {
        let starts = starts();
        let found = self.found_at(&starts, seconds_before_now).await;
        let failure = diagnostic(found.unwrap_err());
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
            let name = request.name().unwrap();
            request.state_machine_arn() == Some(MACHINE)
                && (name.starts_with("demo-v2-") || name.starts_with("demo-contract-"))
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

/// An image that was pushed at ten, a release of another one at eleven, and a tag that the former got at
/// twelve: ECR does not tell when (<https://github.com/aws/containers-roadmap/issues/2746>).
#[tokio::test]
async fn a_tag_that_an_older_image_got_later_is_released_if_nobody_heard_of_it() {
    let minutes = |minutes: u64| minutes * 60;
    let mut world = World {
        images: vec![
            ("prod-4", "sha256:4", minutes(66)),
            ("build-5", "sha256:2", minutes(126)),
        ],
        deployed: Some(minutes(66)),
        released: vec![("sha256:4", minutes(65))],
        image_tags: "prod-* v2",
        ..world()
    };
    assert!(world.started_at(minutes(11)).await.is_empty());
    world.images[1].0 = "build-5 v2";
    // An event may take two minutes.
    assert!(world.started_at(minutes(6)).await.is_empty());
    assert_eq!(
        world.started_at(minutes(1)).await,
        [json!({
            "stack": "demo", "tag": "v2", "digest": "sha256:2", "repository": "demo",
            "pushedAt": "2025-12-31T23:59:00Z", "startedBy": "reconciler: lost push of v2"
        })]
    );
    world.released.insert(0, ("sha256:2", minutes(6)));
    assert!(world.started().await.is_empty());
}

#[tokio::test]
async fn a_tag_that_moved_before_something_newer_was_deployed_is_left() {
    let mut world = World {
        images: vec![("v1", "sha256:1", 3600), ("build-2", "sha256:2", 3700)],
        ..world()
    };
    assert!(world.started_at(660).await.is_empty());
    world.images[1].0 = "build-2 v2";
    assert!(world.started_at(360).await.is_empty());
    // When exactly it moved nobody knows; the deployment may be the later one.
    world.deployed = Some(600);
    assert!(world.started_at(60).await.is_empty());
}

/// An account of very many repositories, all linked, or of one with very many images.
struct Many {
    repositories: usize,
    images: usize,
    /// What ECR takes for an answer.
    page_millis: i64,
    clock: Arc<AtomicI64>,
    searches: Arc<Mutex<HashMap<String, Attributes>>>,
}

/// How many calls a search has made.
#[derive(Debug, PartialEq, Eq)]
struct Calls {
    get_resources: usize,
    describe_images: usize,
    get_item: usize,
    transact_write_items: usize,
}

impl Many {
    fn new(repositories: usize, images: usize, page_millis: i64) -> Self {
        Self {
            repositories,
            images,
            page_millis,
            clock: Arc::new(AtomicI64::new(i64::try_from(NOW).unwrap() * 1000)),
            searches: Arc::default(),
        }
    }

    /// Pages by a token that is the number of what comes next.
    async fn search(&self) -> (Result<Answer, Failure>, Calls) {
        let resources = self.resources();
        let images = self.images();
        let read = self.read();
        let write = self.write();
        let context = Context {
            cloudformation: mock_client!(
                aws_sdk_cloudformation,
                RuleMode::MatchAny,
                std::iter::empty::<&Rule>()
            ),
            ecr: mock_client!(aws_sdk_ecr, RuleMode::MatchAny, [&images]),
            sfn: mock_client!(aws_sdk_sfn, RuleMode::MatchAny, std::iter::empty::<&Rule>()),
            tagging: mock_client!(
                aws_sdk_resourcegroupstagging,
                RuleMode::MatchAny,
                [&resources]
            ),
            state_machine: StateMachine::parse(MACHINE).unwrap(),
            releases: Table::new(
                mock_client!(aws_sdk_dynamodb, RuleMode::MatchAny, [&read, &write]),
                "releases".to_owned(),
            ),
        };
        let clock = || self.clock.load(Ordering::Relaxed);
        let answer = handle(&context, clock() + LAMBDA_MILLIS, &clock).await;
        let calls = Calls {
            get_resources: resources.num_calls(),
            describe_images: images.num_calls(),
            get_item: read.num_calls(),
            transact_write_items: write.num_calls(),
        };
        (answer, calls)
    }

    fn resources(&self) -> Rule {
        let all = self.repositories;
        mock!(aws_sdk_resourcegroupstagging::Client::get_resources).then_compute_output(
            move |request| {
                let from: usize = request
                    .pagination_token()
                    .map_or(0, |it| it.parse().unwrap());
                let until = all.min(from + 100);
                let page = (from..until).map(|it| linked(&format!("team-{it:04}"), "demo"));
                GetResourcesOutput::builder()
                    .set_resource_tag_mapping_list(Some(page.collect()))
                    .pagination_token(match until < all {
                        true => until.to_string(),
                        false => String::new(),
                    })
                    .build()
            },
        )
    }

    fn images(&self) -> Rule {
        let (all, page_millis, clock) = (self.images, self.page_millis, self.clock.clone());
        mock!(aws_sdk_ecr::Client::describe_images).then_compute_output(move |request| {
            clock.fetch_add(page_millis, Ordering::Relaxed);
            let from: usize = request.next_token().map_or(0, |it| it.parse().unwrap());
            let size = usize::try_from(request.max_results().unwrap()).unwrap();
            let until = all.min(from + size);
            let page = (from..until).map(|it| {
                ImageDetail::builder()
                    .image_tags(format!("build-{it}"))
                    .image_digest(format!("sha256:{it}"))
                    .image_pushed_at(DateTime::from_secs(i64::try_from(it).unwrap()))
                    .build()
            });
            DescribeImagesOutput::builder()
                .set_image_details(Some(page.collect()))
                .set_next_token((until < all).then(|| until.to_string()))
                .build()
        })
    }

    fn read(&self) -> Rule {
        let searches = self.searches.clone();
        mock!(aws_sdk_dynamodb::Client::get_item).then_compute_output(move |request| {
            let key = request.key().unwrap()["item"].as_s().unwrap();
            let item = searches.lock().unwrap().get(key).cloned();
            GetItemOutput::builder().set_item(item).build()
        })
    }

    fn write(&self) -> Rule {
        let searches = self.searches.clone();
        mock!(aws_sdk_dynamodb::Client::transact_write_items).then_compute_output(move |request| {
            let update = request.transact_items()[0].update().unwrap();
            let key = update.key()["item"].as_s().unwrap().clone();
            apply(update, searches.lock().unwrap().entry(key).or_default());
            TransactWriteItemsOutput::builder().build()
        })
    }

    /// Where the next search begins.
    fn next(&self) -> Option<String> {
        let searches = self.searches.lock().unwrap();
        let next = searches.get("last")?.get("next")?;
        Some(next.as_s().unwrap().clone())
    }
}

/// Of thousands of repositories, those that name no stack cost nothing: the measured calls of a search are
/// two.
#[tokio::test]
async fn repositories_that_name_no_stack_are_not_asked_for() {
    let (answer, calls) = Many::new(0, 0, 0).search().await;
    assert_eq!(answer.unwrap().executions, [""; 0]);
    let few = Calls {
        get_resources: 1,
        describe_images: 0,
        get_item: 1,
        transact_write_items: 0,
    };
    assert_eq!(calls, few);
}

/// Three calls for each repository that names a stack, and one more for a hundred of them.
#[tokio::test]
async fn three_thousand_repositories_that_name_stacks_are_all_looked_at() {
    let many = Many::new(3000, 1, 5);
    let (answer, calls) = many.search().await;
    answer.unwrap();
    let at_first = Calls {
        get_resources: 30,
        describe_images: 3000,
        get_item: 6001,
        transact_write_items: 3001,
    };
    assert_eq!(calls, at_first);
    let (answer, calls) = many.search().await;
    answer.unwrap();
    let later = Calls {
        transact_write_items: 1,
        ..at_first
    };
    assert_eq!(calls, later);
}

#[tokio::test]
async fn fifty_thousand_images_are_read_a_thousand_at_a_time() {
    let (answer, calls) = Many::new(1, 50_000, 1000).search().await;
    answer.unwrap();
    assert_eq!(calls.describe_images, 50);
}

/// No repository is looked at again before every other one was.
#[tokio::test]
async fn a_search_that_runs_out_of_time_says_so_and_the_next_one_goes_on() {
    let many = Many::new(300, 1, 500);
    let mut looked = 0;
    for next in [Some("team-0170"), Some("team-0040"), Some("team-0210")] {
        let (answer, calls) = many.search().await;
        let failure = diagnostic(answer.unwrap_err());
        assert_eq!(failure.error_type, "SearchUnfinished");
        looked += calls.describe_images;
        assert_eq!(many.next().as_deref(), next, "{failure:?}");
        let sentence = &failure.error_message;
        for part in [
            "looked at 170 of 300 repositories",
            next.unwrap(),
            "and 120 more",
        ] {
            assert!(sentence.contains(part), "no {part} in {sentence}");
        }
        assert!(
            sentence.ends_with("Releases that were started: none."),
            "{sentence}"
        );
    }
    assert_eq!(looked, 3 * 170);
}

#[tokio::test]
async fn a_repository_that_is_too_large_keeps_no_other_from_being_looked_at() {
    // A minute's worth of pages, and more.
    let many = Many::new(1, 70_000, 1000);
    let (answer, calls) = many.search().await;
    let failure = diagnostic(answer.unwrap_err());
    assert_eq!(failure.error_type, "SearchUnfinished");
    let told = "The images of team-0000 could not be read";
    assert!(failure.error_message.contains(told), "{failure:?}");
    assert_eq!(calls.describe_images, 60);
    assert_eq!(many.next(), None);

    // The second one was begun too late. In the next search it is the first.
    let many = Many::new(2, 40_000, 1100);
    let (answer, _) = many.search().await;
    let failure = diagnostic(answer.unwrap_err());
    assert!(
        failure.error_message.contains("begins with team-0001"),
        "{failure:?}"
    );
    assert_eq!(many.next().as_deref(), Some("team-0001"));
    many.search().await.0.unwrap_err();
    assert_eq!(many.next().as_deref(), Some("team-0000"));
    assert!(many.searches.lock().unwrap().contains_key("tags#team-0001"));
}

mod a_contract_command {
    use super::*;

    fn quiet() -> World {
        World {
            images: vec![],
            ..world()
        }
    }

    #[tokio::test]
    async fn is_run_when_its_time_has_come() {
        let mut world = quiet();
        world.contract = Some(0);
        assert_eq!(
            world.started().await,
            [json!({
                "stack": "demo", "action": "contract", "repository": "demo",
                "startedBy": "reconciler: demo-v1 is not rolled back by an alarm any more"
            })]
        );
        for later in [None, Some(1)] {
            world.contract = later;
            assert_eq!(world.started().await, [] as [Value; 0]);
        }
    }

    /// It may not have run: an alarm was in ALARM, or a release had the turn.
    #[tokio::test]
    async fn is_tried_once_an_hour_as_long_as_it_is_due() {
        let mut world = quiet();
        world.contract = Some(-10_000);
        let names = Arc::new(Mutex::new(Vec::new()));
        let told = names.clone();
        let starts = mock!(aws_sdk_sfn::Client::start_execution).then_compute_output(move |it| {
            told.lock().unwrap().push(it.name().unwrap().to_owned());
            StartExecutionOutput::builder()
                .execution_arn("arn")
                .start_date(DateTime::from_secs(0))
                .build()
                .unwrap()
        });
        for seconds_before_now in [0, 300, 3600] {
            let _one_repository_cannot_be_read = world.found_at(&starts, seconds_before_now).await;
        }
        let names = names.lock().unwrap();
        assert_eq!(names[0], names[1]);
        assert_ne!(names[0], names[2]);
    }
}
