use super::*;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::ErrorMetadata;
use aws_sdk_dynamodb::operation::get_item::{GetItemError, GetItemInput, GetItemOutput};
use aws_sdk_dynamodb::operation::query::{QueryError, QueryOutput};
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_ecr::operation::batch_get_image::{BatchGetImageError, BatchGetImageOutput};
use aws_sdk_ecr::types::{ImageFailure, ImageFailureCode};
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
use bluegreen_runtime::{Diagnostic, diagnostic};
use serde_json::json;
use std::collections::HashMap;

type Item = HashMap<String, AttributeValue>;

const OWN: &str = "release#0009#name-9";

fn table(rules: &[&Rule]) -> Clients {
    clients(rules, &[])
}

fn clients(table: &[&Rule], ecr: &[&Rule]) -> Clients {
    let client = mock_client!(aws_sdk_dynamodb, RuleMode::MatchAny, table);
    Clients {
        table: Table::new(client, "releases".to_owned()),
        ecr: mock_client!(aws_sdk_ecr, RuleMode::MatchAny, ecr),
    }
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn key(number: u32) -> String {
    format!("release#{number:04}#name-{number}")
}

/// The record of a release that ran the revision of its own number.
fn record(number: u32, verdict: &str) -> Item {
    let services = format!(
        r#"[{{"cluster":"c","service":"web","taskDefinition":"web:{number}","previousTaskDefinition":"web:0"}}]"#
    );
    let texts = [
        ("item", key(number)),
        ("verdict", verdict.to_owned()),
        ("repository", "shop".to_owned()),
        ("tag", format!("v{number}")),
        ("digest", format!("d{number}")),
        ("image", format!("shop@d{number}")),
        ("services", services),
    ];
    texts
        .into_iter()
        .map(|(name, value)| (name.to_owned(), AttributeValue::S(value)))
        .collect()
}

fn asks_for(request: &GetItemInput, item: &str) -> bool {
    request.consistent_read() == Some(true)
        && request.key().and_then(|key| key.get("item")) == Some(&text(item))
}

fn item(key: &str, item: Item) -> Rule {
    let key = key.to_owned();
    mock!(Client::get_item)
        .match_requests(move |request| asks_for(request, &key))
        .then_output(move || {
            GetItemOutput::builder()
                .set_item(Some(item.clone()))
                .build()
        })
}

fn turn(current: u32) -> Rule {
    turn_with(&key(current), &[])
}

/// The turn where the release with that record serves, with more texts.
fn turn_with(current: &str, more: &[(&str, String)]) -> Rule {
    let texts = [("item", "turn"), ("currentRecord", current)];
    let turn = texts.map(|(name, value)| (name.to_owned(), text(value)));
    item("turn", with(turn.into(), more))
}

/// The records of the stack, in a page each.
fn releases(records: Vec<Item>) -> Rule {
    let pages = records.len();
    let mut sequence = mock!(Client::query).sequence();
    for (page, record) in records.into_iter().enumerate() {
        sequence = sequence.output(move || {
            let after = Item::from([("page".to_owned(), text(&page.to_string()))]);
            QueryOutput::builder()
                .items(record.clone())
                .set_last_evaluated_key((page + 1 < pages).then_some(after))
                .build()
        });
    }
    sequence.build()
}

fn unreadable() -> Rule {
    mock!(Client::query).then_error(|| {
        let metadata = ErrorMetadata::builder()
            .code("AccessDeniedException")
            .message("not you")
            .build();
        QueryError::generic(metadata)
    })
}

/// The stack runs `web:50` and `worker:50`.
fn event(failed: bool) -> Value {
    let service = |name: &str| {
        json!({
            "cluster": "c", "service": name, "taskDefinition": format!("{name}:50"),
            "containers": ["web"]
        })
    };
    let image = |value: &str| failed.then(|| value.to_owned());
    json!({
        "plan": {
            "action": if failed { "deploy" } else { "rollback" },
            "reason": "because",
            "release": {
                "stack": "shop", "action": if failed { "deploy" } else { "rollback" },
                "repository": image("shop"), "digest": image("d9"), "image": image("shop@d9"),
                "record": OWN, "order": "0009#0009", "startedAt": "2026-01-01T00:00:00.000Z",
                "startedBy": "me", "force": false, "ignoreAlarms": false
            },
            "imageParameters": {}, "services": [service("web"), service("worker")], "alarms": [],
            "limits": {
                "migrationSeconds": 60, "deploymentSeconds": 60, "rollbackWindowSeconds": 60
            },
            "revisions": [], "imageConfigs": []
        },
        "execution": {"id": "arn:execution:name-9", "redrives": 0},
        "failed": failed,
        "touched": false
    })
}

fn revisions(target: &Target) -> Vec<&str> {
    let services = target.services.iter();
    services.map(|it| it.task_definition.as_str()).collect()
}

async fn failure(table: &Clients, event: Value) -> Diagnostic {
    diagnostic(handle(table, event).await.unwrap_err())
}

#[tokio::test]
async fn a_rollback_brings_back_what_the_chosen_release_ran() {
    let records = releases(vec![
        record(9, "inProgress"),
        record(3, "succeeded"),
        record(2, "rolledBack"),
        record(1, "succeeded"),
        record(0, "succeeded"),
    ]);
    let current = item(&key(3), record(3, "succeeded"));
    let chosen = item(&key(1), record(1, "succeeded"));
    let table = table(&[&turn(3), &records, &current, &chosen]);

    let target = handle(&table, event(false)).await.unwrap();

    assert!(target.requested && !target.unread);
    assert_eq!(revisions(&target), ["web:1"]);
    let release = target.release.unwrap();
    assert_eq!((release.record, release.restores), (key(1), key(1)));
    assert_eq!(target.serving.unwrap().image, "shop@d1");
    // What is further back makes no difference.
    assert_eq!(records.num_calls(), 4);
}

#[tokio::test]
async fn a_release_that_failed_goes_back_to_what_ran_before_it() {
    let records = releases(vec![record(9, "inProgress"), record(3, "succeeded")]);
    let target = handle(&table(&[&records]), event(true)).await.unwrap();
    assert!(!target.requested && !target.unread);
    assert_eq!(target.release, None);
    assert_eq!(revisions(&target), ["web:50", "worker:50"]);
    assert_eq!(target.serving.unwrap().image, "shop@d3");
}

#[tokio::test]
async fn what_ran_before_is_not_gone_back_to_where_it_may_not_be_good() {
    let mut redriven = event(true);
    redriven["touched"] = json!(true);
    let mut verified = event(true);
    verified["plan"]["action"] = json!("verify");
    for event in [redriven, verified] {
        let records = releases(vec![record(9, "inProgress"), record(3, "succeeded")]);
        let chosen = item(&key(3), record(3, "succeeded"));
        let good = handle(&table(&[&records, &chosen]), event.clone()).await;
        assert_eq!(revisions(&good.unwrap()), ["web:3", "worker:50"]);

        let nothing = releases(vec![record(9, "inProgress")]);
        let failure = failure(&table(&[&nothing]), event).await;
        assert_eq!(failure.error_type, "NothingToGoBackTo");
        assert_eq!(
            failure.error_message,
            "Stack shop has no release on record that succeeded, and what ran before this one is not known any more."
        );
    }
}

#[tokio::test]
async fn a_rollback_that_leads_nowhere_says_what_is_lacking() {
    let mut named = event(false);
    named["plan"]["release"]["to"] = json!("nobody");
    for (event, lacking) in [
        (
            event(false),
            "Stack shop has no earlier release on record that succeeded with another image, and what ran before the first one is not on record either.",
        ),
        (
            named,
            "Stack shop has no release nobody on record that succeeded and was not rolled back.",
        ),
    ] {
        let records = releases(vec![record(3, "succeeded")]);
        let current = item(&key(3), record(3, "succeeded"));
        let failure = failure(&table(&[&turn(3), &records, &current]), event).await;
        assert_eq!(failure.error_type, "NothingToGoBackTo");
        assert_eq!(failure.error_message, lacking);
    }
}

#[tokio::test]
async fn a_release_whose_services_are_all_gone_is_not_gone_back_to() {
    let records = releases(vec![record(3, "succeeded"), record(1, "succeeded")]);
    let current = item(&key(3), record(3, "succeeded"));
    let chosen = item(&key(1), record(1, "succeeded"));
    let mut event = event(false);
    event["plan"]["services"] = json!([]);
    let failure = failure(&table(&[&turn(3), &records, &current, &chosen]), event).await;
    assert_eq!(failure.error_type, "NothingToGoBackTo");
    assert_eq!(
        failure.error_message,
        "Stack shop has none of the services any more that its release v1 (name-1) ran."
    );
}

#[tokio::test]
async fn a_release_that_failed_goes_back_also_where_the_table_does_not_answer() {
    let target = handle(&table(&[&unreadable()]), event(true)).await.unwrap();
    assert!(target.unread);
    assert_eq!(target.serving, None);
    assert_eq!(revisions(&target), ["web:50", "worker:50"]);
}

#[tokio::test]
async fn without_the_table_nothing_uncertain_is_gone_back_to_and_no_rollback_begun() {
    let mut redriven = event(true);
    redriven["touched"] = json!(true);
    let redriven = failure(&table(&[&unreadable()]), redriven).await;
    assert_eq!(redriven.error_type, "AwsRequestFailed");
    let current = item(&key(3), record(3, "succeeded"));
    let rules = [&turn(3), &current, &unreadable()];
    let asked_for = failure(&table(&rules), event(false)).await;
    assert_eq!(asked_for.error_type, "AwsRequestFailed");
}

/// It is known which release is the good one, but not what that ran.
#[tokio::test]
async fn what_is_known_to_be_half_done_is_not_gone_back_to() {
    let unread = mock!(Client::get_item).then_error(|| {
        let metadata = ErrorMetadata::builder()
            .code("AccessDeniedException")
            .build();
        GetItemError::generic(metadata)
    });
    let records = releases(vec![record(3, "abandoned"), record(1, "succeeded")]);
    let failure = failure(&table(&[&records, &unread]), event(true)).await;
    assert_eq!(failure.error_type, "AwsRequestFailed");
}

#[tokio::test]
async fn a_rollback_that_fails_is_not_rolled_back() {
    let mut event = event(false);
    event["failed"] = json!(true);
    let failure = failure(&table(&[]), event).await;
    assert_eq!(failure.error_type, "InvalidInput");
    assert!(
        failure.error_message.contains("`plan.release.repository`"),
        "{failure:?}"
    );
}

const REGISTRY: &str = "123456789012.dkr.ecr.us-east-1.amazonaws.com";

fn with(mut item: Item, texts: &[(&str, String)]) -> Item {
    for (name, value) in texts {
        item.insert((*name).to_owned(), text(value));
    }
    item
}

/// The record of a release before which the services ran these images.
fn first_record(images: &[&str]) -> Item {
    let images: Vec<String> = images
        .iter()
        .map(|image| format!("{REGISTRY}/{image}"))
        .collect();
    let before = json!([{
        "cluster": "c", "service": "web", "taskDefinition": "web:adopted", "containers": ["web"]
    }]);
    with(
        record(3, "succeeded"),
        &[
            ("before", before.to_string()),
            ("imagesBefore", json!(images).to_string()),
            ("migration", "task".to_owned()),
        ],
    )
}

/// Of an adopted service (field-cases P1).
mod the_first_release {
    use super::*;

    #[tokio::test]
    async fn is_taken_back_to_the_revisions_that_ran_before_it() {
        for (images, serving) in [
            (&["shop:old"][..], Some(format!("{REGISTRY}/shop:old"))),
            (&["shop:old", "shop:worker"], None),
        ] {
            let first = || first_record(images);
            let (records, item) = (releases(vec![first()]), item(&key(3), first()));
            let there = there();
            let clients = clients(&[&turn(3), &records, &item], &[&there]);

            let target = handle(&clients, event(false)).await.unwrap();

            assert!(target.requested);
            assert_eq!(revisions(&target), ["web:adopted"]);
            assert_eq!((&target.release, target.unread), (&None, false));
            assert_eq!(target.serving.map(|serving| serving.image), serving);
            let named = NamedRelease {
                record: key(3),
                repository: "shop".to_owned(),
                tag: Some("v3".to_owned()),
                digest: Some("d3".to_owned()),
            };
            assert_eq!(target.first, Some(named.clone()));
            assert_eq!(target.taken_back, Some(named));
            assert_eq!(target.migrations, ["v3 (task task)"]);
        }
    }

    #[tokio::test]
    async fn is_not_taken_back_to_its_own_image() {
        let first = || first_record(&["shop:v3"]);
        let (records, item) = (releases(vec![first()]), item(&key(3), first()));
        let failure = failure(&table(&[&turn(3), &records, &item]), event(false)).await;
        assert_eq!(failure.error_type, "NothingToGoBackTo");
        assert_eq!(
            failure.error_message,
            "Stack shop has no earlier release on record that succeeded with another image, and before its first one, v3 (name-3), it ran that same image already."
        );
    }

    /// The record of the first release may be forgotten by then.
    #[tokio::test]
    async fn lets_the_next_one_go_back_to_the_same_revisions() {
        let back = || {
            let services =
                json!([{"cluster": "c", "service": "web", "taskDefinition": "web:again"}]);
            let mut back = with(
                record(4, "succeeded"),
                &[
                    ("action", "rollback".to_owned()),
                    ("restoresBefore", key(3)),
                    ("services", services.to_string()),
                ],
            );
            for name in ["tag", "digest", "image"] {
                back.remove(name);
            }
            back
        };
        for (first, tag, serving) in [
            (
                Some(first_record(&["shop:old"])),
                Some("v3".to_owned()),
                Some(format!("{REGISTRY}/shop:old")),
            ),
            (None, None, None),
        ] {
            let records = releases(vec![record(5, "succeeded"), back()]);
            let current = item(&key(5), record(5, "succeeded"));
            let chosen = item(&key(4), back());
            let first = mock!(Client::get_item)
                .match_requests(|request| asks_for(request, &key(3)))
                .then_output(move || GetItemOutput::builder().set_item(first.clone()).build());
            let there = there();
            let rules = [&turn(5), &records, &current, &chosen, &first];

            let target = handle(&clients(&rules, &[&there]), event(false))
                .await
                .unwrap();

            assert_eq!(revisions(&target), ["web:again"]);
            assert_eq!(target.release, None);
            let before = target.first.unwrap();
            assert_eq!((before.record, before.tag), (key(3), tag));
            assert_eq!(target.serving.map(|serving| serving.image), serving);
            let taken_back = target.taken_back.map(|taken| taken.record);
            assert_eq!(taken_back, Some(key(5)));
        }
    }

    #[tokio::test]
    async fn that_was_being_taken_back_when_another_one_failed_is_taken_back() {
        let back = with(
            record(4, "abandoned"),
            &[
                ("action", "rollback".to_owned()),
                ("restoresBefore", key(3)),
            ],
        );
        let records = releases(vec![back, first_record(&["shop:old"])]);
        let first = item(&key(3), first_record(&["shop:old"]));
        let target = handle(&table(&[&records, &first]), event(true))
            .await
            .unwrap();
        assert!(!target.requested);
        assert_eq!(revisions(&target), ["web:adopted", "worker:50"]);
        assert_eq!(target.first.map(|first| first.record), Some(key(3)));
    }
}

/// ECR has all images.
fn there() -> Rule {
    lost(&[])
}

/// ECR does not have the images of these digests any more.
fn lost(digests: &'static [&'static str]) -> Rule {
    mock!(aws_sdk_ecr::Client::batch_get_image)
        .match_requests(|request| request.repository_name() == Some("shop"))
        .then_compute_output(move |request| {
            let asked = request.image_ids().iter();
            let lost = asked.filter(|id| {
                id.image_digest()
                    .is_some_and(|digest| digests.contains(&digest))
            });
            let failures = lost.map(|id| {
                ImageFailure::builder()
                    .image_id(id.clone())
                    .failure_code(ImageFailureCode::ImageNotFound)
                    .build()
            });
            BatchGetImageOutput::builder()
                .set_failures(Some(failures.collect()))
                .build()
        })
}

