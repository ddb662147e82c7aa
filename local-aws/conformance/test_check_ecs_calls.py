"""What the checker finds in calls that are wrong in one place."""

import contextlib
import io
import json
import sys
import tempfile
import unittest
from typing import Any

sys.dont_write_bytecode = True

import check_ecs_calls  # noqa: E402

REQUEST = {
    "cluster": "c",
    "taskDefinition": "web:1",
    "launchType": "FARGATE",
    "count": 1,
}
CONTAINER = {
    "containerArn": "arn:aws:ecs:us-east-1:123456789012:container/c/1/2",
    "taskArn": "arn:aws:ecs:us-east-1:123456789012:task/c/1",
    "name": "web",
    "image": "web:1",
    "cpu": "0",
    "lastStatus": "PENDING",
    "networkInterfaces": [],
    "exitCode": 0,
}
TASK = {
    "taskArn": "arn:aws:ecs:us-east-1:123456789012:task/c/1",
    "clusterArn": "arn:aws:ecs:us-east-1:123456789012:cluster/c",
    "taskDefinitionArn": "arn:aws:ecs:us-east-1:123456789012:task-definition/web:1",
    "group": "family:web",
    "lastStatus": "PENDING",
    "desiredStatus": "RUNNING",
    "overrides": {},
    "version": 2,
    "createdAt": 1767225600.5,
    "containers": [CONTAINER],
    "launchType": "FARGATE",
    "cpu": "256",
    "memory": "512",
    "enableExecuteCommand": False,
    "attachments": [],
    "attributes": [],
    "tags": [],
}
DEFINITION = {
    "taskDefinitionArn": "arn:aws:ecs:us-east-1:123456789012:task-definition/web:1",
    "family": "web",
    "revision": 1,
    "status": "ACTIVE",
    "compatibilities": ["EC2", "FARGATE"],
    "containerDefinitions": [],
    "placementConstraints": [],
    "volumes": [],
}
SUMMARY = {
    "arn": "arn:aws:ecs:us-east-1:123456789012:service-revision/c/s/1",
    "pendingTaskCount": 0,
    "requestedTaskCount": 1,
    "runningTaskCount": 1,
}
DEPLOYMENT = {
    "serviceDeploymentArn": "arn:aws:ecs:us-east-1:123456789012:service-deployment/c/s/1",
    "serviceArn": "arn:aws:ecs:us-east-1:123456789012:service/c/s",
    "clusterArn": "arn:aws:ecs:us-east-1:123456789012:cluster/c",
    "createdAt": 1767225600.5,
    "updatedAt": 1767225600.5,
    "status": "PENDING",
    "alarms": {},
    "deploymentCircuitBreaker": {"failureCount": 0, "status": "DISABLED", "threshold": 3},
    "deploymentConfiguration": {},
    "sourceServiceRevisions": [],
    "targetServiceRevision": SUMMARY,
}
SERVICE = {
    "serviceArn": "arn:aws:ecs:us-east-1:123456789012:service/c/s",
    "serviceName": "s",
    "clusterArn": "arn:aws:ecs:us-east-1:123456789012:cluster/c",
    "status": "ACTIVE",
    "taskDefinition": "arn:aws:ecs:us-east-1:123456789012:task-definition/web:1",
    "desiredCount": 1,
    "pendingCount": 0,
    "runningCount": 1,
    "createdAt": 1767225600.5,
    "deploymentConfiguration": {},
    "deploymentController": {"type": "ECS"},
    "deployments": [],
    "enableECSManagedTags": False,
    "enableExecuteCommand": False,
    "events": [],
    "loadBalancers": [],
    "placementConstraints": [],
    "placementStrategy": [],
    "propagateTags": "NONE",
    "schedulingStrategy": "REPLICA",
    "serviceRegistries": [],
}


