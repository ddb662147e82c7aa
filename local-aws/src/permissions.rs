//! What calls of AWS's APIs ask IAM for: what a role must allow, and all that it need allow; and whether
//! it does.
//!
//! Only of those who call: functions and state machines. What the local ECS does in a role that it
//! would assume (execution role, task role, those of load balancers and hooks) is no call to this
//! endpoint in that role's name, so that nothing here says whether the role allows it.

mod conditions;
mod policies;
mod roles;

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::api_call::ApiCall;
use crate::client::{ACCOUNT, REGION};
use crate::ecs::Ecs;

pub(crate) use roles::{Caller, Roles};

/// One thing that IAM is asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Need {
    /// The action, such as `ecs:StopTask`.
    pub action: String,
    /// The ARN of the resource; `*` where IAM knows none for the action. Of a resource that the call
    /// only makes, a 0 stands for the part that AWS chooses.
    pub resource: String,
    /// Condition keys of the request, as far as they are known here.
    pub context: BTreeMap<String, String>,
}

/// The resource of a call of which this module does not know whose it is: no policy names it, so
/// that only a role that allows the call on `*` allows it until [`resources`] knows.
const UNKNOWN: &str = "unknown";

/// Where in a task token the ARN of its state machine begins; `moto/glue/task_tokens.py` makes them.
const TOKEN_BYTES_BEFORE_THE_MACHINE: usize = 416;

/// Who asks where a state machine does: the service that calls with the machine's role.
pub const STATE_MACHINES: &str = "states.amazonaws.com";

/// By who asked, what was asked for.
type ByCaller = BTreeMap<String, BTreeSet<Need>>;

/// Remembers who has asked for what.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    ever: Mutex<ByCaller>,
    refused: Mutex<ByCaller>,
}

impl Asked {
    /// Notes what a call asks for, whatever the answer will be, and tells it.
    pub(crate) async fn note(&self, call: &ApiCall, caller: &Caller, ecs: &Ecs) -> Vec<Need> {
        let needs = needs(call, &Known::of(call, ecs).await);
        let mut ever = locked(&self.ever);
        let asked = ever.entry(caller.name.clone()).or_default();
        asked.extend(needs.iter().cloned());
        needs
    }

    /// Notes what a role did not allow.
    pub(crate) fn note_refusal(&self, caller: &Caller, need: Need) {
        let mut refused = locked(&self.refused);
        let needs = refused.entry(caller.name.clone()).or_default();
        needs.insert(need);
    }

    /// What was ever asked for, by function name or [`STATE_MACHINES`].
    pub(crate) fn all(&self) -> ByCaller {
        locked(&self.ever).clone()
    }

    /// Of that what was refused since this was last told.
    pub(crate) fn take_refused(&self) -> ByCaller {
        mem::take(&mut locked(&self.refused))
    }
}

fn locked(needs: &Mutex<ByCaller>) -> MutexGuard<'_, ByCaller> {
    needs.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Caller {
    /// The state machine that makes a call, if one does. AWS makes up the name of its session.
    pub(crate) fn state_machine(call: &ApiCall) -> Option<Self> {
        let role = call.machine_role.clone()?;
        Some(Self {
            name: STATE_MACHINES.to_owned(),
            role,
            session: "states".to_owned(),
        })
    }
}

/// What ECS knows of a call's resources, and the call does not say.
#[derive(Debug, Default)]
struct Known {
    /// The roles of the task definition.
    roles: Vec<String>,
    /// The roles by which ECS manages the task's EBS volumes.
    infrastructure_roles: Vec<String>,
    /// The tags of the task.
    tags: BTreeMap<String, String>,
    /// ECS has no such task, or has deleted its tags with the first StopTask: it refuses the call whatever
    /// a role allows of a task with those tags.
    is_missing: bool,
}