/// Of an image that a life-cycle rule has deleted no task starts.
mod an_image_that_is_gone {
    use super::*;

    fn pinned(number: u32, verdict: &str) -> Item {
        let image = format!("{REGISTRY}/shop@d{number}");
        with(record(number, verdict), &[("image", image)])
    }

    /// Releases 1, 2 and 3 succeeded, and the third serves.
    fn of_three() -> [Rule; 5] {
        [
            turn(3),
            releases((1..=3).rev().map(|it| pinned(it, "succeeded")).collect()),
            item(&key(3), pinned(3, "succeeded")),
            item(&key(2), pinned(2, "succeeded")),
            item(&key(1), pinned(1, "succeeded")),
        ]
    }

    async fn asked(event: Value, ecr: &Rule) -> Result<Target, Failure> {
        let rules = of_three();
        let rules: Vec<&Rule> = rules.iter().collect();
        handle(&clients(&rules, &[ecr]), event).await
    }

    #[tokio::test]
    async fn refuses_the_rollback_and_names_the_release_that_could_be_gone_back_to() {
        for (gone, instead) in [
            (
                &["d2"][..],
                "The release v1 (name-1) could be gone back to: give \"to\": \"name-1\".",
            ),
            (
                &["d2", "d1"],
                "ECR has the image of no earlier good release either: deploy a tag or a digest by hand.",
            ),
        ] {
            let failure = diagnostic(asked(event(false), &lost(gone)).await.unwrap_err());
            assert_eq!(failure.error_type, "RollbackImageNotFound");
            assert_eq!(
                failure.error_message,
                format!(
                    "The release v2 (name-2), to which stack shop was to be rolled back, cannot run any more: ECR does not have its image {REGISTRY}/shop@d2, which a life-cycle rule or a person may have deleted or archived. {instead} To roll back all the same, give \"force\": true: a task then starts only where its host has the image already."
                )
            );
        }
    }

