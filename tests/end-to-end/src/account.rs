//! An AWS account on this machine with the pipeline in it: what the demo and every test start from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_dynamodb::types::AttributeValue;
use aws_types::SdkConfig;
use jiff::Timestamp;
use local_aws::client::{LocalAws, StartOptions, executable};
use local_aws::conformance::check_ecs_calls;
use local_aws::modes::Modes;
use local_aws::scratch;
use serde_json::Value;
use tempfile::TempDir;

use crate::alarm::Alarm;
use crate::application::{Application, Settings};
use crate::cli::Cli;
use crate::execution::Execution;
use crate::permissions;
use sample::image::Image;
use sample::postgres::Postgres;

const ARTIFACTS: &str = "artifacts";
/// The pipeline's stack.
pub const PIPELINE: &str = "bluegreen";
/// How long the pipeline may take to notice a push; it takes well under a second.
const NOTICE_PATIENCE: Duration = Duration::from_secs(60);
/// How long the reconciler may take to find one: two minutes pass before it looks.
const RECONCILER_PATIENCE: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(100);

/// How an [`Account`] differs from the usual one.
#[derive(Clone, Debug)]
pub struct AccountOptions {
    /// How many times faster ECS's and the load balancer's delays pass than AWS's.
    pub speed: f64,
    /// Parameters of `infra/pipeline.yml`, without `Architecture`.
    pub pipeline_parameters: Vec<(String, String)>,
    /// Whether every call of ECS is checked against AWS's model of the API when the account is
    /// closed.
    pub check_ecs_calls: bool,
}

/// The account: a local AWS, a PostgreSQL server, and the pipeline deployed by the AWS CLI.
#[derive(Debug)]
pub struct Account {
    aws: LocalAws,
    postgres: Postgres,
    cli: Cli,
    config: SdkConfig,
    websvc: PathBuf,
    vpc: String,
    subnets: String,
    state_machine: String,
    releases_table: String,
    dead_letter_queue: String,
    ecs_calls: Option<PathBuf>,
    /// Whether ECS tells the state of every rollout.
    pub(crate) tells_all_rollouts: bool,
    /// What executions were started with, which never changes, by their ARNs.
    inputs: Mutex<BTreeMap<String, Value>>,
    scratch: TempDir,
}

impl Account {
    /// Starts everything and deploys the pipeline.
    ///
    /// # Errors
    /// What `make setup` or `make functions` makes is missing, or the pipeline can not be deployed.
    pub async fn open(options: AccountOptions) -> Result<Self> {
        let venv = venv();
        ensure!(
            venv.join("bin/aws").exists(),
            "{} is missing: run make setup",
            venv.display()
        );
        let websvc = sample::websvc::executable()?;
        let scratch = scratch::directory("bluegreen")?;
        let calls = scratch.path().join("ecs-calls.jsonl");
        let ecs_calls = options.check_ecs_calls.then_some(calls);
        let start = LocalAws::start(StartOptions {
            venv: venv.clone(),
            state: scratch.path().join("local-aws"),
            speed: options.speed,
            binary: executable("local-aws")?,
            record_ecs: ecs_calls.clone(),
        });
        let (aws, postgres) = tokio::try_join!(start, Postgres::start())?;
        let cli = Cli::new(&venv, &aws);
        let (vpc, subnets) = default_network(&cli).await?;
        let mut account = Self {
            config: aws.sdk_config(),
            aws,
            postgres,
            cli,
            websvc,
            vpc,
            subnets,
            state_machine: String::new(),
            releases_table: String::new(),
            dead_letter_queue: String::new(),
            ecs_calls,
            tells_all_rollouts: true,
            inputs: Mutex::default(),
            scratch,
        };
        account.deploy_pipeline(&options).await?;
        Ok(account)
    }

