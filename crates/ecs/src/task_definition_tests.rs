use super::*;
use aws_sdk_ecs::config::http::HttpResponse;
use aws_sdk_ecs::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_ecs::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_ecs::error::BoxError;
use aws_sdk_ecs::operation::deregister_task_definition::DeregisterTaskDefinitionOutput;
use aws_sdk_ecs::operation::describe_task_definition::DescribeTaskDefinitionError;
use aws_sdk_ecs::operation::register_task_definition::RegisterTaskDefinitionOutput;
use aws_sdk_ecs::types::ContainerDefinition;
use aws_sdk_ecs::types::error::ClientException;
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
use serde_json::json;
use std::sync::{Arc, Mutex};

const OLD: &str = "123456789012.dkr.ecr.us-east-1.amazonaws.com/demo:v1";
const NEW: &str = "123456789012.dkr.ecr.us-east-1.amazonaws.com/demo@sha256:2222";
const SIDECAR: &str = "public.ecr.aws/nginx/nginx:1.27";
const REVISION: &str = "arn:aws:ecs:us-east-1:123456789012:task-definition/demo:7";
const MARKS: Marks<'_> = Marks {
    stack: "demo",
    execution: Some("arn:aws:states:us-east-1:123456789012:execution:deploy:1"),
};

fn container(name: &str, image: &str) -> Value {
    json!({
        "name": name, "image": image, "cpu": 0, "essential": true, "stopTimeout": 30,
        "environment": [{"name": "TITLE", "value": "Posts"}],
        "secrets": [{"name": "DATABASE_URL", "valueFrom": "arn:secret"}],
        // A member that ECS has since yesterday.
        "sinceYesterday": {"mode": "strict", "limits": [1, 2.5]}
    })
}

fn tag(key: &str, value: &str) -> Tag {
    Tag::builder().key(key).value(value).build()
}

/// What registers the revision that [`complete`] is.
///
/// API_TrustedExecutionConfiguration: one of its members is in ECS's API and not in the SDK.
fn document() -> Value {
    json!({
        "family": "demo",
        "taskRoleArn": "arn:task-role",
        "executionRoleArn": "arn:execution-role",
        "networkMode": "awsvpc",
        "containerDefinitions": [container("proxy", SIDECAR), container("web", OLD)],
        "volumes": [{"name": "data", "sinceYesterday": true}],
        "placementConstraints": [{"type": "memberOf", "expression": "attribute:x == y"}],
        "requiresCompatibilities": ["FARGATE"],
        "cpu": "256",
        "memory": "512",
        "pidMode": "task",
        "ipcMode": "none",
        "proxyConfiguration": {"type": "APPMESH", "containerName": "proxy"},
        "inferenceAccelerators": [{"deviceName": "d", "deviceType": "t"}],
        "ephemeralStorage": {"sizeInGiB": 30},
        "runtimePlatform": {"cpuArchitecture": "ARM64"},
        "enableFaultInjection": true,
        "trustedExecutionConfiguration": {"isolationMode": "ISOLATED_SANDBOX"},
        "sinceYesterday": {"deep": [{"er": null}]}
    })
}

/// ECS's answer for a revision of this document, with all that ECS adds.
fn answer_of(document: Value, tags: Value) -> Value {
    let mut described = json!({
        "taskDefinitionArn": REVISION,
        "revision": 7,
        "status": "ACTIVE",
        "requiresAttributes": [{"name": "ecs.capability"}],
        "compatibilities": ["EC2", "FARGATE"],
        "registeredAt": 1790000000.125,
        "registeredBy": "arn:someone",
        "deregisteredAt": 1790000001.5,
        "deleteRequestedAt": 1790000002
    });
    let described_members = described.as_object_mut().unwrap();
    described_members.extend(document.as_object().unwrap().clone());
    json!({"taskDefinition": described, "tags": tags})
}

/// ECS's answer for a revision in which every member has a value.
fn complete() -> Value {
    answer_of(document(), json!([{"key": "team", "value": "posts"}]))
}

fn http(answer: &Value) -> HttpResponse {
    HttpResponse::new(200.try_into().unwrap(), answer.to_string().into())
}

