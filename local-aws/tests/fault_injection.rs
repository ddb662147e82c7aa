//! What goes wrong on demand, seen as clients see it: with SDKs, in every protocol they speak.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::time::{Duration, Instant};

use aws_sdk_ecs::types::{AwsVpcConfiguration, Compatibility, ContainerDefinition, LaunchType};
use aws_sdk_ecs::types::{NetworkConfiguration, NetworkMode};
use aws_sdk_lambda::error::ProvideErrorMetadata;
use aws_sdk_lambda::operation::invoke::InvokeOutput;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::InvocationType;
use aws_smithy_types::retry::RetryConfig;
use aws_types::SdkConfig;
use local_aws::client::LocalAws;
use local_aws::faults::{Fault, InvocationFault, Moment};
use serde_json::{Value, json};
use support::{NewFunction, create, eventually, python, shared, start};

/// A configuration for clients that send a request once.
fn impatient(aws: &LocalAws) -> SdkConfig {
    let config = aws.sdk_config().into_builder();
    config.retry_config(RetryConfig::disabled()).build()
}

fn unique(name: &str) -> String {
    format!("{name}-{}", uuid::Uuid::new_v4().simple())
}

/// An ECS cluster with a name of its own, and clients of it.
struct Cluster<'a> {
    aws: &'a LocalAws,
    name: String,
    /// Sends a request once.
    ecs: aws_sdk_ecs::Client,
}

impl<'a> Cluster<'a> {
    async fn create(aws: &'a LocalAws) -> Self {
        let ecs = aws_sdk_ecs::Client::new(&impatient(aws));
        let name = unique("cluster");
        ecs.create_cluster()
            .cluster_name(&name)
            .send()
            .await
            .unwrap();
        Self { aws, name, ecs }
    }

    /// Describes the cluster; the error's code where that fails.
    async fn describe(&self) -> Result<(), String> {
        let answer = self
            .ecs
            .describe_clusters()
            .clusters(&self.name)
            .send()
            .await;
        match answer {
            Ok(_) => Ok(()),
            Err(error) => Err(error.code().unwrap_or("no answer").to_owned()),
        }
    }

    /// A fault of describing this cluster, and no other test's.
    fn describing(&self) -> local_aws::faults::CallFault {
        Fault::of("ecs", "DescribeClusters")
            .where_request_contains(json!({"clusters": [self.name]}))
    }

    async fn is_active(&self, name: &str) -> bool {
        let answer = self.ecs.describe_clusters().clusters(name).send().await;
        !answer.unwrap().clusters().is_empty()
    }

    /// Registers a task definition of an image that does not exist.
    async fn register(&self) -> String {
        let family = unique("family");
        self.register_in(&family).await;
        family
    }

    async fn register_in(&self, family: &str) {
        let container = ContainerDefinition::builder()
            .name("web")
            .image("no/such:image");
        let request = self.ecs.register_task_definition().family(family);
        request
            .requires_compatibilities(Compatibility::Fargate)
            .network_mode(NetworkMode::Awsvpc)
            .cpu("256")
            .memory("512")
            .container_definitions(container.build())
            .send()
            .await
            .unwrap();
    }

    /// The newest revision of a family's task definition.
    async fn revision(&self, family: &str) -> i32 {
        let request = self.ecs.describe_task_definition();
        let answer = request.task_definition(family).send().await.unwrap();
        answer.task_definition().unwrap().revision()
    }

    /// Begins another deployment; answers the service revision that is deployed.
    async fn deploy_again(&self, service: &str) -> String {
        let request = self.ecs.update_service().cluster(&self.name);
        let request = request.service(service).force_new_deployment(true);
        let answer = request.send().await.unwrap();
        let service = answer.service().unwrap();
        let revisions = service.current_service_revisions();
        revisions[0].arn().unwrap().to_owned()
    }

