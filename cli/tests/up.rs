//! An application from nothing and back, in a local AWS with the templates, functions and sample
//! application as they are.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bluegreen_cli::first_image::Given;
use bluegreen_cli::local::{self, Start, Started};
use bluegreen_cli::names::{ARTIFACTS, Application, PIPELINE};
use bluegreen_cli::pipeline::Pipeline;
use bluegreen_cli::say::Say;
use bluegreen_cli::status::newest;
use bluegreen_cli::verbs::up::Options;
use bluegreen_cli::verbs::{down, up};
use bluegreen_cli::world::World;
use bluegreen_contract::RequestedAction;
use end_to_end::{permissions, secrecy};
use local_aws::client::LocalAws;
use local_aws::faults::Fault;
use sample::image::{VersionSpec, push};
use serde_json::{Value, json};

/// What a person is shown.
#[derive(Clone, Default)]
struct Screen(Arc<Mutex<Shown>>);

#[derive(Default)]
struct Shown {
    bytes: Vec<u8>,
    read: usize,
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().bytes.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Screen {
    /// What has come since it was read last.
    fn read(&self) -> String {
        let mut shown = self.0.lock().unwrap();
        let new = shown.bytes[shown.read..].to_vec();
        shown.read = shown.bytes.len();
        let text = String::from_utf8(new).unwrap();
        eprintln!("{text}");
        text
    }

    fn all(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().bytes.clone()).unwrap()
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Cargo puts executables beside the directory of the tests.
fn local_aws_binary() -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let binary = this.ancestors().nth(2).unwrap().join("local-aws");
    assert!(binary.is_file(), "run cargo build --package local-aws");
    binary
}

fn options(application: &Application) -> Options {
    let architecture = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        other => other,
    };
    Options {
        application: application.clone(),
        image: Given::default(),
        architecture: architecture.to_owned(),
        settings: vec!["cluster.HealthCheckIntervalSeconds=5".parse().unwrap()],
        release_patience: Duration::from_secs(120),
    }
}

