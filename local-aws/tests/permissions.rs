//! IAM, as functions and state machines meet it, and persons do not.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use aws_sdk_lambda::primitives::Blob;
use aws_sdk_sfn::types::ExecutionStatus;
use local_aws::client::LocalAws;
use serde_json::{Value, json};
use support::{NewFunction, create, eventually, iam, put_policy, python, shared};

/// Makes a call of any service, and answers how it is refused, if it is.
const CALLS: &str = "import boto3, botocore
client = boto3.client(event['service'])
try:
    getattr(client, event['operation'])(**event['parameters'])
except botocore.exceptions.ClientError as refused:
    told = refused.response
    return {
        'code': told['Error']['Code'],
        'message': told['Error']['Message'],
        'status': told['ResponseMetadata']['HTTPStatusCode'],
    }
return 'allowed'";

/// A function with a role of its own, which allows nothing yet.
struct Function {
    aws: &'static LocalAws,
    client: aws_sdk_lambda::Client,
    name: String,
    role: String,
}

impl Function {
    async fn new() -> Self {
        let aws = shared().await;
        let role = format!("role-{}", uuid::Uuid::new_v4().simple());
        create_role(aws, &role).await;
        let client = aws_sdk_lambda::Client::new(&aws.sdk_config());
        let new = NewFunction {
            bootstrap: python(CALLS),
            role: &format!("arn:aws:iam::123456789012:role/shop/{role}"),
            timeout: 60,
            ..NewFunction::default()
        };
        Self {
            name: create(&client, new).await,
            aws,
            client,
            role,
        }
    }

    async fn may(&self, statements: Value) {
        put_policy(self.aws.endpoint(), &self.role, &statements).await;
    }

    async fn calls(&self, service: &str, operation: &str, parameters: Value) -> Value {
        let event = json!({"service": service, "operation": operation, "parameters": parameters});
        let invoke = self.client.invoke().function_name(&self.name);
        let output = invoke.payload(Blob::new(event.to_string())).send().await;
        let payload = output.unwrap().payload.unwrap_or_default();
        serde_json::from_slice(payload.as_ref()).unwrap()
    }

    /// What IAM says where no policy allows an action.
    fn refusal(&self, action: &str, resource: &str) -> String {
        let Self { name, role, .. } = self;
        format!(
            "User: arn:aws:sts::123456789012:assumed-role/{role}/{name} is not authorized to perform: {action} on resource: {resource} because no identity-based policy allows the {action} action"
        )
    }
}

async fn create_role(aws: &LocalAws, role: &str) {
    let create = format!("Action=CreateRole&RoleName={role}&Path=/shop/");
    let create = format!("{create}&AssumeRolePolicyDocument=%7B%7D");
    iam(aws.endpoint(), &create).await;
}

fn allow(action: &str, resource: &str) -> Value {
    json!({"Effect": "Allow", "Action": action, "Resource": resource})
}

#[tokio::test]
async fn a_call_that_no_policy_allows_is_refused_as_its_service_refuses_calls() {
    let function = Function::new().await;
    let of = |service: &str, resource: &str| {
        format!("arn:aws:{service}:us-east-1:123456789012:{resource}")
    };
    let key = json!({"Key": {"k": {"S": "1"}}, "TableName": "t"});
    let denied = "AccessDeniedException";
    for (service, operation, parameters, action, resource, code, status) in [
        (
            "ecs",
            "describe_services",
            json!({"services": ["web"]}),
            "ecs:DescribeServices",
            of("ecs", "service/default/web"),
            denied,
            400,
        ),
        (
            "dynamodb",
            "get_item",
            key,
            "dynamodb:GetItem",
            of("dynamodb", "table/t"),
            denied,
            400,
        ),
        (
            "lambda",
            "invoke",
            json!({"FunctionName": "other"}),
            "lambda:InvokeFunction",
            of("lambda", "function:other"),
            denied,
            403,
        ),
        (
            "cloudformation",
            "describe_stacks",
            json!({"StackName": "shop"}),
            "cloudformation:DescribeStacks",
            of("cloudformation", "stack/shop/0"),
            "AccessDenied",
            403,
        ),
        (
            "cloudwatch",
            "describe_alarms",
            json!({}),
            "cloudwatch:DescribeAlarms",
            "*".to_owned(),
            "AccessDenied",
            403,
        ),
        (
            "sqs",
            "send_message",
            json!({"QueueUrl": "http://localhost/123456789012/q", "MessageBody": "m"}),
            "sqs:SendMessage",
            of("sqs", "q"),
            "AccessDenied",
            403,
        ),
    ] {
        let expected = json!({
            "code": code, "status": status, "message": function.refusal(action, &resource)
        });
        let told = function.calls(service, operation, parameters).await;
        assert_eq!(told, expected, "{service} {operation}");
    }
    // Whose resource the local AWS does not know, has these codes all the same.
    for (service, operation, parameters, code) in [
        (
            "s3",
            "get_object",
            json!({"Bucket": "b", "Key": "k"}),
            "AccessDenied",
        ),
        ("ec2", "describe_vpcs", json!({}), "UnauthorizedOperation"),
        (
            "sns",
            "publish",
            json!({"TopicArn": of("sns", "t"), "Message": "m"}),
            "AuthorizationError",
        ),
    ] {
        let told = function.calls(service, operation, parameters).await;
        assert_eq!(told["code"], code, "{told}");
        assert_eq!(told["status"], 403, "{told}");
    }
    let refused = function.aws.refused().await.unwrap();
    let needs = refused[&function.name].iter();
    assert!(needs.clone().any(|need| need.action == "dynamodb:GetItem"));
}