    async fn knows_revision(&self, revision: &str) -> bool {
        let request = self.ecs.describe_service_revisions();
        let answer = request.service_revision_arns(revision).send().await;
        !answer.unwrap().service_revisions().is_empty()
    }

    /// A service without tasks.
    async fn create_service(&self, family: &str) -> String {
        let name = unique("service");
        let request = self.ecs.create_service().cluster(&self.name);
        request
            .service_name(&name)
            .task_definition(family)
            .desired_count(0)
            .launch_type(LaunchType::Fargate)
            .network_configuration(network())
            .send()
            .await
            .unwrap();
        name
    }

    async fn scale(&self, service: &str, count: i32) {
        let request = self.ecs.update_service().cluster(&self.name);
        let request = request.service(service).desired_count(count);
        request.send().await.unwrap();
    }

    async fn desired_count(&self, service: &str) -> i32 {
        let request = self.ecs.describe_services().cluster(&self.name);
        let answer = request.services(service).send().await.unwrap();
        answer.services()[0].desired_count()
    }
}

fn network() -> NetworkConfiguration {
    let vpc = AwsVpcConfiguration::builder()
        .subnets("subnet-12345678")
        .build();
    NetworkConfiguration::builder()
        .awsvpc_configuration(vpc.unwrap())
        .build()
}

async fn invoke(aws: &LocalAws, name: &str) -> InvokeOutput {
    let client = aws_sdk_lambda::Client::new(&impatient(aws));
    let request = client.invoke().function_name(name).payload(Blob::new("{}"));
    request.send().await.unwrap()
}

fn payload(output: &InvokeOutput) -> Value {
    serde_json::from_slice(output.payload().unwrap().as_ref()).unwrap()
}

/// A function that notes each of its runs in a file, whose length is their number.
async fn noting() -> (String, tempfile::NamedTempFile) {
    let client = aws_sdk_lambda::Client::new(&shared().await.sdk_config());
    let notes = tempfile::NamedTempFile::new().unwrap();
    let handler = format!("open({:?}, 'a').write('x')\nreturn 'done'", notes.path());
    let new = NewFunction {
        bootstrap: python(&handler),
        ..NewFunction::default()
    };
    (create(&client, new).await, notes)
}

fn runs(notes: &tempfile::NamedTempFile) -> u64 {
    notes.path().metadata().unwrap().len()
}

#[tokio::test]
async fn a_call_that_is_held_is_carried_out_when_its_fault_is_lifted() {
    let cluster = Cluster::create(shared().await).await;
    let service = cluster.create_service(&cluster.register().await).await;
    let scaling = Fault::of("ecs", "UpdateService")
        .where_request_mentions(&cluster.name)
        .times(1);
    let held = cluster.aws.fail(scaling.held()).await.unwrap();
    let meanwhile = async {
        held.strikes(Duration::from_secs(60)).await.unwrap();
        assert_eq!(cluster.desired_count(&service).await, 0);
        held.lift().await.unwrap();
    };
    tokio::join!(cluster.scale(&service, 1), meanwhile);
    assert_eq!(cluster.desired_count(&service).await, 1);
}

#[tokio::test]
async fn an_answer_that_is_held_comes_after_the_effect_of_its_call() {
    let cluster = Cluster::create(shared().await).await;
    let service = cluster.create_service(&cluster.register().await).await;
    let scaling = Fault::of("ecs", "UpdateService")
        .where_request_mentions(&cluster.name)
        .times(1);
    let held = cluster
        .aws
        .fail(scaling.held().after_effect())
        .await
        .unwrap();
    let meanwhile = async {
        held.strikes(Duration::from_secs(60)).await.unwrap();
        eventually(async || (cluster.desired_count(&service).await == 1).then_some(())).await;
        held.lift().await.unwrap();
    };
    tokio::join!(cluster.scale(&service, 1), meanwhile);
}

