//! What the templates say of themselves, of the functions and of the state machine.

use consistency::{Machine, Template, functions, read, strings, substitutions, templates};
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn pipeline() -> Template {
    Template::load("pipeline.yml")
}

fn names(entries: &[(&str, &Value)]) -> BTreeSet<String> {
    entries.iter().map(|(name, _)| (*name).to_owned()).collect()
}

fn stems(suffix: &str) -> BTreeSet<String> {
    functions()
        .iter()
        .map(|function| function.stem() + suffix)
        .collect()
}

#[test]
fn every_substitution_of_the_machine_is_supplied_and_every_one_supplied_is_used() {
    let pipeline = pipeline();
    let machines = pipeline.resources("AWS::StepFunctions::StateMachine");
    assert_eq!(machines.len(), 1);
    let supplied = machines[0].1["Properties"]["DefinitionSubstitutions"].as_object();
    let supplied: BTreeSet<String> = supplied
        .into_iter()
        .flat_map(|map| map.keys().cloned())
        .collect();
    assert_eq!(supplied, substitutions(Machine::load().text()));
}

#[test]
fn a_function_s_arn_is_substituted_by_the_function_of_that_name() {
    let pipeline = pipeline();
    let supplied = &pipeline.properties("StateMachine")["DefinitionSubstitutions"];
    for name in substitutions(Machine::load().text()) {
        if let Some(function) = name.strip_suffix("Arn") {
            assert_eq!(
                supplied[&name],
                json!({"Fn::GetAtt": format!("{function}.Arn")})
            );
        }
    }
}

#[test]
fn the_machine_is_the_file_of_the_repository() {
    assert_eq!(
        pipeline().properties("StateMachine")["DefinitionS3Location"],
        "../statemachine/deploy.asl.json"
    );
}

#[test]
fn every_function_crate_is_a_function_of_the_pipeline_and_there_is_no_other() {
    assert_eq!(
        names(&pipeline().resources("AWS::Lambda::Function")),
        stems("Function")
    );
}

#[test]
fn every_function_is_built_from_its_own_crate_for_the_chosen_architecture() {
    let pipeline = pipeline();
    for function in functions() {
        let properties = pipeline.properties(&(function.stem() + "Function"));
        let code = format!("../target/lambda/{}/bootstrap.zip", function.name);
        assert_eq!(properties["Code"], json!(code));
        assert_eq!(
            properties["Runtime"], "provided.al2023",
            "{}",
            function.name
        );
        assert_eq!(
            properties["Architectures"],
            json!([{"Ref": "Architecture"}])
        );
    }
}

#[test]
fn every_function_has_a_role_and_a_log_of_its_own() {
    let pipeline = pipeline();
    for function in functions() {
        let stem = function.stem();
        let properties = pipeline.properties(&format!("{stem}Function"));
        assert_eq!(
            properties["Role"],
            json!({"Fn::GetAtt": format!("{stem}Role.Arn")})
        );
        let group = json!({"Ref": format!("{stem}LogGroup")});
        assert_eq!(properties["LoggingConfig"]["LogGroup"], group, "{stem}");
        let log = json!({"Fn::GetAtt": format!("{stem}LogGroup.Arn")});
        let statements = pipeline.statements(&format!("{stem}Role"));
        assert!(
            statements
                .iter()
                .any(|statement| statement["Resource"] == log),
            "{stem} may not write its log"
        );
    }
    let mut roles = stems("Role");
    roles.insert("StateMachineRole".to_owned());
    assert_eq!(names(&pipeline.resources("AWS::IAM::Role")), roles);
}

