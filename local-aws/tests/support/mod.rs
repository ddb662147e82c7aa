//! A local AWS for the tests of one file, and functions to run in it.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::io::{Cursor, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use aws_sdk_cloudformation::types::Stack;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{FunctionCode, Runtime};
use libtest_mimic::Conclusion;
use local_aws::client::{LocalAws, StartOptions};
use local_aws::conformance::check_ecs_calls;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::sync::OnceCell;
use zip::write::SimpleFileOptions;

/// Where the calls of ECS are recorded.
const CALLS: &str = "ecs-calls.jsonl";
const REGISTRY: &str = "123456789012.dkr.ecr.us-east-1.amazonaws.com";

pub(crate) const ROLE: &str = "arn:aws:iam::123456789012:role/test";

/// The Python environment: `target/venv`, or what `VENV` names.
pub(crate) fn venv() -> PathBuf {
    std::env::var_os("VENV").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/venv"),
        PathBuf::from,
    )
}

/// Starts a local AWS of which nothing is known yet, with hardly any delay.
pub(crate) async fn start() -> LocalAws {
    start_at(200.0).await
}

/// The same with delays that pass `speed` times faster than AWS's.
pub(crate) async fn start_at(speed: f64) -> LocalAws {
    let state = tempfile::Builder::new()
        .prefix("local-aws-")
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .unwrap();
    LocalAws::start(StartOptions {
        venv: venv(),
        // Left under target/tmp, for its log.
        state: state.keep(),
        speed,
        binary: env!("CARGO_BIN_EXE_local-aws").into(),
        record_ecs: None,
    })
    .await
    .unwrap()
}

/// The local AWS that the tests of a file share. It ends with the test process.
pub(crate) async fn shared() -> &'static LocalAws {
    static SHARED: OnceCell<LocalAws> = OnceCell::const_new();
    SHARED
        .get_or_init(async || {
            let aws = start().await;
            create_role(aws.endpoint()).await;
            aws
        })
        .await
}

/// A local AWS that records the calls of ECS. It ends with the test process.
pub(crate) struct Recorded {
    pub(crate) aws: LocalAws,
    state: TempDir,
}

impl Recorded {
    /// Its delays pass `speed` times faster than AWS's.
    pub(crate) async fn start(speed: f64) -> Self {
        let state = tempfile::tempdir().unwrap();
        let aws = LocalAws::start(StartOptions {
            venv: venv(),
            state: state.path().to_owned(),
            speed,
            binary: env!("CARGO_BIN_EXE_local-aws").into(),
            record_ecs: Some(state.path().join(CALLS)),
        });
        let aws = aws.await.unwrap();
        create_role(aws.endpoint()).await;
        Self { aws, state }
    }
}

