//! Images that programs of others build and push, without an engine that runs containers.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use end_to_end::account::Account;
use tempfile::TempDir;
use tokio::process::Command;

use crate::released::{assert_runs, running};

/// Why buildah cannot be used on this machine, if it cannot.
pub(crate) fn problem() -> Option<String> {
    let storage = match tempfile::tempdir() {
        Ok(storage) => storage,
        Err(error) => return Some(error.to_string()),
    };
    let mut buildah = std::process::Command::new("buildah");
    buildah.args(stored_in(storage.path()));
    match buildah.args(["from", "scratch"]).output() {
        Ok(tried) if tried.status.success() => None,
        Ok(tried) => {
            let told = String::from_utf8_lossy(&tried.stderr);
            Some(format!("buildah does not work here: {}", told.trim()))
        }
        Err(error) => Some(format!(
            "buildah cannot be run ({error}): make setup installs it on Debian"
        )),
    }
}

/// Options of buildah that keep its images apart from those of whoever runs the stories.
fn stored_in(directory: &Path) -> [String; 6] {
    let path = |name: &str| directory.join(name).display().to_string();
    let (root, run) = (path("root"), path("run"));
    [
        "--root",
        &root,
        "--runroot",
        &run,
        "--storage-driver",
        "vfs",
    ]
    .map(str::to_owned)
}

/// As docs/getting-started.md shows it: log in, build on what is in service, push.
pub(crate) async fn an_image_that_buildah_builds_on_the_first_one_is_released(
    account: &Account,
) -> Result<()> {
    let (application, _) = running(account, "by-buildah").await?;
    let visitor = application.visitor();
    visitor.sees("Posts").await?;
    let registry = account.aws().endpoint().trim_start_matches("http://");
    let repository = format!("{registry}/by-buildah");
    let desk = Desk::new()?;
    let dockerfile = format!(
        "FROM {repository}:v1\nENV TITLE=\"MEOW MEOW\" VERSION=2\nCOPY *.sql migrations/\n"
    );
    desk.write("Dockerfile", &dockerfile)?;
    let migration = include_str!("../../../websvc/migrations/0002_add_author.sql");
    desk.write("0002_add_author.sql", migration)?;

    let password = account.cli().run(["ecr", "get-login-password"]).await?;
    let plain = "--tls-verify=false";
    let login = [
        "login",
        plain,
        "--username",
        "AWS",
        "--password",
        &password,
        registry,
    ];
    desk.buildah(&login).await?;
    let image = format!("{repository}:v2");
    desk.buildah(&["build", plain, "--tag", &image, "."])
        .await?;
    let push = ["push", plain, "--digestfile", "digest", &image];
    desk.buildah(&push).await?;
    let digest = desk.read("digest")?;
    let execution = account.execution_of_push("by-buildah", &digest).await?;
    let end = execution.end().await?;

    assert_eq!(end.output["verdict"], "succeeded", "{end:?}");
    assert_runs(&application, &digest).await?;
    assert_eq!(application.heading().await?, "MEOW MEOW");
    assert_eq!(application.applied_migrations().await?, ["1", "2"]);
    let visits = visitor.leave().await;
    assert_eq!(visits.failed, 0, "{visits:?}");
    // The image is the one that was pushed, layer by layer, when it is fetched again.
    desk.buildah(&["rmi", &image]).await?;
    desk.buildah(&["pull", plain, &image]).await?;
    Ok(())
}

/// Where buildah works.
struct Desk {
    directory: TempDir,
}

impl Desk {
    fn new() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        Ok(Self { directory })
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        Ok(std::fs::write(self.directory.path().join(name), text)?)
    }

    fn read(&self, name: &str) -> Result<String> {
        let text = std::fs::read_to_string(self.directory.path().join(name))?;
        Ok(text.trim().to_owned())
    }

    async fn buildah(&self, arguments: &[&str]) -> Result<()> {
        let directory = self.directory.path();
        let output = Command::new("buildah")
            .args(stored_in(directory))
            .args(arguments)
            .current_dir(directory)
            .env("REGISTRY_AUTH_FILE", directory.join("login.json"))
            .env("BUILDAH_ISOLATION", "chroot")
            .env("NO_PROXY", "127.0.0.1")
            .kill_on_drop(true)
            .output()
            .await
            .context("cannot run buildah")?;
        let verb = arguments.first().unwrap_or(&"");
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "buildah {verb}: {told}");
        Ok(())
    }
}