#[test]
fn the_machine_may_call_the_functions_it_calls_and_no_other() {
    let pipeline = pipeline();
    let invoke = pipeline
        .statements("StateMachineRole")
        .into_iter()
        .find(|statement| statement["Action"] == "lambda:InvokeFunction")
        .map_or(&Value::Null, |statement| &statement["Resource"]);
    let allowed: BTreeSet<String> = invoke
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|resource| resource["Fn::GetAtt"].as_str())
        .filter_map(|arn| Some(arn.strip_suffix(".Arn")?.to_owned()))
        .collect();
    let machine = Machine::load();
    let called: BTreeSet<String> = machine
        .states()
        .iter()
        .filter_map(|state| Some(format!("{}Function", state.stem()?)))
        .collect();
    assert_eq!(allowed, called);
}

/// Whatever a release does, a function does: each with its own role.
#[test]
fn the_machine_may_call_its_functions_write_its_log_and_its_traces_and_nothing_else() {
    let pipeline = pipeline();
    let actions: BTreeSet<&str> = pipeline
        .actions("StateMachineRole")
        .into_iter()
        .map(|action| action.split_once(':').unwrap_or_default().0)
        .collect();
    assert_eq!(actions, BTreeSet::from(["lambda", "logs", "xray"]));
}

/// The stems of the functions that a state waits for.
fn waiting() -> BTreeSet<String> {
    let machine = Machine::load();
    let states = machine.states().into_iter();
    states
        .filter(|state| state.waits())
        .filter_map(|state| state.stem().map(str::to_owned))
        .collect()
}

/// The roles that are allowed an action on the one resource.
fn allowed_to(action: &str, resource: &Value) -> BTreeSet<String> {
    let pipeline = pipeline();
    let mut found = BTreeSet::new();
    for (role, _) in pipeline.resources("AWS::IAM::Role") {
        for statement in pipeline.statements(role) {
            if strings(&statement["Action"]).contains(&action) {
                assert_eq!(&statement["Resource"], resource, "{role}: {action}");
                found.insert(role.trim_end_matches("Role").to_owned());
            }
        }
    }
    found
}

/// Who gives a turn back answers whoever waits for it.
#[test]
fn the_functions_that_wait_and_the_one_that_hands_the_turn_on_may_answer_and_no_other() {
    let mut answering = waiting();
    answering.insert("EndRelease".to_owned());
    let machine = json!({"Ref": "StateMachine"});
    assert_eq!(allowed_to("states:SendTaskSuccess", &machine), answering);
    let pipeline = pipeline();
    for function in functions() {
        let stem = function.stem();
        let properties = pipeline.properties(&format!("{stem}Function"));
        let table = &properties["Environment"]["Variables"]["WAITS_TABLE"];
        let expected = answering
            .contains(&stem)
            .then(|| json!({"Ref": "WaitsTable"}));
        assert_eq!(table, &expected.unwrap_or_default(), "{stem}");
    }
}

#[test]
fn whoever_deals_with_turns_may_ask_about_executions_of_the_machine_and_no_other() {
    let arn = "arn:${AWS::Partition}:states:${AWS::Region}:${AWS::AccountId}:execution:${StateMachine.Name}:*";
    assert_eq!(
        allowed_to("states:DescribeExecution", &json!({ "Fn::Sub": arn })),
        BTreeSet::from(["EndRelease".to_owned(), "TakeTurn".to_owned()])
    );
}

/// The targets of the rules with a pattern: the rule and the function's stem.
fn told(pipeline: &Template) -> BTreeSet<(String, String)> {
    let rules = pipeline.resources("AWS::Events::Rule").into_iter();
    let rules = rules.filter(|(_, rule)| rule["Properties"]["EventPattern"].is_object());
    rules
        .flat_map(|(name, rule)| {
            let targets = rule["Properties"]["Targets"].as_array();
            let arns = targets.into_iter().flatten();
            let arns = arns.filter_map(|target| target["Arn"]["Fn::GetAtt"].as_str());
            let stems = arns.filter_map(|arn| arn.strip_suffix("Function.Arn"));
            stems.map(move |stem| (name.to_owned(), stem.to_owned()))
        })
        .collect()
}

