use super::*;
use aws_sdk_ecs::operation::deregister_task_definition::DeregisterTaskDefinitionOutput;
use aws_sdk_ecs::operation::describe_task_definition::DescribeTaskDefinitionError;
use aws_sdk_ecs::operation::register_task_definition::RegisterTaskDefinitionOutput;
use aws_sdk_ecs::types::error::ClientException;
use aws_sdk_ecs::types::{
    Attribute, Compatibility, ContainerDefinition, ContainerRestartPolicy, EphemeralStorage,
    InferenceAccelerator, IpcMode, KeyValuePair, NetworkMode, PidMode, ProxyConfiguration,
    RuntimePlatform, Secret, TaskDefinitionPlacementConstraint, TaskDefinitionStatus, Volume,
};
use aws_smithy_mocks::{Rule, RuleMode, mock, mock_client};
use std::sync::{Arc, Mutex};

const OLD: &str = "123456789012.dkr.ecr.us-east-1.amazonaws.com/demo:v1";
const NEW: &str = "123456789012.dkr.ecr.us-east-1.amazonaws.com/demo@sha256:2222";
const SIDECAR: &str = "public.ecr.aws/nginx/nginx:1.27";
const MARKS: Marks<'_> = Marks {
    stack: "demo",
    execution: Some("arn:aws:states:us-east-1:123456789012:execution:deploy:1"),
};

fn container(name: &str, image: &str) -> ContainerDefinition {
    ContainerDefinition::builder()
        .name(name)
        .image(image)
        .environment(KeyValuePair::builder().name("TITLE").value("Posts").build())
        .secrets(
            Secret::builder()
                .name("DATABASE_URL")
                .value_from("arn:secret")
                .build()
                .unwrap(),
        )
        .stop_timeout(30)
        .build()
}

fn tag(key: &str, value: &str) -> Tag {
    Tag::builder().key(key).value(value).build()
}

/// A revision in which every field that a request can carry has a value.
fn complete() -> Described {
    let task_definition = TaskDefinition::builder()
        .task_definition_arn("arn:aws:ecs:us-east-1:123456789012:task-definition/demo:7")
        .revision(7)
        .status(TaskDefinitionStatus::Active)
        .requires_attributes(Attribute::builder().name("ecs.capability").build().unwrap())
        .compatibilities(Compatibility::Fargate)
        .registered_by("someone")
        .family("demo")
        .task_role_arn("arn:task-role")
        .execution_role_arn("arn:execution-role")
        .network_mode(NetworkMode::Awsvpc)
        .container_definitions(container("proxy", SIDECAR))
        .container_definitions(container("web", OLD))
        .volumes(Volume::builder().name("data").build())
        .placement_constraints(
            TaskDefinitionPlacementConstraint::builder()
                .expression("attribute:x == y")
                .build(),
        )
        .requires_compatibilities(Compatibility::Fargate)
        .cpu("256")
        .memory("512")
        .pid_mode(PidMode::Task)
        .ipc_mode(IpcMode::None)
        .proxy_configuration(
            ProxyConfiguration::builder()
                .container_name("proxy")
                .build()
                .unwrap(),
        )
        .inference_accelerators(
            InferenceAccelerator::builder()
                .device_name("d")
                .device_type("t")
                .build()
                .unwrap(),
        )
        .ephemeral_storage(EphemeralStorage::builder().size_in_gib(30).build())
        .runtime_platform(RuntimePlatform::builder().build())
        .enable_fault_injection(true)
        .build();
    Described {
        task_definition,
        tags: vec![tag("team", "posts")],
    }
}

/// The fields of a struct by name, each as its `Debug` shows it.
fn fields(debug: &str) -> BTreeMap<String, String> {
    let mut fields: BTreeMap<String, String> = BTreeMap::new();
    let mut name = String::new();
    for line in debug.lines() {
        let top_level = line
            .strip_prefix("    ")
            .filter(|rest| !rest.starts_with([' ', '}', ')', ']']));
        if let Some((key, _)) = top_level.and_then(|rest| rest.split_once(':')) {
            name = key.to_owned();
        }
        fields.entry(name.clone()).or_default().push_str(line);
    }
    fields.retain(|name, _| !name.is_empty());
    fields
}

