//! `bluegreen up`: the whole from nothing, in the order in which one part needs another.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::artifacts::Artifacts;
use crate::first_image::{self, Given, Repository};
use crate::first_release;
use crate::names::{Application, PIPELINE};
use crate::running::wait_for_releases;
use crate::service_roles;
use crate::stacks::{Deployed, Stacks, Wanted};
use crate::template::{Parameters, Setting, TEMPLATES, Template, of_template};
use crate::world::World;

/// The parameter of `cluster.yml` that says whether its services have tasks. A stack begins without,
/// and gets them when the migration of its first image has exited 0.
const IN_SERVICE: &str = "InService";
/// The parameter of `database.yml` that keeps the database from being deleted: also where its own creation
/// fails, and CloudFormation could not take it back.
const PROTECTED: &str = "DeletionProtection";
/// What a first release leaves behind that did not succeed.
const NOTHING_SERVES: &str = "Nothing serves: the stacks stand, but the application has no task. \
     Remove the reason and run make up again, with APP or IMAGE where another image is the remedy.";
/// The same where the stack was in service before.
const MAY_LACK_MIGRATION: &str = "The application is in service, but the migration of its image may \
     be missing. Remove the reason and run make up again, or push a mended image.";

/// Which application, and how it is to be.
#[derive(Args, Clone, Debug)]
pub struct Up {
    /// The name of the application's stack; other names are made of it.
    pub stack: Application,
    /// A directory with a Dockerfile, from which Docker builds the first image.
    #[arg(long)]
    pub app: Option<PathBuf>,
    /// The URI of the first image, in the application's repository.
    #[arg(long)]
    pub image: Option<String>,
    /// The processor that the functions' zips were built for.
    #[arg(long, default_value = "arm64", value_parser = ["arm64", "x86_64"])]
    pub architecture: String,
    /// A parameter of a template, such as cluster.DesiredCount=4. Can be given several times.
    #[arg(long = "set", value_name = "TEMPLATE.PARAMETER=VALUE")]
    pub settings: Vec<Setting>,
    /// How many minutes an update of the pipeline waits for releases that run.
    #[arg(long, value_name = "MINUTES", default_value_t = 30)]
    pub wait_for_releases: u64,
}

impl From<Up> for Options {
    fn from(asked: Up) -> Self {
        Self {
            application: asked.stack,
            image: Given {
                app: asked.app,
                image: asked.image,
            },
            architecture: asked.architecture,
            settings: asked.settings,
            release_patience: Duration::from_secs(60 * asked.wait_for_releases),
        }
    }
}

/// What a person asks for.
#[derive(Clone, Debug)]
pub struct Options {
    /// The application.
    pub application: Application,
    /// Where its first image comes from.
    pub image: Given,
    /// The processor that the functions' zips were built for, `arm64` or `x86_64`.
    pub architecture: String,
    /// Further parameters of the templates.
    pub settings: Vec<Setting>,
    /// How long an update of the pipeline waits for releases that run.
    pub release_patience: Duration,
}

/// Brings everything up.
///
/// # Errors
/// The first thing that failed, with what stands and how to go on.
pub async fn run(world: &World, options: &Options) -> Result<()> {
    check_settings(world, &options.settings)?;
    first_image::check(&options.image).await?;
    let account = world.account().await?;
    world.say.line(format!(
        "Application {} in account {account}, region {}",
        options.application.stack(),
        world.region()
    ));
    service_roles::make(world).await?;
    let mut up = Steps::begin(world, options).await?;
    // Packaged first: that the functions are not built is better known now than after the database.
    let pipeline = up
        .artifacts
        .package(&world.infra().join("pipeline.yml"))
        .await?;
    up.network().await?;
    let repository = up.repository().await?;
    up.database().await?;
    up.image(&repository).await?;
    up.cluster().await?;
    let state_machine = up.pipeline(pipeline).await?;
    up.release(&state_machine).await?;
    up.tell(&repository, &state_machine).await
}

/// A setting that no template takes is refused before anything is made.
fn check_settings(world: &World, settings: &[Setting]) -> Result<()> {
    for name in TEMPLATES {
        let known = Template::read(&world.infra().join(format!("{name}.yml")))?.parameters;
        for parameter in of_template(settings, name).keys() {
            ensure!(
                known.contains(parameter),
                "{name}.yml has no parameter {parameter}. Nothing was changed. It has: {}",
                known.iter().cloned().collect::<Vec<_>>().join(", ")
            );
        }
    }
    ensure!(
        !of_template(settings, "cluster").contains_key(IN_SERVICE),
        "make up sets cluster.{IN_SERVICE} itself, once the first image's migration has exited 0. \
         Nothing was changed."
    );
    Ok(())
}