#[tokio::test]
async fn a_call_fails_with_the_named_error_as_often_as_was_asked() {
    let cluster = Cluster::create(shared().await).await;
    let fault = cluster.describing().with("ServerException").times(2);
    let fault = cluster.aws.fail(fault).await.unwrap();
    assert_eq!(cluster.describe().await, Err("ServerException".to_owned()));
    assert_eq!(cluster.describe().await, Err("ServerException".to_owned()));
    assert_eq!(cluster.describe().await, Ok(()));
    assert_eq!(fault.struck().await.unwrap(), 2);
}

#[tokio::test]
async fn a_fault_that_is_lifted_strikes_no_more() {
    let cluster = Cluster::create(shared().await).await;
    let fault = cluster.describing().with("ClientException");
    let fault = cluster.aws.fail(fault).await.unwrap();
    assert_eq!(cluster.describe().await, Err("ClientException".to_owned()));
    assert_eq!(fault.lift().await.unwrap(), 1);
    assert_eq!(cluster.describe().await, Ok(()));
}

#[tokio::test]
async fn only_calls_with_the_named_parameters_fail() {
    let (struck, spared) = (
        Cluster::create(shared().await).await,
        Cluster::create(shared().await).await,
    );
    let fault = struck.describing().with("ServerException");
    let fault = struck.aws.fail(fault).await.unwrap();
    assert_eq!(spared.describe().await, Ok(()));
    assert_eq!(fault.struck().await.unwrap(), 0);
    struck.describe().await.unwrap_err();
    fault.lift().await.unwrap();
}

#[tokio::test]
async fn a_fault_that_never_struck_is_an_error_when_it_is_lifted_and_at_the_end() {
    let aws = start().await;
    let fault = || Fault::of("ecs", "RunTask").with("ServerException");
    let error = aws.fail(fault()).await.unwrap().lift().await.unwrap_err();
    assert!(error.to_string().contains("never struck"), "{error}");
    let error = aws.shut_down().await.unwrap_err().to_string();
    assert!(
        error.contains("never struck") && error.contains("RunTask"),
        "{error}"
    );
}

#[tokio::test]
async fn a_fault_by_which_nothing_would_go_wrong_is_refused_in_words() {
    let error = shared()
        .await
        .fail(Fault::of("ecs", "RunTask"))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("does nothing"), "{error}");
}

/// Asserts that the call fails with the error, in the protocol of its service, and was struck.
macro_rules! assert_fails {
    ($service:literal, $operation:literal, $error:literal, $status:literal, $call:expr) => {{
        let aws = shared().await;
        let fault = Fault::of($service, $operation).with($error).times(1);
        let fault = aws.fail(fault).await.unwrap();
        let error = $call.send().await.unwrap_err();
        assert_eq!(error.code(), Some($error), "{error:?}");
        assert!(error.message().is_some(), "{error:?}");
        assert_eq!(error.raw_response().unwrap().status().as_u16(), $status);
        assert_eq!(fault.struck().await.unwrap(), 1);
    }};
}

#[tokio::test]
async fn errors_are_in_the_protocol_of_their_service() {
    let config = impatient(shared().await);
    // JSON 1.1
    let logs = aws_sdk_cloudwatchlogs::Client::new(&config);
    let call = logs.describe_log_streams().log_group_name("g");
    assert_fails!(
        "logs",
        "DescribeLogStreams",
        "ServiceUnavailableException",
        503,
        call
    );
    // JSON 1.0
    let sqs = aws_sdk_sqs::Client::new(&config);
    assert_fails!(
        "sqs",
        "PurgeQueue",
        "RequestThrottled",
        400,
        sqs.purge_queue().queue_url("u")
    );
    // Query
    let stacks = aws_sdk_cloudformation::Client::new(&config);
    let call = stacks.describe_stack_events().stack_name("s");
    assert_fails!(
        "cloudformation",
        "DescribeStackEvents",
        "Throttling",
        400,
        call
    );
    // RPC v2 CBOR
    let cloudwatch = aws_sdk_cloudwatch::Client::new(&config);
    let call = cloudwatch.describe_alarm_history();
    assert_fails!(
        "monitoring",
        "DescribeAlarmHistory",
        "InternalServiceFault",
        500,
        call
    );
    // REST and JSON
    let lambda = aws_sdk_lambda::Client::new(&config);
    let call = lambda.delete_function().function_name("f");
    assert_fails!("lambda", "DeleteFunction", "ServiceException", 500, call);
}