fn describes(answer: Value) -> Rule {
    mock!(Client::describe_task_definition).then_http_response(move || http(&answer))
}

async fn described(answer: Value) -> Described {
    let rule = describes(answer);
    let client = mock_client!(aws_sdk_ecs, RuleMode::MatchAny, &[&rule]);
    describe_task_definition(&client, REVISION).await.unwrap()
}

/// What is sent to register a task definition.
#[derive(Debug, Clone, Default)]
struct Sent(Arc<Mutex<Vec<Value>>>);

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
        let request = context.request();
        let body = request.body().bytes().unwrap();
        let length = body.len().to_string();
        assert_eq!(request.headers().get("content-length"), Some(&*length));
        let api = request.headers().get("x-amz-target").unwrap();
        if api.ends_with(".RegisterTaskDefinition") {
            self.0.lock().unwrap().push(serde_json::from_slice(body)?);
        }
        Ok(())
    }
}

impl Sent {
    fn client(&self, rules: &[&Rule]) -> Client {
        mock_client!(aws_sdk_ecs, RuleMode::MatchAny, rules, |config| config
            .interceptor(self.clone()))
    }

    /// The only registration.
    fn only(&self) -> Value {
        let sent = self.0.lock().unwrap();
        let [only] = sent.as_slice() else {
            panic!("{sent:?}");
        };
        only.clone()
    }
}

/// What is sent to register the next revision of a family whose latest one this is.
async fn sent_for_the_next(answer: Value) -> Value {
    let sent = Sent::default();
    let (latest, registers) = (
        describes(answer),
        mock!(Client::register_task_definition).then_output(|| registered("arn:demo:8")),
    );
    let client = sent.client(&[&latest, &registers]);
    register_pinned(&client, NEW).await.unwrap();
    sent.only()
}

/// API_TrustedExecutionConfiguration, go-to-k/cdkd#1174, action#701: what was added to ECS after the
/// client was built got lost when a client registered a revision anew.
#[tokio::test]
async fn nothing_is_lost_whether_the_sdk_knows_it_or_not() {
    let mut expected = document();
    expected["containerDefinitions"][1]["image"] = json!(NEW);
    expected["tags"] = json!([
        {"key": EXECUTION_TAG, "value": MARKS.execution},
        {"key": STACK_TAG, "value": "demo"},
        {"key": "team", "value": "posts"}
    ]);
    assert_eq!(sent_for_the_next(complete()).await, expected);
}

#[tokio::test]
async fn nothing_is_lost_of_a_revision_that_is_registered_again() {
    let sent = Sent::default();
    let (known, registers) = (
        describes(complete()),
        mock!(Client::register_task_definition).then_output(|| registered("arn:demo:8")),
    );
    let client = sent.client(&[&known, &registers]);
    let family = Family::of(&client, REVISION).await.unwrap();

    family.register_again(&client, MARKS).await.unwrap();

    let mut again = sent.only();
    again.as_object_mut().unwrap().remove("tags");
    assert_eq!(again, document());
}

#[tokio::test]
async fn every_container_of_the_repository_is_pinned() {
    let mut document = document();
    document["containerDefinitions"] = json!([
        container("web", OLD),
        container("worker", &OLD.replace(":v1", "@sha256:1111")),
        container("other", &OLD.replace("/demo", "/demo-tools")),
        container("foreign", &OLD.replace("us-east-1", "eu-west-1")),
    ]);
    let sent = sent_for_the_next(answer_of(document, json!([]))).await;
    let containers = sent["containerDefinitions"].as_array().unwrap();
    let images: Vec<_> = containers
        .iter()
        .filter_map(|it| it["image"].as_str())
        .collect();
    assert_eq!(images[0], NEW);
    assert_eq!(images[1], NEW);
    assert!(images[2].ends_with("/demo-tools:v1"));
    assert!(images[3].contains("eu-west-1"));
}