def findings(
    operation: str = "RunTask",
    request: Any = REQUEST,
    status: int = 200,
    response: Any = {"tasks": [TASK], "failures": []},
) -> list[str]:
    call = {
        "operation": operation,
        "request": request,
        "status": status,
        "response": response,
        "userAgent": "a-client/1",
    }
    _, found = check_ecs_calls.check_all([json.dumps(call)])
    return list(found)


def service(described: Any) -> list[str]:
    answer = {"services": [described]}
    return findings("DescribeServices", {"services": ["s"]}, response=answer)


def deployment(described: Any) -> list[str]:
    answer = {"serviceDeployments": [described]}
    request = {"serviceDeploymentArns": ["arn"]}
    return findings("DescribeServiceDeployments", request, response=answer)


def error(name: str, **members: Any) -> list[str]:
    return findings(status=400, response={"__type": name, **members})


class Requests(unittest.TestCase):
    def test_a_request_as_it_should_be_is_not_complained_about(self) -> None:
        self.assertEqual(findings(), [])

    def test_an_operation_that_ecs_does_not_have_is_found(self) -> None:
        self.assertEqual(findings("RunTasks"), ["RunTasks: ECS has no such operation"])

    def test_a_misspelt_member_is_found_with_its_sender(self) -> None:
        found = findings(request={**REQUEST, "clientTokn": "x"})
        self.assertEqual(
            found,
            [
                "RunTask request.clientTokn: RunTaskRequest has no such member"
                " (sent by a-client/1)"
            ],
        )

    def test_a_misspelt_member_is_found_at_any_depth(self) -> None:
        overrides = {"containerOverrides": [{"name": "web", "comand": ["true"]}]}
        (found,) = findings(request={**REQUEST, "overrides": overrides})
        self.assertIn("request.overrides.containerOverrides[].comand:", found)

    def test_a_missing_required_member_is_found(self) -> None:
        (found,) = findings(request={"cluster": "c"})
        self.assertIn("RunTask request.taskDefinition: is missing", found)

    def test_a_value_of_the_wrong_type_is_found(self) -> None:
        (found,) = findings(request={**REQUEST, "count": "1"})
        self.assertIn('RunTask request.count: "1" is no integer', found)

    def test_a_boolean_is_no_number_and_a_number_no_boolean(self) -> None:
        wrong = {**REQUEST, "count": True, "enableExecuteCommand": 1}
        count, execute = findings(request=wrong)
        self.assertIn("true is no integer", count)
        self.assertIn("1 is no boolean", execute)

    def test_an_unknown_value_of_an_enumeration_is_found(self) -> None:
        (found,) = findings(request={**REQUEST, "launchType": "FARGAT"})
        self.assertIn(
            "RunTask request.launchType: FARGAT is not one of EC2, FARGATE", found
        )

    def test_a_value_that_only_the_documentation_has_is_not_found(self) -> None:
        def stage(name: str) -> list[str]:
            return deployment({**DEPLOYMENT, "lifecycleStage": name})

        self.assertEqual(stage("PRE_PRODUCTION_TRAFFIC_SHIFT"), [])
        self.assertEqual(len(stage("PRE_PRODUCTION")), 1)

    def test_a_document_may_be_any_json(self) -> None:
        def update(details: Any) -> list[str]:
            hook = {"hookDetails": details, "lifecycleStages": ["POST_SCALE_UP"]}
            configuration = {"lifecycleHooks": [hook]}
            return findings(
                "UpdateService",
                {"service": "s", "deploymentConfiguration": configuration},
                response={},
            )

        for details in ({"Url": "http://x"}, [1], "x"):
            self.assertEqual(update(details), [])