#[test]
fn every_function_that_waits_is_told_of_events() {
    let told: BTreeSet<String> = told(&pipeline())
        .into_iter()
        .map(|(_, stem)| stem)
        .collect();
    let mut expected = waiting();
    expected.extend(["OnEcrPush".to_owned(), "OnAlarm".to_owned()]);
    assert_eq!(told, expected);
}

#[test]
fn a_rule_may_call_each_of_its_functions_and_no_other_rule_may() {
    let pipeline = pipeline();
    let permissions = pipeline.resources("AWS::Lambda::Permission").into_iter();
    let permitted: BTreeSet<(String, String)> = permissions
        .filter_map(|(_, permission)| {
            let properties = &permission["Properties"];
            let rule = properties["SourceArn"]["Fn::GetAtt"].as_str()?;
            let function = properties["FunctionName"]["Ref"].as_str()?;
            let stem = function.strip_suffix("Function")?.to_owned();
            Some((rule.strip_suffix(".Arn")?.to_owned(), stem))
        })
        .filter(|(rule, _)| rule != "ReconcileRule")
        .collect();
    assert_eq!(permitted, told(&pipeline));
}

#[test]
fn an_event_that_leads_to_nothing_is_kept() {
    let pipeline = pipeline();
    let queue = json!({"Fn::GetAtt": "DeadLetterQueue.Arn"});
    let mut sources = BTreeSet::new();
    for (rule, stem) in told(&pipeline) {
        let targets = pipeline.properties(&rule)["Targets"].as_array();
        for target in targets.into_iter().flatten() {
            assert_eq!(target["DeadLetterConfig"]["Arn"], queue, "{rule}");
            assert!(
                target["RetryPolicy"]["MaximumRetryAttempts"].is_u64(),
                "{rule}"
            );
        }
        let invoked = pipeline.properties(&format!("{stem}InvokeConfig"));
        assert_eq!(
            invoked["FunctionName"],
            json!({"Ref": format!("{stem}Function")})
        );
        let destinations = &invoked["DestinationConfig"];
        assert_eq!(destinations["OnFailure"]["Destination"], queue, "{stem}");
        let statements = pipeline.statements(&format!("{stem}Role"));
        let leaves = |it: &&Value| it["Action"] == "sqs:SendMessage" && it["Resource"] == queue;
        assert!(statements.iter().any(leaves), "{stem}");
        sources.insert(rule);
    }
    let policy = &pipeline.properties("DeadLetterQueuePolicy")["PolicyDocument"]["Statement"][0];
    let allowed = policy["Condition"]["ArnEquals"]["aws:SourceArn"].as_array();
    let allowed = allowed.into_iter().flatten();
    let allowed: BTreeSet<String> = allowed
        .filter_map(|arn| Some(arn["Fn::GetAtt"].as_str()?.strip_suffix(".Arn")?.to_owned()))
        .collect();
    assert_eq!(allowed, sources);
}

#[test]
fn the_events_that_end_a_wait_are_those_of_ecs_and_of_this_machine() {
    let pipeline = pipeline();
    let pattern = |rule: &str| pipeline.properties(rule)["EventPattern"].clone();
    assert_eq!(
        pattern("TaskRule"),
        json!({
            "source": ["aws.ecs"],
            "detail-type": ["ECS Task State Change"],
            "detail": {"lastStatus": ["STOPPED"], "startedBy": [{"prefix": "bluegreen/"}]}
        })
    );
    // By it the tasks of the pipeline are known.
    let source = read("crates/ecs/src/started_by.rs");
    assert!(source.contains("const PREFIX: &str = \"bluegreen/\";"));
    assert_eq!(
        pattern("DeploymentRule"),
        json!({
            "source": ["aws.ecs"],
            "detail-type": ["ECS Deployment State Change"],
            "detail": {"eventName": ["SERVICE_DEPLOYMENT_COMPLETED", "SERVICE_DEPLOYMENT_FAILED"]}
        })
    );
    assert_eq!(
        pattern("HookRule"),
        json!({"source": ["aws.ecs"], "detail-type": ["ECS Hook State Change"]})
    );
    assert_eq!(
        pattern("ExecutionRule"),
        json!({
            "source": ["aws.states"],
            "detail-type": ["Step Functions Execution Status Change"],
            "detail": {
                "stateMachineArn": [{"Ref": "StateMachine"}],
                "status": ["ABORTED", "TIMED_OUT", "FAILED"]
            }
        })
    );
}