#[tokio::test]
async fn tags_survive_except_those_aws_reserves_and_the_marks_are_renewed() {
    let tags = json!([
        {"key": "team", "value": "posts"},
        {"key": "aws:cloudformation:stack-name", "value": "demo"},
        {"key": "AWS:other", "value": "x"},
        {"key": "awsome", "value": "yes"},
        {"key": "bare"},
        {"key": EXECUTION_TAG, "value": "an earlier one"},
    ]);
    let sent = sent_for_the_next(answer_of(document(), tags)).await;
    assert_eq!(
        sent["tags"],
        json!([
            {"key": "awsome", "value": "yes"},
            {"key": "bare"},
            {"key": EXECUTION_TAG, "value": MARKS.execution},
            {"key": STACK_TAG, "value": "demo"},
            {"key": "team", "value": "posts"},
        ])
    );
}

#[tokio::test]
async fn no_tags_are_sent_as_no_list() {
    let described = described(complete()).await;
    let reserved = vec![tag("aws:cloudformation:stack-name", "demo")];
    let registration = described.registration(reserved).unwrap();
    let without = described.registration(vec![]).unwrap();
    assert_eq!(registration, without);
    assert!(!format!("{without:?}").contains("tags"), "{without:?}");
}

#[tokio::test]
async fn a_revision_is_pinned_when_all_its_containers_of_the_repository_are() {
    for (containers, expected) in [
        (
            json!([container("proxy", SIDECAR), container("web", OLD)]),
            false,
        ),
        (
            json!([container("proxy", SIDECAR), container("web", NEW)]),
            true,
        ),
        (
            json!([container("web", NEW), container("worker", OLD)]),
            false,
        ),
        (json!([container("proxy", SIDECAR)]), false),
    ] {
        let mut document = document();
        document["containerDefinitions"] = containers;
        let described = described(answer_of(document, json!([]))).await;
        assert_eq!(described.is_pinned_to(NEW), expected, "{described:?}");
    }
}

/// What a family's latest revision is.
fn family_is(latest: Value) -> Rule {
    mock!(Client::describe_task_definition)
        .match_requests(|request| request.task_definition() == Some("demo"))
        .then_http_response(move || http(&latest))
}

/// The revision that the next one is made of, by its ARN.
fn revision_is_known() -> Rule {
    mock!(Client::describe_task_definition)
        .match_requests(|request| request.task_definition() == Some(REVISION))
        .then_http_response(|| http(&complete()))
}

async fn register_pinned(client: &Client, image: &str) -> Result<String, RegisterFailure> {
    let family = Family::of(client, REVISION).await?;
    family.register_pinned(client, image, MARKS).await
}

fn registered(arn: &str) -> RegisterTaskDefinitionOutput {
    RegisterTaskDefinitionOutput::builder()
        .task_definition(TaskDefinition::builder().task_definition_arn(arn).build())
        .build()
}

/// What ECS would describe after an execution has registered its revision.
fn registered_by(execution: Option<&str>) -> Value {
    let mut next = document();
    next["containerDefinitions"][1]["image"] = json!(NEW);
    let tags = json!([
        {"key": "team", "value": "posts"},
        {"key": EXECUTION_TAG, "value": execution},
        {"key": STACK_TAG, "value": "demo"}
    ]);
    let mut answer = answer_of(next, tags);
    answer["taskDefinition"]["taskDefinitionArn"] = json!("arn:demo:8");
    answer["taskDefinition"]["revision"] = json!(8);
    answer
}

#[tokio::test]
async fn the_revision_is_registered_with_the_image_pinned() {
    let latest = family_is(complete());
    let register = mock!(Client::register_task_definition)
        .match_requests(|request| request.family() == Some("demo"))
        .then_output(|| registered("arn:demo:8"));
    let client = mock_client!(aws_sdk_ecs, RuleMode::MatchAny, &[&latest, &register]);

    let arn = register_pinned(&client, NEW).await.unwrap();

    assert_eq!(arn, "arn:demo:8");
    assert_eq!((latest.num_calls(), register.num_calls()), (1, 1));
}

#[tokio::test]
async fn a_retried_call_finds_the_revision_of_its_first_try() {
    let (latest, earlier) = (
        family_is(registered_by(MARKS.execution)),
        revision_is_known(),
    );
    let client = mock_client!(aws_sdk_ecs, RuleMode::MatchAny, &[&latest, &earlier]);

    let arn = register_pinned(&client, NEW).await.unwrap();

    assert_eq!(arn, "arn:demo:8");
}