struct Steps<'a> {
    world: &'a World,
    options: &'a Options,
    stacks: Stacks,
    artifacts: Artifacts,
    changed: bool,
}

impl<'a> Steps<'a> {
    async fn begin(world: &'a World, options: &'a Options) -> Result<Self> {
        let stacks = world.stacks();
        let infra = world.infra();
        let (cli, s3) = (&world.cli, world.s3());
        let settings = of_template(&options.settings, "artifacts");
        let artifacts = Artifacts::open(&stacks, cli, &infra, s3, settings).await?;
        Ok(Self {
            world,
            options,
            stacks,
            artifacts,
            changed: false,
        })
    }

    async fn network(&mut self) -> Result<()> {
        let wanted = self
            .wanted(&self.application().network(), "network")
            .await?;
        self.deploy(wanted, "network", &[]).await?;
        Ok(())
    }

    async fn repository(&mut self) -> Result<Repository> {
        let stack = self.application().repository();
        let name = self.application().stack();
        if self.stacks.find(&stack).await?.is_none() {
            first_image::ensure_no_repository(self.world, name, &stack).await?;
        }
        let mut wanted = self.wanted(&stack, "image-repository").await?;
        // Other stacks may have been added.
        wanted.at_first.insert("Stacks".to_owned(), name.to_owned());
        self.deploy(wanted, "image-repository", &[("RepositoryName", name)])
            .await?;
        let outputs = self.stacks.outputs(&stack).await?;
        let name = output(&outputs, "RepositoryName")?;
        let uri = output(&outputs, "RepositoryUri")?;
        let local = self.world.local.as_ref();
        let address = local.map_or(uri.clone(), |local| local.address_of(&name));
        Ok(Repository { name, uri, address })
    }

    async fn database(&mut self) -> Result<()> {
        let network = self.stacks.outputs(&self.application().network()).await?;
        let mut wanted = self
            .wanted(&self.application().database(), "database")
            .await?;
        if let Some(local) = &self.world.local {
            wanted.at_first = local.database_parameters(self.application());
        }
        let unprotected = (PROTECTED.to_owned(), "false".to_owned());
        wanted.at_first.extend([unprotected]);
        let given = [
            ("VpcId", output(&network, "VpcId")?),
            ("SubnetIds", output(&network, "PrivateSubnetIds")?),
        ];
        let deployed = self.deploy(wanted, "database", &borrowed(&given)).await?;
        self.protect_database(deployed).await
    }

    /// Keeps a new database from being deleted, now that its creation has not failed.
    async fn protect_database(&self, deployed: Deployed) -> Result<()> {
        // An earlier call may have come no further than that.
        let is_new = deployed == Deployed::Created
            || !first_release::is_done(self.world, self.application()).await?;
        let database = self.application().database();
        let has = self.stacks.parameters(&database).await?.unwrap_or_default();
        let settings = of_template(&self.options.settings, "database");
        if is_new && is_to_be_protected(&settings, &has) {
            self.stacks
                .change(&database, &[(PROTECTED, "true")])
                .await?;
        }
        Ok(())
    }

    async fn image(&mut self, repository: &Repository) -> Result<()> {
        let (application, given) = (self.application(), &self.options.image);
        let settings = of_template(&self.options.settings, "cluster");
        let platform = match settings.get("CpuArchitecture").map(String::as_str) {
            Some("ARM64") => "linux/arm64",
            _ => "linux/amd64",
        };
        let is_in_service = self.is_in_service().await?;
        self.changed |= first_image::provide(
            self.world,
            application,
            repository,
            given,
            platform,
            is_in_service,
        )
        .await?;
        Ok(())
    }

    /// Whether the first image is in service, or the stack may have tasks for another reason.
    async fn is_in_service(&self) -> Result<bool> {
        Ok(
            first_release::is_done(self.world, self.application()).await?
                || self.has_tasks().await?,
        )
    }

    /// Whether the application's stack exists and has tasks, as far as its parameters say.
    async fn has_tasks(&self) -> Result<bool> {
        let parameters = self.stacks.parameters(self.application().stack()).await?;
        let says = |it: Parameters| it.get(IN_SERVICE).map(String::as_str) != Some("false");
        Ok(parameters.is_some_and(says))
    }

