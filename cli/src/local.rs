//! The local AWS in the place of an account, and a real PostgreSQL in the place of RDS.
//!
//! Both run for as long as the `make up` that started them; what it writes into a file leads
//! others to them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use local_aws::client::{LocalAws, StartOptions};
use sample::image::{VersionSpec, push};
use sample::postgres::Postgres;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

use crate::cli::Cli;
use crate::first_image::Repository;
use crate::names::Application;
use crate::say::Say;
use crate::template::Parameters;
use crate::world::World;

/// Its CloudFormation tells of a resource as soon as it is made.
const POLL: Duration = Duration::from_millis(300);
/// The longest name that RDS has for a user.
const USER_LIMIT: usize = 16;
/// The tag of the sample application's image, by which it is known again.
const SAMPLE_TAG: &str = "sample";
/// How the sample application migrates its database.
const SAMPLE_MIGRATION: &str = r#"["websvc","migrate"]"#;

/// A local AWS that runs, whoever started it.
#[derive(Clone, Debug)]
pub struct Local {
    endpoint: String,
    postgres: String,
}

/// What this process has started, and ends with this value.
#[derive(Debug)]
pub struct Started {
    aws: Option<LocalAws>,
    postgres: Postgres,
    file: PathBuf,
}

/// Where another process finds what this one has started.
#[derive(Debug, Deserialize, Serialize)]
struct Whereabouts {
    endpoint: String,
    /// The URL of PostgreSQL's superuser.
    postgres: String,
}

/// How a local AWS is started where none runs.
#[derive(Clone, Debug)]
pub struct Start {
    /// The root of this repository.
    pub root: PathBuf,
    /// The executable `local-aws`.
    pub binary: PathBuf,
    /// How many times faster the delays of AWS pass.
    pub speed: f64,
    /// A directory for its state, and for the file that leads others to it.
    pub state: PathBuf,
}

/// The world of a local AWS that runs already, if one does: somebody's at `endpoint`, or the one
/// that the file in `state` tells of.
///
/// # Errors
/// `make setup` was not run.
pub async fn running(root: &Path, state: &Path, say: &Say) -> Result<Option<World>> {
    let Ok(text) = std::fs::read_to_string(file(state)) else {
        return Ok(None);
    };
    let Ok(whereabouts) = serde_json::from_str::<Whereabouts>(&text) else {
        return Ok(None);
    };
    let Whereabouts { endpoint, postgres } = whereabouts;
    let world = world(root, Local { endpoint, postgres }, say.clone())?;
    // The file of a process that was killed leads nowhere.
    Ok(world.account().await.is_ok().then_some(world))
}

/// Starts PostgreSQL and, unless there is one at `endpoint`, a local AWS.
///
/// # Errors
/// One of them does not start.
pub async fn start(start: Start, endpoint: Option<String>, say: Say) -> Result<(World, Started)> {
    let postgres = Postgres::start().await?;
    let aws = match endpoint {
        Some(_) => None,
        None => Some(
            LocalAws::start(StartOptions {
                venv: start.root.join("target/venv"),
                state: start.state.join("aws"),
                speed: start.speed,
                binary: start.binary,
                record_ecs: None,
            })
            .await?,
        ),
    };
    let endpoint = endpoint.or_else(|| aws.as_ref().map(|aws| aws.endpoint().to_owned()));
    let whereabouts = Whereabouts {
        endpoint: endpoint.unwrap_or_default(),
        postgres: postgres.url("postgres"),
    };
    let file = file(&start.state);
    write_privately(&file, &serde_json::to_string(&whereabouts)?)?;
    let Whereabouts {
        endpoint,
        postgres: url,
    } = whereabouts;
    let world = world(
        &start.root,
        Local {
            endpoint,
            postgres: url,
        },
        say,
    )?;
    Ok((
        world,
        Started {
            aws,
            postgres,
            file,
        },
    ))
}

impl Started {
    /// Ends what was started.
    ///
    /// # Errors
    /// The local AWS did not end as it should.
    pub async fn end(self) -> Result<()> {
        std::fs::remove_file(&self.file).ok();
        if let Some(aws) = self.aws {
            aws.shut_down().await?;
        }
        self.postgres.stop();
        Ok(())
    }
}

fn file(state: &Path) -> PathBuf {
    state.join("local-aws.json")
}

/// A file with a password.
fn write_privately(path: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let written = options
        .open(path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()));
    written.with_context(|| format!("cannot write {}", path.display()))
}

fn world(root: &Path, local: Local, say: Say) -> Result<World> {
    let aws = LocalAws::attach(&local.endpoint)?;
    let venv = root.join("target/venv");
    let cli = Cli::new(&venv, aws.environment(), Some(&local.endpoint));
    Ok(World {
        config: aws.sdk_config(),
        cli,
        say,
        root: root.to_owned(),
        poll: POLL,
        local: Some(local),
    })
}

impl Local {
    /// Names of the database and its user by which applications that share a server differ.
    pub(crate) fn database_parameters(&self, application: &Application) -> Parameters {
        let name = application.stack().replace('-', "_");
        let user = if name.len() <= USER_LIMIT {
            name.clone()
        } else {
            let hash = Sha256::digest(name.as_bytes());
            format!(
                "{}_{:02x}{:02x}{:02x}{:02x}",
                &name[..7],
                hash[0],
                hash[1],
                hash[2],
                hash[3]
            )
        };
        let parameters = [("DatabaseName", name), ("MasterUsername", user)];
        parameters
            .map(|(key, value)| (key.to_owned(), value))
            .into()
    }