#[tokio::test]
async fn another_executions_revision_is_not_taken_for_ones_own() {
    let latest = family_is(registered_by(Some("arn:other")));
    let earlier = revision_is_known();
    let register = mock!(Client::register_task_definition).then_output(|| registered("arn:demo:9"));
    let rules = [&latest, &earlier, &register];
    let client = mock_client!(aws_sdk_ecs, RuleMode::MatchAny, &rules);

    let arn = register_pinned(&client, NEW).await.unwrap();

    assert_eq!(arn, "arn:demo:9");
}

fn no_such_revision() -> DescribeTaskDefinitionError {
    DescribeTaskDefinitionError::ClientException(
        ClientException::builder()
            .meta(
                aws_sdk_ecs::error::ErrorMetadata::builder()
                    .code("ClientException")
                    .build(),
            )
            .build(),
    )
}

#[tokio::test]
async fn a_family_whose_revisions_are_all_deregistered_gets_a_new_one() {
    let latest = mock!(Client::describe_task_definition)
        .match_requests(|request| request.task_definition() == Some("demo"))
        .then_error(no_such_revision);
    let earlier = revision_is_known();
    let register = mock!(Client::register_task_definition).then_output(|| registered("arn:demo:8"));
    let rules = [&latest, &earlier, &register];
    let client = mock_client!(aws_sdk_ecs, RuleMode::MatchAny, &rules);

    let arn = register_pinned(&client, NEW).await.unwrap();

    assert_eq!(arn, "arn:demo:8");
}

#[tokio::test]
async fn a_revision_without_a_container_of_the_repository_is_never_registered() {
    let latest = family_is(complete());
    let client = mock_client!(aws_sdk_ecs, RuleMode::MatchAny, &[&latest]);
    let elsewhere = NEW.replace("/demo", "/other");

    let failure = register_pinned(&client, &elsewhere).await.unwrap_err();

    assert!(matches!(failure, RegisterFailure::NothingToPin { .. }));
}

#[tokio::test]
async fn a_revision_is_described_with_its_tags() {
    let rule = mock!(Client::describe_task_definition)
        .match_requests(|request| request.include() == [TaskDefinitionField::Tags])
        .then_http_response(|| http(&complete()));
    let client = mock_client!(aws_sdk_ecs, RuleMode::MatchAny, &[&rule]);

    let described = describe_task_definition(&client, "demo:7").await.unwrap();

    assert_eq!(described.arn(), REVISION);
    assert_eq!(described.tags, [tag("team", "posts")]);
}

const ONE_OFF: OneOff<'_> = OneOff {
    purpose: Purpose::Migration,
    container: "web",
    size: TaskSize {
        cpu: None,
        memory: None,
    },
};

/// What is sent to register a one-off task's revision of this document.
async fn sent_for_one_off(document: Value, size: TaskSize) -> Value {
    let sent = Sent::default();
    let registers = mock!(Client::register_task_definition).then_output(|| registered("arn:1"));
    let client = sent.client(&[&registers]);
    let revision = described(answer_of(document, json!([]))).await;
    let one_off = OneOff { size, ..ONE_OFF };
    let arn = revision.register_one_off(&client, one_off, NEW, MARKS, false);
    arn.await.unwrap();
    sent.only()
}

/// <https://github.com/aws/containers-roadmap/issues/1081>
#[tokio::test]
async fn a_one_off_task_takes_no_port_of_an_instance() {
    for (mode, keeps_them) in [
        (json!("awsvpc"), true),
        (json!("bridge"), false),
        (json!("host"), false),
        (Value::Null, false),
    ] {
        let mut revision = document();
        let members = revision.as_object_mut().unwrap();
        match mode.is_null() {
            true => members.remove("networkMode"),
            false => members.insert("networkMode".to_owned(), mode.clone()),
        };
        for container in revision["containerDefinitions"].as_array_mut().unwrap() {
            container["portMappings"] = json!([{"containerPort": 80, "hostPort": 80}]);
        }
        let next = sent_for_one_off(revision, ONE_OFF.size).await;
        for container in next["containerDefinitions"].as_array().unwrap() {
            let keeps = container.get("portMappings").is_some();
            assert_eq!(keeps, keeps_them, "{mode}");
        }
    }
}