    #[tokio::test]
    async fn refuses_a_release_that_is_named_too() {
        let mut named = event(false);
        named["plan"]["release"]["to"] = json!("name-1");
        let failure = asked(named, &lost(&["d1"])).await.unwrap_err();
        assert_eq!(<&str>::from(&failure), "RollbackImageNotFound");
    }

    #[tokio::test]
    async fn keeps_nobody_from_what_is_forced_and_no_other_image_does() {
        let mut forced = event(false);
        forced["plan"]["release"]["force"] = json!(true);
        for (event, gone) in [(forced, &["d2"][..]), (event(false), &["d1"])] {
            let target = asked(event, &lost(gone)).await.unwrap();
            assert_eq!(revisions(&target), ["web:2"]);
            let taken_back = target.taken_back.map(|taken| taken.record);
            assert_eq!(taken_back, Some(key(3)));
        }
    }

    #[tokio::test]
    async fn that_nobody_can_ask_for_keeps_nobody_from_going_back() {
        let refused = mock!(aws_sdk_ecr::Client::batch_get_image).then_error(|| {
            let metadata = ErrorMetadata::builder()
                .code("AccessDeniedException")
                .build();
            BatchGetImageError::generic(metadata)
        });
        let target = asked(event(false), &refused).await.unwrap();
        assert_eq!(revisions(&target), ["web:2"]);
        assert_eq!(refused.num_calls(), 1);
    }

