//! A real PostgreSQL server for the time of a test or a demo.
//!
//! It lives in a temporary directory and listens on a free port of 127.0.0.1 only. The server
//! stops when [`Postgres`] is dropped, and on Linux also when the process that started it dies
//! in any other way.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use local_aws::scratch;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid, User};
use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row, TypeInfo, ValueRef};
use tempfile::TempDir;

const SUPERUSER: &str = "postgres";
const START_PATIENCE: Duration = Duration::from_secs(60);
const CONNECT_PATIENCE: Duration = Duration::from_secs(2);
const STOP_PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);
/// Between finding a free port and the server's listening on it, another process may take it.
const PORT_ATTEMPTS: usize = 5;

/// A running PostgreSQL server, stopped on drop.
#[derive(Debug)]
pub struct Postgres {
    /// Stops before the directory is removed: fields are dropped in this order.
    _server: Server,
    port: u16,
    password: String,
    directory: TempDir,
}

impl Postgres {
    /// Creates a cluster in a temporary directory and starts the installed PostgreSQL on it;
    /// returns when it answers a query. Started by root, who may not run PostgreSQL, it runs as
    /// the user `postgres`, or `nobody` where there is no such user.
    ///
    /// # Errors
    /// PostgreSQL is not installed, or did not start: then with the end of its log.
    pub async fn start() -> Result<Self> {
        let programs = Programs::find()?;
        let account = Account::choose()?;
        let directory = scratch::directory("bluegreen-postgres")
            .context("cannot make a directory for PostgreSQL")?;
        account.own(directory.path())?;
        let password = uuid::Uuid::new_v4().simple().to_string();
        create_cluster(&programs, &account, directory.path(), &password)?;

        for _ in 0..PORT_ATTEMPTS {
            let port = free_port()?;
            let log = directory.path().join("server.log");
            let mut server = Server::spawn(server_command(
                &programs,
                &account,
                directory.path(),
                port,
                &log,
            )?)?;
            match wait_until_ready(&mut server, &options(port, &password)).await {
                Ok(()) => {
                    return Ok(Self {
                        _server: server,
                        port,
                        password,
                        directory,
                    });
                }
                Err(error) => {
                    server.stop();
                    let words = std::fs::read_to_string(&log).unwrap_or_default();
                    if !words.contains("Address already in use") {
                        return Err(
                            error.context(format!("PostgreSQL did not start; its log:\n{words}"))
                        );
                    }
                }
            }
        }
        bail!("PostgreSQL found no free port in {PORT_ATTEMPTS} attempts")
    }

    /// Creates a database; returns its URL, `postgres://…@127.0.0.1:PORT/NAME`.
    ///
    /// # Errors
    /// The name is not made of lower-case letters, digits and underscores, or is taken.
    pub async fn create_database(&self, name: &str) -> Result<String> {
        ensure!(
            !name.is_empty()
                && name
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'),
            "{name:?} is no name for a database: lower-case letters, digits and underscores make one"
        );
        self.query(SUPERUSER, &format!("CREATE DATABASE \"{name}\""))
            .await?;
        Ok(self.url(name))
    }

    /// Runs SQL in a database of this server, for assertions. Returns the rows of its last
    /// statement that gave any, each value as PostgreSQL writes it, `None` for null.
    ///
    /// # Errors
    /// The database's own.
    pub async fn query(&self, database: &str, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
        let mut connection = options(self.port, &self.password)
            .database(database)
            .connect()
            .await?;
        let rows = sqlx::raw_sql(AssertSqlSafe(sql))
            .fetch_all(&mut connection)
            .await?;
        connection.close().await?;
        rows.iter().map(texts).collect()
    }

    /// The URL of a database of this server, whether it exists or not.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!(
            "postgres://{SUPERUSER}:{}@127.0.0.1:{}/{database}",
            self.password, self.port
        )
    }

    /// The port of 127.0.0.1 on which it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where its data and its log, `server.log`, are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Shuts the server down ("fast": clients are disconnected) and removes its directory, as
    /// dropping does.
    pub fn stop(self) {}
}

/// The simple query protocol of [`sqlx::raw_sql`] gives every value as text.
fn texts(row: &PgRow) -> Result<Vec<Option<String>>> {
    (0..row.len())
        .map(|column| {
            let value = row.try_get_raw(column)?;
            if value.is_null() {
                return Ok(None);
            }
            let text = value.as_str().map_err(|error| anyhow!(error));
            Ok(Some(
                text.with_context(|| value.type_info().name().to_owned())?
                    .to_owned(),
            ))
        })
        .collect()
}

fn options(port: u16, password: &str) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .host("127.0.0.1")
        .port(port)
        .username(SUPERUSER)
        .password(password)
        .database(SUPERUSER)
}

/// Where PostgreSQL's own programs are.
#[derive(Debug)]
struct Programs {
    initdb: PathBuf,
    postgres: PathBuf,
}

