//! Releases of the sample application as container images, images of other programs, and their push.
//!
//! A release's image is what `docker build` makes of `tests/websvc/Dockerfile`, less the operating
//! system: OCI image manifest, configuration and layers
//! (<https://github.com/opencontainers/image-spec>). The same content always has the same digest.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use aws_types::SdkConfig;
use bytes::Bytes;
use local_aws::client::LocalAws;
use serde_json::json;
use sha2::{Digest, Sha256};

const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";
/// A build has no time of its own: otherwise two builds of the same would differ.
const EPOCH: &str = "1970-01-01T00:00:00Z";
const FILE: u32 = 0o644;
const PROGRAM: u32 = 0o755;
const DIRECTORY: u32 = 0o755;

/// A file of the directory `migrations`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Migration {
    file: String,
    sql: String,
}

/// What tells one release of the sample application from another.
///
/// ```
/// use sample::image::VersionSpec;
/// let spec = VersionSpec::posts().title("Cats").migration("0002_add_tails.sql", "SELECT 1");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionSpec {
    title: String,
    version: String,
    migrations: Vec<Migration>,
    environment: Vec<(String, String)>,
    /// Name and text of programs beside the application's own.
    scripts: Vec<(String, String)>,
    entry_point: Vec<String>,
    command: Vec<String>,
    labels: BTreeMap<String, String>,
}

impl VersionSpec {
    /// Version 1, headed `Posts`: creates the table.
    #[must_use]
    pub fn posts() -> Self {
        Self {
            title: "Posts".to_owned(),
            version: "1".to_owned(),
            migrations: Vec::new(),
            environment: Vec::new(),
            scripts: Vec::new(),
            entry_point: Vec::new(),
            command: vec!["websvc".to_owned(), "serve".to_owned()],
            labels: BTreeMap::new(),
        }
        .migration(
            "0001_create_posts.sql",
            include_str!("../../../tests/websvc/migrations/0001_create_posts.sql"),
        )
    }

    /// Version 2, headed `MEOW MEOW`: adds a column, and keeps version 1 working.
    #[must_use]
    pub fn meow() -> Self {
        Self::posts().version("2").title("MEOW MEOW").migration(
            "0002_add_author.sql",
            include_str!("../../../tests/websvc/migrations/0002_add_author.sql"),
        )
    }

    /// A release whose migration fails: it fills a column that nobody added.
    #[must_use]
    pub fn bad_migration() -> Self {
        Self::posts()
            .version("bad-migration")
            .title("MEOW MEOW")
            .migration(
                "0003_fill_slugs.sql",
                "UPDATE posts SET slug = lower(replace(title, ' ', '-'));\n",
            )
    }

    /// Version 2 with a migration after its own that takes so many seconds.
    #[must_use]
    pub fn slow_migration(seconds: u32) -> Self {
        Self::meow().version("slow-migration").migration(
            "0003_take_long.sql",
            &format!("SELECT pg_sleep({seconds});\n"),
        )
    }

    /// A release that migrates, starts and listens, but on a port of its own choice and not on
    /// the one that the task definition gives it: its health check never passes.
    #[must_use]
    pub fn never_healthy() -> Self {
        Self::meow()
            .version("never-healthy")
            .command(["websvc", "serve", "--port", "8081"])
    }

    /// A release that migrates, but whose server exits at once, with code 2: its command has a
    /// misspelt option.
    #[must_use]
    pub fn crashing() -> Self {
        Self::meow()
            .version("crashing")
            .command(["websvc", "serve", "--prot", "3000"])
    }

    /// A release of which the web service is well, while its workers exit at once: they listen
    /// where the image says, and it says something that is no port. The web service's task
    /// definition has a port of its own.
    #[must_use]
    pub fn crashing_worker() -> Self {
        Self::meow()
            .version("crashing-worker")
            .environment("PORT", "none")
    }

    /// The heading of `/posts`.
    #[must_use]
    pub fn title(mut self, title: &str) -> Self {
        self.title = title.to_owned();
        self
    }

    /// The header `x-version` of `/posts`.
    #[must_use]
    pub fn version(mut self, version: &str) -> Self {
        self.version = version.to_owned();
        self
    }

    /// Adds a file to the directory `migrations`, named `NUMBER_DESCRIPTION.sql`.
    #[must_use]
    pub fn migration(mut self, file: &str, sql: &str) -> Self {
        self.migrations.push(Migration {
            file: file.to_owned(),
            sql: sql.to_owned(),
        });
        self
    }