/// API_ContainerRestartPolicy: a container is restarted after exit 0 too; kayac/ecspresso#105: the
/// container of a migration may not be essential.
#[tokio::test]
async fn a_one_off_tasks_revision_has_a_family_of_its_own_and_its_container_runs_once() {
    let restarted = json!({"enabled": true});
    let mut revision = document();
    for container in revision["containerDefinitions"].as_array_mut().unwrap() {
        container["essential"] = json!(false);
        container["restartPolicy"] = restarted.clone();
    }
    let mut next = sent_for_one_off(revision, ONE_OFF.size).await;
    next.as_object_mut().unwrap().remove("tags");

    let mut expected = document();
    expected["family"] = json!("demo-bluegreen-migration");
    let containers = &mut expected["containerDefinitions"];
    containers[1]["image"] = json!(NEW);
    // It cannot end the task before its time, and goes on as long as the task does.
    containers[0]["essential"] = json!(false);
    containers[0]["restartPolicy"] = restarted;
    assert_eq!(next, expected);
}

#[tokio::test]
async fn a_one_off_task_may_have_a_size_of_its_own() {
    let mut revision = document();
    for container in revision["containerDefinitions"].as_array_mut().unwrap() {
        container["cpu"] = json!(64);
        container["memory"] = json!(128);
        container["memoryReservation"] = json!(64);
    }
    let size = TaskSize {
        cpu: Some(2048),
        memory: Some(8192),
    };
    let next = sent_for_one_off(revision, size).await;
    assert_eq!(
        (&next["cpu"], &next["memory"]),
        (&json!("2048"), &json!("8192"))
    );
    let sizes = |container: &Value| {
        ["cpu", "memory", "memoryReservation"].map(|member| container.get(member).cloned())
    };
    let containers = &next["containerDefinitions"];
    let (some, none) = (|mib: u32| Some(json!(mib)), None);
    assert_eq!(sizes(&containers[0]), [some(64), some(128), some(64)]);
    assert_eq!(sizes(&containers[1]), [some(0), none.clone(), none]);
}

#[tokio::test]
async fn a_one_off_call_that_is_made_again_finds_the_revision_of_its_first_try() {
    let latest = mock!(Client::describe_task_definition)
        .match_requests(|request| request.task_definition() == Some("demo-bluegreen-migration"))
        .then_http_response(|| {
            let mut first = registered_by(MARKS.execution);
            let definition = &mut first["taskDefinition"];
            definition["taskDefinitionArn"] = json!("demo-bluegreen-migration:1");
            definition["family"] = json!("demo-bluegreen-migration");
            definition["containerDefinitions"][0]["essential"] = json!(false);
            http(&first)
        });
    let registers = mock!(Client::register_task_definition).then_output(|| registered("another:2"));
    let client = mock_client!(aws_sdk_ecs, RuleMode::MatchAny, &[&latest, &registers]);
    for (again, expected) in [(true, "demo-bluegreen-migration:1"), (false, "another:2")] {
        let revision = described(complete()).await;
        let arn = revision.register_one_off(&client, ONE_OFF, NEW, MARKS, again);
        assert_eq!(arn.await.unwrap(), expected);
    }
}

#[test]
fn a_family_of_its_own_is_no_longer_than_ecs_takes() {
    let family = one_off_family(&"f".repeat(255), Purpose::PostDeploy);
    assert_eq!(family.len(), 255);
    assert!(family.ends_with("-bluegreen-post-deploy"));
}

/// Families, each with its active revisions, the latest last: number, image, and whether a release of
/// the stack registered it.
type Families = BTreeMap<&'static str, Vec<(u32, &'static str, bool)>>;