fn names(debug: &str) -> BTreeSet<String> {
    fields(debug).into_keys().collect()
}

/// Fails when a new version of the SDK knows a field of a task definition that
/// `Described::registration` does not carry over, or one that `complete` does not set.
#[test]
fn no_field_that_the_sdk_knows_is_lost() {
    let complete = complete();
    let before = fields(&format!("{:#?}", complete.task_definition));
    let request = complete.registration().build().unwrap();
    let after = fields(&format!("{request:#?}"));

    let known = names(&format!(
        "{:#?}",
        RegisterTaskDefinitionInput::builder().build().unwrap()
    ));
    assert!(known.len() >= 18, "{known:?}");
    for name in &known {
        if name == "tags" {
            continue;
        }
        assert!(
            before
                .get(name)
                .is_some_and(|value| !value.ends_with(": None,")),
            "the test sets no value for {name}"
        );
        assert_eq!(before.get(name), after.get(name), "{name} is lost");
    }

    let made_by_ecs: BTreeSet<String> = names(&format!("{:#?}", complete.task_definition))
        .difference(&known)
        .cloned()
        .collect();
    assert_eq!(
        made_by_ecs.iter().map(String::as_str).collect::<Vec<_>>(),
        [
            "compatibilities",
            "delete_requested_at",
            "deregistered_at",
            "registered_at",
            "registered_by",
            "requires_attributes",
            "revision",
            "status",
            "task_definition_arn",
        ],
        "a task definition has a field that is neither carried over nor known to be ECS's own"
    );
}

#[test]
fn only_the_image_of_the_repositorys_containers_changes() {
    let before = complete();
    let request = before.pinned(NEW, MARKS).build().unwrap();
    let [proxy, web] = request.container_definitions() else {
        panic!("two containers");
    };
    assert_eq!(proxy, &container("proxy", SIDECAR));
    assert_eq!(web, &container("web", NEW));
}

#[test]
fn every_container_of_the_repository_is_pinned() {
    let mut before = complete();
    before.task_definition.container_definitions = Some(vec![
        container("web", OLD),
        container("worker", &OLD.replace(":v1", "@sha256:1111")),
        container("other", &OLD.replace("/demo", "/demo-tools")),
        container("foreign", &OLD.replace("us-east-1", "eu-west-1")),
    ]);
    let request = before.pinned(NEW, MARKS).build().unwrap();
    let images: Vec<_> = request
        .container_definitions()
        .iter()
        .filter_map(|container| container.image())
        .collect();
    assert_eq!(images[0], NEW);
    assert_eq!(images[1], NEW);
    assert!(images[2].ends_with("/demo-tools:v1"));
    assert!(images[3].contains("eu-west-1"));
}

#[test]
fn tags_survive_except_those_aws_reserves_and_the_marks_are_renewed() {
    let mut before = complete();
    before.tags = vec![
        tag("team", "posts"),
        tag("aws:cloudformation:stack-name", "demo"),
        tag("AWS:other", "x"),
        tag("awsome", "yes"),
        tag(EXECUTION_TAG, "an earlier one"),
    ];
    let request = before.pinned(NEW, MARKS).build().unwrap();
    assert_eq!(
        request.tags(),
        [
            tag("awsome", "yes"),
            tag(EXECUTION_TAG, MARKS.execution.unwrap()),
            tag(STACK_TAG, "demo"),
            tag("team", "posts"),
        ]
    );
}

#[test]
fn no_tags_are_sent_as_no_list() {
    let mut before = complete();
    before.tags = vec![tag("aws:cloudformation:stack-name", "demo")];
    assert_eq!(before.registration().build().unwrap().tags, None);
}