/// The status and the body of a request that is signed for S3.
async fn s3(method: reqwest::Method, path: &str) -> (u16, String) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}{path}", shared().await.endpoint());
    let request = client.request(method, url).header(
        "Authorization",
        "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, \
         SignedHeaders=host, Signature=0",
    );
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test]
async fn reading_and_writing_an_object_fail_in_xml() {
    use reqwest::Method;
    let aws = shared().await;
    let bucket = unique("bucket");
    s3(Method::PUT, &format!("/{bucket}")).await;
    let object = format!("/{bucket}/a/key");
    let place = json!({"Bucket": bucket, "Key": "a/key"});
    let fault = |operation| {
        Fault::of("s3", operation)
            .with("SlowDown")
            .where_request_contains(place.clone())
            .times(1)
    };
    for (method, operation) in [(Method::PUT, "PutObject"), (Method::GET, "GetObject")] {
        let fault = aws.fail(fault(operation)).await.unwrap();
        let (status, body) = s3(method.clone(), &object).await;
        assert_eq!(status, 503);
        assert!(body.contains("<Code>SlowDown</Code>"), "{body}");
        assert_eq!(s3(method, &object).await.0, 200);
        assert_eq!(fault.struck().await.unwrap(), 1);
    }
}

#[tokio::test]
async fn an_answer_that_is_lost_leaves_its_effect() {
    let cluster = Cluster::create(shared().await).await;
    for (lost, code) in [
        (
            Fault::of("ecs", "CreateCluster").with("ServerException"),
            Some("ServerException"),
        ),
        (
            Fault::of("ecs", "CreateCluster").with_closed_connection(),
            None,
        ),
    ] {
        let name = unique("lost");
        let lost = lost
            .where_request_contains(json!({"clusterName": name}))
            .after_effect()
            .times(1);
        let fault = cluster.aws.fail(lost).await.unwrap();
        let request = cluster.ecs.create_cluster().cluster_name(&name);
        let error = request.send().await.unwrap_err();
        assert_eq!(error.code(), code, "{error:?}");
        assert!(cluster.is_active(&name).await);
        assert_eq!(fault.struck().await.unwrap(), 1);
    }
}

#[tokio::test]
async fn a_call_may_be_carried_out_when_nobody_waits_for_it_any_more() {
    let cluster = Cluster::create(shared().await).await;
    let name = unique("later");
    let fault = Fault::of("ecs", "CreateCluster")
        .where_request_contains(json!({"clusterName": name}))
        .with("ServerException")
        .carried_out_after(Duration::from_secs(1))
        .times(1);
    let fault = cluster.aws.fail(fault).await.unwrap();
    let request = cluster.ecs.create_cluster().cluster_name(&name);
    let error = request.send().await.unwrap_err();
    assert_eq!(error.code(), Some("ServerException"), "{error:?}");
    assert!(!cluster.is_active(&name).await);
    eventually(async || cluster.is_active(&name).await.then_some(())).await;
    assert_eq!(fault.struck().await.unwrap(), 1);
}