    #[tokio::test]
    async fn that_ran_before_the_first_release_refuses_its_rollback() {
        let first = || first_record(&["shop@d0"]);
        let (records, item) = (releases(vec![first()]), item(&key(3), first()));
        let clients = clients(&[&turn(3), &records, &item], &[&lost(&["d0"])]);
        let failure = failure(&clients, event(false)).await;
        assert_eq!(failure.error_type, "RollbackImageNotFound");
        let begins = format!(
            "What ran before the first release, to which stack shop was to be rolled back, cannot run any more: ECR does not have its image {REGISTRY}/shop@d0,"
        );
        assert!(failure.error_message.starts_with(&begins), "{failure:?}");
    }

    /// Tasks of the release that serves run still, where another one ended half way.
    #[tokio::test]
    async fn does_not_keep_what_serves_from_coming_back() {
        let records = releases(vec![pinned(4, "abandoned"), pinned(3, "succeeded")]);
        let current = item(&key(3), pinned(3, "succeeded"));
        let ecr = lost(&["d3"]);
        let clients = clients(&[&turn(3), &records, &current], &[&ecr]);
        let target = handle(&clients, event(false)).await.unwrap();
        assert_eq!(revisions(&target), ["web:3"]);
        assert_eq!(ecr.num_calls(), 0);
    }