class Answers(unittest.TestCase):
    def task(self, **members: Any) -> list[str]:
        return findings(response={"tasks": [{**TASK, **members}]})

    def test_a_misspelt_member_is_found(self) -> None:
        found = self.task(startedat=1.0)
        self.assertEqual(
            found, ["RunTask answer.tasks[].startedat: Task has no such member"]
        )

    def test_a_time_stamp_is_a_number(self) -> None:
        found = self.task(createdAt="2026-01-01T00:00:00Z")
        self.assertEqual(
            found,
            [
                'RunTask answer.tasks[].createdAt: "2026-01-01T00:00:00Z" is no timestamp'
            ],
        )

    def test_a_member_without_a_value_is_left_out(self) -> None:
        found = self.task(stoppedReason=None)
        self.assertEqual(
            found, ["RunTask answer.tasks[].stoppedReason: null is no string"]
        )

    def test_an_unknown_value_of_an_enumeration_is_found(self) -> None:
        (found,) = self.task(stopCode="Stopped")
        self.assertIn("RunTask answer.tasks[].stopCode: Stopped is not one of", found)

    def test_a_missing_required_member_is_found(self) -> None:
        (found,) = self.task(
            containers=[], overrides={}, attributes=[{"value": "x86_64"}]
        )
        self.assertEqual(found, "RunTask answer.tasks[].attributes[].name: is missing")

    def test_what_aws_always_gives_is_found_missing(self) -> None:
        self.assertEqual(service(SERVICE), [])
        self.assertEqual(deployment(DEPLOYMENT), [])
        for describe, whole, shape in (
            (lambda task: findings(response={"tasks": [task]}), TASK, "Task"),
            (lambda it: self.task(containers=[it]), CONTAINER, "Container"),
            (service, SERVICE, "Service"),
            (deployment, DEPLOYMENT, "ServiceDeployment"),
        ):
            for name in check_ecs_calls.ALWAYS_GIVEN[shape]:
                rest = {key: value for key, value in whole.items() if key != name}
                (found,) = describe(rest)
                self.assertTrue(found.endswith(f"[].{name}: is missing"), found)

    def test_what_aws_gives_in_a_status_is_found_missing(self) -> None:
        stopped = {"stoppingAt": 1.0, "stoppedAt": 2.0, "stoppedReason": "no"}
        found = self.task(lastStatus="STOPPED", **stopped)
        self.assertEqual(found, ["RunTask answer.tasks[].stopCode: is missing"])
        (found,) = deployment({**DEPLOYMENT, "status": "ROLLBACK_SUCCESSFUL"})
        self.assertIn("serviceDeployments[].rollback: is missing", found)

    def test_a_map_has_values_of_its_type(self) -> None:
        options = {"awslogs-group": 1}
        container = {"logConfiguration": {"logDriver": "awslogs", "options": options}}
        definition = {**DEFINITION, "containerDefinitions": [container]}
        (found,) = findings(
            "DescribeTaskDefinition",
            {"taskDefinition": "web"},
            response={"taskDefinition": definition},
        )
        self.assertIn("logConfiguration.options.*: 1 is no string", found)


class Errors(unittest.TestCase):
    def test_an_error_of_the_operation_is_an_answer(self) -> None:
        self.assertEqual(
            error("ClusterNotFoundException", message="Cluster not found."), []
        )

    def test_an_error_that_any_operation_may_answer_is_one_too(self) -> None:
        self.assertEqual(error("ThrottlingException", message="Rate exceeded"), [])

    def test_an_error_of_another_operation_is_found(self) -> None:
        self.assertEqual(
            error("ServiceNotFoundException", message="no"),
            ["RunTask error ServiceNotFoundException: the operation has no such error"],
        )

    def test_a_member_that_the_error_does_not_have_is_found(self) -> None:
        (found,) = error("ClientException", Message="no")
        self.assertIn("RunTask error ClientException.Message:", found)


class Files(unittest.TestCase):
    def test_a_file_without_calls_checks_nothing_and_fails(self) -> None:
        with tempfile.NamedTemporaryFile() as file:
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                self.assertEqual(check_ecs_calls.main(file.name), 1)
        self.assertIn("has no calls", printed.getvalue())


if __name__ == "__main__":
    unittest.main()
