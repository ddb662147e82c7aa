//! An application that the CDK has made, with CDK's own patterns and default settings.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::LazyLock;

use anyhow::{Context, Result, ensure};
use aws_sdk_ecs::types::TaskDefinition;
use end_to_end::account::Account;
use sample::image::{Image, push};
use serde_json::json;
use tempfile::TempDir;
use tokio::process::Command;

/// The application, its stack and its repository have the same name in `tests/end-to-end/cdk/app.js`.
const NAME: &str = "cdk-shop";

/// The program of its image, which answers its version.
const PROGRAM: &str = r#"#!/usr/bin/env python3
import http.server, os, signal, sys, threading
VERSION = "$VERSION"
end = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: end.set())
if sys.argv[1:] == ["migrate"]:
    print("migrated for", VERSION)
    sys.exit()
if sys.argv[1:] == ["sidecar"]:
    end.wait()
    sys.exit()

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(VERSION)))
        self.end_headers()
        self.wfile.write(VERSION.encode())

server = http.server.ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
end.wait()
server.shutdown()
"#;

/// Where the CDK is installed, as `tests/end-to-end/cdk/package-lock.json` pins it. It stays there.
static INSTALLED: LazyLock<Result<PathBuf, String>> =
    LazyLock::new(|| installed().map_err(|error| format!("{error:#}")));

/// Why the CDK cannot be used on this machine, if it cannot.
pub(crate) fn problem() -> Option<String> {
    INSTALLED.as_ref().err().cloned()
}

fn installed() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (app, directory) = (here.join("cdk"), here.join("../../target/cdk"));
    std::fs::create_dir_all(&directory)?;
    for name in ["app.js", "package.json", "package-lock.json"] {
        std::fs::copy(app.join(name), directory.join(name))?;
    }
    let wanted = std::fs::read_to_string(app.join("package-lock.json"))?;
    let stamp = directory.join("installed.json");
    if std::fs::read_to_string(&stamp).is_ok_and(|has| has == wanted) {
        return Ok(directory);
    }
    let mut npm = std::process::Command::new("npm");
    npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]);
    // A registry that cannot be reached is asked no longer than need be.
    npm.args(["--fetch-retries", "1", "--fetch-timeout", "60000"]);
    let output = npm.current_dir(&directory).stdin(Stdio::null()).output();
    let output = output.context("npm cannot be run")?;
    ensure!(
        output.status.success(),
        "npm ci does not succeed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    std::fs::write(&stamp, wanted)?;
    Ok(directory)
}

/// A person with a checkout of the application.
struct Developer<'a> {
    account: &'a Account,
    installed: &'static Path,
    /// The port of the load balancer.
    port: u16,
    /// What the CDK writes.
    scratch: TempDir,
}

impl<'a> Developer<'a> {
    async fn new(account: &'a Account) -> Result<Self> {
        let installed = INSTALLED.as_ref().map_err(anyhow::Error::msg)?;
        let developer = Self {
            account,
            installed,
            port: account.aws().reserve_port().await?,
            scratch: tempfile::tempdir()?,
        };
        developer.cdk(&["bootstrap"], "").await?;
        Ok(developer)
    }

    /// `cdk deploy`, by a change set as it does it by default.
    async fn deploy(&self, setting: &str) -> Result<()> {
        let deploy = ["deploy", "--require-approval", "never"];
        self.cdk(&deploy, setting).await
    }

