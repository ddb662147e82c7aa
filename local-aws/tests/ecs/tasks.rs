//! Tasks: exit codes, reasons, output, idempotency.

use aws_sdk_ecs::operation::run_task::RunTaskError;
use aws_sdk_ecs::types::{
    ContainerDefinition, ContainerOverride, DesiredStatus, EnvironmentFile, EnvironmentFileType,
    EphemeralStorage, LaunchType, PropagateTags, Secret, Tag, Task, TaskField, TaskOverride,
    TaskStopCode,
};

use crate::account::{Account, CLUSTER, container, log_configuration};

fn reason(task: &Task) -> (&str, &str) {
    (
        task.stop_code().map_or("", TaskStopCode::as_str),
        task.stopped_reason().unwrap_or_default(),
    )
}

pub(crate) async fn a_task_ends_with_its_exit_code_and_its_output_is_logged_in_order() {
    let account = Account::open();
    let script = "#!/bin/sh\necho one; echo two >&2; echo \"three $GREETING\"; exit 7";
    let image = account.push("exit", script, &["GREETING=hello"]).await;
    let definition = account.define("exit", &image).await;
    let task = account.run(&definition).await;
    assert_eq!(
        reason(&task),
        (
            "EssentialContainerExited",
            "Essential container in task exited"
        )
    );
    let container = &task.containers()[0];
    assert_eq!(container.exit_code(), Some(7));
    assert_eq!(
        container.image_digest(),
        image.split_once('@').map(|(_, digest)| digest)
    );
    let times = [
        task.created_at(),
        task.connectivity_at(),
        task.pull_started_at(),
        task.pull_stopped_at(),
        task.started_at(),
        task.stopping_at(),
        task.execution_stopped_at(),
        task.stopped_at(),
    ]
    .map(|time| time.unwrap().as_secs_f64());
    assert!(times.is_sorted(), "{times:?}");
    let address = container.network_interfaces()[0].private_ipv4_address();
    assert!(address.unwrap().starts_with("127."), "{address:?}");
    assert!(container.runtime_id().is_some());
    assert_eq!(
        account.output(&task, "web").await,
        ["one", "two", "three hello"]
    );
}

pub(crate) async fn overrides_change_command_and_environment() {
    let account = Account::open();
    let script = "#!/bin/sh\necho \"$1 $COLOUR\"";
    let image = account.push("overrides", script, &["COLOUR=red"]).await;
    let definition = account.define("overrides", &image).await;
    let colour = aws_sdk_ecs::types::KeyValuePair::builder()
        .name("COLOUR")
        .value("blue")
        .build();
    let overrides = ContainerOverride::builder()
        .name("web")
        .command("migrate")
        .environment(colour)
        .build();
    let answer = account
        .run_task(&definition)
        .overrides(
            TaskOverride::builder()
                .container_overrides(overrides)
                .build(),
        )
        .send()
        .await
        .unwrap();
    let arn = answer.tasks()[0].task_arn().unwrap();
    let task = account.task_with_status(arn, "STOPPED").await;
    assert_eq!(account.output(&task, "web").await, ["migrate blue"]);
}

pub(crate) async fn an_image_that_is_not_there_leaves_no_exit_code() {
    let account = Account::open();
    account.push("pull", "#!/bin/sh", &[]).await;
    let registry = "123456789012.dkr.ecr.us-east-1.amazonaws.com";
    for image in ["pull:none", "nothing:none"] {
        let definition = account.define("pull", &format!("{registry}/{image}")).await;
        let task = account.run(&definition).await;
        let (code, text) = reason(&task);
        assert_eq!(code, "TaskFailedToStart");
        assert!(text.starts_with("CannotPullContainerError: "), "{text}");
        let container = &task.containers()[0];
        assert_eq!(container.exit_code(), None);
        assert_eq!(container.reason(), Some(text));
        assert!(task.started_at().is_none());
    }
}

pub(crate) async fn a_command_that_is_not_in_the_image_leaves_no_exit_code() {
    let account = Account::open();
    let image = account.push("command", "#!/bin/sh", &[]).await;
    let container = container(&image).entry_point("/bin/none").build();
    let definition = account.register("command", vec![container]).await;
    let task = account.run(&definition).await;
    assert_eq!(reason(&task).0, "TaskFailedToStart");
    let container = &task.containers()[0];
    assert_eq!(container.exit_code(), None);
    let text = container.reason().unwrap();
    assert!(text.starts_with("CannotStartContainerError: "), "{text}");
}