impl Programs {
    fn find() -> Result<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        Self::find_in(std::env::split_paths(&path).chain(debian_directories())).context(
            "PostgreSQL is not installed: neither PATH nor /usr/lib/postgresql/*/bin has initdb and postgres; \
             tests/end-to-end/install-postgresql.sh installs it or says how",
        )
    }

    fn find_in(directories: impl Iterator<Item = PathBuf>) -> Option<Self> {
        directories
            .map(|directory| Self {
                initdb: directory.join("initdb"),
                postgres: directory.join("postgres"),
            })
            .find(|programs| programs.initdb.is_file() && programs.postgres.is_file())
    }
}

/// Debian keeps each version's programs off PATH; the newest version comes first.
fn debian_directories() -> Vec<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let mut directories: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| {
            Some((
                entry.file_name().to_str()?.parse().ok()?,
                entry.path().join("bin"),
            ))
        })
        .collect();
    directories.sort_by(|left, right| right.cmp(left));
    directories
        .into_iter()
        .map(|(_, directory)| directory)
        .collect()
}

/// Whom the server runs as: another user than this process only if this process is root's.
#[derive(Debug)]
struct Account {
    other: Option<User>,
    setpriv: bool,
}

impl Account {
    fn choose() -> Result<Self> {
        let setpriv = Command::new("setpriv")
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if !Uid::effective().is_root() {
            return Ok(Self {
                other: None,
                setpriv,
            });
        }
        ensure!(
            setpriv,
            "as root, PostgreSQL is started through setpriv of util-linux, which is missing"
        );
        for name in ["postgres", "nobody"] {
            if let Some(user) = User::from_name(name)? {
                return Ok(Self {
                    other: Some(user),
                    setpriv,
                });
            }
        }
        bail!(
            "PostgreSQL refuses to run as root, and there is neither a user postgres nor a user nobody"
        )
    }

    fn own(&self, path: &Path) -> Result<()> {
        if let Some(user) = &self.other {
            std::os::unix::fs::chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
                .with_context(|| format!("cannot give {} to {}", path.display(), user.name))?;
        }
        Ok(())
    }

    /// A command that runs `program` as this user and, where the system can, ends with `signal`
    /// when the thread that spawned it ends. setpriv sets the signal after it has changed the
    /// user, which would clear it.
    fn command(&self, program: &Path, signal: &str) -> Command {
        if !self.setpriv {
            return Command::new(program);
        }
        let mut command = Command::new("setpriv");
        if let Some(user) = &self.other {
            command.args([
                "--reuid",
                &user.uid.to_string(),
                "--regid",
                &user.gid.to_string(),
                "--clear-groups",
            ]);
        }
        command.args(["--pdeathsig", signal]).arg("--").arg(program);
        command
    }
}