    /// Makes on the real PostgreSQL what RDS only tells of: the database and its user, with the
    /// password of the secret. Answers where `cluster.yml` finds it.
    ///
    /// # Errors
    /// The secret or PostgreSQL can not be reached.
    pub(crate) async fn serve_database(
        &self,
        world: &World,
        outputs: &Parameters,
    ) -> Result<Parameters> {
        let value = |name: &str| outputs.get(name).map(String::as_str).unwrap_or_default();
        let (secret, database) = (value("DatabaseSecretArn"), value("DatabaseName"));
        let asked = ["secretsmanager", "get-secret-value", "--secret-id", secret];
        let answer = world.cli.ask(&asked).await?;
        let text = answer["SecretString"].as_str().unwrap_or_default();
        let Login { username, password } =
            serde_json::from_str(text).context("the database's secret is not as RDS writes it")?;

        let server: PgConnectOptions = self.postgres.parse()?;
        let (host, port) = (server.get_host().to_owned(), server.get_port());
        let mut connection = server
            .connect()
            .await
            .context("PostgreSQL does not answer")?;
        let user = identifier(&username);
        if !exists(&mut connection, "pg_roles", "rolname", &username).await? {
            run(&mut connection, format!("CREATE ROLE {user} LOGIN")).await?;
        }
        let password = password.replace('\'', "''");
        run(
            &mut connection,
            format!("ALTER ROLE {user} PASSWORD '{password}'"),
        )
        .await?;
        if !exists(&mut connection, "pg_database", "datname", database).await? {
            let database = identifier(database);
            run(
                &mut connection,
                format!("CREATE DATABASE {database} OWNER {user}"),
            )
            .await?;
        }
        connection.close().await?;
        let parameters = [
            ("DatabaseHost", host),
            ("DatabasePort", port.to_string()),
            ("DatabaseSslMode", "prefer".to_owned()),
        ];
        Ok(parameters
            .map(|(key, value)| (key.to_owned(), value))
            .into())
    }

    /// A free port for the load balancer, which listens on this machine.
    pub(crate) async fn listener(&self) -> Result<Parameters> {
        let port = LocalAws::attach(&self.endpoint)?.reserve_port().await?;
        Ok([("ListenerPort".to_owned(), port.to_string())].into())
    }

    /// Where images of a repository are pushed to. AWS's address, which its `RepositoryUri` has, leads to AWS.
    pub(crate) fn address_of(&self, repository: &str) -> String {
        let registry = self.endpoint.trim_start_matches("http://");
        format!("{registry}/{repository}")
    }

    /// Pushes the first version of the sample application, built without Docker.
    pub(crate) async fn push_sample(
        &self,
        world: &World,
        repository: &Repository,
    ) -> Result<String> {
        world
            .say
            .line("Pushing the sample application (tests/websvc)");
        let image = VersionSpec::posts().build(&sample::websvc::executable()?)?;
        let aws = LocalAws::attach(&self.endpoint)?;
        push(
            &aws,
            &world.config,
            &repository.name,
            Some(SAMPLE_TAG),
            &image,
        )
        .await?;
        Ok(format!("{}:{SAMPLE_TAG}", repository.uri))
    }

    /// What `cluster.yml` has to know of an application with this image: of the sample its
    /// migration and the processor it was built for, of another nothing.
    pub(crate) fn sample_parameters(&self, image: &str) -> Parameters {
        let is_sample = image
            .rsplit_once(':')
            .is_some_and(|(_, tag)| tag == SAMPLE_TAG);
        let sample = [
            ("MigrationCommand", SAMPLE_MIGRATION),
            ("CpuArchitecture", sample::image::cpu_architecture()),
        ];
        let sample = sample.into_iter().filter(|_| is_sample);
        sample
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }
}

/// The secret of a database, as RDS writes it.
#[derive(Deserialize)]
struct Login {
    username: String,
    password: String,
}

async fn exists(
    connection: &mut PgConnection,
    catalog: &str,
    column: &str,
    name: &str,
) -> Result<bool> {
    let sql = format!("SELECT 1 FROM {catalog} WHERE {column} = $1");
    let found = sqlx::query(AssertSqlSafe(sql))
        .bind(name)
        .fetch_optional(connection)
        .await?;
    Ok(found.is_some())
}

async fn run(connection: &mut PgConnection, sql: String) -> Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(connection)
        .await?;
    Ok(())
}

/// A name as SQL quotes it.
fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn applications_that_share_a_server_have_users_of_their_own() {
        let local = Local {
            endpoint: String::new(),
            postgres: String::new(),
        };
        let user = |name: &str| {
            let parameters = local.database_parameters(&name.parse().unwrap());
            parameters["MasterUsername"].clone()
        };
        assert_eq!(user("shop-2"), "shop_2");
        let (one, other) = (
            user("a-long-name-of-a-shop"),
            user("a-long-name-of-another"),
        );
        assert_ne!(one, other);
        assert_eq!(one.len(), USER_LIMIT);
        assert!(one.starts_with("a_long_"));
    }

    #[test]
    fn only_the_sample_is_migrated_as_the_sample_is() {
        let local = Local {
            endpoint: String::new(),
            postgres: String::new(),
        };
        let of = |image| local.sample_parameters(image);
        let migration = &of("127.0.0.1:5000/demo:sample")["MigrationCommand"];
        assert_eq!(migration, SAMPLE_MIGRATION);
        for other in ["demo:v1", "demo@sha256:01", "sample/demo:v1", "demo"] {
            assert_eq!(of(other), Parameters::new(), "{other}");
        }
    }

    #[test]
    fn the_file_with_the_password_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let file = file(directory.path());
        write_privately(&file, "secret").unwrap();
        let mode = std::fs::metadata(file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