    #[tokio::test]
    async fn does_not_keep_a_release_that_failed_from_going_back() {
        let records = releases(vec![pinned(4, "abandoned"), pinned(3, "succeeded")]);
        let chosen = item(&key(3), pinned(3, "succeeded"));
        let ecr = lost(&["d3"]);
        let clients = clients(&[&records, &chosen], &[&ecr]);
        let target = handle(&clients, event(true)).await.unwrap();
        assert_eq!(revisions(&target), ["web:3", "worker:50"]);
        assert_eq!(ecr.num_calls(), 0);
    }
}

/// What the contract command of release 2 has removed, release 1 may need.
mod a_contract_command_that_has_run {
    use super::*;

    /// The third release serves, and a contract command has run for one.
    fn turn_after(contracted: u32) -> Rule {
        let removed = json!({"release": key(contracted), "by": "release#0009#contract-9"});
        turn_with(&key(3), &[("contracted:shop", removed.to_string())])
    }

    /// Three releases succeeded, and the third serves.
    async fn asked(contracted: u32, change: impl Fn(&mut Value)) -> Result<Target, Failure> {
        let of_itself = with(record(4, "succeeded"), &[("action", "contract".to_owned())]);
        let records = [3, 2, 1].map(|number| record(number, "succeeded"));
        let records = [vec![of_itself], records.to_vec()].concat();
        let rules = [
            turn_after(contracted),
            releases(records),
            item(&key(3), record(3, "succeeded")),
            item(&key(2), record(2, "succeeded")),
            item(&key(1), record(1, "succeeded")),
        ];
        let rules: Vec<&Rule> = rules.iter().collect();
        let mut event = event(false);
        change(&mut event);
        handle(&clients(&rules, &[&there()]), event).await
    }