/// An ECS with these families, which are changed as revisions are deregistered.
fn ecs(families: Families) -> (Client, Arc<Mutex<Families>>) {
    let families = Arc::new(Mutex::new(families));
    let known = Arc::clone(&families);
    let describes = mock!(Client::describe_task_definition).then_compute_output(move |request| {
        let asked = request.task_definition().unwrap();
        let (family, number) = match asked.split_once(':') {
            Some((family, number)) => (family, number.parse().ok()),
            None => (asked, None),
        };
        let families = known.lock().unwrap();
        let revisions = families.get(family).map(Vec::as_slice).unwrap_or_default();
        let mut found = revisions.iter().rev();
        let found = found.find(|(it, ..)| number.is_none_or(|number: u32| number == *it));
        let (number, image, ours) = *found.expect("only what is there is asked for");
        let marked = marked(vec![], MARKS);
        DescribeTaskDefinitionOutput::builder()
            .task_definition(
                TaskDefinition::builder()
                    .task_definition_arn(format!("{family}:{number}"))
                    .family(family)
                    .container_definitions(
                        ContainerDefinition::builder()
                            .name("web")
                            .image(image)
                            .build(),
                    )
                    .build(),
            )
            .set_tags(ours.then_some(marked))
            .build()
    });
    let none = Arc::clone(&families);
    let nothing = mock!(Client::describe_task_definition)
        .match_requests(move |request| {
            let families = none.lock().unwrap();
            let family = request
                .task_definition()
                .unwrap()
                .split(':')
                .next()
                .unwrap();
            families.get(family).is_none_or(Vec::is_empty)
        })
        .then_error(no_such_revision);
    let gone = Arc::clone(&families);
    let deregisters =
        mock!(Client::deregister_task_definition).then_compute_output(move |request| {
            let (family, number) = request.task_definition().unwrap().split_once(':').unwrap();
            let mut families = gone.lock().unwrap();
            let revisions = families.get_mut(family).unwrap();
            let (latest, ..) = revisions.pop().unwrap();
            assert_eq!(number, latest.to_string());
            DeregisterTaskDefinitionOutput::builder().build()
        });
    let rules = [&nothing, &describes, &deregisters];
    (
        mock_client!(aws_sdk_ecs, RuleMode::MatchAny, &rules),
        families,
    )
}

async fn left_of(families: Families, in_service: &[&str]) -> (Vec<String>, Families) {
    let (client, families) = ecs(families);
    let in_service = in_service.iter().map(|arn| (*arn).to_owned()).collect();
    let gone = deregister_unserved(&client, "demo", &in_service)
        .await
        .unwrap();
    let left = families.lock().unwrap().clone();
    (gone, left)
}

/// Played: after a release whose migration failed the family's latest was the refused image, ACTIVE.
#[tokio::test]
async fn what_is_in_service_is_the_latest_revision_of_its_family_again() {
    let families = Families::from([
        (
            "web",
            vec![
                (6, OLD, true),
                (7, OLD, false),
                (8, NEW, true),
                (9, NEW, true),
            ],
        ),
        (
            "web-bluegreen-migration",
            vec![(1, OLD, true), (2, NEW, true)],
        ),
    ]);
    let (gone, left) = left_of(families, &["web:7"]).await;
    assert_eq!(gone, ["web:9", "web:8", "web-bluegreen-migration:2"]);
    let expected = Families::from([
        ("web", vec![(6, OLD, true), (7, OLD, false)]),
        ("web-bluegreen-migration", vec![(1, OLD, true)]),
    ]);
    assert_eq!(left, expected);
}

#[tokio::test]
async fn what_somebody_else_registered_stays() {
    let families = Families::from([("web", vec![(7, OLD, true), (8, NEW, true), (9, NEW, false)])]);
    let (gone, left) = left_of(families.clone(), &["web:7"]).await;
    assert_eq!((gone, left), (vec![], families));
}

#[tokio::test]
async fn of_services_that_run_different_revisions_the_later_one_stays() {
    let families = Families::from([("web", vec![(7, OLD, true), (8, NEW, true)])]);
    let (gone, _) = left_of(families, &["web:7", "web:8"]).await;
    assert!(gone.is_empty(), "{gone:?}");
}