    /// Lets ECS be from now on as its documentation has it where clients that are in use take it to be
    /// otherwise: it tells the state of rolling updates only, its circuit breaker acts in no others, and it
    /// takes no filter beside `startedBy`.
    ///
    /// # Errors
    /// The local AWS does not answer.
    pub async fn keep_to_the_documentation(&mut self) -> Result<()> {
        let modes = Modes {
            rollout_state_of_rolling_updates_only: true,
            started_by_is_the_only_filter: true,
            circuit_breaker_of_rolling_updates_only: true,
        };
        self.aws.set_modes(modes).await?;
        self.tells_all_rollouts = false;
        Ok(())
    }

    async fn deploy_pipeline(&mut self, options: &AccountOptions) -> Result<()> {
        let artifacts = format!("s3://{ARTIFACTS}");
        self.cli.run(["s3", "mb", &artifacts]).await?;
        let packaged = self.packaged_pipeline();
        let template = root().join("infra/pipeline.yml");
        self.cli
            .run([
                "cloudformation".as_ref(),
                "package".as_ref(),
                "--template-file".as_ref(),
                template.as_os_str(),
                "--s3-bucket".as_ref(),
                ARTIFACTS.as_ref(),
                "--output-template-file".as_ref(),
                packaged.as_os_str(),
            ])
            .await?;
        let mut parameters = options.pipeline_parameters.clone();
        parameters.push(("Architecture".to_owned(), architecture().to_owned()));
        self.deploy(PIPELINE, &packaged, &parameters).await?;
        let outputs = self.outputs(PIPELINE).await?;
        self.state_machine = output(&outputs, "StateMachineArn")?;
        self.releases_table = output(&outputs, "ReleasesTableName")?;
        self.dead_letter_queue = output(&outputs, "DeadLetterQueueUrl")?;
        Ok(())
    }

    /// Updates the pipeline's stack with other parameters: what is not named stays as it is.
    ///
    /// # Errors
    /// The stack was not updated.
    pub async fn update_pipeline(&self, parameters: &[(String, String)]) -> Result<()> {
        let packaged = self.packaged_pipeline();
        self.deploy(PIPELINE, &packaged, parameters).await
    }

    fn packaged_pipeline(&self) -> PathBuf {
        self.scratch("pipeline.packaged.yml")
    }

    /// Creates or updates a stack as a person would: `aws cloudformation deploy`.
    ///
    /// # Errors
    /// The stack could not be created or updated, with what the CLI says.
    pub async fn deploy(
        &self,
        stack: &str,
        template: &Path,
        parameters: &[(String, String)],
    ) -> Result<()> {
        let mut arguments: Vec<String> = [
            "cloudformation",
            "deploy",
            "--no-fail-on-empty-changeset",
            "--capabilities",
            "CAPABILITY_IAM",
            "--s3-bucket",
            ARTIFACTS,
            "--stack-name",
            stack,
            "--template-file",
        ]
        .map(str::to_owned)
        .to_vec();
        arguments.push(template.display().to_string());
        if !parameters.is_empty() {
            arguments.push("--parameter-overrides".to_owned());
            arguments.extend(
                parameters
                    .iter()
                    .map(|(name, value)| format!("{name}={value}")),
            );
        }
        self.cli
            .run(&arguments)
            .await
            .with_context(|| format!("stack {stack} was not deployed"))?;
        Ok(())
    }

    /// Puts a text into the Parameter Store, as a person does who prepares a stack.
    ///
    /// # Errors
    /// There is such a parameter already.
    pub async fn put_parameter(&self, name: &str, value: &str) -> Result<()> {
        let put = ["ssm", "put-parameter", "--type", "String", "--name", name];
        let value = ["--value", value];
        self.cli.run(put.iter().chain(&value)).await?;
        Ok(())
    }