#[test]
fn no_role_allows_an_action_by_a_wildcard() {
    for template in templates() {
        for (role, _) in template.resources("AWS::IAM::Role") {
            for action in template.actions(role) {
                assert!(
                    !action.contains('*'),
                    "{}: {role} allows {action}",
                    template.name
                );
            }
        }
    }
}

/// To the tasks of ECS; and to ECS itself the roles of EBS volumes, which only a task that is run needs
/// (<https://docs.aws.amazon.com/AmazonECS/latest/developerguide/infrastructure_IAM_role.html>).
#[test]
fn a_role_is_passed_to_ecs_alone() {
    let passes = |roles: Value, service: &str| {
        let condition = json!({"StringEquals": {"iam:PassedToService": service}});
        json!({
            "Effect": "Allow", "Action": "iam:PassRole", "Resource": roles, "Condition": condition
        })
    };
    // The application's own, and which TaskRoles names beside them.
    let roles = "arn:*:iam::*:role/bluegreen/*,arn:*:iam::*:role/${Others}";
    let others = json!([",arn:*:iam::*:role/", {"Ref": "TaskRoles"}]);
    let roles = json!([roles, {"Others": {"Fn::Join": others}}]);
    let roles = json!({"Fn::Split": [",", {"Fn::Sub": roles}]});
    let to_tasks = passes(roles, "ecs-tasks.amazonaws.com");
    let volumes = "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/${InfrastructureRoles}";
    let to_ecs = passes(json!({"Fn::Sub": volumes}), "ecs.amazonaws.com");
    let mut of_volumes = Vec::new();
    for template in templates() {
        for (role, _) in template.resources("AWS::IAM::Role") {
            for statement in template.statements(role) {
                if !strings(&statement["Action"]).contains(&"iam:PassRole") {
                    continue;
                }
                if *statement == to_ecs {
                    of_volumes.push(role.to_owned());
                } else {
                    assert_eq!(*statement, to_tasks, "{}: {role}", template.name);
                }
            }
        }
    }
    assert_eq!(of_volumes, ["RunMigrationRole"]);
}

/// A pipeline that nobody tells of such roles passes none.
#[test]
fn no_role_of_volumes_is_passed_by_default() {
    let pipeline = pipeline();
    let parameter = &pipeline.document()["Parameters"]["InfrastructureRoles"];
    assert_eq!(parameter["Default"], "");
    let policies = &pipeline.properties("RunMigrationRole")["Policies"];
    let of_volumes = &policies[1]["Fn::If"];
    assert_eq!(of_volumes[0], "HasInfrastructureRoles");
    assert_eq!(of_volumes[2], json!({"Ref": "AWS::NoValue"}));
}

/// The other roles of an account are not the pipeline's to pass, unless somebody says so.
#[test]
fn the_pipeline_passes_the_roles_of_the_tasks_that_the_templates_make_and_no_other() {
    let pipeline = pipeline();
    let passed = &pipeline.document()["Parameters"]["TaskRoles"]["Default"];
    assert_eq!(passed, "bluegreen/*");
    let mut found = 0;
    for template in templates() {
        for (role, resource) in template.resources("AWS::IAM::Role") {
            let properties = &resource["Properties"];
            let trust = properties["AssumeRolePolicyDocument"].to_string();
            if trust.contains("ecs-tasks.amazonaws.com") {
                found += 1;
                assert_eq!(properties["Path"], "/bluegreen/", "{role}");
            } else {
                assert!(properties["Path"].is_null(), "{role}");
            }
        }
    }
    assert_eq!(found, 2);
}