    #[tokio::test]
    async fn refuses_a_rollback_past_its_release() {
        let past = asked(3, |_| ()).await.unwrap_err();
        let failure = diagnostic(past);
        assert_eq!(failure.error_type, "ReleaseContracted");
        assert_eq!(
            failure.error_message,
            "The release v2 (name-2), to which stack shop was to be rolled back, may not run any more: the contract command of the later release v3 (name-3) has run since, or a part of it (execution contract-9), and may have removed what it needs. To roll back all the same, give \"force\": true."
        );
        let named = |event: &mut Value| event["plan"]["release"]["to"] = json!("name-1");
        let past = asked(2, named).await.unwrap_err();
        assert_eq!(<&str>::from(&past), "ReleaseContracted");
    }

    #[tokio::test]
    async fn lets_a_rollback_go_to_its_release_or_past_it_where_that_is_forced() {
        let target = asked(2, |_| ()).await.unwrap();
        assert_eq!(revisions(&target), ["web:2"]);
        let force = |event: &mut Value| event["plan"]["release"]["force"] = json!(true);
        let target = asked(3, force).await.unwrap();
        assert_eq!(revisions(&target), ["web:2"]);
    }

    #[tokio::test]
    async fn refuses_to_go_to_what_ran_before_the_first_release() {
        let first = || first_record(&["shop:old"]);
        let rules = [
            turn_after(3),
            releases(vec![first()]),
            item(&key(3), first()),
        ];
        let rules: Vec<&Rule> = rules.iter().collect();
        let failure = failure(&table(&rules), event(false)).await;
        assert_eq!(failure.error_type, "ReleaseContracted");
        let begins =
            "What ran before the first release, to which stack shop was to be rolled back, may not";
        assert!(failure.error_message.starts_with(begins), "{failure:?}");
    }