    /// Adds a variable to the environment of the image, for what the task definition leaves open.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a program to the image's search path: a script for a shell, which its first line names.
    #[must_use]
    pub fn script(mut self, name: &str, text: &str) -> Self {
        self.scripts.push((name.to_owned(), text.to_owned()));
        self
    }

    /// As the talk's `websvc` is built: a shell takes the image's command for a script, and `rails` is a
    /// program that migrates with the argument `db:migrate` and without one only says how it is used.
    #[must_use]
    pub fn behind_a_shell(self) -> Self {
        let rails =
            "case \"$1\" in db:migrate) exec websvc migrate;; *) echo usage: rails COMMAND;; esac";
        self.script("rails", &format!("#!/bin/sh\n{rails}\n"))
            .entry_point(["sh", "-c"])
            .command(["exec websvc serve"])
    }

    /// What the command is given to. A shell is part of the image then.
    #[must_use]
    pub fn entry_point<const N: usize>(mut self, entry_point: [&str; N]) -> Self {
        self.entry_point = entry_point.map(str::to_owned).to_vec();
        self.script("sh", "#!/bin/sh\nexec /bin/sh \"$@\"\n")
    }

    /// The command of the image, which serves.
    #[must_use]
    pub fn command<const N: usize>(mut self, command: [&str; N]) -> Self {
        self.command = command.map(str::to_owned).to_vec();
        self
    }

    /// Adds a label, by which an image says something of itself.
    #[must_use]
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The image of this release around an executable of the sample application
    /// ([`crate::websvc::executable`]).
    ///
    /// # Errors
    /// The executable can not be read.
    pub fn build(&self, executable: &Path) -> Result<Image> {
        self.assemble(program_layer(executable)?)
    }

    /// As in a build of the Dockerfile: the program in a layer that releases share, what tells
    /// them apart in another.
    fn assemble(&self, program: Blob) -> Result<Image> {
        let migrations = self.migrations.iter().map(|migration| {
            let path = format!("app/migrations/{}", migration.file);
            (path, migration.sql.as_bytes(), FILE)
        });
        let scripts = self.scripts.iter().map(|(name, text)| {
            let path = format!("usr/local/bin/{name}");
            (path, text.as_bytes(), PROGRAM)
        });
        let files: Vec<_> = migrations.chain(scripts).collect();
        let layers = vec![program, Blob::new(LAYER_TYPE, layer(&files)?)];
        Image::of(layers, &self.config())
    }

    /// How a container of the image is run.
    fn config(&self) -> serde_json::Value {
        let mut environment = vec![
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
            format!("TITLE={}", self.title),
            format!("VERSION={}", self.version),
        ];
        let further = self.environment.iter();
        environment.extend(further.map(|(name, value)| format!("{name}={value}")));
        json!({
            "Env": environment,
            "Entrypoint": self.entry_point,
            "Cmd": self.command,
            "Labels": self.labels,
            "WorkingDir": "/app",
            "ExposedPorts": { "3000/tcp": {} },
        })
    }
}

/// An image ready to be pushed.
#[derive(Clone, Debug)]
pub struct Image {
    digest: String,
    manifest: String,
    /// Configuration and layers.
    blobs: Vec<Blob>,
}

impl Image {
    /// An image that is no release of the sample application: one program, with what it is run with
    /// unless a task says otherwise.
    ///
    /// # Errors
    /// The layer can not be made.
    pub fn of_program(program: &[u8], arguments: &[&str]) -> Result<Self> {
        let layer = layer(&[("program", program, PROGRAM)])?;
        let run = json!({ "Entrypoint": ["/program"], "Cmd": arguments });
        Self::of(vec![Blob::new(LAYER_TYPE, layer)], &run)
    }

    /// `run` is the member `config` of the image's configuration.
    fn of(layers: Vec<Blob>, run: &serde_json::Value) -> Result<Self> {
        let config = json!({
            "created": EPOCH,
            "architecture": architecture(),
            "os": "linux",
            "config": run,
            "rootfs": {
                "type": "layers",
                "diff_ids": layers.iter().map(|layer| &layer.digest).collect::<Vec<_>>(),
            },
        });
        let config = Blob::new(CONFIG_TYPE, serde_json::to_vec(&config)?);
        let manifest = serde_json::to_string(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": config.descriptor(),
            "layers": layers.iter().map(Blob::descriptor).collect::<Vec<_>>(),
        }))?;
        let mut blobs = layers;
        blobs.push(config);
        Ok(Self {
            digest: digest(manifest.as_bytes()),
            manifest,
            blobs,
        })
    }

    /// `sha256:…` of the manifest, which names the image.
    #[must_use]
    pub fn digest(&self) -> String {
        self.digest.clone()
    }

    /// The manifest as it is stored in ECR, JSON.
    #[must_use]
    pub fn manifest(&self) -> &str {
        &self.manifest
    }
}