/// AWS says of `ecs-tasks.amazonaws.com` alone that it names the account when it takes a role on:
/// <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html>.
#[test]
fn ecs_takes_on_the_roles_of_tasks_for_this_account_and_its_own_without_a_condition() {
    let account = json!({"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}});
    let mut trusted = BTreeSet::new();
    for template in templates() {
        for (role, resource) in template.resources("AWS::IAM::Role") {
            let document = &resource["Properties"]["AssumeRolePolicyDocument"];
            for statement in document["Statement"].as_array().into_iter().flatten() {
                let condition = match statement["Principal"]["Service"].as_str() {
                    Some("ecs-tasks.amazonaws.com") => &account,
                    Some("ecs.amazonaws.com") => &Value::Null,
                    _ => continue,
                };
                assert_eq!(&statement["Condition"], condition, "{role}");
                trusted.insert(role.to_owned());
            }
        }
    }
    let expected = [
        "ExecutionRole",
        "HookRole",
        "InfrastructureRole",
        "TaskRole",
    ];
    assert_eq!(trusted, expected.map(str::to_owned).into());
}

/// A role that changes roles, functions, state machines or stacks could give itself what it lacks.
#[test]
fn no_role_can_change_itself() {
    let changes = |action: &str| {
        let (service, verb) = action.split_once(':').unwrap_or_default();
        let reads = ["Describe", "Get", "List"];
        match service {
            "iam" => verb != "PassRole",
            "cloudformation" => !reads.iter().any(|read| verb.starts_with(read)),
            "lambda" => verb != "InvokeFunction",
            "states" => !["DescribeExecution", "SendTaskSuccess", "StartExecution"].contains(&verb),
            "sts" => true,
            _ => false,
        }
    };
    for template in templates() {
        for (role, _) in template.resources("AWS::IAM::Role") {
            for action in template.actions(role) {
                assert!(
                    !changes(action),
                    "{}: {role} allows {action}",
                    template.name
                );
            }
        }
    }
}

#[test]
fn every_statement_of_a_policy_says_why_it_is_there_and_why_it_is_for_every_resource() {
    for template in templates() {
        let lines: Vec<&str> = template.text().lines().collect();
        for (number, line) in lines.iter().enumerate() {
            if !line.trim_start().starts_with("- Effect:") {
                continue;
            }
            let depth = indentation(line);
            let body = lines[number + 1..]
                .iter()
                .take_while(|next| indentation(next) > depth);
            let trusts = body.clone().any(|next| next.contains("sts:AssumeRole"));
            let comment: String = lines[..number]
                .iter()
                .rev()
                .map_while(|before| before.trim_start().strip_prefix('#'))
                .collect();
            let place = format!("{}:{}", template.name, number + 1);
            assert!(
                trusts || !comment.is_empty(),
                "{place}: a statement without a reason"
            );
            let is_for_all = body.clone().any(|next| next.trim() == "Resource: '*'");
            assert!(
                !is_for_all || comment.contains("resource-level"),
                "{place}: a statement for every resource that does not say why"
            );
        }
    }
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

#[test]
fn every_log_group_forgets_after_a_time() {
    let mut found = 0;
    for template in templates() {
        for (name, resource) in template.resources("AWS::Logs::LogGroup") {
            found += 1;
            let retention = &resource["Properties"]["RetentionInDays"];
            assert!(
                !retention.is_null(),
                "{}: {name} keeps its logs for ever",
                template.name
            );
        }
    }
    assert!(found > 0, "no template has a log group");
}

#[test]
fn nothing_names_a_partition() {
    for template in templates() {
        assert!(!template.text().contains("arn:aws:"), "{}", template.name);
    }
    assert!(!Machine::load().text().contains("arn:aws:"));
}

#[test]
fn every_template_has_its_sections_in_one_order() {
    let order = [
        "AWSTemplateFormatVersion",
        "Description",
        "Metadata",
        "Parameters",
        "Rules",
        "Conditions",
        "Resources",
        "Outputs",
    ];
    for template in templates() {
        let rules = template.sections().contains(&"Rules".to_owned());
        let expected = order.iter().filter(|name| rules || **name != "Rules");
        let expected: Vec<&str> = expected.copied().collect();
        assert_eq!(template.sections(), expected, "{}", template.name);
    }
}

#[test]
fn every_parameter_is_described_explains_its_limits_and_stands_in_a_group() {
    for template in templates() {
        let parameters = template.entries("Parameters");
        for (name, parameter) in &parameters {
            let place = format!("{}: {name}", template.name);
            let description = parameter["Description"].as_str().unwrap_or("");
            assert!(description.ends_with('.'), "{place} has no Description");
            let limits = [
                "MinValue",
                "MaxValue",
                "MinLength",
                "MaxLength",
                "AllowedValues",
                "AllowedPattern",
            ];
            let limited = limits.iter().any(|limit| !parameter[limit].is_null());
            assert!(
                !limited || parameter["ConstraintDescription"].is_string(),
                "{place}"
            );
            let optional = parameter["Default"] == "";
            assert!(!optional || description.starts_with("Optional "), "{place}");
        }
        let interface = &template.document()["Metadata"]["AWS::CloudFormation::Interface"];
        let groups = interface["ParameterGroups"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let grouped: Vec<&str> = groups
            .iter()
            .flat_map(|group| strings(&group["Parameters"]))
            .collect();
        let unique: BTreeSet<String> = grouped.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(unique, names(&parameters), "{}", template.name);
        assert_eq!(
            unique.len(),
            grouped.len(),
            "{}: a parameter in two groups",
            template.name
        );
    }
}

#[test]
fn every_output_is_described() {
    for template in templates() {
        for (name, output) in template.entries("Outputs") {
            assert!(
                output["Description"].is_string(),
                "{}: {name}",
                template.name
            );
        }
    }
}

#[test]
fn a_push_without_a_tag_never_reaches_the_function() {
    let pipeline = pipeline();
    let pattern = &pipeline.properties("PushRule")["EventPattern"];
    assert_eq!(
        pattern,
        &json!({
            "source": ["aws.ecr"],
            "detail-type": ["ECR Image Action", "ECR Replication Action"],
            "detail": {
                "action-type": ["PUSH", "REPLICATE"],
                "result": ["SUCCESS"],
                "image-tag": [{"anything-but": [""]}]
            }
        })
    );
}

/// Nothing keeps the event of a schedule.
#[test]
fn somebody_hears_of_a_function_on_a_schedule_that_fails() {
    let pipeline = pipeline();
    let rules = pipeline.resources("AWS::Events::Rule");
    let scheduled = rules.iter().filter_map(|(_, rule)| {
        let properties = &rule["Properties"];
        properties.get("ScheduleExpression")?;
        properties["Targets"][0]["Arn"]["Fn::GetAtt"].as_str()
    });
    let alarms = pipeline.resources("AWS::CloudWatch::Alarm");
    let heard = alarms.iter().filter_map(|(_, alarm)| {
        let properties = &alarm["Properties"];
        let errors = properties["Namespace"] == "AWS/Lambda" && properties["MetricName"] == "Errors";
        let dimension = &properties["Dimensions"][0];
        let of_function = errors && dimension["Name"] == "FunctionName";
        let topic = json!({"Fn::If": ["HasAlarmTopic", [{"Ref": "AlarmTopicArn"}], {"Ref": "AWS::NoValue"}]});
        assert!(!errors || properties["AlarmActions"] == topic);
        of_function.then(|| dimension["Value"]["Ref"].as_str())?
    });
    let scheduled: BTreeSet<&str> = scheduled
        .filter_map(|arn| arn.strip_suffix(".Arn"))
        .collect();
    assert_eq!(scheduled, BTreeSet::from(["ReconcileFunction"]));
    assert_eq!(heard.collect::<BTreeSet<&str>>(), scheduled);
}