    async fn cluster(&mut self) -> Result<()> {
        let application = self.application();
        let network = self.stacks.outputs(&application.network()).await?;
        let database = self.stacks.outputs(&application.database()).await?;
        let mut wanted = self.wanted(application.stack(), "cluster").await?;
        let given = [
            ("ImageParameter", application.image_parameter()),
            ("VpcId", output(&network, "VpcId")?),
            ("SubnetIds", output(&network, "PublicSubnetIds")?),
            ("TaskSubnetIds", output(&network, "PrivateSubnetIds")?),
            ("DatabaseSecretArn", output(&database, "DatabaseSecretArn")?),
            ("DatabaseHost", output(&database, "DatabaseHost")?),
            ("DatabasePort", output(&database, "DatabasePort")?),
            ("DatabaseName", output(&database, "DatabaseName")?),
            (
                "DatabaseSecurityGroupId",
                output(&database, "ClientSecurityGroupId")?,
            ),
        ];
        let given = given.map(|(name, value)| (name.to_owned(), value));
        let mut given = Parameters::from(given);
        if let Some(local) = &self.world.local {
            given.extend(local.serve_database(self.world, &database).await?);
            // One whose creation failed has no outputs, and is created again.
            let outputs = self.stacks.outputs(application.stack()).await?;
            if outputs.is_empty() {
                wanted.at_first.extend(local.listener().await?);
                let image = application.image_parameter();
                let image = first_image::read_parameter(self.world, &image).await?;
                let image = image.unwrap_or_default();
                wanted.at_first.extend(local.sample_parameters(&image));
            }
        }
        wanted.always = given;
        if !first_release::is_done(self.world, application).await? {
            let held = (IN_SERVICE.to_owned(), "false".to_owned());
            wanted.at_first.extend([held]);
        }
        self.deploy(wanted, "cluster", &[]).await?;
        Ok(())
    }

    async fn pipeline(&mut self, packaged: Template) -> Result<String> {
        let mut wanted = self.artifacts.wanted(PIPELINE, packaged).await?;
        let given = [("Architecture", self.options.architecture.as_str())];
        self.set(&mut wanted, "pipeline", &given);
        let sfn = aws_sdk_sfn::Client::new(&self.world.config);
        let before = self.stacks.outputs(PIPELINE).await?;
        let no_release_runs = async || match before.get("StateMachineArn") {
            Some(state_machine) => {
                let patience = (self.world.poll, self.options.release_patience);
                wait_for_releases(&sfn, state_machine, &self.world.say, patience).await
            }
            None => Ok(()),
        };
        let deployed = self.stacks.deploy_when(&wanted, no_release_runs).await?;
        self.changed |= deployed != Deployed::Unchanged;
        let outputs = self.stacks.outputs(PIPELINE).await?;
        output(&outputs, "StateMachineArn")
    }

    async fn release(&mut self, state_machine: &str) -> Result<()> {
        let (world, application) = (self.world, self.application());
        if first_release::is_done(world, application).await? {
            return Ok(());
        }
        let has_tasks = self.has_tasks().await?;
        let otherwise = if has_tasks {
            MAY_LACK_MIGRATION
        } else {
            NOTHING_SERVES
        };
        let execution = first_release::run(world, application, state_machine, otherwise).await?;
        if !has_tasks {
            self.put_into_service().await?;
        }
        // Last: what fails before is done again.
        first_release::note(world, application, &execution).await?;
        self.changed = true;
        Ok(())
    }

    /// Gives the services their tasks. CloudFormation waits until they are healthy, and takes all
    /// back where they are not.
    async fn put_into_service(&self) -> Result<()> {
        let stack = self.application().stack();
        self.world.say.line(format!(
            "The first image is migrated: {stack} goes into service"
        ));
        let parameters = self.stacks.parameters(stack).await?.unwrap_or_default();
        let value = |name: &str| parameters.get(name).map(String::as_str).unwrap_or_default();
        if let Some(told) = waits_for_a_person(&parameters) {
            self.world.say.line(told);
        }
        if value("Autoscaling") == "true" {
            // Of a service that is scaled the stack does not say how many tasks it has: it would
            // come into service without any, with nothing to wait for.
            let outputs = self.stacks.outputs(stack).await?;
            let (cluster, service) = (
                output(&outputs, "ClusterName")?,
                output(&outputs, "ServiceName")?,
            );
            let update = ["ecs", "update-service", "--cluster", &cluster];
            let to = ["--service", &service, "--desired-count", value("MinCount")];
            self.world.cli.run([update, to].concat()).await?;
        }
        self.stacks.change(stack, &[(IN_SERVICE, "true")]).await
    }

