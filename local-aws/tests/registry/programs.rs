//! Programs that others wrote for registries: skopeo, buildah, and what they bring run by ECS.

use std::path::Path;
use std::process::{Command as Blocking, Stdio};

use aws_sdk_ecs::types::{
    AwsVpcConfiguration, Compatibility, ContainerDefinition, LaunchType, LogConfiguration,
    LogDriver, NetworkConfiguration, NetworkMode, Task,
};
use local_aws::containers::own_root;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::stand::{Stand, eventually, succeeded};

const LOCAL_AWS: &str = env!("CARGO_BIN_EXE_local-aws");
const LOG_GROUP: &str = "/registry";

/// Why these tests cannot be played on this machine, if they cannot.
pub(crate) fn problem() -> Option<String> {
    for program in ["skopeo", "buildah", "cc"] {
        if let Err(error) = Blocking::new(program).arg("--version").output() {
            return Some(format!(
                "{program} cannot be run ({error}): make setup installs it on Debian"
            ));
        }
    }
    // Where nobody but root may map users, buildah can build nothing for others.
    let storage = TempDir::new().ok()?;
    let mut buildah = Blocking::new("buildah");
    let tried = buildah
        .args(stored_in(storage.path()))
        .args(["from", "scratch"])
        .output();
    let tried = match tried {
        Ok(tried) if tried.status.success() => return None,
        Ok(tried) => String::from_utf8_lossy(&tried.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    Some(format!("buildah does not work here: {tried}"))
}

/// Why no program has a root of its own on this machine, if none has.
pub(crate) fn own_root_problem() -> Option<String> {
    let tried = Blocking::new(LOCAL_AWS).arg(own_root::ARGUMENT).output();
    match tried {
        Ok(tried) if tried.status.success() => None,
        Ok(tried) => Some(String::from_utf8_lossy(&tried.stderr).trim().to_owned()),
        Err(error) => Some(error.to_string()),
    }
}

/// Options of buildah that keep its images apart from those of whoever runs the tests.
fn stored_in(directory: &Path) -> [String; 6] {
    let path = |name: &str| directory.join(name).display().to_string();
    [
        "--root",
        &path("root"),
        "--runroot",
        &path("run"),
        "--storage-driver",
        "vfs",
    ]
    .map(str::to_owned)
}

/// A stand with a client that is logged in, and a directory for its files.
struct Desk {
    stand: Stand,
    directory: TempDir,
}

impl Desk {
    async fn open() -> Self {
        let desk = Self {
            stand: Stand::open().await,
            directory: tempfile::tempdir().unwrap(),
        };
        let login = [
            "login",
            "--tls-verify=false",
            "--username",
            "AWS",
            "--password",
        ];
        let login = [&login[..], &[desk.stand.token(), desk.stand.registry()]].concat();
        desk.run("skopeo", &login).await;
        let role = format!("iam create-role --role-name {}", desk.name());
        let role = format!("{role} --assume-role-policy-document {{}}");
        desk.stand.cli(&role).await;
        desk
    }

    /// The name of its role and of its family of task definitions.
    fn name(&self) -> String {
        self.stand.repository.replace('/', "-")
    }

    /// Runs a program, which has to succeed.
    async fn run(&self, program: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(program);
        if program == "buildah" {
            command.args(stored_in(self.directory.path()));
        }
        let output = command
            .args(arguments)
            .current_dir(self.directory.path())
            .env(
                "REGISTRY_AUTH_FILE",
                self.directory.path().join("login.json"),
            )
            .env("BUILDAH_ISOLATION", "chroot")
            .env("NO_PROXY", "127.0.0.1")
            .kill_on_drop(true)
            .output()
            .await
            .unwrap();
        succeeded(&format!("{program} {arguments:?}"), &output)
    }

    /// Builds and pushes an image from a Dockerfile in this desk's directory.
    async fn build(&self, dockerfile: &str, tag: &str) -> String {
        let image = self.stand.image(tag);
        self.write("Dockerfile", dockerfile);
        self.run(
            "buildah",
            &["build", "--tls-verify=false", "--tag", &image, "."],
        )
        .await;
        self.run("buildah", &["push", "--tls-verify=false", &image])
            .await;
        image
    }

    fn write(&self, path: &str, content: &str) {
        std::fs::write(self.directory.path().join(path), content).unwrap();
    }

    /// A program in C that needs nothing else.
    async fn compile(&self, name: &str, source: &str) {
        let file = format!("{name}.c");
        self.write(&file, source);
        self.run("cc", &["-static", "-o", name, &file]).await;
    }

    /// Runs an image as a task until it has stopped.
    async fn task(&self, image: &str) -> Task {
        let config = self.stand.aws.sdk_config();
        let ecs = aws_sdk_ecs::Client::new(&config);
        let logs = aws_sdk_cloudwatchlogs::Client::new(&config);
        // One of them may be there already.
        ecs.create_cluster()
            .cluster_name("default")
            .send()
            .await
            .unwrap();
        logs.create_log_group()
            .log_group_name(LOG_GROUP)
            .send()
            .await
            .ok();
        let log = LogConfiguration::builder()
            .log_driver(LogDriver::Awslogs)
            .options("awslogs-group", LOG_GROUP)
            .options("awslogs-region", "us-east-1")
            .options("awslogs-stream-prefix", "app")
            .build();
        let container = ContainerDefinition::builder()
            .name("web")
            .image(image)
            .log_configuration(log.unwrap());
        let family = self.name();
        ecs.register_task_definition()
            .family(&family)
            .requires_compatibilities(Compatibility::Fargate)
            .network_mode(NetworkMode::Awsvpc)
            .cpu("256")
            .memory("512")
            .execution_role_arn(format!("arn:aws:iam::123456789012:role/{family}"))
            .container_definitions(container.build())
            .send()
            .await
            .unwrap();
        let network = AwsVpcConfiguration::builder().subnets("subnet-12345678");
        let network = NetworkConfiguration::builder()
            .awsvpc_configuration(network.build().unwrap())
            .build();
        let run = ecs
            .run_task()
            .task_definition(family)
            .network_configuration(network);
        let started = run.launch_type(LaunchType::Fargate).send().await.unwrap();
        let arn = started.tasks()[0].task_arn().unwrap().to_owned();
        eventually("the task stops", async || {
            let described = ecs.describe_tasks().tasks(&arn).send().await.unwrap();
            let task = described.tasks()[0].clone();
            (task.last_status() == Some("STOPPED")).then_some(task)
        })
        .await
    }

    /// What the task's container wrote.
    async fn output(&self, task: &Task) -> Vec<String> {
        let config = self.stand.aws.sdk_config();
        let logs = aws_sdk_cloudwatchlogs::Client::new(&config);
        let (_, id) = task.task_arn().unwrap().rsplit_once('/').unwrap();
        let events = logs
            .get_log_events()
            .log_group_name(LOG_GROUP)
            .log_stream_name(format!("app/web/{id}"))
            .start_from_head(true)
            .send()
            .await
            .unwrap();
        let events = events.events().iter();
        events
            .map(|event| event.message().unwrap().to_owned())
            .collect()
    }
}

/// An image of two platforms, made by hand, is copied with its index, and as one image in Docker's format.
pub(crate) async fn skopeo_copies_images_there_and_back() {
    let desk = Desk::open().await;
    desk.write("hello", "hello");
    for platform in ["amd64", "arm64"] {
        let container = desk
            .run("buildah", &["from", "--arch", platform, "scratch"])
            .await;
        desk.run("buildah", &["copy", &container, "hello", "/hello"])
            .await;
        let commit = ["commit", "--quiet", "--manifest", "both", &container];
        desk.run("buildah", &commit).await;
    }
    desk.run(
        "buildah",
        &["manifest", "push", "--all", "both", "oci:both:v1"],
    )
    .await;
    let there = format!("docker://{}", desk.stand.image("v1"));
    let copy = [
        "copy",
        "--all",
        "--dest-tls-verify=false",
        "oci:both:v1",
        &there,
    ];
    desk.run("skopeo", &copy).await;
    let back = [
        "copy",
        "--all",
        "--src-tls-verify=false",
        &there,
        "oci:back:v1",
    ];
    desk.run("skopeo", &back).await;
    let index = async |directory: &str| {
        let of = format!("oci:{directory}:v1");
        let inspected = desk.run("skopeo", &["inspect", "--raw", &of]).await;
        serde_json::from_str::<Value>(&inspected).unwrap()
    };
    let sent = index("both").await;
    assert_eq!(sent["manifests"].as_array().unwrap().len(), 2, "{sent}");
    assert_eq!(index("back").await, sent);

    let docker = format!("docker://{}", desk.stand.image("docker"));
    let copy = [
        "copy",
        "--format",
        "v2s2",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
    ];
    desk.run("skopeo", &[&copy[..], &[&there, &docker]].concat())
        .await;
    let inspect = ["inspect", "--tls-verify=false", "--raw", &docker];
    let manifest: Value = serde_json::from_str(&desk.run("skopeo", &inspect).await).unwrap();
    let docker_type = "application/vnd.docker.distribution.manifest.v2+json";
    assert_eq!(manifest["mediaType"], docker_type);
    let address = format!(
        "docker://{}/{}",
        desk.stand.registry(),
        desk.stand.repository
    );
    let list = desk
        .run("skopeo", &["list-tags", "--tls-verify=false", &address])
        .await;
    let listed: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(listed["Tags"], json!(["docker", "v1"]));
}

/// What is built `FROM scratch` finds at `/` what its Dockerfile put there, as in a container.
pub(crate) async fn an_image_that_buildah_builds_runs_among_its_own_files() {
    let desk = Desk::open().await;
    let source = r#"
#include <stdio.h>
#include <stdlib.h>
int main(int count, char **words) {
    char line[64] = "";
    FILE *file = fopen("/etc/greeting", "r");
    if (file) fgets(line, sizeof line, file);
    FILE *null = fopen("/dev/null", "w"), *ours = fopen("/etc/os-release", "r");
    printf("%s %s %s %s\n", line, getenv("NAME"), words[1], null && !ours ? "alone" : "not alone");
    return 7;
}
"#;
    desk.compile("greet", source).await;
    desk.write("greeting", "hello");
    let dockerfile = "FROM scratch\nCOPY greet /bin/greet\nCOPY greeting /etc/greeting\n\
                      ENV NAME=world\nENTRYPOINT [\"greet\"]\nCMD [\"again\"]\n";
    let image = desk.build(dockerfile, "v1").await;
    let task = desk.task(&image).await;
    assert_eq!(task.containers()[0].exit_code(), Some(7), "{task:?}");
    assert_eq!(desk.output(&task).await, ["hello world again alone"]);
}

/// The local AWS may be killed, and leaves no process.
pub(crate) async fn what_runs_among_its_own_files_ends_with_who_started_it() {
    let desk = Desk::open().await;
    let source =
        "#include <unistd.h>\nint main(void) { return write(1, \"up\\n\", 3) + pause(); }\n";
    desk.compile("wait", source).await;
    let root = desk.directory.path().join("image");
    std::fs::create_dir(&root).unwrap();
    std::fs::copy(desk.directory.path().join("wait"), root.join("wait")).unwrap();
    let script = format!(
        "\"$0\" {} \"$1\" / /wait & echo $!; wait",
        own_root::ARGUMENT
    );
    let mut shell = Command::new("sh")
        .args(["-c", &script, LOCAL_AWS])
        .arg(root)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(shell.stdout.take().unwrap()).lines();
    let said = [lines.next_line().await, lines.next_line().await];
    let said = said.map(|line| line.unwrap().unwrap());
    assert!(said.contains(&"up".to_owned()), "{said:?}");
    let id = said.iter().find(|line| *line != "up").unwrap();
    // One that has ended and that nobody has asked about is a zombie.
    let lives = || {
        let status = std::fs::read_to_string(format!("/proc/{id}/status"));
        status.is_ok_and(|status| !status.contains("State:\tZ"))
    };
    assert!(lives());
    shell.kill().await.unwrap();
    eventually("the program has ended", async || (!lives()).then_some(())).await;
}

/// A second build takes the first one for its base, from the registry, and deletes a file of it.
pub(crate) async fn buildah_builds_on_an_image_of_the_registry() {
    let desk = Desk::open().await;
    let script = "#!/bin/sh\necho \"$TITLE\" *\n";
    desk.write("list", script);
    let first = "FROM scratch\nCOPY --chmod=755 list /list\nCOPY --chmod=644 list /data/one\n\
                 ENV TITLE=first\nWORKDIR /data\nENTRYPOINT [\"/list\"]\n";
    let first = desk.build(first, "v1").await;
    let task = desk.task(&first).await;
    assert_eq!(desk.output(&task).await, ["first one"], "{task:?}");

    let second = format!("FROM {first}\nCOPY list /data/two\nENV TITLE=second\n");
    let second = desk.build(&second, "v2").await;
    let task = desk.task(&second).await;
    assert_eq!(desk.output(&task).await, ["second one two"], "{task:?}");
}

/// ECS's own words: <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html>
pub(crate) async fn a_program_that_cannot_run_here_is_refused_by_name() {
    let desk = Desk::open().await;
    desk.write("app", "#!/usr/bin/no-such-interpreter\n");
    let image = "FROM scratch\nCOPY --chmod=755 app /app\nENTRYPOINT [\"/app\"]\n";
    let image = desk.build(image, "v1").await;
    let task = desk.task(&image).await;
    let container = &task.containers()[0];
    assert_eq!(container.exit_code(), None);
    let reason = container.reason().unwrap_or_default();
    assert!(
        reason.starts_with("CannotStartContainerError: "),
        "{reason}"
    );
    assert!(reason.contains("/usr/bin/no-such-interpreter"), "{reason}");

    // The same of a layer whose compression is not known here.
    let zstd = "application/vnd.oci.image.layer.v1.tar+zstd";
    let layer = desk.stand.upload(zstd, b"compressed").await;
    let manifest = desk.stand.manifest("zstd").await;
    let mut manifest: Value = serde_json::from_str(&manifest).unwrap();
    manifest["layers"] = json!([layer]);
    let taken = desk.stand.put_manifest("zstd", &manifest.to_string()).await;
    assert_eq!(taken.status(), 201);
    let task = desk.task(&desk.stand.image("zstd")).await;
    let reason = task.containers()[0].reason().unwrap_or_default();
    assert!(reason.starts_with("CannotPullContainerError: "), "{reason}");
    assert!(reason.contains(zstd), "{reason}");
}