    #[tokio::test]
    async fn leaves_the_suggestion_out_of_a_release_that_may_not_run() {
        let lost = lost(&["d2"]);
        let pinned = |number: u32| {
            let image = format!("{REGISTRY}/shop@d{number}");
            with(record(number, "succeeded"), &[("image", image)])
        };
        let rules = [
            turn_after(2),
            releases(vec![pinned(3), pinned(2), pinned(1)]),
            item(&key(3), pinned(3)),
            item(&key(2), pinned(2)),
        ];
        let rules: Vec<&Rule> = rules.iter().collect();
        let failure = failure(&clients(&rules, &[&lost]), event(false)).await;
        assert_eq!(failure.error_type, "RollbackImageNotFound");
        assert!(failure.error_message.contains("no earlier good release"));
    }
}

/// Its first try was aborted when what it had brought back was on record.
mod a_redriven_rollback_that_has_succeeded {
    use super::*;

    fn own(restores: (&'static str, String)) -> Item {
        with(
            record(9, "succeeded"),
            &[("action", "rollback".to_owned()), restores],
        )
    }

    #[tokio::test]
    async fn goes_where_it_went_and_no_further() {
        let restores = || own(("restores", key(2)));
        let rules = [
            turn_with(OWN, &[]),
            item(OWN, restores()),
            releases(vec![
                restores(),
                record(3, "rolledBack"),
                record(2, "succeeded"),
                record(1, "succeeded"),
            ]),
            item(&key(2), record(2, "succeeded")),
        ];
        let rules: Vec<&Rule> = rules.iter().collect();
        let target = handle(&table(&rules), event(false)).await.unwrap();
        assert!(target.requested);
        assert_eq!(revisions(&target), ["web:2"]);
        assert_eq!(target.release.unwrap().record, key(2));
    }

    #[tokio::test]
    async fn goes_to_what_ran_before_the_first_release_once_more() {
        let first = || first_record(&["shop:old"]);
        let rules = [
            turn_with(OWN, &[]),
            item(OWN, own(("restoresBefore", key(3)))),
            releases(vec![first()]),
            item(&key(3), first()),
        ];
        let rules: Vec<&Rule> = rules.iter().collect();
        let target = handle(&table(&rules), event(false)).await.unwrap();
        assert_eq!(revisions(&target), ["web:adopted"]);
        assert_eq!(target.first.unwrap().record, key(3));
    }
}