impl Known {
    async fn of(call: &ApiCall, ecs: &Ecs) -> Self {
        let parameters = call.parameters.as_ref().unwrap_or(&Value::Null);
        let mut known = Self::default();
        match (call.service.as_str(), call.operation.as_str()) {
            ("ecs", "RegisterTaskDefinition") => known.roles = roles(parameters, &Value::Null),
            ("ecs", "RunTask" | "UpdateService") => {
                let asked = json!({"taskDefinition": parameters["taskDefinition"]});
                let described = ecs.call("DescribeTaskDefinition", asked).await;
                let described = &described.unwrap_or_default()["taskDefinition"];
                known.roles = roles(described, &parameters["overrides"]);
                known.infrastructure_roles = infrastructure_roles(parameters);
            }
            ("ecs", "StopTask") => {
                let (cluster, task) = (&parameters["cluster"], &parameters["task"]);
                let asked = json!({"cluster": cluster, "tasks": [task], "include": ["TAGS"]});
                let described = ecs.call("DescribeTasks", asked).await;
                let task = &described.unwrap_or_default()["tasks"][0];
                known.tags = tags(task);
                let told_before = task["desiredStatus"] == "STOPPED" && known.tags.is_empty();
                known.is_missing = task.is_null() || told_before;
            }
            _ => {}
        }
        known
    }
}

/// The ARNs of the roles that tasks get, each of which a definition may name without its path.
///
/// <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RegisterTaskDefinition.html>
fn roles(task_definition: &Value, overrides: &Value) -> Vec<String> {
    let roles = ["taskRoleArn", "executionRoleArn"].map(|role| {
        let overridden = overrides[role].as_str();
        overridden.or_else(|| task_definition[role].as_str())
    });
    let arn = |role: &str| match role.starts_with("arn:") {
        true => role.to_owned(),
        false => format!("arn:aws:iam::{ACCOUNT}:role/{role}"),
    };
    let roles: BTreeSet<_> = roles.into_iter().flatten().map(arn).collect();
    roles.into_iter().collect()
}

/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/infrastructure_IAM_role.html>
fn infrastructure_roles(parameters: &Value) -> Vec<String> {
    let volumes = parameters["volumeConfigurations"].as_array();
    let volumes = volumes.into_iter().flatten();
    let roles = volumes.filter_map(|volume| volume["managedEBSVolume"]["roleArn"].as_str());
    let roles: BTreeSet<_> = roles.collect();
    roles.into_iter().map(str::to_owned).collect()
}

fn tags(of: &Value) -> BTreeMap<String, String> {
    let tags = of["tags"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    tags.map(|tag| (text(&tag["key"]), text(&tag["value"])))
        .collect()
}

/// The call's own action and, for ECS, those that ECS checks beside it.
///
/// <https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerservice.html>,
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/supported-iam-actions-tagging.html>
fn needs(call: &ApiCall, known: &Known) -> Vec<Need> {
    if known.is_missing {
        return Vec::new();
    }
    let parameters = call.parameters.as_ref().unwrap_or(&Value::Null);
    let keys = |prefix: &str, tags: &BTreeMap<String, String>| -> BTreeMap<String, String> {
        let keys = tags.iter();
        keys.map(|(key, value)| (format!("{prefix}/{key}"), value.clone()))
            .collect()
    };
    let requested = tags(parameters);
    let mut context = keys("aws:RequestTag", &requested);
    let created = match call.operation.as_str() {
        _ if call.service != "ecs" || requested.is_empty() => None,
        "RunTask" => Some(arn("ecs", &format!("task/{}/0", cluster(parameters)))),
        "RegisterTaskDefinition" => {
            let family = parameters["family"].as_str().unwrap_or_default();
            Some(arn("ecs", &format!("task-definition/{family}:0")))
        }
        _ => None,
    };
    let tagging = created.map(|resource| {
        let mut context = context.clone();
        context.insert("ecs:CreateAction".to_owned(), call.operation.clone());
        Need {
            action: "ecs:TagResource".to_owned(),
            resource,
            context,
        }
    });
    let passed_to = |service: &'static str| {
        move |role: &String| Need {
            action: "iam:PassRole".to_owned(),
            resource: role.clone(),
            context: [("iam:PassedToService", service)]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
        }
    };
    let to_tasks = known.roles.iter();
    let to_tasks = to_tasks.map(passed_to("ecs-tasks.amazonaws.com"));
    let to_ecs = known.infrastructure_roles.iter();
    let passing = to_tasks.chain(to_ecs.map(passed_to("ecs.amazonaws.com")));
    context.extend(keys("aws:ResourceTag", &known.tags));
    if call.service == "ecs" && parameters["cluster"].is_string() {
        let cluster = named("ecs", "cluster", cluster(parameters));
        context.insert("ecs:cluster".to_owned(), cluster);
    }
    let own = own(call, parameters)
        .into_iter()
        .map(|(action, resource)| Need {
            action,
            resource,
            context: context.clone(),
        });
    own.chain(tagging).chain(passing).collect()
}