#[test]
fn a_revision_is_pinned_when_all_its_containers_of_the_repository_are() {
    let mut described = complete();
    assert!(!described.is_pinned_to(NEW));
    described.task_definition.container_definitions =
        Some(vec![container("proxy", SIDECAR), container("web", NEW)]);
    assert!(described.is_pinned_to(NEW));
    described.task_definition.container_definitions =
        Some(vec![container("web", NEW), container("worker", OLD)]);
    assert!(!described.is_pinned_to(NEW));
    described.task_definition.container_definitions = Some(vec![container("proxy", SIDECAR)]);
    assert!(!described.is_pinned_to(NEW));
}

fn answer(described: &Described) -> DescribeTaskDefinitionOutput {
    DescribeTaskDefinitionOutput::builder()
        .task_definition(described.task_definition.clone())
        .set_tags(Some(described.tags.clone()))
        .build()
}

/// What a family's latest revision is.
fn family_is(latest: fn() -> Described) -> Rule {
    mock!(Client::describe_task_definition)
        .match_requests(|request| request.task_definition() == Some("demo"))
        .then_output(move || answer(&latest()))
}

/// The revision that the next one is made of, by its ARN.
fn revision_is_known() -> Rule {
    mock!(Client::describe_task_definition)
        .match_requests(|request| request.task_definition() == Some(complete().arn()))
        .then_output(|| answer(&complete()))
}

async fn register_pinned(client: &Client, image: &str) -> Result<String, RegisterFailure> {
    let family = Family::of(client, complete().arn()).await?;
    family.register_pinned(client, image, MARKS).await
}

fn registered(arn: &str) -> RegisterTaskDefinitionOutput {
    RegisterTaskDefinitionOutput::builder()
        .task_definition(TaskDefinition::builder().task_definition_arn(arn).build())
        .build()
}

/// What ECS would describe after `MARKS`' execution has registered its revision.
fn registered_by_this_execution() -> Described {
    let mut next = complete();
    next.task_definition.task_definition_arn = Some("arn:demo:8".to_owned());
    next.task_definition.revision = 8;
    next.task_definition.container_definitions =
        Some(vec![container("proxy", SIDECAR), container("web", NEW)]);
    next.tags = marked(next.tags, MARKS);
    next
}

#[tokio::test]
async fn the_revision_is_registered_with_the_image_pinned() {
    let latest = family_is(complete);
    let register = mock!(Client::register_task_definition)
        .match_requests(|request| {
            request.family() == Some("demo")
                && request.container_definitions()[1].image() == Some(NEW)
        })
        .then_output(|| registered("arn:demo:8"));
    let client = mock_client!(aws_sdk_ecs, RuleMode::MatchAny, &[&latest, &register]);

    let arn = register_pinned(&client, NEW).await.unwrap();

    assert_eq!(arn, "arn:demo:8");
    assert_eq!((latest.num_calls(), register.num_calls()), (1, 1));
}

#[tokio::test]
async fn a_retried_call_finds_the_revision_of_its_first_try() {
    let (latest, earlier) = (family_is(registered_by_this_execution), revision_is_known());
    let client = mock_client!(aws_sdk_ecs, RuleMode::MatchAny, &[&latest, &earlier]);

    let arn = register_pinned(&client, NEW).await.unwrap();

    assert_eq!(arn, "arn:demo:8");
}

#[tokio::test]
async fn another_executions_revision_is_not_taken_for_ones_own() {
    let latest = family_is(|| {
        let mut other = registered_by_this_execution();
        other.tags = vec![
            tag("team", "posts"),
            tag(EXECUTION_TAG, "arn:other"),
            tag(STACK_TAG, "demo"),
        ];
        other
    });
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
    let latest = family_is(complete);
    let client = mock_client!(aws_sdk_ecs, RuleMode::MatchAny, &[&latest]);
    let elsewhere = NEW.replace("/demo", "/other");

    let failure = register_pinned(&client, &elsewhere).await.unwrap_err();

    assert!(matches!(failure, RegisterFailure::NothingToPin { .. }));
}