    async fn tell(&self, repository: &Repository, state_machine: &str) -> Result<()> {
        let stack = self.application().stack();
        let url = output(&self.stacks.outputs(stack).await?, "LoadBalancerUrl")?;
        let say = &self.world.say;
        say.line("");
        if !self.changed {
            say.line("Nothing was changed: everything was there, and as it should be.");
        }
        say.line(format!("{stack} answers at  {url}"));
        say.line(format!("Push images to   {}", repository.address));
        if let Some(endpoint) = self.world.config.endpoint_url() {
            let region = self.world.region();
            // The local AWS takes any credentials.
            let keys = match self.world.local {
                Some(_) => "AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test ",
                None => "",
            };
            say.line(format!(
                "Start a release  {keys}AWS_REGION={region} AWS_ENDPOINT_URL={endpoint} \
                 target/venv/bin/aws stepfunctions start-execution --state-machine-arn \
                 {state_machine} --input '{{\"stack\":\"{stack}\",\"tag\":\"…\"}}'"
            ));
        } else {
            say.line(format!(
                "State machine    {}",
                console(self.world.region(), state_machine)
            ));
        }
        let local = if self.world.local.is_some() {
            " LOCAL=1"
        } else {
            ""
        };
        say.line(
            "Next: push an image with a new tag. The pipeline migrates, deploys and verifies it.",
        );
        say.line(format!("make releases STACK={stack}{local} shows what became of it, make down STACK={stack}{local} takes all of this down."));
        Ok(())
    }

    fn application(&self) -> &'a Application {
        &self.options.application
    }

    async fn wanted(&self, stack: &str, template: &str) -> Result<Wanted> {
        let path = self.world.infra().join(format!("{template}.yml"));
        self.artifacts.wanted(stack, Template::read(&path)?).await
    }

    /// Deploys a stack with what the other stacks and then a person say.
    async fn deploy(
        &mut self,
        mut wanted: Wanted,
        template: &str,
        given: &[(&str, &str)],
    ) -> Result<Deployed> {
        self.set(&mut wanted, template, given);
        let deployed = self.stacks.deploy(&wanted).await?;
        self.changed |= deployed != Deployed::Unchanged;
        Ok(deployed)
    }

    fn set(&self, wanted: &mut Wanted, template: &str, given: &[(&str, &str)]) {
        let given = given
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        wanted.always.extend(given);
        wanted
            .always
            .extend(of_template(&self.options.settings, template));
    }
}

/// What is said where the services come into service by a deployment that a person has to continue.
fn waits_for_a_person(parameters: &Parameters) -> Option<&'static str> {
    let hook = parameters.get("Hook").map(String::as_str);
    (hook == Some("PAUSE")).then_some(
        "Hook is PAUSE: the deployment waits until you continue it in ECS (Service → Deployments), and so \
         does this command. Without that ECS takes the deployment back when the hook's time is over.",
    )
}

/// Whether a new database lacks its protection, and nobody has said anything of that.
fn is_to_be_protected(settings: &Parameters, has: &Parameters) -> bool {
    let lacks = has.get(PROTECTED).map(String::as_str) == Some("false");
    lacks && !settings.contains_key(PROTECTED)
}

fn borrowed<'a>(given: &'a [(&'a str, String)]) -> Vec<(&'a str, &'a str)> {
    given
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect()
}

fn output(outputs: &Parameters, name: &str) -> Result<String> {
    let value = outputs.get(name).cloned();
    value.with_context(|| {
        format!("a stack lacks its output {name}, which its template has: update it")
    })
}

/// The page of a state machine in the console.
fn console(region: &str, state_machine: &str) -> String {
    let domain = match region {
        _ if region.starts_with("cn-") => "console.amazonaws.cn",
        _ if region.starts_with("us-gov-") => "console.amazonaws-us-gov.com",
        _ => "console.aws.amazon.com",
    };
    format!(
        "https://{region}.{domain}/states/home?region={region}#/statemachines/view/{state_machine}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_for_a_person_says_so() {
        let with = |hook: &str| Parameters::from([("Hook".to_owned(), hook.to_owned())]);
        assert!(waits_for_a_person(&with("PAUSE")).is_some());
        assert_eq!(waits_for_a_person(&with("NONE")), None);
    }

    /// With it from the beginning, CloudFormation could not take back a creation that fails.
    #[test]
    fn a_database_is_protected_once_it_stands_unless_somebody_has_said_otherwise() {
        let with = |value: &str| Parameters::from([(PROTECTED.to_owned(), value.to_owned())]);
        let nothing_said = Parameters::new();
        assert!(is_to_be_protected(&nothing_said, &with("false")));
        assert!(!is_to_be_protected(&nothing_said, &with("true")));
        assert!(!is_to_be_protected(&with("false"), &with("false")));
    }

    #[test]
    fn the_console_is_that_of_the_partition() {
        for (region, host) in [
            (
                "eu-central-1",
                "https://eu-central-1.console.aws.amazon.com/",
            ),
            ("cn-north-1", "https://cn-north-1.console.amazonaws.cn/"),
            (
                "us-gov-west-1",
                "https://us-gov-west-1.console.amazonaws-us-gov.com/",
            ),
        ] {
            let url = console(region, "arn:machine");
            assert!(url.starts_with(host), "{url}");
            assert!(url.ends_with("view/arn:machine"), "{url}");
        }
    }
}
