//! A local AWS, a client of its registry, and the AWS CLI.

use std::path::PathBuf;
use std::process::Output;
use std::sync::OnceLock;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use local_aws::client::{LocalAws, StartOptions};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::support::{digest, eventually_within, venv};

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const PATIENCE: Duration = Duration::from_secs(60);

static RUNNING: OnceLock<(LocalAws, TempDir)> = OnceLock::new();

/// The local AWS that the tests share. It ends with this process.
fn running() -> &'static (LocalAws, TempDir) {
    RUNNING.get_or_init(|| {
        let start = std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            let state = tempfile::tempdir().unwrap();
            let started = runtime.block_on(LocalAws::start(StartOptions {
                venv: venv(),
                state: state.path().to_owned(),
                speed: 200.0,
                binary: env!("CARGO_BIN_EXE_local-aws").into(),
                record_ecs: None,
            }));
            (started.unwrap(), state)
        });
        start.join().unwrap()
    })
}

/// Waits until something is there.
pub(crate) async fn eventually<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    eventually_within(PATIENCE, what, look).await
}

/// One repository, and clients of one test: each test has a runtime of its own.
pub(crate) struct Stand {
    pub(crate) repository: String,
    pub(crate) aws: &'static LocalAws,
    token: String,
    http: reqwest::Client,
}

impl Stand {
    pub(crate) async fn open() -> Self {
        let mut stand = Self {
            repository: format!("team/{}", uuid::Uuid::new_v4().simple()),
            aws: &running().0,
            token: String::new(),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        };
        stand.token = stand.cli("ecr get-login-password").await;
        stand.create_repository(&stand.repository, "MUTABLE").await;
        stand
    }

    pub(crate) async fn create_repository(&self, name: &str, mutability: &str) {
        let command = format!(
            "ecr create-repository --repository-name {name} --image-tag-mutability {mutability}"
        );
        self.cli(&command).await;
    }

    /// Host and port, as a client writes them before a repository's name.
    pub(crate) fn registry(&self) -> &str {
        self.aws.endpoint().trim_start_matches("http://")
    }

    /// The address of an image.
    pub(crate) fn image(&self, tag: &str) -> String {
        format!("{}/{}:{tag}", self.registry(), self.repository)
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// The words of a command of the AWS CLI, separated by spaces; it has to succeed. Answers what it
    /// printed.
    pub(crate) async fn cli(&self, words: &str) -> String {
        let mut command = Command::new(venv().join("bin/aws"));
        let command = command.args(words.split_whitespace());
        let environment = self.aws.environment();
        let output = command
            .env_clear()
            .envs(environment)
            .output()
            .await
            .unwrap();
        succeeded(words, &output)
    }

    /// A request at an address below `/v2/`, by somebody who is not logged in.
    pub(crate) fn stranger(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}/v2/{path}", self.aws.endpoint());
        self.http.request(method, url)
    }

    /// A request at an address below the repository's.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.at(method, &format!("{}/{path}", self.repository))
    }

    /// A request at an address below `/v2/`.
    pub(crate) fn at(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.stranger(method, path);
        request.basic_auth("AWS", Some(&self.token))
    }

    /// A request at an address that the registry has answered.
    pub(crate) fn go_on(&self, method: Method, answer: &Response) -> RequestBuilder {
        let location = header(answer, "location");
        self.at(method, location.strip_prefix("/v2/").unwrap())
    }

    /// The last request of the upload that the registry has answered about.
    pub(crate) fn complete(&self, answer: &Response, digest: &str) -> RequestBuilder {
        let location = header(answer, "location");
        let path = format!("{}?digest={digest}", location.strip_prefix("/v2/").unwrap());
        self.at(Method::PUT, &path)
    }

    /// Sends the head of a request at an address that the registry has answered, and the first bytes of a
    /// body of so many.
    pub(crate) async fn raw_request(
        &self,
        method: &str,
        answer: &Response,
        size: usize,
        body: &[u8],
    ) -> TcpStream {
        let location = header(answer, "location");
        let login = BASE64_STANDARD.encode(format!("AWS:{}", self.token));
        let registry = self.registry();
        let head = format!(
            "{method} {location} HTTP/1.1\r\nHost: {registry}\r\nAuthorization: Basic {login}\r\n\
             Content-Length: {size}\r\n\r\n"
        );
        let mut stream = TcpStream::connect(registry).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        stream
    }

    /// Uploads a blob; answers its descriptor.
    pub(crate) async fn upload(&self, media_type: &str, blob: &[u8]) -> Value {
        let digest = digest(blob);
        let path = format!("blobs/uploads/?digest={digest}");
        let upload = self.request(Method::POST, &path).body(blob.to_vec());
        let answer = upload.send().await.unwrap();
        assert_eq!(answer.status(), 201, "{answer:?}");
        json!({"mediaType": media_type, "digest": digest, "size": blob.len()})
    }

    /// The manifest of an image without a layer. `label` tells it from others. Its configuration is
    /// uploaded.
    pub(crate) async fn manifest(&self, label: &str) -> String {
        let config = json!({"config": {"Labels": {"label": label}}}).to_string();
        let config = self.upload(CONFIG, config.as_bytes()).await;
        json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": []})
            .to_string()
    }

    pub(crate) async fn put_manifest(&self, reference: &str, manifest: &str) -> Response {
        let path = format!("manifests/{reference}");
        let put = self.request(Method::PUT, &path);
        let put = put
            .header("content-type", MANIFEST)
            .body(manifest.to_owned());
        put.send().await.unwrap()
    }

    /// The names of the image store's files: of `uploads` that are not complete, or of `blobs`.
    pub(crate) fn stored(&self, directory: &str) -> Vec<String> {
        let entries = std::fs::read_dir(store(directory)).into_iter().flatten();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect()
    }

    /// The content of one of them; empty where it is not there any more.
    pub(crate) fn stored_text(&self, directory: &str, name: &str) -> String {
        std::fs::read_to_string(store(directory).join(name)).unwrap_or_default()
    }
}

fn store(directory: &str) -> PathBuf {
    running().1.path().join("images").join(directory)
}

/// A header of an answer; empty where there is none.
pub(crate) fn header(answer: &Response, name: &str) -> String {
    let value = answer.headers().get(name);
    value.map_or_else(String::new, |it| it.to_str().unwrap().to_owned())
}

/// The first error of a refusal: status, code and message.
pub(crate) async fn refused(answer: Response) -> (u16, String, String) {
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap();
    let error = &body["errors"][0];
    let text = |member: &str| error[member].as_str().unwrap_or_default().to_owned();
    (status, text("code"), text("message"))
}

/// What a program printed that has succeeded.
pub(crate) fn succeeded(what: &str, output: &Output) -> String {
    assert!(output.status.success(), "{what}: {output:?}");
    let printed = String::from_utf8_lossy(&output.stdout);
    printed.trim_end().to_owned()
}