/// Hashed once, and shared by its clones: the program's layer has tens of megabytes.
#[derive(Clone, Debug)]
struct Blob {
    media_type: &'static str,
    digest: String,
    bytes: Bytes,
}

impl Blob {
    fn new(media_type: &'static str, bytes: Vec<u8>) -> Self {
        Self {
            media_type,
            digest: digest(&bytes),
            bytes: bytes.into(),
        }
    }

    fn descriptor(&self) -> serde_json::Value {
        json!({ "mediaType": self.media_type, "digest": self.digest, "size": self.bytes.len() })
    }
}

/// The layer with the program, made once for all releases.
fn program_layer(executable: &Path) -> Result<Blob> {
    static MADE: Mutex<BTreeMap<PathBuf, Blob>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(blob) = made.get(executable) {
        return Ok(blob.clone());
    }
    let program = std::fs::read(executable)
        .with_context(|| format!("cannot read {}", executable.display()))?;
    let blob = program_blob(&program)?;
    made.insert(executable.to_owned(), blob.clone());
    Ok(blob)
}

fn program_blob(program: &[u8]) -> Result<Blob> {
    let layer = layer(&[("usr/local/bin/websvc", program, PROGRAM)])?;
    Ok(Blob::new(LAYER_TYPE, layer))
}

/// The first half of [`push`]: the registry has the image's layers and configuration, and nobody
/// has heard of it yet.
///
/// # Errors
/// A blob was not taken.
pub async fn upload(local_aws: &LocalAws, image: &Image) -> Result<()> {
    for blob in &image.blobs {
        local_aws.upload_blob(blob.bytes.clone()).await?;
    }
    Ok(())
}

/// The image's configuration alone: whoever asks what the image is gets an answer, and nobody can pull
/// it.
///
/// # Errors
/// It was not taken.
pub async fn upload_config(local_aws: &LocalAws, image: &Image) -> Result<()> {
    let mut blobs = image.blobs.iter();
    let config = blobs.find(|blob| blob.media_type == CONFIG_TYPE);
    let config = config.context("the image has no configuration")?;
    local_aws.upload_blob(config.bytes.clone()).await?;
    Ok(())
}

/// Pushes an image as `docker push` does: blobs first, manifest last. Without a tag it is known
/// by its digest only. Returns the digest, `sha256:…`.
///
/// # Errors
/// A blob was not taken, or ECR refused the manifest.
pub async fn push(
    local_aws: &LocalAws,
    config: &SdkConfig,
    repository: &str,
    tag: Option<&str>,
    image: &Image,
) -> Result<String> {
    upload(local_aws, image).await?;
    push_manifest(config, repository, tag, image).await
}

/// The second half of [`push`] alone. Such an image is listed by ECR, and can not be pulled.
///
/// # Errors
/// ECR refused the manifest.
pub async fn push_manifest(
    config: &SdkConfig,
    repository: &str,
    tag: Option<&str>,
    image: &Image,
) -> Result<String> {
    let digest = image.digest();
    aws_sdk_ecr::Client::new(config)
        .put_image()
        .repository_name(repository)
        .image_manifest(&image.manifest)
        .image_manifest_media_type(MANIFEST_TYPE)
        .image_digest(&digest)
        .set_image_tag(tag.map(str::to_owned))
        .send()
        .await
        .with_context(|| format!("cannot push {digest} to {repository}"))?;
    Ok(digest)
}

/// A tar archive of these files and the directories above them: path, content, mode.
///
/// # Errors
/// A path is too long for an archive.
pub fn layer<P: AsRef<str>>(files: &[(P, &[u8], u32)]) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut made: Vec<&str> = Vec::new();
    for (path, content, mode) in files {
        let path = path.as_ref();
        for (end, _) in path.match_indices('/') {
            let directory = &path[..end];
            if !made.contains(&directory) {
                made.push(directory);
                append(
                    &mut archive,
                    tar::EntryType::Directory,
                    &format!("{directory}/"),
                    &[],
                    DIRECTORY,
                )?;
            }
        }
        append(&mut archive, tar::EntryType::Regular, path, content, *mode)?;
    }
    Ok(archive.into_inner()?)
}

fn append(
    archive: &mut tar::Builder<Vec<u8>>,
    kind: tar::EntryType,
    path: &str,
    content: &[u8],
    mode: u32,
) -> Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_size(content.len() as u64);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    archive.append_data(&mut header, path, content)?;
    Ok(())
}