/// How a test binary ends: when its tests are over, the calls of ECS are checked that they made.
pub(crate) async fn end(conclusion: &Conclusion, recorded: Option<&Recorded>) -> ExitCode {
    let checked = match recorded {
        Some(recorded) => check_ecs_calls(&venv(), &recorded.state.path().join(CALLS)).await,
        None => Ok("no call of ECS was made".to_owned()),
    };
    match checked {
        Ok(checked) => {
            eprintln!("{checked}");
            conclusion.exit_code()
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Makes the role [`ROLE`], which allows everything.
pub(crate) async fn create_role(endpoint: &str) {
    iam(
        endpoint,
        "Action=CreateRole&RoleName=test&AssumeRolePolicyDocument=%7B%7D",
    )
    .await;
    let everything = json!({"Effect": "Allow", "Action": "*", "Resource": "*"});
    put_policy(endpoint, "test", &everything).await;
}

/// Lets a role do what the statements allow, and nothing else.
pub(crate) async fn put_policy(endpoint: &str, role: &str, statements: &Value) {
    let document = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
    let document: String = form_urlencoded::byte_serialize(document.as_bytes()).collect();
    let put = format!("Action=PutRolePolicy&RoleName={role}&PolicyName=tests");
    iam(endpoint, &format!("{put}&PolicyDocument={document}")).await;
}

/// Asks IAM, as a person. It has no client crate here; its own query API takes a form.
pub(crate) async fn iam(endpoint: &str, form: &str) {
    let answer = reqwest::Client::builder()
        .no_proxy()
        .build()
        .unwrap()
        .post(endpoint)
        .header("Content-Type", "application/x-www-form-urlencoded")
        .header(
            "Authorization",
            "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/iam/aws4_request, \
             SignedHeaders=host, Signature=0",
        )
        .body(format!("Version=2010-05-08&{form}"))
        .send()
        .await
        .unwrap();
    assert!(answer.status().is_success(), "{:?}", answer.text().await);
}

/// A zip with an executable `bootstrap`.
pub(crate) fn zipped(bootstrap: &[u8]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().unix_permissions(0o755);
    archive.start_file("bootstrap", options).unwrap();
    archive.write_all(bootstrap).unwrap();
    archive.finish().unwrap().into_inner()
}

/// A runtime in Python; `handler` is the body of `def handler(event):`.
pub(crate) fn python(handler: &str) -> Vec<u8> {
    let python = std::path::absolute(venv().join("bin/python")).unwrap();
    let body = handler.replace('\n', "\n    ");
    let script = format!(
        r#"#!{}
import json, os, sys, time, urllib.request
API = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/"
def post(path, value):
    data = json.dumps(value).encode()
    urllib.request.urlopen(urllib.request.Request(API + path, data, method="POST")).read()
class Failure(Exception): pass
def handler(event):
    {body}
if os.environ.get("FAIL_INIT"):
    post("init/error", {{"errorType": "BadEnvironment", "errorMessage": "FAIL_INIT is set"}})
    sys.exit(1)
while True:
    with urllib.request.urlopen(API + "invocation/next") as answer:
        event, id = json.load(answer), answer.headers["Lambda-Runtime-Aws-Request-Id"]
        trace = answer.headers["Lambda-Runtime-Trace-Id"]
    try:
        post("invocation/%s/response" % id, handler(event))
    except Failure as error:
        post("invocation/%s/error" % id, {{"errorType": error.args[0], "errorMessage": "no"}})
"#,
        python.display()
    );
    script.into_bytes()
}

/// A function to be created.
pub(crate) struct NewFunction<'a> {
    pub(crate) bootstrap: Vec<u8>,
    pub(crate) role: &'a str,
    pub(crate) timeout: i32,
    pub(crate) variables: &'a [(&'a str, &'a str)],
    pub(crate) dead_letter_queue: Option<String>,
}

impl Default for NewFunction<'_> {
    fn default() -> Self {
        Self {
            bootstrap: python("return event"),
            role: ROLE,
            timeout: 10,
            variables: &[],
            dead_letter_queue: None,
        }
    }
}

/// Creates a function with a name of its own.
pub(crate) async fn create(client: &aws_sdk_lambda::Client, new: NewFunction<'_>) -> String {
    let name = format!("function-{}", uuid::Uuid::new_v4().simple());
    let variables = new
        .variables
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect();
    let environment = aws_sdk_lambda::types::Environment::builder()
        .set_variables(Some(variables))
        .build();
    let dead_letters = new.dead_letter_queue.map(|queue| {
        aws_sdk_lambda::types::DeadLetterConfig::builder()
            .target_arn(queue)
            .build()
    });
    let code = FunctionCode::builder()
        .zip_file(Blob::new(zipped(&new.bootstrap)))
        .build();
    client
        .create_function()
        .function_name(&name)
        .role(new.role)
        .runtime(Runtime::Providedal2023)
        .handler("bootstrap")
        .timeout(new.timeout)
        .environment(environment)
        .set_dead_letter_config(dead_letters)
        .code(code)
        .send()
        .await
        .unwrap();
    name
}

/// Waits until `condition` gives a value.
pub(crate) async fn eventually<T>(condition: impl AsyncFnMut() -> Option<T>) -> T {
    eventually_within(Duration::from_secs(60), "what was waited for", condition).await
}

/// Waits until something is there, which a failure names.
pub(crate) async fn eventually_within<T>(
    patience: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(started.elapsed() < patience, "never: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// By which a registry knows a content.
pub(crate) fn digest(content: impl AsRef<[u8]>) -> String {
    let hash = Sha256::digest(content);
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Pushes an image whose command is `script`, a shell script unless its first line says otherwise;
/// answers its URI with the tag.
pub(crate) async fn push(aws: &LocalAws, repository: &str, tag: &str, script: &str) -> String {
    let mut layer = tar::Builder::new(Vec::new());
    let script = if script.starts_with("#!") {
        script.to_owned()
    } else {
        format!("#!/bin/sh\n{script}\n")
    };
    let mut header = tar::Header::new_gnu();
    header.set_size(script.len() as u64);
    header.set_mode(0o755);
    layer
        .append_data(&mut header, "run", script.as_bytes())
        .unwrap();
    let layer = layer.into_inner().unwrap();
    let config = json!({"config": {"Entrypoint": ["/run"], "WorkingDir": "/"}}).to_string();
    let sizes = (config.len(), layer.len());
    let config = aws.upload_blob(config).await.unwrap();
    let layer = aws.upload_blob(layer).await.unwrap();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": config,
            "size": sizes.0,
        },
        "layers": [{
            "mediaType": "application/vnd.oci.image.layer.v1.tar",
            "digest": layer,
            "size": sizes.1,
        }],
    });
    let ecr = aws_sdk_ecr::Client::new(&aws.sdk_config());
    // It may be there already.
    ecr.create_repository()
        .repository_name(repository)
        .send()
        .await
        .ok();
    let request = ecr.put_image().repository_name(repository);
    let request = request.image_tag(tag).image_manifest(manifest.to_string());
    request.send().await.unwrap();
    format!("{REGISTRY}/{repository}:{tag}")
}

/// The stack once no operation runs on it.
pub(crate) async fn settled(client: &aws_sdk_cloudformation::Client, name: &str) -> Stack {
    eventually(async || {
        let answer = client.describe_stacks().stack_name(name).send().await;
        let stack = answer.unwrap().stacks()[0].clone();
        let status = stack.stack_status().unwrap().as_str();
        (!status.ends_with("_IN_PROGRESS")).then_some(stack)
    })
    .await
}