/// The actions that a call is for, each with its resource.
fn own(call: &ApiCall, parameters: &Value) -> Vec<(String, String)> {
    if call.is("dynamodb", "TransactWriteItems") {
        return transaction(parameters);
    }
    // IAM names some services otherwise than the signatures of requests do.
    let action = match (call.service.as_str(), call.operation.as_str()) {
        ("lambda", "Invoke") => "lambda:InvokeFunction".to_owned(),
        ("monitoring", operation) => format!("cloudwatch:{operation}"),
        ("tagging", operation) => format!("tag:{operation}"),
        (service, operation) => format!("{service}:{operation}"),
    };
    let resources = resources(call, parameters).into_iter();
    resources
        .map(|resource| (action.clone(), resource))
        .collect()
}

/// A transaction is no action of its own: it asks for what its parts would ask for.
///
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html>
fn transaction(parameters: &Value) -> Vec<(String, String)> {
    let items = parameters["TransactItems"].as_array();
    let parts = items.into_iter().flatten().filter_map(Value::as_object);
    parts
        .flatten()
        .map(|(kind, part)| {
            let action = match kind.as_str() {
                "ConditionCheck" => "ConditionCheckItem".to_owned(),
                kind => format!("{kind}Item"),
            };
            let table = part["TableName"].as_str().unwrap_or_default();
            (
                format!("dynamodb:{action}"),
                named("dynamodb", "table", table),
            )
        })
        .collect()
}

/// The state machine of which a task token is: the tokens of the local AWS end with its ARN. Who
/// answers a token must be allowed to answer those of its machine, as AWS CDK's
/// `grantTaskResponse` allows it.
///
/// <https://docs.aws.amazon.com/cdk/api/v2/docs/aws-cdk-lib.aws_stepfunctions.StateMachineGrants.html>
fn machine_of_token(token: &str) -> String {
    let bytes = BASE64_STANDARD.decode(token).unwrap_or_default();
    let machine = bytes.get(TOKEN_BYTES_BEFORE_THE_MACHINE..);
    machine
        .and_then(|machine| String::from_utf8(machine.to_vec()).ok())
        .unwrap_or_else(|| UNKNOWN.to_owned())
}