/// The names of the stacks that exist.
async fn stacks(world: &World) -> Vec<String> {
    let client = aws_sdk_cloudformation::Client::new(&world.config);
    let answer = client.describe_stacks().send().await.unwrap();
    let names = answer
        .stacks()
        .iter()
        .map(|stack| stack.stack_name().unwrap().to_owned());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

/// The search for passwords finds nothing where there is nothing: here it has to find one.
async fn passwords_are_found_where_they_are_told(world: &World) {
    let secrets = world.cli.ask(&["secretsmanager", "list-secrets"]).await;
    let id = secrets.unwrap()["SecretList"][0]["ARN"].clone();
    let get = ["secretsmanager", "get-secret-value", "--secret-id"];
    let secret = [&get[..], &[id.as_str().unwrap()]].concat();
    let secret = world.cli.ask(&secret).await.unwrap();
    let secret: Value = serde_json::from_str(secret["SecretString"].as_str().unwrap()).unwrap();
    let password = secret["password"].as_str().unwrap();

    let now = jiff::Timestamp::now().as_millisecond();
    let events = json!([{"timestamp": now, "message": format!("as {password}")}]).to_string();
    let group = ["--log-group-name", "/control"];
    let stream = [&group[..], &["--log-stream-name", "one"]].concat();
    let put = [&stream[..], &["--log-events", &events]].concat();
    for (operation, arguments) in [
        ("create-log-group", &group[..]),
        ("create-log-stream", &stream),
        ("put-log-events", &put),
    ] {
        let command = [&["logs", operation], arguments].concat();
        world.cli.run(&command).await.unwrap();
    }
    let error = secrecy::check(&world.config, password).await.unwrap_err();
    let error = error.to_string();
    for place in ["log /control", "screen"] {
        assert!(error.contains(place), "{error}");
    }
    let delete = [&["logs", "delete-log-group"], &group[..]].concat();
    world.cli.run(&delete).await.unwrap();
}

/// A local AWS and what a person is shown.
struct Stand {
    world: World,
    started: Started,
    screen: Screen,
    _state: tempfile::TempDir,
}

async fn stand() -> Stand {
    let state = tempfile::tempdir().unwrap();
    let start = Start {
        root: root(),
        binary: local_aws_binary(),
        speed: 20.0,
        state: state.path().to_owned(),
    };
    let screen = Screen::default();
    let say = Say::to(screen.clone());
    let (world, started) = local::start(start, None, say).await.unwrap();
    Stand {
        world,
        started,
        screen,
        _state: state,
    }
}

/// The tasks that the stack `demo` has had: those of its services, and the others, its migrations.
async fn tasks(world: &World) -> (Vec<Value>, Vec<Value>) {
    let outputs = world.stacks().outputs("demo").await.unwrap();
    let cluster = ["--cluster", &outputs["ClusterName"]];
    let mut tasks = Vec::new();
    for status in ["RUNNING", "STOPPED"] {
        let list = ["ecs", "list-tasks", "--desired-status", status];
        let listed = world.cli.ask(&[&list[..], &cluster].concat()).await;
        let listed = listed.unwrap();
        let arns = listed["taskArns"].as_array().unwrap().iter();
        let arns: Vec<_> = arns.map(|arn| arn.as_str().unwrap()).collect();
        if !arns.is_empty() {
            let describe = ["ecs", "describe-tasks", "--tasks"];
            let describe = [&describe[..], &arns, &cluster].concat();
            let described = world.cli.ask(&describe).await.unwrap();
            tasks.extend(described["tasks"].as_array().unwrap().clone());
        }
    }
    let is_of_service = |task: &Value| task["group"].as_str().unwrap().starts_with("service:");
    tasks.into_iter().partition(is_of_service)
}

fn time(task: &Value, name: &str) -> f64 {
    task[name]
        .as_f64()
        .unwrap_or_else(|| panic!("{name}: {task}"))
}

/// Every task that has served runs the image with this digest, and was created after a migration of
/// it had exited 0.
async fn assert_served_only_after_its_migration(world: &World, digest: &str) {
    let (serving, migrations) = tasks(world).await;
    let runs = |task: &Value| {
        task["containers"][0]["image"]
            .as_str()
            .unwrap()
            .ends_with(digest)
    };
    let mut migrated = migrations
        .iter()
        .filter(|task| runs(task) && task["containers"][0]["exitCode"] == 0)
        .map(|task| time(task, "stoppedAt"));
    let migrated = migrated.next().unwrap();
    assert_ne!(serving, [] as [Value; 0]);
    for task in &serving {
        assert!(runs(task), "{task}");
        assert!(time(task, "createdAt") > migrated, "{migrated}: {task}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_comes_up_goes_on_after_a_failure_changes_nothing_twice_and_goes_down() {
    let Stand {
        world,
        started,
        screen,
        _state,
    } = stand().await;
    let demo: Application = "demo".parse().unwrap();
    let aws = LocalAws::attach(world.config.endpoint_url().unwrap()).unwrap();

    // A repository without its stack is left where make down was interrupted between the two.
    let ecr = aws_sdk_ecr::Client::new(&world.config);
    let create = ecr.create_repository().repository_name("demo");
    create.send().await.unwrap();
    let error = up::run(&world, &options(&demo)).await.unwrap_err();
    let error = format!("{error:#}");
    assert!(error.contains("run make down STACK=demo again"), "{error}");
    let delete = ecr.delete_repository().repository_name("demo");
    delete.send().await.unwrap();

    // The application's stack breaks: all before it stays, and the person is told why.
    let fault = Fault::of("ecs", "CreateService")
        .with("ClientException")
        .times(1);
    let fault = aws.fail(fault).await.unwrap();
    let error = up::run(&world, &options(&demo)).await.unwrap_err();
    let told = screen.read();
    let error = format!("{error:#}");
    for words in [
        "Stack demo could not be created",
        "ROLLBACK_COMPLETE",
        "Service (AWS::ECS::Service)",
        "make up again",
    ] {
        assert!(error.contains(words), "{error}");
    }
    assert_eq!(fault.struck().await.unwrap(), 1);
    assert!(
        told.contains("CREATE_COMPLETE    Vpc (AWS::EC2::VPC)"),
        "{told}"
    );
    let existing = [
        ARTIFACTS,
        "demo",
        "demo-database",
        "demo-network",
        "demo-repository",
    ];
    assert_eq!(stacks(&world).await, {
        let mut names = existing.to_vec();
        names.sort_unstable();
        names
    });

    // ECS's own role is there before the first cluster, and the database is protected since it stands.
    let role = ["iam", "get-role", "--role-name", "AWSServiceRoleForECS"];
    world.cli.ask(&role).await.unwrap();
    let database = world.stacks().parameters("demo-database").await.unwrap();
    assert_eq!(database.unwrap()["DeletionProtection"], "true");

    // It goes on from there, up to an application that answers, with its database migrated.
    up::run(&world, &options(&demo)).await.unwrap();
    let told = screen.read();
    for words in [
        "Stack demo-network: unchanged",
        "Stack demo-database: unchanged",
        "Stack demo: its creation failed the last time",
        "First release: ",
        "The first image is migrated: demo goes into service",
    ] {
        assert!(told.contains(words), "{told}");
    }
    let registry = aws.endpoint().trim_start_matches("http://");
    let push = format!("Push images to   {registry}/demo\n");
    assert!(told.contains(&push), "{told}");
    let sample = VersionSpec::posts().build(&sample::websvc::executable().unwrap());
    assert_served_only_after_its_migration(&world, &sample.unwrap().digest()).await;
    let outputs = world.stacks().outputs("demo").await.unwrap();
    assert_eq!(outputs["MigrationCommand"], r#"["websvc","migrate"]"#);
    assert!(!outputs["LoadBalancerUrl"].ends_with(":80"), "{outputs:?}");
    let posts = format!("{}/posts", outputs["LoadBalancerUrl"]);
    let answer = reqwest::get(&posts).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.text().await.unwrap().contains("<h1>Posts</h1>"));

    let pipeline = Pipeline::find(&world).await.unwrap();
    let records = newest(&pipeline, "demo", 10).await.unwrap();
    let told = records
        .iter()
        .map(|it| (it.action, it.tag.as_deref(), it.verdict.as_str()));
    assert_eq!(
        told.collect::<Vec<_>>(),
        [(RequestedAction::Deploy, Some("sample"), "succeeded")],
        "{records:?}"
    );

    // Once more: nothing to do.
    up::run(&world, &options(&demo)).await.unwrap();
    let told = screen.read();
    assert!(told.contains("Nothing was changed"), "{told}");
    assert!(
        !told.contains("updating") && !told.contains("creating"),
        "{told}"
    );

    // The pipeline stays as it is while a release runs, and is updated when none does.
    let plan = Fault::of("lambda", "Invoke");
    let plan = plan.where_request_contains(json!({"FunctionName": "*PlanReleaseFunction*"}));
    let plan = aws.fail(plan.held().times(1)).await.unwrap();
    let pipeline = world.stacks().outputs(PIPELINE).await.unwrap();
    let started_release = aws_sdk_sfn::Client::new(&world.config)
        .start_execution()
        .state_machine_arn(&pipeline["StateMachineArn"])
        .input(r#"{"stack": "demo", "tag": "sample"}"#)
        .send()
        .await
        .unwrap();
    plan.strikes(Duration::from_secs(60)).await.unwrap();
    let mut changed = options(&demo);
    let kept = "pipeline.LogRetentionDays=14".parse().unwrap();
    changed.settings.push(kept);
    changed.release_patience = Duration::ZERO;
    let error = up::run(&world, &changed).await.unwrap_err();
    let error = format!("{error:#}");
    let which = format!("stack demo: {}", started_release.execution_arn());
    for words in ["Stack bluegreen was not updated", &which, "stop-execution"] {
        assert!(error.contains(words), "{error}");
    }
    // Nor is anything deleted under it.
    let error = down::run(&world, &demo, true).await.unwrap_err();
    let error = format!("{error:#}");
    for words in ["Nothing was deleted", &which, "stop-execution"] {
        assert!(error.contains(words), "{error}");
    }
    plan.lift().await.unwrap();
    changed.release_patience = Duration::from_secs(120);
    screen.read();
    up::run(&world, &changed).await.unwrap();
    let told = screen.read();
    assert!(told.contains("Stack bluegreen: updating"), "{told}");

    let checked = secrecy::check(&world.config, &screen.all()).await.unwrap();
    eprintln!("{checked}");
    passwords_are_found_where_they_are_told(&world).await;
    permissions::check(&aws.asked().await.unwrap()).unwrap();
    permissions::check_refused(&aws.refused().await.unwrap()).unwrap();

    // Down, with what is left of it told. CloudWatch makes the log group where there is one.
    let group = format!(
        "/aws/ecs/containerinsights/{}/performance",
        outputs["ClusterName"]
    );
    let create = ["logs", "create-log-group", "--log-group-name", &group];
    world.cli.run(&create).await.unwrap();
    down::run(&world, &demo, true).await.unwrap();
    let told = screen.read();
    for words in [
        "the database demo",
        "repository demo with all its images (1)",
        "Kept: snapshot demo",
        "Kept: automated backups of the database demo",
        &format!("Kept: log group {group}"),
        "Kept: revisions of the task definition demo",
        "Kept: DynamoDB table bluegreen",
    ] {
        assert!(told.contains(words), "{told}");
    }
    assert_eq!(stacks(&world).await, [] as [String; 0]);
    let repositories = ecr.describe_repositories().send().await.unwrap();
    assert_eq!(repositories.repositories(), []);
    assert!(reqwest::get(&posts).await.is_err());
    down::run(&world, &demo, true).await.unwrap();
    let told = screen.read();
    assert!(told.contains("There is nothing of demo"), "{told}");

    assert!(world.stacks().find(PIPELINE).await.unwrap().is_none());
    started.end().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_serves_before_an_image_is_migrated_and_the_next_make_up_goes_on_with_a_mended_one()
{
    let Stand {
        world,
        started,
        screen,
        _state,
    } = stand().await;
    let aws = LocalAws::attach(world.config.endpoint_url().unwrap()).unwrap();
    let program = sample::websvc::executable().unwrap();
    let deploy = "cloudformation deploy --stack-name demo-repository --parameter-overrides \
                  RepositoryName=demo Stacks=demo --template-file";
    let template = root().join("infra/image-repository.yml");
    let template = template.to_str().unwrap();
    let deploy: Vec<_> = deploy.split_whitespace().chain([template]).collect();
    world.cli.run(deploy).await.unwrap();
    let bad = VersionSpec::bad_migration().build(&program).unwrap();
    push(&aws, &world.config, "demo", Some("v1"), &bad)
        .await
        .unwrap();

    // What is deployed in a way of its own, and scaled, waits all the same.
    let test_port = aws.reserve_port().await.unwrap();
    let demo: Application = "demo".parse().unwrap();
    let mut options = options(&demo);
    let settings = [
        r#"cluster.MigrationCommand=["websvc","migrate"]"#.to_owned(),
        "cluster.Strategy=BLUE_GREEN".to_owned(),
        "cluster.BakeTimeMinutes=1".to_owned(),
        format!("cluster.TestListenerPort={test_port}"),
        "cluster.Autoscaling=true".to_owned(),
        "cluster.MinCount=1".to_owned(),
    ];
    let settings = settings.iter().map(|setting| setting.parse().unwrap());
    options.settings.extend(settings);
    let error = up::run(&world, &options).await.unwrap_err();
    let error = format!("{error:#}");
    for words in ["MigrationFailed", "Nothing serves", "make up again"] {
        assert!(error.contains(words), "{error}");
    }
    let (serving, migrations) = tasks(&world).await;
    assert_eq!(serving, [] as [Value; 0]);
    assert_eq!(migrations.len(), 1, "{migrations:?}");
    let outputs = world.stacks().outputs("demo").await.unwrap();
    let posts = format!("{}/posts", outputs["LoadBalancerUrl"]);
    assert_eq!(reqwest::get(&posts).await.unwrap().status(), 503);

    // The pipeline, which is there by now, releases what is pushed: to no task as well.
    let good = VersionSpec::posts().build(&program).unwrap();
    push(&aws, &world.config, "demo", Some("v2"), &good)
        .await
        .unwrap();
    let repository = world.stacks().outputs("demo-repository").await.unwrap();
    options.image.image = Some(format!("{}:v2", repository["RepositoryUri"]));
    screen.read();
    up::run(&world, &options).await.unwrap();
    screen.read();
    assert_served_only_after_its_migration(&world, &good.digest()).await;
    let page = reqwest::get(&posts).await.unwrap().text().await.unwrap();
    assert!(page.contains("<h1>Posts</h1>"), "{page}");
    let parameters = world.stacks().parameters("demo").await.unwrap().unwrap();
    assert_eq!(parameters["InService"], "true");

    options.image.image = None;
    up::run(&world, &options).await.unwrap();
    let told = screen.read();
    assert!(told.contains("Nothing was changed"), "{told}");
    started.end().await.unwrap();
}
