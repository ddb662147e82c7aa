//! Tasks: exit codes, reasons, output, idempotency.

use std::time::{Duration, Instant};

use aws_sdk_ecs::types::{
    ContainerDefinition, ContainerOverride, Secret, Task, TaskOverride, TaskStopCode,
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
    for time in [
        task.created_at(),
        task.pull_started_at(),
        task.pull_stopped_at(),
        task.started_at(),
        task.stopping_at(),
        task.execution_stopped_at(),
        task.stopped_at(),
    ] {
        assert!(time.is_some(), "{task:?}");
    }
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
    let script = "#!/bin/sh\necho \"$URL $TITLE\"";
    let image = account.push("secrets", script, &[]).await;
    let with_secrets = container(&image)
        .secrets(from("URL", format!("{arn}:url::")))
        .secrets(from("TITLE", "/app/title".to_owned()));
    let definition = account
        .register("secrets", vec![with_secrets.build()])
        .await;
    let task = account.run(&definition).await;
    assert_eq!(
        account.output(&task, "web").await,
        ["postgres://here Posts"]
    );

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
    assert!(error.is_conflict_exception(), "{error}");
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
    let task = account.task_with_status(&arn, "RUNNING").await;
    let started = Instant::now();
    while account.output(&task, "web").await.is_empty() {
        assert!(started.elapsed() < Duration::from_secs(60));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    account
        .ecs
        .stop_task()
        .cluster(CLUSTER)
        .task(&arn)
        .reason("enough")
        .send()
        .await
        .unwrap();
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