/// The resources of a call's own action; `*` where IAM knows none for it, or asks for all.
///
/// <https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html>
fn resources(call: &ApiCall, parameters: &Value) -> Vec<String> {
    let text = |name: &str| parameters[name].as_str().unwrap_or_default();
    let texts = |name: &str| -> Vec<&str> {
        let all = parameters[name].as_array().into_iter().flatten();
        all.filter_map(Value::as_str).collect()
    };
    let service = call.service.as_str();
    let one = |kind: &str, name: &str| vec![named(service, kind, name)];
    let in_cluster = |kind: &str, names: Vec<&str>| {
        let kind = format!("{kind}/{}", cluster(parameters));
        let names = names.into_iter();
        names.map(|name| named(service, &kind, name)).collect()
    };
    let as_given = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
    match (service, call.operation.as_str()) {
        ("ecs", "DescribeServices") => in_cluster("service", texts("services")),
        ("ecs", "UpdateService" | "ListServiceDeployments") => {
            in_cluster("service", vec![text("service")])
        }
        ("ecs", "DescribeServiceDeployments") => as_given(texts("serviceDeploymentArns")),
        ("ecs", "ContinueServiceDeployment" | "StopServiceDeployment") => {
            as_given(vec![text("serviceDeploymentArn")])
        }
        ("ecs", "DescribeServiceRevisions") => as_given(texts("serviceRevisionArns")),
        ("ecs", "DescribeTasks") => in_cluster("task", texts("tasks")),
        ("ecs", "StopTask") => in_cluster("task", vec![text("task")]),
        ("ecs", "RunTask") => one("task-definition", text("taskDefinition")),
        ("ecs", "DescribeTaskDefinition" | "RegisterTaskDefinition" | "ListTasks")
        | ("monitoring", "DescribeAlarms")
        // By the name of a resource: which stack has it, CloudFormation finds out.
        | ("cloudformation", "DescribeStackResources")
        | ("tagging", "GetResources")
        | ("elasticloadbalancing", "DescribeTargetHealth") => vec!["*".to_owned()],
        ("cloudformation", "DescribeStacks" | "ListStackResources") => {
            one("stack", &format!("{}/0", text("StackName")))
        }
        ("ecr", "BatchGetImage" | "DescribeImages" | "GetDownloadUrlForLayer") => {
            one("repository", text("repositoryName"))
        }
        ("ecr", "ListTagsForResource") => as_given(vec![text("resourceArn")]),
        ("states", "StartExecution") => as_given(vec![text("stateMachineArn")]),
        ("states", "DescribeExecution") => as_given(vec![text("executionArn")]),
        ("states", "SendTaskSuccess" | "SendTaskFailure" | "SendTaskHeartbeat") => {
            vec![machine_of_token(text("taskToken"))]
        }
        ("dynamodb", _) if parameters["TableName"].is_string() => {
            one("table", text("TableName"))
        }
        ("dynamodb", "BatchGetItem" | "BatchWriteItem") => {
            let tables = parameters["RequestItems"].as_object().into_iter().flatten();
            tables
                .map(|(table, _)| named(service, "table", table))
                .collect()
        }
        ("logs", "GetLogEvents") => {
            let (group, stream) = (text("logGroupName"), text("logStreamName"));
            vec![arn(
                "logs",
                &format!("log-group:{group}:log-stream:{stream}"),
            )]
        }
        ("ssm", "PutParameter") => one("parameter", text("Name").trim_start_matches('/')),
        ("sqs", "SendMessage") => {
            let url = text("QueueUrl");
            vec![arn("sqs", url.rsplit('/').next().unwrap_or(url))]
        }
        ("lambda", "Invoke") => match text("FunctionName") {
            arn if arn.starts_with("arn:") => as_given(vec![arn]),
            name => vec![arn("lambda", &format!("function:{name}"))],
        },
        _ => vec![UNKNOWN.to_owned()],
    }
}

/// The name of the cluster of a request of ECS.
fn cluster(parameters: &Value) -> &str {
    let cluster = parameters["cluster"].as_str().unwrap_or("default");
    cluster.rsplit('/').next().unwrap_or(cluster)
}

fn named(service: &str, kind: &str, name: &str) -> String {
    if name.starts_with("arn:") {
        return name.to_owned();
    }
    arn(service, &format!("{kind}/{name}"))
}

