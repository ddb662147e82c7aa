//! The sample application's executable.

use std::path::PathBuf;

use anyhow::Result;

/// The path of `websvc`, as Cargo has built it beside this executable.
///
/// # Errors
/// It is not built.
pub fn executable() -> Result<PathBuf> {
    local_aws::client::executable("websvc")
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpStream;
    use std::path::Path;
    use std::process::{Child, Command, Output, Stdio};
    use std::time::Duration;

    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    use tempfile::TempDir;

    use super::*;
    use crate::postgres::Postgres;

    /// A working directory with these migrations.
    fn release(migrations: &[(&str, &str)]) -> TempDir {
        let directory = TempDir::new().unwrap();
        std::fs::create_dir(directory.path().join("migrations")).unwrap();
        for (file, sql) in migrations {
            std::fs::write(directory.path().join("migrations").join(file), sql).unwrap();
        }
        directory
    }

    const FIRST: (&str, &str) = (
        "0001_create_posts.sql",
        include_str!("../../../tests/websvc/migrations/0001_create_posts.sql"),
    );
    const SECOND: (&str, &str) = (
        "0002_add_author.sql",
        include_str!("../../../tests/websvc/migrations/0002_add_author.sql"),
    );

    fn websvc(directory: &Path, url: &str) -> Command {
        let mut command = Command::new(executable().unwrap());
        command
            .current_dir(directory)
            .env_clear()
            .env("DATABASE_URL", url);
        command
    }

    fn migrate(directory: &Path, url: &str) -> Output {
        websvc(directory, url).arg("migrate").output().unwrap()
    }

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[tokio::test]
    async fn migrations_are_applied_once_and_an_older_release_takes_no_offence() {
        let postgres = Postgres::start().await.unwrap();
        let url = postgres.create_database("posts").await.unwrap();
        let (one, two) = (release(&[FIRST]), release(&[FIRST, SECOND]));

        let output = migrate(one.path(), &url);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(
            text(&output.stdout).starts_with("applied migration 1 \"create posts\" in "),
            "{output:?}"
        );
        let output = migrate(two.path(), &url);
        assert!(
            text(&output.stdout).starts_with("applied migration 2 \"add author\" in "),
            "{output:?}"
        );
        for directory in [&two, &one] {
            let output = migrate(directory.path(), &url);
            assert_eq!(output.status.code(), Some(0), "{output:?}");
            assert_eq!(text(&output.stdout), "nothing to migrate\n");
        }
        let rows = postgres
            .query("posts", "SELECT count(*), min(author) FROM posts")
            .await
            .unwrap();
        assert_eq!(
            rows,
            [[Some("3".to_owned()), Some("the house cat".to_owned())]]
        );
    }

    #[tokio::test]
    async fn a_migration_that_fails_says_why_and_leaves_nothing() {
        let postgres = Postgres::start().await.unwrap();
        let url = postgres.create_database("posts").await.unwrap();
        let bad = (
            "0003_fill_slugs.sql",
            "CREATE TABLE half (); UPDATE posts SET slug = title;",
        );
        let output = migrate(release(&[FIRST, bad]).path(), &url);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let error = text(&output.stderr).lines().last().unwrap();
        assert_eq!(
            error,
            "error: migration 3 \"fill slugs\" failed: column \"slug\" of relation \"posts\" does not exist"
        );
        let rows = postgres
            .query("posts", "SELECT to_regclass('half'), to_regclass('posts')")
            .await
            .unwrap();
        assert_eq!(rows, [[None, Some("posts".to_owned())]]);
    }

    #[tokio::test]
    async fn a_migration_that_is_killed_ends_in_the_database_too() {
        let postgres = Postgres::start().await.unwrap();
        let url = postgres.create_database("posts").await.unwrap();
        let slow = (
            "0002_take_long.sql",
            "CREATE TABLE half (); SELECT pg_sleep(600);",
        );
        let directory = release(&[FIRST, slow]);
        let mut child = websvc(directory.path(), &url)
            .arg("migrate")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()";
        until(|| async {
            postgres.query("posts", running).await.unwrap()[0][0].as_deref() == Some("1")
        })
        .await;
        child.kill().unwrap();
        child.wait().unwrap();
        until(|| async {
            postgres.query("posts", running).await.unwrap()[0][0].as_deref() == Some("0")
        })
        .await;
        assert_eq!(
            postgres
                .query("posts", "SELECT to_regclass('half')")
                .await
                .unwrap(),
            [[None]]
        );
        // And its lock is free for the next.
        let output = migrate(release(&[FIRST]).path(), &url);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }

    async fn until<F: Future<Output = bool>>(condition: impl Fn() -> F) {
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while !condition().await {
            assert!(std::time::Instant::now() < deadline);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    #[test]
    fn without_a_database_url_it_says_so_and_exits_2() {
        for command in ["migrate", "serve"] {
            let output = websvc(Path::new("/"), "").arg(command).output().unwrap();
            assert_eq!(output.status.code(), Some(2));
            assert!(
                text(&output.stderr).starts_with("error: DATABASE_URL is not set"),
                "{output:?}"
            );
        }
    }

    /// A running `websvc serve` and where it listens.
    struct Served {
        child: Child,
        address: String,
    }

    impl Served {
        fn start(directory: &Path, url: &str) -> Self {
            let mut child = websvc(directory, url)
                .arg("serve")
                .envs([
                    ("HOST", "127.0.0.1"),
                    ("PORT", "0"),
                    ("TITLE", "Cats & Dogs"),
                    ("VERSION", "7"),
                ])
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let mut log = BufReader::new(child.stderr.take().unwrap());
            let mut line = String::new();
            log.read_line(&mut line).unwrap();
            let address = line.trim().rsplit(' ').next().unwrap().to_owned();
            // Whatever else it logs must not fill the pipe.
            std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
            Self { child, address }
        }

        fn connect(&self) -> TcpStream {
            let stream = TcpStream::connect(&self.address).unwrap();
            stream
                .set_read_timeout(Some(Duration::from_secs(20)))
                .unwrap();
            stream
        }

        fn get(&self, path: &str) -> String {
            let mut stream = self.connect();
            write!(
                stream,
                "GET {path} HTTP/1.1\r\nhost: cats\r\nconnection: close\r\n\r\n"
            )
            .unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        }

        fn terminate(&self) {
            kill(
                Pid::from_raw(self.child.id().cast_signed()),
                Signal::SIGTERM,
            )
            .unwrap();
        }

        fn exit_code(&mut self) -> Option<i32> {
            for _ in 0..400 {
                if let Some(status) = self.child.try_wait().unwrap() {
                    return status.code();
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            panic!("it did not end");
        }
    }

    impl Drop for Served {
        fn drop(&mut self) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }

    #[tokio::test]
    async fn one_build_serves_both_versions_of_the_database() {
        let postgres = Postgres::start().await.unwrap();
        let url = postgres.create_database("posts").await.unwrap();
        let directory = release(&[FIRST]);
        migrate(directory.path(), &url);
        let served = Served::start(directory.path(), &url);
        assert!(served.get("/health").starts_with("HTTP/1.1 200 "));
        let page = served.get("/posts");
        assert!(page.contains("<h1>Cats &amp; Dogs</h1>"), "{page}");
        assert!(page.contains("<li>Boxes, reviewed</li>"), "{page}");
        assert!(page.contains("x-version: 7\r\n"), "{page}");

        migrate(release(&[FIRST, SECOND]).path(), &url);
        let page = served.get("/posts");
        assert!(
            page.contains("<li>Boxes, reviewed <small>by the house cat</small></li>"),
            "{page}"
        );

        postgres.stop();
        assert!(served.get("/health").starts_with("HTTP/1.1 503 "));
    }

    #[tokio::test]
    async fn it_answers_the_open_requests_before_it_ends() {
        let postgres = Postgres::start().await.unwrap();
        let url = postgres.create_database("posts").await.unwrap();
        let directory = release(&[FIRST]);
        migrate(directory.path(), &url);
        let mut served = Served::start(directory.path(), &url);

        // One connection that never said anything, one that idles after an answer.
        let _silent = served.connect();
        let mut idle = served.connect();
        write!(idle, "GET /health HTTP/1.1\r\nhost: cats\r\n\r\n").unwrap();
        assert!(idle.read(&mut [0; 1024]).unwrap() > 0);
        // A request that waits for a lock on its table.
        let mut open = served.connect();
        let lock = "BEGIN; LOCK TABLE posts; SELECT pg_sleep(1.5); COMMIT";
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
        let (locked, ()) = tokio::join!(postgres.query("posts", lock), async {
            until(|| async {
                let held =
                    "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted";
                postgres.query("postgres", held).await.unwrap()[0][0].as_deref() != Some("0")
            })
            .await;
            write!(open, "GET /posts HTTP/1.1\r\nhost: cats\r\n\r\n").unwrap();
            until(|| async {
                postgres.query("postgres", waiting).await.unwrap()[0][0].as_deref() == Some("1")
            })
            .await;
            served.terminate();
            until(|| async { TcpStream::connect(&served.address).is_err() }).await;
        });
        locked.unwrap();
        let mut answer = String::new();
        open.read_to_string(&mut answer).unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 200 ") && answer.contains("<h1>"),
            "{answer}"
        );
        assert_eq!(served.exit_code(), Some(0));
    }
}