/// `sha256:…` of a blob.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    let hexadecimal: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hexadecimal}")
}

/// This machine's architecture in the image specification's words, which are Go's.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The same in ECS's words: `X86_64` or `ARM64`.
#[must_use]
pub fn cpu_architecture() -> &'static str {
    match architecture() {
        "arm64" => "ARM64",
        _ => "X86_64",
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn image(spec: &VersionSpec) -> Image {
        let program = program_blob(b"program").unwrap();
        spec.assemble(program).unwrap()
    }

    fn parsed(image: &Image) -> serde_json::Value {
        serde_json::from_str(image.manifest()).unwrap()
    }

    /// The blob that a descriptor of the manifest names.
    fn blob<'a>(image: &'a Image, descriptor: &serde_json::Value) -> &'a [u8] {
        let found = image
            .blobs
            .iter()
            .find(|blob| descriptor["digest"] == digest(&blob.bytes))
            .unwrap();
        assert_eq!(descriptor["size"], found.bytes.len());
        &found.bytes
    }

    fn files(layer: &[u8]) -> BTreeMap<String, (u32, String)> {
        let mut archive = tar::Archive::new(layer);
        archive
            .entries()
            .unwrap()
            .map(|entry| {
                let mut entry = entry.unwrap();
                let path = entry.path().unwrap().to_str().unwrap().to_owned();
                let mut content = String::new();
                entry.read_to_string(&mut content).unwrap();
                (path, (entry.header().mode().unwrap(), content))
            })
            .collect()
    }

    #[test]
    fn the_manifest_names_every_blob_by_digest_and_size() {
        let image = image(&VersionSpec::meow());
        let manifest = parsed(&image);
        let config: serde_json::Value =
            serde_json::from_slice(blob(&image, &manifest["config"])).unwrap();
        assert_eq!(config["config"]["Cmd"], json!(["websvc", "serve"]));
        assert!(
            config["config"]["Env"]
                .as_array()
                .unwrap()
                .contains(&json!("TITLE=MEOW MEOW"))
        );
        assert_eq!(config["config"]["WorkingDir"], "/app");

        let layers = manifest["layers"].as_array().unwrap();
        let program = files(blob(&image, &layers[0]));
        assert_eq!(
            program["usr/local/bin/websvc"],
            (0o755, "program".to_owned())
        );
        let migrations = files(blob(&image, &layers[1]));
        let names: Vec<_> = migrations.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "app/",
                "app/migrations/",
                "app/migrations/0001_create_posts.sql",
                "app/migrations/0002_add_author.sql"
            ]
        );
        assert!(
            migrations["app/migrations/0001_create_posts.sql"]
                .1
                .contains("CREATE TABLE posts")
        );
    }

    #[test]
    fn the_digest_is_the_contents() {
        let digests: Vec<_> = [
            VersionSpec::posts(),
            VersionSpec::meow(),
            VersionSpec::bad_migration(),
            VersionSpec::slow_migration(5),
            VersionSpec::slow_migration(6),
            VersionSpec::never_healthy(),
            VersionSpec::crashing(),
            VersionSpec::crashing_worker(),
        ]
        .iter()
        .map(|spec| {
            let first = image(spec);
            assert_eq!(first.digest(), image(spec).digest());
            assert_eq!(first.digest(), digest(first.manifest().as_bytes()));
            first.digest
        })
        .collect();
        for (index, digest) in digests.iter().enumerate() {
            assert!(!digests[..index].contains(digest), "{digests:?}");
        }
    }

    #[test]
    fn releases_of_one_build_share_the_layer_with_the_program() {
        let layer = |spec: VersionSpec| parsed(&image(&spec))["layers"][0]["digest"].clone();
        assert_eq!(
            layer(VersionSpec::posts()),
            layer(VersionSpec::never_healthy())
        );
    }

    #[test]
    fn an_image_of_a_program_runs_it_with_its_arguments() {
        let image = Image::of_program(b"#!/bin/sh", &["serve"]).unwrap();
        let manifest = parsed(&image);
        let config: serde_json::Value =
            serde_json::from_slice(blob(&image, &manifest["config"])).unwrap();
        let expected = json!({"Entrypoint": ["/program"], "Cmd": ["serve"]});
        assert_eq!(config["config"], expected);
        let files = files(blob(&image, &manifest["layers"][0]));
        assert_eq!(files["program"], (0o755, "#!/bin/sh".to_owned()));
    }

    #[test]
    fn a_missing_executable_is_named() {
        let error = VersionSpec::posts()
            .build(Path::new("no/such/file"))
            .unwrap_err();
        assert!(error.to_string().contains("no/such/file"));
    }
}