fn arn(service: &str, resource: &str) -> String {
    format!("arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ecs::in_process;
    use crate::protocol::Protocol;

    fn call(service: &str, operation: &str, parameters: Value) -> ApiCall {
        ApiCall {
            service: service.to_owned(),
            operation: operation.to_owned(),
            protocol: Protocol::Json("1.1".to_owned()),
            parameters: Ok(parameters),
            access_key: String::new(),
            machine_role: None,
            user_agent: String::new(),
            trace: String::new(),
        }
    }

    /// The actions of a call and their resources.
    fn asked(call: &ApiCall, known: &Known) -> Vec<(String, String)> {
        let needs = needs(call, known).into_iter();
        needs.map(|need| (need.action, need.resource)).collect()
    }

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        let pairs = pairs.iter();
        pairs
            .map(|(one, other)| ((*one).to_owned(), (*other).to_owned()))
            .collect()
    }

    #[tokio::test]
    async fn what_is_asked_for_is_remembered_and_what_is_refused_is_told_once() {
        let asked = Asked::default();
        let ecs = in_process::ecs(1.0).await;
        let mut describe = call("monitoring", "DescribeAlarms", json!({}));
        assert!(Caller::state_machine(&describe).is_none());
        describe.machine_role = Some("arn:role".to_owned());
        let machine = Caller::state_machine(&describe).unwrap();
        let function = Caller {
            name: "plan".to_owned(),
            ..machine.clone()
        };
        let need = Need {
            action: "cloudwatch:DescribeAlarms".to_owned(),
            resource: "*".to_owned(),
            context: BTreeMap::new(),
        };
        for caller in [&function, &machine] {
            let noted = asked.note(&describe, caller, &ecs).await;
            assert_eq!(noted, std::slice::from_ref(&need));
        }
        let needs = BTreeSet::from([need.clone()]);
        let callers = ["plan", STATE_MACHINES].map(|it| (it.to_owned(), needs.clone()));
        assert_eq!(asked.all(), callers.into());
        assert_eq!(asked.take_refused(), BTreeMap::new());
        asked.note_refusal(&function, need);
        let refused = BTreeMap::from([("plan".to_owned(), needs)]);
        assert_eq!(asked.take_refused(), refused);
        assert_eq!(asked.take_refused(), BTreeMap::new());
    }

    #[test]
    fn an_action_may_have_another_name_than_its_call() {
        let plan = json!({"FunctionName": "arn:plan"});
        for (service, operation, parameters, need) in [
            (
                "lambda",
                "Invoke",
                plan,
                ("lambda:InvokeFunction", "arn:plan"),
            ),
            (
                "tagging",
                "GetResources",
                json!({}),
                ("tag:GetResources", "*"),
            ),
        ] {
            let call = call(service, operation, parameters);
            assert_eq!(asked(&call, &Known::default()), owned(&[need]));
        }
    }

    #[test]
    fn a_resource_is_named_by_its_arn_however_the_call_names_it() {
        let services =
            json!({"cluster": "arn:aws:ecs:r:a:cluster/shop", "services": ["web", "arn:s"]});
        let parameter = json!({"Name": "/bluegreen/shop/image"});
        let here = |service: &str, rest: &str| arn(service, rest);
        for (service, operation, parameters, resources) in [
            (
                "ecs",
                "DescribeServices",
                services,
                vec![here("ecs", "service/shop/web"), "arn:s".to_owned()],
            ),
            (
                "ssm",
                "PutParameter",
                parameter,
                vec![here("ssm", "parameter/bluegreen/shop/image")],
            ),
            (
                "lambda",
                "Invoke",
                json!({"FunctionName": "plan"}),
                vec![here("lambda", "function:plan")],
            ),
            (
                "sqs",
                "SendMessage",
                json!({"QueueUrl": "http://127.0.0.1:1/123456789012/lost"}),
                vec![here("sqs", "lost")],
            ),
            ("ecs", "DeleteService", json!({}), vec![UNKNOWN.to_owned()]),
        ] {
            let needs = asked(&call(service, operation, parameters), &Known::default());
            let found: Vec<_> = needs.into_iter().map(|(_, resource)| resource).collect();
            assert_eq!(found, resources, "{operation}");
        }
    }

    #[test]
    fn a_transaction_asks_for_what_its_parts_are() {
        let part = |table| json!({"TableName": table});
        let items = json!({"TransactItems": [
            {"Update": part("releases")},
            {"Put": part("releases")},
            {"ConditionCheck": part("releases")},
            {"Delete": part("waits")},
        ]});
        let transact = call("dynamodb", "TransactWriteItems", items);
        let [releases, waits] = ["releases", "waits"].map(|it| named("dynamodb", "table", it));
        assert_eq!(
            asked(&transact, &Known::default()),
            owned(&[
                ("dynamodb:UpdateItem", &releases),
                ("dynamodb:PutItem", &releases),
                ("dynamodb:ConditionCheckItem", &releases),
                ("dynamodb:DeleteItem", &waits),
            ])
        );
    }

    #[test]
    fn a_batch_is_one_action_on_each_of_its_tables() {
        let items = json!({"RequestItems": {"waits": [{}], "arn:aws:dynamodb:r:a:table/b": [{}]}});
        let batch = call("dynamodb", "BatchWriteItem", items);
        let waits = named("dynamodb", "table", "waits");
        let mut found = asked(&batch, &Known::default());
        found.sort();
        assert_eq!(
            found,
            owned(&[
                ("dynamodb:BatchWriteItem", "arn:aws:dynamodb:r:a:table/b"),
                ("dynamodb:BatchWriteItem", &waits),
            ])
        );
    }

    #[test]
    fn who_answers_a_token_must_be_allowed_to_by_its_state_machine() {
        let machine = "arn:aws:states:us-east-1:123456789012:stateMachine:deploy";
        let token = [&[0; TOKEN_BYTES_BEFORE_THE_MACHINE], machine.as_bytes()].concat();
        for (token, resource) in [
            (BASE64_STANDARD.encode(token), machine),
            ("no token".to_owned(), UNKNOWN),
        ] {
            let answer = call(
                "states",
                "SendTaskSuccess",
                json!({"taskToken": token, "output": "1"}),
            );
            assert_eq!(
                asked(&answer, &Known::default()),
                owned(&[("states:SendTaskSuccess", resource)])
            );
        }
    }

    #[test]
    fn a_task_that_ecs_does_not_have_is_no_matter_of_roles() {
        let stop = call("ecs", "StopTask", json!({"cluster": "c", "task": "t"}));
        assert_eq!(needs(&stop, &Known::default()).len(), 1);
        let missing = Known {
            is_missing: true,
            ..Known::default()
        };
        assert_eq!(needs(&stop, &missing), []);
    }

    #[test]
    fn a_task_gets_the_roles_of_its_definition_unless_the_call_names_others() {
        let definition = json!({"executionRoleArn": "arn:start", "taskRoleArn": "shop"});
        let shop = format!("arn:aws:iam::{ACCOUNT}:role/shop");
        assert_eq!(
            roles(&definition, &Value::Null),
            [shop.as_str(), "arn:start"]
        );
        let overrides = json!({"taskRoleArn": "arn:other"});
        assert_eq!(roles(&definition, &overrides), ["arn:other", "arn:start"]);
    }

    #[test]
    fn a_call_in_a_cluster_says_which() {
        let list = call("ecs", "ListTasks", json!({"cluster": "shop"}));
        let needs = needs(&list, &Known::default());
        assert_eq!(needs[0].context["ecs:cluster"], arn("ecs", "cluster/shop"));
    }

    #[test]
    fn ecs_checks_tags_and_roles_beside_its_own_actions() {
        let parameters = json!({"family": "web", "tags": [{"key": "a", "value": "b"}]});
        let register = call("ecs", "RegisterTaskDefinition", parameters);
        let known = Known {
            roles: roles(
                &json!({"executionRoleArn": "arn:role", "taskRoleArn": null}),
                &Value::Null,
            ),
            ..Known::default()
        };
        let registering = needs(&register, &known);
        let found: Vec<_> = registering
            .iter()
            .map(|need| (need.action.as_str(), need.resource.as_str()))
            .collect();
        let family = arn("ecs", "task-definition/web:0");
        assert_eq!(
            found,
            [
                ("ecs:RegisterTaskDefinition", "*"),
                ("ecs:TagResource", family.as_str()),
                ("iam:PassRole", "arn:role"),
            ]
        );
        assert_eq!(
            registering[1].context["ecs:CreateAction"],
            register.operation
        );
        assert_eq!(registering[1].context["aws:RequestTag/a"], "b");
        assert_eq!(
            registering[2].context["iam:PassedToService"],
            "ecs-tasks.amazonaws.com"
        );
        let volume = json!({"name": "data", "managedEBSVolume": {"roleArn": "arn:ebs"}});
        let known = Known {
            infrastructure_roles: infrastructure_roles(&json!({
                "volumeConfigurations": [volume, {"name": "none"}]
            })),
            ..Known::default()
        };
        let run = call("ecs", "RunTask", json!({"taskDefinition": "web"}));
        let running = needs(&run, &known);
        assert_eq!(running[1].resource, "arn:ebs");
        assert_eq!(
            running[1].context["iam:PassedToService"],
            "ecs.amazonaws.com"
        );
        let untagged = call("ecs", "UpdateService", json!({"service": "web"}));
        assert_eq!(
            asked(&untagged, &Known::default()),
            owned(&[("ecs:UpdateService", &arn("ecs", "service/default/web"))])
        );
    }
}