#[tokio::test]
async fn a_connection_that_is_closed_before_the_call_leaves_no_effect() {
    let cluster = Cluster::create(shared().await).await;
    let name = unique("never");
    let fault = Fault::of("ecs", "CreateCluster")
        .where_request_contains(json!({"clusterName": name}))
        .with_closed_connection()
        .times(1);
    let fault = cluster.aws.fail(fault).await.unwrap();
    let request = cluster.ecs.create_cluster().cluster_name(&name);
    let error = request.send().await.unwrap_err();
    assert!(error.raw_response().is_none(), "{error:?}");
    assert!(!cluster.is_active(&name).await);
    assert_eq!(fault.struck().await.unwrap(), 1);
}

#[tokio::test]
async fn an_answer_may_come_late() {
    let cluster = Cluster::create(shared().await).await;
    let delay = Duration::from_millis(700);
    let fault = cluster.describing().late_by(delay).times(1);
    let fault = cluster.aws.fail(fault).await.unwrap();
    let asked = Instant::now();
    cluster.describe().await.unwrap();
    assert!(asked.elapsed() >= delay);
    assert_eq!(fault.struck().await.unwrap(), 1);
}

#[tokio::test]
async fn only_the_named_function_is_struck_and_its_calls_are_remembered_as_its() {
    let aws = shared().await;
    let client = aws_sdk_lambda::Client::new(&aws.sdk_config());
    // Unsigned but for the access key, which is what tells callers apart.
    let handler = "key = os.environ['AWS_ACCESS_KEY_ID']
request = urllib.request.Request(os.environ['AWS_ENDPOINT_URL'], b'{}', {
    'X-Amz-Target': 'AmazonEC2ContainerServiceV20141113.ListClusters',
    'Content-Type': 'application/x-amz-json-1.1',
    'X-Amzn-Trace-Id': trace,
    'Authorization': 'AWS4-HMAC-SHA256 Credential=%s/20260101/us-east-1/ecs/aws4_request' % key})
try:
    return urllib.request.urlopen(request).status
except urllib.error.HTTPError as error:
    return error.status";
    let new = || NewFunction {
        bootstrap: python(handler),
        ..NewFunction::default()
    };
    let (struck, spared) = (create(&client, new()).await, create(&client, new()).await);
    let fault = Fault::of("ecs", "ListClusters")
        .with("ServerException")
        .by(&struck);
    let fault = aws.fail(fault).await.unwrap();
    assert_eq!(payload(&invoke(aws, &spared).await), 200);
    assert_eq!(payload(&invoke(aws, &struck).await), 500);
    assert_eq!(fault.lift().await.unwrap(), 1);
    let all = aws.calls().await.unwrap();
    let calls = all.of("ecs", "ListClusters");
    for (function, status) in [(struck, 500), (spared, 200)] {
        let calls = calls.only(|call| call.caller.as_ref() == Some(&function));
        let statuses: Vec<_> = calls.iter().map(|call| call.status).collect();
        assert_eq!(statuses, [Some(status)]);
        let invoked = all.of("lambda", "Invoke").mentioning(&function);
        assert_eq!(calls[0].trace, invoked[0].trace);
        assert!(calls[0].trace.starts_with("Root="), "{calls:?}");
    }
}

/// Invokes a function whose next invocation is struck before, and another one whose is struck after
/// its work: each fails so, and has left the trace of its work or none. Once the fault has struck,
/// the function works.
async fn assert_struck(
    of: impl Fn(&str, Moment) -> InvocationFault,
    error_type: &str,
    ending: &str,
) {
    let aws = shared().await;
    for (moment, expected) in [(Moment::BeforeItsWork, 0), (Moment::AfterItsWork, 1)] {
        let (name, notes) = noting().await;
        let fault = aws.fail(of(&name, moment).times(1)).await.unwrap();
        let output = invoke(aws, &name).await;
        assert_eq!(output.function_error(), Some("Unhandled"));
        let error = payload(&output);
        assert_eq!(error["errorType"], error_type);
        let message = error["errorMessage"].as_str().unwrap();
        assert!(message.ends_with(ending), "{message}");
        assert_eq!(runs(&notes), expected);
        assert_eq!(payload(&invoke(aws, &name).await), "done");
        assert_eq!(runs(&notes), expected + 1);
        assert_eq!(fault.struck().await.unwrap(), 1);
    }
}