pub(crate) async fn without_its_log_group_a_task_does_not_start() {
    let account = Account::open();
    let image = account.push("logs", "#!/bin/sh\necho hello", &[]).await;
    let missing = container(&image).log_configuration(log_configuration("/none"));
    let definition = account.register("logs", vec![missing.build()]).await;
    let task = account.run(&definition).await;
    let (code, text) = reason(&task);
    assert_eq!(code, "TaskFailedToStart");
    assert!(text.starts_with("ResourceInitializationError: "), "{text}");
    assert!(text.contains("ResourceNotFoundException"), "{text}");
}

pub(crate) async fn secrets_come_from_secrets_manager_and_the_parameter_store() {
    let account = Account::open();
    let secret = account
        .secrets
        .create_secret()
        .name("database")
        .secret_string(r#"{"url": "postgres://here"}"#)
        .send()
        .await
        .unwrap();
    let arn = secret.arn().unwrap();
    account
        .ssm
        .put_parameter()
        .name("/app/title")
        .value("Posts")
        .r#type(aws_sdk_ssm::types::ParameterType::String)
        .send()
        .await
        .unwrap();
    let from = |name: &str, value: String| {
        Secret::builder()
            .name(name)
            .value_from(value)
            .build()
            .unwrap()
    };
    let newer = account
        .secrets
        .put_secret_value()
        .secret_id(arn)
        .secret_string(r#"{"url": "postgres://there", "port": 5432}"#)
        .send()
        .await
        .unwrap();
    let older = secret.version_id().unwrap();
    let newer = newer.version_id().unwrap();
    let parameter = "arn:aws:ssm:us-east-1:123456789012:parameter/app/key";
    account
        .ssm
        .put_parameter()
        .name("/app/key")
        .value("hidden")
        .r#type(aws_sdk_ssm::types::ParameterType::SecureString)
        .send()
        .await
        .unwrap();
    let variables = [
        (
            "ALL",
            arn.to_owned(),
            r#"{"url": "postgres://there", "port": 5432}"#,
        ),
        ("URL", format!("{arn}:url::"), "postgres://there"),
        ("PORTS", format!("{arn}:port::"), "5432"),
        (
            "BEFORE",
            format!("{arn}:url:AWSPREVIOUS:"),
            "postgres://here",
        ),
        ("OLDER", format!("{arn}:url::{older}"), "postgres://here"),
        ("NEWER", format!("{arn}:url::{newer}"), "postgres://there"),
        ("TITLE", "/app/title".to_owned(), "Posts"),
        ("SECURE", parameter.to_owned(), "hidden"),
    ];
    let script: String = variables
        .iter()
        .map(|(name, ..)| format!("echo \"${name}\"\n"))
        .collect();
    let image = account
        .push("secrets", &format!("#!/bin/sh\n{script}"), &[])
        .await;
    let secrets = variables
        .iter()
        .map(|(name, place, _)| from(name, place.clone()));
    let with_secrets = container(&image).set_secrets(Some(secrets.collect()));
    let definition = account
        .register("secrets", vec![with_secrets.build()])
        .await;
    let task = account.run(&definition).await;
    let expected: Vec<&str> = variables.iter().map(|(.., value)| *value).collect();
    assert_eq!(account.output(&task, "web").await, expected);

    let no_key = container(&image).secrets(from("URL", format!("{arn}:none::")));
    let definition = account.register("secrets", vec![no_key.build()]).await;
    let task = account.run(&definition).await;
    let (code, text) = reason(&task);
    assert_eq!(code, "TaskFailedToStart");
    assert!(text.contains("did not contain json key none"), "{text}");
    assert_eq!(task.containers()[0].exit_code(), None);
    assert!(task.pull_started_at().is_none());

    let without = container(&image).secrets(from("URL", "/app/none".to_owned()));
    let definition = account.register("secrets", vec![without.build()]).await;
    let task = account.run(&definition).await;
    let (code, text) = reason(&task);
    assert_eq!(code, "TaskFailedToStart");
    assert!(text.starts_with("ResourceInitializationError: "), "{text}");
}

pub(crate) async fn a_client_token_starts_a_task_once() {
    let account = Account::open();
    let image = account.push("token", "#!/bin/sh", &[]).await;
    let definition = account.define("token", &image).await;
    let run = || account.run_task(&definition).client_token("once");
    let first = run().send().await.unwrap();
    let again = run().send().await.unwrap();
    assert_eq!(
        first.tasks()[0].task_arn().unwrap(),
        again.tasks()[0].task_arn().unwrap()
    );
    let other = run().started_by("somebody").send().await;
    let error = other.unwrap_err().into_service_error();
    let RunTaskError::ConflictException(conflict) = error else {
        panic!("{error}");
    };
    let started = first.tasks()[0].task_arn().unwrap();
    assert_eq!(conflict.resource_ids(), [started]);
}

pub(crate) async fn a_task_that_is_stopped_gets_sigterm() {
    let account = Account::open();
    let script = "#!/bin/sh\ntrap 'echo bye; exit 3' TERM\necho up\nwhile :; do sleep 0.1; done";
    let image = account.push("stop", script, &[]).await;
    let definition = account.define("stop", &image).await;
    let task = stop_when_up(&account, &definition).await;
    assert_eq!(reason(&task), ("UserInitiated", "enough"));
    assert_eq!(task.containers()[0].exit_code(), Some(3));
    assert_eq!(account.output(&task, "web").await, ["up", "bye"]);
}

pub(crate) async fn a_task_that_ignores_sigterm_is_killed_after_the_stop_timeout() {
    let account = Account::open();
    let script = "#!/bin/sh\ntrap '' TERM\necho up\nwhile :; do sleep 0.1; done";
    let image = account.push("kill", script, &[]).await;
    let patient = container(&image).stop_timeout(20).build();
    let definition = account.register("kill", vec![patient]).await;
    let task = stop_when_up(&account, &definition).await;
    assert_eq!(task.containers()[0].exit_code(), Some(137));
    let stopping = task.stopping_at().unwrap().as_secs_f64();
    let took = task.execution_stopped_at().unwrap().as_secs_f64() - stopping;
    assert!(took >= 0.9, "{took}");
}

/// Stops a task once it has said that it is up.
async fn stop_when_up(account: &Account, definition: &str) -> Task {
    let arn = account.start(definition).await;
    account.line(&arn, "web", "up").await;
    account.task_with_status(&arn, "RUNNING").await;
    account.stop(&arn).await;
    account.task_with_status(&arn, "STOPPED").await
}

pub(crate) async fn a_container_that_is_not_essential_may_end_before_the_task() {
    let account = Account::open();
    let main = account
        .push("main", "#!/bin/sh\nsleep 1; exit 5", &[])
        .await;
    let helper = account.push("helper", "#!/bin/sh\nexit 1", &[]).await;
    let other = account.push("other", "#!/bin/sh\nexec sleep 60", &[]).await;
    let beside = |name: &str, image: &str| {
        ContainerDefinition::builder()
            .name(name)
            .image(image)
            .essential(false)
            .build()
    };
    let definition = account
        .register(
            "several",
            vec![
                beside("helper", &helper),
                container(&main).build(),
                beside("other", &other),
            ],
        )
        .await;
    let task = account.run(&definition).await;
    let codes: Vec<_> = task
        .containers()
        .iter()
        .map(|container| (container.name().unwrap(), container.exit_code()))
        .collect();
    assert_eq!(
        codes,
        [
            ("helper", Some(1)),
            ("web", Some(5)),
            // Ended by SIGTERM, because the essential container had ended.
            ("other", Some(143)),
        ]
    );
}

pub(crate) async fn a_task_that_is_not_known_is_missing() {
    let account = Account::open();
    let answer = account
        .ecs
        .describe_tasks()
        .cluster(CLUSTER)
        .tasks("0123456789abcdef0123456789abcdef")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.tasks().len(), 0);
    assert_eq!(answer.failures()[0].reason(), Some("MISSING"));
}

pub(crate) async fn requests_that_ecs_refuses_are_refused_with_its_exceptions() {
    let account = Account::open();
    let image = account.push("refused", "#!/bin/sh", &[]).await;
    let definition = account.define("refused", &image).await;
    let unknown = account.run_task("nothing").send().await.unwrap_err();
    assert!(unknown.into_service_error().is_client_exception());
    let no_cluster = account.run_task(&definition).cluster("nowhere");
    let error = no_cluster.send().await.unwrap_err().into_service_error();
    assert!(error.is_cluster_not_found_exception());
    let no_network = account
        .ecs
        .run_task()
        .cluster(CLUSTER)
        .task_definition(&definition);
    let error = no_network.send().await.unwrap_err().into_service_error();
    assert!(error.is_invalid_parameter_exception());
    let unknown_platform = account.run_task(&definition).platform_version("9.9.9");
    let error = unknown_platform.send().await.unwrap_err();
    let error = error.into_service_error();
    assert!(error.is_platform_unknown_exception(), "{error}");
    let stranger = ContainerOverride::builder().name("stranger").build();
    let overrides = TaskOverride::builder().container_overrides(stranger);
    let error = account
        .run_task(&definition)
        .overrides(overrides.build())
        .send()
        .await
        .unwrap_err()
        .into_service_error();
    assert!(error.is_invalid_parameter_exception());
}

pub(crate) async fn environment_files_are_weaker_than_environment_and_that_than_overrides() {
    let account = Account::open();
    let file = account
        .put_object(
            "files",
            "app/web.env",
            "# Defaults\nA=file\nB=file\nC=file\n",
        )
        .await;
    let variable = |name: &str, value: &str| {
        aws_sdk_ecs::types::KeyValuePair::builder()
            .name(name)
            .value(value)
            .build()
    };
    let read_from = |file: &str| {
        EnvironmentFile::builder()
            .r#type(EnvironmentFileType::S3)
            .value(file)
            .build()
            .unwrap()
    };
    let script = "#!/bin/sh\necho $A $B $C $D";
    let image = account.push("files", script, &["A=image", "D=image"]).await;
    let with_file = container(&image)
        .environment_files(read_from(&file))
        .environment(variable("B", "definition"))
        .environment(variable("C", "definition"));
    let definition = account.register("files", vec![with_file.build()]).await;
    let overrides = ContainerOverride::builder()
        .name("web")
        .environment(variable("C", "override"))
        .build();
    let overrides = TaskOverride::builder().container_overrides(overrides);
    let answer = account.run_task(&definition).overrides(overrides.build());
    let answer = answer.send().await.unwrap();
    let arn = answer.tasks()[0].task_arn().unwrap();
    account.task_with_status(arn, "STOPPED").await;
    account
        .line(arn, "web", "file definition override image")
        .await;

    let missing = container(&image).environment_files(read_from("arn:aws:s3:::files/none.env"));
    let definition = account.register("files", vec![missing.build()]).await;
    let task = account.run(&definition).await;
    let (code, text) = reason(&task);
    assert_eq!(code, "TaskFailedToStart");
    assert!(text.starts_with("ResourceInitializationError: "), "{text}");
    assert!(text.contains("env files"), "{text}");
}

pub(crate) async fn a_log_group_is_created_where_the_log_driver_shall() {
    let account = Account::open();
    let image = account.push("group", "#!/bin/sh\necho hello", &[]).await;
    let mut configuration = log_configuration("/created");
    let options = configuration.options.get_or_insert_default();
    options.insert("awslogs-create-group".to_owned(), "true".to_owned());
    let creating = container(&image).log_configuration(configuration).build();
    let definition = account.register("group", vec![creating]).await;
    let task = account.run(&definition).await;
    assert_eq!(task.containers()[0].exit_code(), Some(0));
    let request = account.logs.filter_log_events().log_group_name("/created");
    let answer = request.send().await.unwrap();
    assert_eq!(answer.events()[0].message(), Some("hello"));
}

pub(crate) async fn a_task_that_is_stopped_before_it_runs_never_ran() {
    let account = Account::open();
    let image = account
        .push("early", "#!/bin/sh\nexec sleep 600", &[])
        .await;
    let definition = account.define("early", &image).await;
    let arn = account.start(&definition).await;
    account.stop(&arn).await;
    let task = account.task_with_status(&arn, "STOPPED").await;
    assert_eq!(reason(&task), ("UserInitiated", "enough"));
    assert_eq!(task.containers()[0].exit_code(), None);
    assert_eq!(task.containers()[0].runtime_id(), None);
    assert!(task.started_at().is_none());
    assert!(task.stopping_at().is_some() && task.stopped_at().is_some());
}

pub(crate) async fn tasks_are_listed_by_family_starter_and_desired_status() {
    let account = Account::open();
    let image = account
        .push("listed", "#!/bin/sh\nexec sleep 600", &[])
        .await;
    let definition = account.define("listed", &image).await;
    let request = account.run_task(&definition).started_by("a/lister");
    let answer = request.send().await.unwrap();
    let running = answer.tasks()[0].task_arn().unwrap().to_owned();
    let stopped = account.start(&definition).await;
    account.stop(&stopped).await;
    let list = || account.ecs.list_tasks().cluster(CLUSTER);
    for (request, expected) in [
        (list().family("listed"), [&running].as_slice()),
        (list().started_by("a/lister"), &[&running]),
        (list().started_by("nobody"), &[]),
        (
            list()
                .family("listed")
                .desired_status(DesiredStatus::Stopped),
            &[&stopped],
        ),
        (
            list()
                .family("listed")
                .desired_status(DesiredStatus::Pending),
            &[],
        ),
        (
            list().family("listed").launch_type(LaunchType::Fargate),
            &[&running],
        ),
        (list().family("listed").launch_type(LaunchType::Ec2), &[]),
    ] {
        let answer = request.send().await.unwrap();
        let found: Vec<&String> = answer.task_arns().iter().collect();
        assert_eq!(found, expected);
    }
    let both = list().started_by("a/lister").family("listed");
    let error = both.send().await.unwrap_err().into_service_error();
    assert!(error.is_invalid_parameter_exception(), "{error}");
    let nowhere = list().service_name("nowhere").send().await;
    let error = nowhere.unwrap_err().into_service_error();
    assert!(error.is_service_not_found_exception(), "{error}");
    account.stop(&running).await;
}

pub(crate) async fn overrides_and_tags_are_told_of_a_task() {
    let account = Account::open();
    let image = account.push("told", "#!/bin/sh\nexec sleep 600", &[]).await;
    let definition = account.define("told", &image).await;
    let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build();
    let request = account.ecs.tag_resource().resource_arn(&definition);
    let request = request.tags(tag("Team", "a")).tags(tag("Stage", "test"));
    request.send().await.unwrap();
    let role = "arn:aws:iam::123456789012:role/other";
    let overrides = TaskOverride::builder()
        .cpu("512")
        .memory("1024")
        .task_role_arn(role)
        .execution_role_arn(role)
        .ephemeral_storage(EphemeralStorage::builder().size_in_gib(50).build())
        .container_overrides(ContainerOverride::builder().name("web").cpu(128).build())
        .build();
    let answer = account
        .run_task(&definition)
        .overrides(overrides.clone())
        .tags(tag("Team", "b"))
        .propagate_tags(PropagateTags::TaskDefinition)
        .enable_ecs_managed_tags(true)
        .group("jobs")
        .platform_version("LATEST")
        .send()
        .await
        .unwrap();
    let arn = answer.tasks()[0].task_arn().unwrap();
    let request = account.ecs.describe_tasks().cluster(CLUSTER).tasks(arn);
    let answer = request.include(TaskField::Tags).send().await.unwrap();
    let task = &answer.tasks()[0];
    assert_eq!((task.cpu(), task.memory()), (Some("512"), Some("1024")));
    assert_eq!(task.ephemeral_storage().unwrap().size_in_gib(), 50);
    assert_eq!(task.containers()[0].cpu(), Some("128"));
    let told = task.overrides().unwrap();
    assert_eq!(told.task_role_arn(), overrides.task_role_arn());
    assert_eq!(told.execution_role_arn(), overrides.execution_role_arn());
    assert_eq!(task.group(), Some("jobs"));
    assert_eq!(task.platform_version(), Some("1.4.0"));
    let expected = [
        tag("Team", "b"),
        tag("Stage", "test"),
        tag("aws:ecs:clusterName", CLUSTER),
    ];
    assert_eq!(task.tags(), expected);
    account.stop(arn).await;
}

pub(crate) async fn a_container_reads_about_itself_and_its_task_at_the_metadata_endpoint() {
    let account = Account::open();
    let script = r#"#!/usr/bin/env python3
import json, os, urllib.request
uri = os.environ["ECS_CONTAINER_METADATA_URI_V4"]
container = json.load(urllib.request.urlopen(uri))
task = json.load(urllib.request.urlopen(uri + "/task"))
print(container["Name"], container["ContainerARN"], container["KnownStatus"])
print(task["TaskARN"], task["Family"], task["Revision"], task["Limits"]["Memory"])
print([one["Name"] for one in task["Containers"]] == [container["Name"]])
"#;
    let image = account.push("metadata", script, &[]).await;
    let definition = account.define("metadata", &image).await;
    let task = account.run(&definition).await;
    let arn = task.task_arn().unwrap();
    let container = task.containers()[0].container_arn().unwrap();
    assert_eq!(
        account.output(&task, "web").await,
        [
            &format!("web {container} RUNNING"),
            &format!("{arn} metadata 1 512.0"),
            "True"
        ]
    );
}