    async fn cdk(&self, arguments: &[&str], setting: &str) -> Result<()> {
        let mut command = Command::new("node");
        command
            .arg(self.installed.join("node_modules/aws-cdk/bin/cdk"))
            .args(arguments)
            .args(["--app", "node app.js", "--ci", "--output"])
            .arg(self.scratch.path().join("cdk.out"))
            .current_dir(self.installed)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.scratch.path())
            .env("LISTENER_PORT", self.port.to_string())
            .env("SETTING", setting)
            .env("CDK_DISABLE_CLI_TELEMETRY", "true")
            .envs(self.account.aws().environment())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = command.output().await.context("node cannot be run")?;
        ensure!(
            output.status.success(),
            "cdk {arguments:?} ended with {}:\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr),
            String::from_utf8_lossy(&output.stdout)
        );
        Ok(())
    }

    /// Pushes a version; answers its digest.
    async fn push(&self, version: &str) -> Result<String> {
        let program = PROGRAM.replace("$VERSION", version);
        let image = Image::of_program(program.as_bytes(), &[])?;
        let (aws, config) = (self.account.aws(), self.account.config());
        push(aws, config, NAME, Some(version), &image).await
    }

    /// The version that visitors see.
    async fn sees(&self) -> Result<String> {
        let url = format!("http://127.0.0.1:{}", self.port);
        let http = reqwest::Client::builder().no_proxy().build()?;
        Ok(http.get(url).send().await?.text().await?)
    }

    /// What the service's tasks are made of.
    async fn definition(&self) -> Result<TaskDefinition> {
        let cloudformation = aws_sdk_cloudformation::Client::new(self.account.config());
        let resources = cloudformation.describe_stack_resources().stack_name(NAME);
        let resources = resources.send().await?;
        let mut resources = resources.stack_resources().iter();
        let service = resources
            .find(|one| one.resource_type() == Some("AWS::ECS::Service"))
            .and_then(|one| one.physical_resource_id())
            .context("the stack has a service")?;
        let cluster = service.rsplit('/').nth(1).context("a cluster's service")?;
        let ecs = aws_sdk_ecs::Client::new(self.account.config());
        let request = ecs.describe_services().cluster(cluster).services(service);
        let described = request.send().await?;
        let definition = described.services()[0].task_definition();
        let request = ecs.describe_task_definition();
        let described = request.set_task_definition(definition.map(ToOwned::to_owned));
        let described = described.send().await?;
        described.task_definition.context("a task definition")
    }
}

/// The images that a task definition has, by their digests, and the setting of its first container.
fn told(definition: &TaskDefinition) -> (Vec<&str>, Option<&str>) {
    let containers = definition.container_definitions();
    let images = containers.iter().filter_map(|one| one.image());
    let digests = images.map(|image| image.split_once('@').map_or(image, |(_, digest)| digest));
    let mut environment = containers[0].environment().iter();
    let setting = environment.find(|pair| pair.name() == Some("SETTING"));
    (digests.collect(), setting.and_then(|pair| pair.value()))
}

pub(crate) async fn an_application_of_the_cdk_is_released_taken_back_and_deployed_again_with_its_image(
    account: &Account,
) -> Result<()> {
    let cli = account.cli();
    let arn = cli
        .run([
            "ecr",
            "create-repository",
            "--repository-name",
            NAME,
            "--query",
            "repository.repositoryArn",
            "--output",
            "text",
        ])
        .await?;
    let developer = Developer::new(account).await?;
    developer.push("1").await?;
    let uri = format!("123456789012.dkr.ecr.us-east-1.amazonaws.com/{NAME}:1");
    let parameter = format!("/bluegreen/{NAME}/image");
    account.put_parameter(&parameter, &uri).await?;
    developer.deploy("old").await?;
    assert_eq!(developer.sees().await?, "1");

    // The stack's tag on an imported repository is none: the next push starts nothing yet.
    let tags = ["ecr", "list-tags-for-resource", "--resource-arn", &arn];
    let tags = cli.run(tags.iter().chain(&["--query", "tags"])).await?;
    assert_eq!(tags, "[]");
    let tag = format!("Key=bluegreen:stacks,Value={NAME}");
    cli.run([
        "ecr",
        "tag-resource",
        "--resource-arn",
        &arn,
        "--tags",
        &tag,
    ])
    .await?;

    let second = developer.push("2").await?;
    let end = account
        .execution_of_push(NAME, &second)
        .await?
        .end()
        .await?;
    assert_eq!(end.output["verdict"], "succeeded", "{end:?}");
    assert_eq!(developer.sees().await?, "2");
    let definition = developer.definition().await?;
    assert_eq!(told(&definition).0, [&second, &second]);

    let input = json!({"stack": NAME, "action": "rollback"});
    let end = account.start_execution(input).await?.end().await?;
    assert_eq!(end.output["verdict"], "succeeded", "{end:?}");
    assert_eq!(developer.sees().await?, "1");

    let third = developer.push("3").await?;
    let end = account.execution_of_push(NAME, &third).await?.end().await?;
    assert_eq!(end.output["verdict"], "succeeded", "{end:?}");
    // The CDK changes what its developer has changed, and finds the image that was released last.
    developer.deploy("new").await?;
    assert_eq!(developer.sees().await?, "3");
    let definition = developer.definition().await?;
    let third = third.as_str();
    assert_eq!(told(&definition), (vec![third, third], Some("new")));
    Ok(())
}