#[tokio::test]
async fn a_crash_before_its_work_leaves_no_trace_and_one_after_it_does() {
    assert_struck(Fault::crash_of, "Runtime.ExitError", "signal: killed").await;
}

#[tokio::test]
async fn a_time_out_on_demand_is_lambdas_own_and_takes_no_time() {
    let ending = "Task timed out after 10.00 seconds";
    assert_struck(Fault::time_out_of, "Sandbox.Timedout", ending).await;
}

#[tokio::test]
async fn a_throttled_invocation_is_refused_and_the_function_is_not_run() {
    let aws = shared().await;
    let (name, notes) = noting().await;
    let fault = aws
        .fail(Fault::throttling_of(&name).times(1))
        .await
        .unwrap();
    let client = aws_sdk_lambda::Client::new(&impatient(aws));
    let error = client
        .invoke()
        .function_name(&name)
        .send()
        .await
        .unwrap_err();
    assert_eq!(error.code(), Some("TooManyRequestsException"));
    assert_eq!(error.raw_response().unwrap().status().as_u16(), 429);
    assert_eq!(runs(&notes), 0);
    assert_eq!(fault.struck().await.unwrap(), 1);
}

#[tokio::test]
async fn an_asynchronous_invocation_that_is_throttled_or_crashes_is_tried_again() {
    let aws = shared().await;
    let (name, notes) = noting().await;
    let throttled = aws
        .fail(Fault::throttling_of(&name).times(3))
        .await
        .unwrap();
    let crash = Fault::crash_of(&name, Moment::AfterItsWork).times(1);
    let crash = aws.fail(crash).await.unwrap();
    let client = aws_sdk_lambda::Client::new(&impatient(aws));
    let request = client.invoke().function_name(&name);
    request
        .invocation_type(InvocationType::Event)
        .send()
        .await
        .unwrap();
    eventually(async || (runs(&notes) == 2).then_some(())).await;
    assert_eq!(throttled.struck().await.unwrap(), 3);
    assert_eq!(crash.struck().await.unwrap(), 1);
}

#[tokio::test]
async fn a_state_machine_sees_crashes_time_outs_and_throttling_by_their_names() {
    let aws = shared().await;
    let (name, _notes) = noting().await;
    let states = aws_sdk_sfn::Client::new(&aws.sdk_config());
    let machine = json!({
        "StartAt": "Invoke",
        "States": {"Invoke": {
            "Type": "Task",
            "Resource": "arn:aws:states:::lambda:invoke",
            "Parameters": {"FunctionName": name, "Payload": {}},
            "End": true,
        }},
    });
    let machine = states
        .create_state_machine()
        .name(unique("machine"))
        .role_arn(support::ROLE)
        .definition(machine.to_string())
        .send()
        .await
        .unwrap();
    for (fault, expected) in [
        (
            Fault::crash_of(&name, Moment::AfterItsWork),
            "Runtime.ExitError",
        ),
        (
            Fault::time_out_of(&name, Moment::AfterItsWork),
            "Sandbox.Timedout",
        ),
        (
            Fault::throttling_of(&name),
            "Lambda.TooManyRequestsException",
        ),
    ] {
        let fault = aws.fail(fault.times(1)).await.unwrap();
        let start = states
            .start_execution()
            .state_machine_arn(machine.state_machine_arn());
        let execution = start.send().await.unwrap();
        let error = eventually(async || {
            let request = states.describe_execution();
            let request = request.execution_arn(execution.execution_arn());
            let answer = request.send().await.unwrap();
            answer.error().map(str::to_owned)
        })
        .await;
        assert_eq!(error, expected);
        assert_eq!(fault.struck().await.unwrap(), 1);
    }
}