#[tokio::test]
async fn a_revision_is_described_with_its_tags() {
    let rule = mock!(Client::describe_task_definition)
        .match_requests(|request| request.include() == [TaskDefinitionField::Tags])
        .then_output(|| answer(&complete()));
    let client = mock_client!(aws_sdk_ecs, RuleMode::MatchAny, &[&rule]);

    assert_eq!(
        describe_task_definition(&client, "demo:7").await.unwrap(),
        complete()
    );
}

fn containers_of(revision: &mut Described) -> &mut [ContainerDefinition] {
    revision
        .task_definition
        .container_definitions
        .as_mut()
        .unwrap()
}

const ONE_OFF: OneOff<'_> = OneOff {
    purpose: Purpose::Migration,
    container: "web",
    size: TaskSize {
        cpu: None,
        memory: None,
    },
};

/// API_ContainerRestartPolicy: a container is restarted after exit 0 too; kayac/ecspresso#105: the
/// container of a migration may not be essential.
#[test]
fn a_one_off_tasks_revision_has_a_family_of_its_own_and_its_container_runs_once() {
    let mut revision = complete();
    for container in containers_of(&mut revision) {
        container.essential = Some(false);
        let restarted = ContainerRestartPolicy::builder().enabled(true).build();
        container.restart_policy = Some(restarted.unwrap());
    }
    let next = revision.one_off(ONE_OFF, NEW, MARKS);
    assert_eq!(
        next.get_family().as_deref(),
        Some("demo-bluegreen-migration")
    );
    let containers = next.get_container_definitions().as_deref().unwrap();
    let [proxy, web] = containers else {
        panic!("{containers:?}");
    };
    assert_eq!((web.essential(), web.restart_policy()), (Some(true), None));
    assert_eq!(web.image(), Some(NEW));
    // It cannot end the task before its time, and goes on as long as the task does.
    assert_eq!(proxy.essential(), Some(false));
    assert!(proxy.restart_policy().is_some());
    assert_eq!(next.get_cpu().as_deref(), Some("256"));
    assert_eq!(next.get_memory().as_deref(), Some("512"));
}

#[test]
fn a_one_off_task_may_have_a_size_of_its_own() {
    let mut revision = complete();
    for container in containers_of(&mut revision) {
        (container.cpu, container.memory) = (64, Some(128));
    }
    let size = TaskSize {
        cpu: Some(2048),
        memory: Some(8192),
    };
    let next = revision.one_off(OneOff { size, ..ONE_OFF }, NEW, MARKS);
    assert_eq!(next.get_cpu().as_deref(), Some("2048"));
    assert_eq!(next.get_memory().as_deref(), Some("8192"));
    let containers = next.get_container_definitions().as_deref().unwrap();
    let sizes: Vec<_> = containers
        .iter()
        .map(|it| (it.cpu(), it.memory()))
        .collect();
    assert_eq!(sizes, [(64, Some(128)), (0, None)]);
}

#[tokio::test]
async fn a_one_off_call_that_is_made_again_finds_the_revision_of_its_first_try() {
    let latest = mock!(Client::describe_task_definition)
        .match_requests(|request| request.task_definition() == Some("demo-bluegreen-migration"))
        .then_output(|| {
            let mut first = registered_by_this_execution();
            let definition = &mut first.task_definition;
            definition.task_definition_arn = Some("demo-bluegreen-migration:1".to_owned());
            definition.family = Some("demo-bluegreen-migration".to_owned());
            let containers = definition.container_definitions.as_mut().unwrap();
            (containers[0].essential, containers[1].essential) = (Some(false), Some(true));
            answer(&first)
        });
    let registers = mock!(Client::register_task_definition).then_output(|| registered("another:2"));
    let client = mock_client!(aws_sdk_ecs, RuleMode::MatchAny, &[&latest, &registers]);
    for (again, expected) in [(true, "demo-bluegreen-migration:1"), (false, "another:2")] {
        let revision = complete();
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
                    .container_definitions(container("web", image))
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