fn create_cluster(
    programs: &Programs,
    account: &Account,
    directory: &Path,
    password: &str,
) -> Result<()> {
    let password_file = directory.join("password");
    std::fs::write(&password_file, password)?;
    account.own(&password_file)?;
    let mut command = account.command(&programs.initdb, "KILL");
    command
        .arg("--pgdata")
        .arg(directory.join("data"))
        .arg("--pwfile")
        .arg(&password_file)
        .args([
            "--username",
            SUPERUSER,
            "--auth",
            "scram-sha-256",
            "--encoding",
            "UTF8",
            "--no-locale",
            "--no-sync",
        ])
        .current_dir(directory)
        .env("LC_ALL", "C")
        .stdin(Stdio::null());
    let output = command.output().context("cannot run initdb")?;
    std::fs::remove_file(&password_file)?;
    ensure!(
        output.status.success(),
        "initdb failed ({}): {}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

fn server_command(
    programs: &Programs,
    account: &Account,
    directory: &Path,
    port: u16,
    log: &Path,
) -> Result<Command> {
    let log = File::create(log)?;
    // SIGINT is PostgreSQL's fast shutdown.
    let mut command = account.command(&programs.postgres, "INT");
    command.arg("-D").arg(directory.join("data"));
    for setting in [
        "listen_addresses=127.0.0.1",
        &format!("port={port}"),
        "unix_socket_directories=",
        "max_connections=200",
        // Nothing here has to survive a power failure.
        "fsync=off",
        "full_page_writes=off",
        "synchronous_commit=off",
    ] {
        command.args(["-c", setting]);
    }
    command
        .current_dir(directory)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // Ctrl-C in a terminal is for the program that runs the demo; that ends the server last.
        .process_group(0);
    Ok(command)
}

async fn wait_until_ready(server: &mut Server, options: &PgConnectOptions) -> Result<()> {
    let deadline = Instant::now() + START_PATIENCE;
    loop {
        if let Some(status) = server.child.try_wait()? {
            bail!("it ended: {status}");
        }
        // Whoever else may have got the port need not answer as PostgreSQL does, or at all.
        match tokio::time::timeout(CONNECT_PATIENCE, options.connect()).await {
            Ok(Ok(connection)) => return Ok(connection.close().await?),
            _ if Instant::now() > deadline => bail!("it gave no answer within {START_PATIENCE:?}"),
            _ => tokio::time::sleep(POLL).await,
        }
    }
}

/// The server's process, with a thread for it alone: the kernel sends the "parent's death" signal
/// when the thread that spawned the process ends, and the threads of a test or of an
/// asynchronous runtime may end long before.
#[derive(Debug)]
struct Server {
    child: Child,
    /// Its thread ends when this is dropped.
    _thread: mpsc::Sender<()>,
}

impl Server {
    fn spawn(mut command: Command) -> Result<Self> {
        let (child_sender, child) = mpsc::channel();
        let (thread, dropped) = mpsc::channel::<()>();
        std::thread::Builder::new()
            .name("postgres".to_owned())
            .spawn(move || {
                if child_sender.send(command.spawn()).is_ok() {
                    // An error is what is waited for: the other end was dropped.
                    let _ = dropped.recv();
                }
            })?;
        let child = child.recv()?.context("cannot run postgres")?;
        Ok(Self {
            child,
            _thread: thread,
        })
    }

    /// Fast shutdown, then an immediate one if the first takes too long.
    fn stop(&mut self) {
        for signal in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGKILL] {
            if self.wait(Duration::ZERO) {
                return;
            }
            // The process was not waited for yet, so its id is its own.
            let Ok(id) = i32::try_from(self.child.id()) else {
                return;
            };
            if kill(Pid::from_raw(id), signal).is_err() || self.wait(STOP_PATIENCE) {
                return;
            }
        }
    }

    /// Whether the process has ended, waiting for it so long.
    fn wait(&mut self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            match self.child.try_wait() {
                Ok(None) if Instant::now() < deadline => std::thread::sleep(POLL),
                Ok(None) => return false,
                Ok(Some(_)) | Err(_) => return true,
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::net::TcpStream;
    use std::str::FromStr;

    use super::*;

    fn accepts(port: u16) -> bool {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
    }

    #[tokio::test]
    async fn it_serves_databases_by_their_urls_and_leaves_nothing_behind() {
        let postgres = Postgres::start().await.unwrap();
        let url = postgres.create_database("cats").await.unwrap();
        let mut client = PgConnectOptions::from_str(&url)
            .unwrap()
            .connect()
            .await
            .unwrap();
        sqlx::raw_sql(
            "CREATE TABLE cat (name text, lives int); INSERT INTO cat VALUES ('Tom', 9), (NULL, 8)",
        )
        .execute(&mut client)
        .await
        .unwrap();

        let rows = postgres
            .query("cats", "SELECT name, lives FROM cat ORDER BY lives DESC")
            .await
            .unwrap();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(rows, [[text("Tom"), text("9")], [None, text("8")]]);

        let (port, directory) = (postgres.port(), postgres.directory().to_owned());
        assert!(accepts(port));
        // The open client does not hold it up.
        postgres.stop();
        assert!(!accepts(port));
        assert!(!directory.exists());
    }

    #[tokio::test]
    async fn it_refuses_strangers_and_names_that_are_none() {
        let postgres = Postgres::start().await.unwrap();
        assert!(options(postgres.port(), "wrong").connect().await.is_err());
        assert!(
            postgres
                .create_database("a\"; DROP DATABASE postgres")
                .await
                .is_err()
        );
        assert!(postgres.create_database("").await.is_err());
    }

    #[test]
    fn the_newest_installed_version_is_taken() {
        let directory = TempDir::new().unwrap();
        let bin = |name: &str| directory.path().join(name);
        for (name, programs) in [
            ("half", &["initdb"][..]),
            ("whole", &["initdb", "postgres"]),
        ] {
            std::fs::create_dir(bin(name)).unwrap();
            for program in programs {
                std::fs::write(bin(name).join(program), "").unwrap();
            }
        }
        let found =
            Programs::find_in([bin("none"), bin("half"), bin("whole")].into_iter()).unwrap();
        assert_eq!(found.postgres, bin("whole").join("postgres"));
        assert!(Programs::find_in([bin("none"), bin("half")].into_iter()).is_none());
    }

    const HOLDER: &str = "HOLD_A_SERVER";

    /// Not a test of its own: the process that [`the_server_dies_with_its_process`] kills.
    #[tokio::test]
    async fn holds_a_server_when_asked_to() {
        if std::env::var_os(HOLDER).is_none() {
            return;
        }
        let postgres = Postgres::start().await.unwrap();
        println!(
            "\nholding {} {}",
            postgres.port(),
            postgres.directory().display()
        );
        std::future::pending::<()>().await;
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_server_dies_with_its_process() {
        let mut holder = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "postgres::tests::holds_a_server_when_asked_to",
                "--nocapture",
            ])
            .env(HOLDER, "1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines();
        let line = lines
            .find_map(|line| line.unwrap().strip_prefix("holding ").map(str::to_owned))
            .unwrap();
        let (port, directory) = line.split_once(' ').unwrap();
        let port = port.parse().unwrap();
        assert!(accepts(port));

        holder.kill().unwrap(); // SIGKILL
        holder.wait().unwrap();
        let deadline = Instant::now() + STOP_PATIENCE;
        while accepts(port) {
            assert!(Instant::now() < deadline, "the server outlived its process");
            std::thread::sleep(POLL);
        }
        std::fs::remove_dir_all(directory).unwrap();
    }
}