#[tokio::test]
async fn invocations_above_the_reserved_concurrency_are_refused() {
    let aws = shared().await;
    let client = aws_sdk_lambda::Client::new(&impatient(aws));
    let started = tempfile::NamedTempFile::new().unwrap();
    let handler = format!("open({:?}, 'a').write('x')\ntime.sleep(3)", started.path());
    let new = NewFunction {
        bootstrap: python(&handler),
        ..NewFunction::default()
    };
    let name = create(&client, new).await;
    let request = client.put_function_concurrency().function_name(&name);
    request
        .reserved_concurrent_executions(1)
        .send()
        .await
        .unwrap();
    let first = tokio::spawn(client.invoke().function_name(&name).send());
    eventually(async || (runs(&started) == 1).then_some(())).await;
    let error = client
        .invoke()
        .function_name(&name)
        .send()
        .await
        .unwrap_err();
    assert_eq!(error.code(), Some("TooManyRequestsException"));
    let message = error.message().unwrap();
    assert!(message.contains("ReservedFunction"), "{message}");
    assert_eq!(first.await.unwrap().unwrap().function_error(), None);
}

#[tokio::test]
async fn the_next_reads_may_be_from_before_the_newest_write() {
    // Of its own: other tests' writes would move on what reads are behind of.
    let aws = start().await;
    let cluster = Cluster::create(&aws).await;
    let family = cluster.register().await;
    let service = cluster.create_service(&family).await;
    let stale = cluster.aws.next_reads_are_stale(2).await.unwrap();
    assert_eq!(cluster.desired_count(&service).await, 0);
    cluster.scale(&service, 1).await;
    assert_eq!(cluster.desired_count(&service).await, 0);
    // A read that asks in another way is as late.
    let arn = format!(
        "arn:aws:ecs:us-east-1:123456789012:service/{}/{service}",
        cluster.name
    );
    assert_eq!(cluster.desired_count(&arn).await, 0);
    assert_eq!(cluster.desired_count(&service).await, 1);
    assert_eq!(stale.end().await.unwrap(), 2);

    let stale = cluster.aws.next_reads_are_stale(1).await.unwrap();
    cluster.register_in(&family).await;
    assert_eq!(cluster.revision(&family).await, 1);
    assert_eq!(cluster.revision(&family).await, 2);
    assert_eq!(stale.end().await.unwrap(), 1);

    let stale = cluster.aws.next_reads_are_stale(1).await.unwrap();
    let revision = cluster.deploy_again(&service).await;
    assert!(!cluster.knows_revision(&revision).await);
    assert!(cluster.knows_revision(&revision).await);
    assert_eq!(stale.end().await.unwrap(), 1);

    let lag = Duration::from_secs(2);
    let stale = cluster.aws.read_late(lag).await.unwrap();
    let written = Instant::now();
    cluster.scale(&service, 3).await;
    eventually(async || (cluster.desired_count(&service).await == 3).then_some(())).await;
    assert!(written.elapsed() >= lag);
    assert!(stale.end().await.unwrap() > 0);
}