    /// The outputs of a stack by their names.
    ///
    /// # Errors
    /// There is no such stack.
    pub async fn outputs(&self, stack: &str) -> Result<BTreeMap<String, String>> {
        let answer = aws_sdk_cloudformation::Client::new(&self.config)
            .describe_stacks()
            .stack_name(stack)
            .send()
            .await?;
        let stack = answer.stacks().first().context("no such stack")?;
        Ok(stack
            .outputs()
            .iter()
            .filter_map(|output| {
                Some((
                    output.output_key()?.to_owned(),
                    output.output_value()?.to_owned(),
                ))
            })
            .collect())
    }

    /// Creates the two stacks of an application: a repository whose tag names the application's
    /// stack, and the service, which starts with `image`. `name` must be new in this account.
    ///
    /// # Errors
    /// A stack could not be created.
    pub async fn create_application(&self, name: &str, image: &Image) -> Result<Application<'_>> {
        self.create_application_with(name, image, &[]).await
    }

    /// The same with further parameters of `infra/cluster.yml`.
    ///
    /// # Errors
    /// A stack could not be created.
    pub async fn create_application_with(
        &self,
        name: &str,
        image: &Image,
        parameters: &[(&str, &str)],
    ) -> Result<Application<'_>> {
        let settings = Settings {
            parameters,
            ..Settings::default()
        };
        self.create_application_as(name, image, settings).await
    }

    /// The same with further outputs of its stack as well.
    ///
    /// # Errors
    /// A stack could not be created.
    pub async fn create_application_as(
        &self,
        name: &str,
        image: &Image,
        settings: Settings<'_>,
    ) -> Result<Application<'_>> {
        Application::create(self, name, image, settings).await
    }

    /// Creates several applications of one repository, which has the name `repository`.
    ///
    /// # Errors
    /// A stack could not be created.
    pub async fn create_applications(
        &self,
        repository: &str,
        names: &[String],
        image: &Image,
        settings: Settings<'_>,
    ) -> Result<Vec<Application<'_>>> {
        Application::create_all(self, repository, names, image, settings).await
    }

    /// The alarm that is a resource of a stack.
    ///
    /// # Errors
    /// The stack has no such resource.
    pub async fn alarm(&self, stack: &str, resource: &str) -> Result<Alarm> {
        let name = self.resource(stack, resource).await?;
        Ok(Alarm::new(&self.config, name))
    }

    /// The name or ARN that a resource of a stack's template has.
    ///
    /// # Errors
    /// The stack has no such resource.
    pub async fn resource(&self, stack: &str, resource: &str) -> Result<String> {
        let described = aws_sdk_cloudformation::Client::new(&self.config)
            .describe_stack_resource()
            .stack_name(stack)
            .logical_resource_id(resource)
            .send()
            .await?;
        let detail = described.stack_resource_detail();
        let id = detail.and_then(|detail| detail.physical_resource_id());
        Ok(id.context("no such resource")?.to_owned())
    }

    /// The bodies of messages in the pipeline's dead-letter queue, at most ten. They stay there.
    ///
    /// # Errors
    /// SQS does not answer.
    pub async fn dead_letters(&self) -> Result<Vec<Value>> {
        let answer = aws_sdk_sqs::Client::new(&self.config)
            .receive_message()
            .queue_url(&self.dead_letter_queue)
            .max_number_of_messages(10)
            .visibility_timeout(0)
            .send()
            .await?;
        let messages = answer.messages().iter();
        let bodies = messages.filter_map(|message| message.body());
        Ok(bodies.map(serde_json::from_str).collect::<Result<_, _>>()?)
    }

    /// The application of this name, which was created before.
    ///
    /// # Errors
    /// There is none.
    pub async fn application(&self, name: &str) -> Result<Application<'_>> {
        Application::find(self, name, name).await
    }

    /// Starts an execution as a person does in the console or with the CLI.
    ///
    /// # Errors
    /// Step Functions refused it.
    pub async fn start_execution(&self, input: serde_json::Value) -> Result<Execution> {
        let input = input.to_string();
        let arn = self
            .cli
            .run([
                "stepfunctions",
                "start-execution",
                "--state-machine-arn",
                &self.state_machine,
                "--input",
                &input,
                "--query",
                "executionArn",
                "--output",
                "text",
            ])
            .await?;
        Ok(Execution::new(&self.config, arn))
    }

    /// Waits for the execution that the push of this image started for this stack.
    ///
    /// # Errors
    /// None was started within a minute.
    pub async fn execution_of_push(&self, stack: &str, digest: &str) -> Result<Execution> {
        self.execution_of(stack, digest, NOTICE_PATIENCE).await
    }

    /// The same where the reconciler has to find the push, which it leaves alone for two minutes.
    ///
    /// # Errors
    /// None was started within five minutes.
    pub async fn execution_of_lost_push(&self, stack: &str, digest: &str) -> Result<Execution> {
        self.execution_of(stack, digest, RECONCILER_PATIENCE).await
    }

    /// Waits until the reconciler has started the contract command of a stack's release.
    ///
    /// # Errors
    /// It has not within five minutes.
    pub async fn execution_of_contract(&self, stack: &str) -> Result<Execution> {
        let is_contract = |input: &Value| {
            let by = input["startedBy"].as_str().unwrap_or_default();
            input["action"] == "contract" && by.starts_with("reconciler: ")
        };
        self.execution_where(stack, RECONCILER_PATIENCE, is_contract)
            .await
            .context("no contract command was run")
    }

    async fn execution_of(
        &self,
        stack: &str,
        digest: &str,
        patience: Duration,
    ) -> Result<Execution> {
        self.execution_where(stack, patience, |input| input["digest"] == digest)
            .await
            .with_context(|| format!("the push of {digest} was not noticed"))
    }

    async fn execution_where(
        &self,
        stack: &str,
        patience: Duration,
        is_wanted: impl Fn(&Value) -> bool,
    ) -> Result<Execution> {
        let deadline = Instant::now() + patience;
        loop {
            for (execution, input) in self.executions_with_input(stack).await? {
                if is_wanted(&input) {
                    return Ok(execution);
                }
            }
            ensure!(
                Instant::now() < deadline,
                "no such execution was started for stack {stack}"
            );
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until an alarm has started so many executions for a stack, and answers the newest.
    ///
    /// # Errors
    /// It has not within a minute.
    pub async fn execution_of_alarm(
        &self,
        stack: &str,
        alarm: &str,
        count: usize,
    ) -> Result<Execution> {
        let deadline = Instant::now() + NOTICE_PATIENCE;
        loop {
            let executions = self.executions_with_input(stack).await?.into_iter();
            let mut by_alarm = executions.filter(|(_, input)| input["alarm"]["name"] == alarm);
            if let Some((newest, _)) = by_alarm.next()
                && by_alarm.count() + 1 == count
            {
                return Ok(newest);
            }
            ensure!(Instant::now() < deadline, "{alarm} started nothing");
            tokio::time::sleep(POLL).await;
        }
    }

    /// Every execution there ever was for a stack, the newest first.
    ///
    /// # Errors
    /// Step Functions does not answer.
    pub async fn executions(&self, stack: &str) -> Result<Vec<Execution>> {
        let found = self.executions_with_input(stack).await?;
        Ok(found.into_iter().map(|(execution, _)| execution).collect())
    }

    /// The same, each with what it was started with.
    ///
    /// # Errors
    /// Step Functions does not answer.
    pub async fn executions_with_input(&self, stack: &str) -> Result<Vec<(Execution, Value)>> {
        let mut pages = aws_sdk_sfn::Client::new(&self.config)
            .list_executions()
            .state_machine_arn(&self.state_machine)
            .into_paginator()
            .items()
            .send();
        let mut found = Vec::new();
        while let Some(item) = pages.try_next().await? {
            let execution = Execution::new(&self.config, item.execution_arn());
            let input = self.input_of(&execution).await?;
            if input["stack"] == stack {
                found.push((execution, input));
            }
        }
        Ok(found)
    }

    async fn input_of(&self, execution: &Execution) -> Result<Value> {
        let inputs = || self.inputs.lock().unwrap_or_else(PoisonError::into_inner);
        let known = inputs().get(execution.arn()).cloned();
        if let Some(input) = known {
            return Ok(input);
        }
        let input = execution.input().await?;
        inputs().insert(execution.arn().to_owned(), input.clone());
        Ok(input)
    }

    /// The records of a stack's releases, the newest first, each an object of its texts.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn releases(&self, stack: &str) -> Result<Vec<Value>> {
        let values = serde_json::json!({":stack": {"S": stack}, ":release": {"S": "release#"}});
        let answer = self
            .cli
            .run([
                "dynamodb",
                "query",
                "--table-name",
                &self.releases_table,
                "--key-condition-expression",
                "stack = :stack AND begins_with(#item, :release)",
                "--expression-attribute-names",
                r##"{"#item": "item"}"##,
                "--expression-attribute-values",
                &values.to_string(),
                "--no-scan-index-forward",
                "--query",
                "Items",
                "--output",
                "json",
            ])
            .await?;
        let items: Vec<BTreeMap<String, BTreeMap<String, Value>>> = serde_json::from_str(&answer)?;
        let record = |item: BTreeMap<String, BTreeMap<String, Value>>| {
            let values = item.into_iter();
            values
                .filter_map(|(name, value)| Some((name, value.into_values().next()?)))
                .collect()
        };
        Ok(items.into_iter().map(record).collect())
    }

    /// The turn of a stack, an object of its texts; `Null` where nothing was ever released to it.
    ///
    /// # Errors
    /// The table cannot be read.
    pub async fn turn(&self, stack: &str) -> Result<Value> {
        self.item(stack, "turn").await
    }

    /// Waits until a search for lost pushes has begun to look at a repository after this time.
    ///
    /// # Errors
    /// None has within five minutes.
    pub async fn is_looked_at_after(&self, repository: &str, time: Timestamp) -> Result<()> {
        let deadline = Instant::now() + RECONCILER_PATIENCE;
        loop {
            let last = self.item("/searches", "last").await?;
            let looked = last["looked"].as_str().unwrap_or("{}");
            let looked: BTreeMap<String, String> = serde_json::from_str(looked)?;
            if let Some(at) = looked.get(repository)
                && at.parse::<Timestamp>()? > time
            {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "nobody looked at {repository}");
            tokio::time::sleep(POLL).await;
        }
    }

    async fn item(&self, stack: &str, item: &str) -> Result<Value> {
        let answer = aws_sdk_dynamodb::Client::new(&self.config)
            .get_item()
            .table_name(&self.releases_table)
            .key("stack", AttributeValue::S(stack.to_owned()))
            .key("item", AttributeValue::S(item.to_owned()))
            .consistent_read(true)
            .send()
            .await?;
        let Some(item) = answer.item else {
            return Ok(Value::Null);
        };
        let texts = item.into_iter().filter_map(|(name, value)| {
            let text = value.as_s().or_else(|_| value.as_n()).ok()?.clone();
            Some((name, Value::String(text)))
        });
        Ok(texts.collect())
    }

    /// Waits until an execution stands in the line of its stack, behind the one whose turn it is.
    ///
    /// # Errors
    /// It does not within a minute.
    pub async fn waits_in_line(&self, stack: &str, execution: &Execution) -> Result<()> {
        let deadline = Instant::now() + NOTICE_PATIENCE;
        loop {
            let turn = self.turn(stack).await?;
            if turn["waiting"] == execution.arn() {
                return Ok(());
            }
            if Instant::now() > deadline {
                let (arn, end) = (execution.arn(), execution.ended().await?);
                bail!("{arn} is not in line: {turn}; it ended as {end:?}");
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until the record of the stack's newest release says what its deployment waits for that a
    /// person has to do, and answers that.
    ///
    /// # Errors
    /// It does not say it within a minute.
    pub async fn what_a_release_awaits(&self, stack: &str) -> Result<String> {
        let deadline = Instant::now() + NOTICE_PATIENCE;
        loop {
            let records = self.releases(stack).await?;
            let newest = records.first().context("no release left a record")?;
            if let Some(awaits) = newest["awaits"].as_str() {
                return Ok(awaits.to_owned());
            }
            if Instant::now() > deadline {
                bail!("the newest release waits for nobody: {newest}");
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Ends the local AWS and PostgreSQL. Where calls of ECS are checked, says how many were.
    ///
    /// # Errors
    /// The local AWS did not end as it should, a role does not allow what was asked for, IAM has
    /// refused what no story has taken note of ([`LocalAws::refused`]), or a call does not conform to
    /// the API model.
    pub async fn close(self) -> Result<Option<String>> {
        let asked = self.aws.asked().await;
        let refused = self.aws.refused().await;
        self.aws.shut_down().await?;
        self.postgres.stop();
        permissions::check(&asked?)?;
        permissions::check_refused(&refused?)?;
        match self.ecs_calls {
            Some(calls) => Ok(Some(check_ecs_calls(&venv(), &calls).await?)),
            None => Ok(None),
        }
    }

    /// The directories in which everything of this account works.
    #[must_use]
    pub fn directories(&self) -> Vec<PathBuf> {
        vec![
            self.scratch.path().to_owned(),
            self.postgres.directory().to_owned(),
        ]
    }

    /// The local AWS itself.
    #[must_use]
    pub fn aws(&self) -> &LocalAws {
        &self.aws
    }

    /// A configuration for SDK clients.
    #[must_use]
    pub fn config(&self) -> &SdkConfig {
        &self.config
    }

    /// The ARN of the pipeline's state machine.
    #[must_use]
    pub fn state_machine(&self) -> &str {
        &self.state_machine
    }

    /// The name of the table of the stacks' turns and the records of their releases.
    #[must_use]
    pub fn releases_table(&self) -> &str {
        &self.releases_table
    }

    /// The AWS CLI.
    #[must_use]
    pub fn cli(&self) -> &Cli {
        &self.cli
    }

    /// The PostgreSQL server.
    #[must_use]
    pub fn postgres(&self) -> &Postgres {
        &self.postgres
    }

    /// The sample application's executable, from which images are built.
    #[must_use]
    pub fn websvc(&self) -> &Path {
        &self.websvc
    }

    /// A file of this account, which ends with it.
    pub(crate) fn scratch(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// The network's id and its subnets' ids, as `cluster.yml` takes them.
    pub(crate) fn network(&self) -> (&str, &str) {
        (&self.vpc, &self.subnets)
    }
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The Python environment that `make setup` makes.
fn venv() -> PathBuf {
    root().join("target/venv")
}

/// An output that the template promises.
pub(crate) fn output(outputs: &BTreeMap<String, String>, name: &str) -> Result<String> {
    outputs
        .get(name)
        .cloned()
        .with_context(|| format!("the stack has no output {name}"))
}

/// The name CloudFormation has for the processor of this machine.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        other => other,
    }
}

/// The VPC and the subnets that every account starts with.
async fn default_network(cli: &Cli) -> Result<(String, String)> {
    let query = |what: &'static str, path: &'static str| {
        cli.run(["ec2", what, "--query", path, "--output", "text"])
    };
    let vpc = query("describe-vpcs", "Vpcs[0].VpcId").await?;
    let subnets = query("describe-subnets", "Subnets[:2].SubnetId").await?;
    Ok((
        vpc,
        subnets.split_whitespace().collect::<Vec<_>>().join(","),
    ))
}