#[tokio::test]
async fn a_change_of_a_policy_counts_for_the_next_call() {
    let function = Function::new().await;
    let lists = async || function.calls("ecs", "list_clusters", json!({})).await;
    let refused = lists().await;
    assert_eq!(refused["code"], "AccessDeniedException");
    function.may(json!([allow("ecs:List*", "*")])).await;
    assert_eq!(lists().await, "allowed");
    let deny = json!({"Effect": "Deny", "NotAction": "s3:*", "Resource": "*"});
    function.may(json!([allow("*", "*"), deny])).await;
    let message = lists().await["message"].clone();
    let message = message.as_str().unwrap();
    assert!(
        message.ends_with(" with an explicit deny in an identity-based policy"),
        "{message}"
    );
    let vanished = json!({"DateLessThan": {"aws:CurrentTime": "2100-01-01T00:00:00Z"}});
    let mut unclear = allow("ecs:*", "*");
    unclear["Condition"] = vanished;
    function.may(unclear).await;
    assert_eq!(lists().await["code"], "AccessDeniedException");
    // A person is asked for nothing.
    let ecs = aws_sdk_ecs::Client::new(&function.aws.sdk_config());
    ecs.list_clusters().send().await.unwrap();
}

#[tokio::test]
async fn a_role_is_given_to_tasks_only_by_who_may_pass_it() {
    let function = Function::new().await;
    let family = format!("family-{}", uuid::Uuid::new_v4().simple());
    let parameters = json!({
        "family": family,
        "requiresCompatibilities": ["FARGATE"],
        "networkMode": "awsvpc",
        "cpu": "256",
        "memory": "512",
        "executionRoleArn": "arn:aws:iam::123456789012:role/cafe/Start",
        "containerDefinitions": [{"name": "app", "image": "app"}],
    });
    let registers = async || {
        function
            .calls("ecs", "register_task_definition", parameters.clone())
            .await
    };
    let pass = |role: &str, service: &str| {
        let mut pass = allow("iam:PassRole", &format!("arn:*:iam::*:role/{role}"));
        pass["Condition"] = json!({"StringEquals": {"iam:PassedToService": service}});
        pass
    };
    let refusal = function.refusal("iam:PassRole", "arn:aws:iam::123456789012:role/cafe/Start");
    let tasks = "ecs-tasks.amazonaws.com";
    for others in [pass("shop/*", tasks), pass("cafe/*", "ecs.amazonaws.com")] {
        function.may(json!([allow("ecs:*", "*"), others])).await;
        let told = registers().await;
        assert_eq!(told["code"], "AccessDeniedException");
        assert_eq!(told["message"], refusal);
    }
    let ecs = aws_sdk_ecs::Client::new(&function.aws.sdk_config());
    let described = ecs.describe_task_definition().task_definition(&family);
    assert!(described.send().await.is_err(), "it was registered");
    function
        .may(json!([allow("ecs:*", "*"), pass("cafe/*", tasks)]))
        .await;
    assert_eq!(registers().await, "allowed");
}

#[tokio::test]
async fn a_state_machine_invokes_only_what_its_role_allows() {
    let function = Function::new().await;
    let machine_role = format!("machine-{}", uuid::Uuid::new_v4().simple());
    create_role(function.aws, &machine_role).await;
    let event = json!({"service": "ecs", "operation": "list_clusters", "parameters": {}});
    let definition = json!({
        "QueryLanguage": "JSONata",
        "StartAt": "Invoke",
        "States": {"Invoke": {
            "Type": "Task",
            "Resource": "arn:aws:states:::lambda:invoke",
            "Arguments": {"FunctionName": function.name, "Payload": event},
            "End": true,
        }},
    });
    let states = aws_sdk_sfn::Client::new(&function.aws.sdk_config());
    let created = states
        .create_state_machine()
        .name(&machine_role)
        .role_arn(format!(
            "arn:aws:iam::123456789012:role/shop/{machine_role}"
        ))
        .definition(definition.to_string());
    let machine = created.send().await.unwrap().state_machine_arn;
    let executed = async || {
        let started = states.start_execution().state_machine_arn(&machine);
        let execution = started.send().await.unwrap().execution_arn;
        eventually(async || {
            let described = states.describe_execution().execution_arn(&execution);
            let described = described.send().await.unwrap();
            (*described.status() != ExecutionStatus::Running).then_some(described)
        })
        .await
    };
    let refused = executed().await;
    // As AWS names it.
    assert_eq!(refused.error(), Some("Lambda.AWSLambdaException"));
    let cause = refused.cause().unwrap();
    let arn = format!(
        "arn:aws:lambda:us-east-1:123456789012:function:{}",
        function.name
    );
    for words in [
        format!("assumed-role/{machine_role}/"),
        format!("is not authorized to perform: lambda:InvokeFunction on resource: {arn} because"),
        "Error Code: AccessDeniedException".to_owned(),
    ] {
        assert!(cause.contains(&words), "no {words:?} in {cause}");
    }
    let invoke = allow("lambda:InvokeFunction", &arn);
    put_policy(function.aws.endpoint(), &machine_role, &json!([invoke])).await;
    let allowed = executed().await;
    assert_eq!(*allowed.status(), ExecutionStatus::Succeeded);
}