#[tokio::test]
async fn a_state_machine_may_read_a_table_as_it_was_before_its_newest_write() {
    // Of its own: other tests' reads would be counted too.
    let aws = start().await;
    support::create_role(aws.endpoint()).await;
    let table = unique("table");
    let key = json!({"key": {"S": "k"}});
    let read =
        |consistent: bool| json!({"TableName": table, "Key": key, "ConsistentRead": consistent});
    let step = |action: &str, arguments: Value, result: &str, next: Value| {
        let mut state = json!({
            "Type": "Task",
            "Resource": format!("arn:aws:states:::aws-sdk:dynamodb:{action}"),
            "Parameters": arguments,
            "ResultPath": format!("$.{result}"),
        });
        state
            .as_object_mut()
            .unwrap()
            .extend(next.as_object().unwrap().clone());
        state
    };
    let then = |state: &str| json!({"Next": state});
    let create = json!({
        "TableName": table,
        "KeySchema": [{"AttributeName": "key", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "key", "AttributeType": "S"}],
        "BillingMode": "PAY_PER_REQUEST",
    });
    let write = json!({"TableName": table, "Item": key});
    let machine = json!({
        "StartAt": "Create",
        "States": {
            "Create": step("createTable", create, "created", then("Write")),
            "Write": step("putItem", write, "written", then("Read")),
            "Read": step("getItem", read(false), "read", then("ReadConsistently")),
            "ReadConsistently": step("getItem", read(true), "consistent", json!({"End": true})),
        },
    });
    let states = aws_sdk_sfn::Client::new(&aws.sdk_config());
    let machine = states
        .create_state_machine()
        .name(unique("machine"))
        .role_arn(support::ROLE)
        .definition(machine.to_string())
        .send()
        .await
        .unwrap();
    let stale = aws.next_table_reads_are_stale(10).await.unwrap();
    let start = states
        .start_execution()
        .state_machine_arn(machine.state_machine_arn());
    let execution = start.input("{}").send().await.unwrap();
    let output = eventually(async || {
        let request = states.describe_execution();
        let request = request.execution_arn(execution.execution_arn());
        let answer = request.send().await.unwrap();
        assert_eq!(answer.error(), None, "{:?}", answer.cause());
        answer.output().map(str::to_owned)
    })
    .await;
    let output: Value = serde_json::from_str(&output).unwrap();
    assert_eq!(output["read"]["Item"], Value::Null, "{output}");
    assert_eq!(output["consistent"]["Item"], key, "{output}");
    assert_eq!(stale.end().await.unwrap(), 1);
}

#[tokio::test]
async fn ecs_throttles_above_its_request_limits_once_they_hold() {
    let aws = start().await;
    let ecs = aws_sdk_ecs::Client::new(&impatient(&aws));
    let update = async || {
        let request = ecs.update_service().service("none");
        request.send().await.unwrap_err().code().unwrap().to_owned()
    };
    for _ in 0..60 {
        assert_ne!(update().await, "ThrottlingException");
    }
    let limits = aws.limit_requests().await.unwrap();
    let mut answered = 0;
    let error = loop {
        let request = ecs.update_service().service("none");
        let error = request.send().await.unwrap_err();
        if error.code() == Some("ThrottlingException") {
            break error;
        }
        answered += 1;
    };
    assert!(answered >= 50, "{answered}");
    assert_eq!(error.message(), Some("Rate exceeded"));
    assert_eq!(error.raw_response().unwrap().status().as_u16(), 400);
    let calls = aws.calls().await.unwrap().of("ecs", "UpdateService");
    assert_eq!(calls.len(), 60 + answered + 1);
    assert!(calls.most_in_one_second() > 2);
    limits.end().await.unwrap();
    assert_ne!(update().await, "ThrottlingException");
}

#[tokio::test]
async fn tasks_find_no_capacity_as_often_as_was_asked() {
    let cluster = Cluster::create(shared().await).await;
    let family = cluster.register().await;
    cluster.aws.lack_capacity(&cluster.name, 1).await.unwrap();
    let run = async || {
        let request = cluster.ecs.run_task().cluster(&cluster.name);
        let request = request
            .task_definition(&family)
            .launch_type(LaunchType::Fargate);
        let answer = request
            .network_configuration(network())
            .send()
            .await
            .unwrap();
        (answer.tasks().len(), answer.failures().len())
    };
    assert_eq!(
        cluster.aws.lacking_capacity(&cluster.name).await.unwrap(),
        1
    );
    assert_eq!(run().await, (0, 1));
    assert_eq!(run().await, (1, 0));
    assert_eq!(
        cluster.aws.lacking_capacity(&cluster.name).await.unwrap(),
        0
    );
}
