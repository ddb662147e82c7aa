"""Looks once at the deployment of every service."""

from collections import defaultdict

import boto3

from failures import AwsRequests, InvalidInput, check

ecs = boto3.client("ecs")

DEPLOYMENTS = 20
SERVICES = 10
# From good to bad, so that the worst of several is their maximum.
VERDICTS = ("succeeded", "inProgress", "superseded", "stopped", "rolledBack", "stalled")


class DeploymentNotFound(Exception):
    pass


def handler(event, context):
    check(event, ("services",))
    if not event["services"]:
        raise InvalidInput("`services`: there is none")
    found = [find(service) for service in event["services"]]
    details = describe([deployment for deployment, _ in found])
    complete = [
        service
        for service, (deployment, _) in zip(event["services"], found)
        if details[deployment]["status"] == "SUCCESSFUL"
    ]
    tasks = primaries(complete)
    services = []
    for service, (deployment, newer) in zip(event["services"], found):
        detail = details[deployment]
        verdict, reason = judge(detail, newer, service, tasks.get(service["service"]))
        services.append(
            {
                "service": service["service"],
                "verdict": verdict,
                "status": detail["status"],
                "reason": reason,
            }
        )
    return release(services)


def find(service):
    """The newest deployment with the release's revision, and the one that came after it."""
    history = []
    with AwsRequests("ecs:ListServiceDeployments", service["service"]):
        request = {"cluster": service["cluster"], "service": service["service"], "maxResults": 100}
        while True:
            page = ecs.list_service_deployments(**request)
            history += page["serviceDeployments"]
            if not page.get("nextToken"):
                break
            request["nextToken"] = page["nextToken"]
    history.sort(key=lambda deployment: deployment["createdAt"], reverse=True)
    for start in range(0, len(history), DEPLOYMENTS):
        batch = history[start : start + DEPLOYMENTS]
        revisions = task_definitions(batch)
        for deployment in batch:
            if revisions.get(deployment["targetServiceRevisionArn"]) == service["taskDefinition"]:
                arn = deployment["serviceDeploymentArn"]
                newest = history[0]["serviceDeploymentArn"]
                return arn, newest if newest != arn else None
    raise DeploymentNotFound(f"{service['service']} has no deployment of {service['taskDefinition']}")


def task_definitions(deployments):
    arns = sorted({deployment["targetServiceRevisionArn"] for deployment in deployments})
    with AwsRequests("ecs:DescribeServiceRevisions", ", ".join(arns)):
        answer = ecs.describe_service_revisions(serviceRevisionArns=arns)
    return {
        revision["serviceRevisionArn"]: revision["taskDefinition"]
        for revision in answer["serviceRevisions"]
    }


def describe(arns):
    details = {}
    for start in range(0, len(arns), DEPLOYMENTS):
        batch = arns[start : start + DEPLOYMENTS]
        with AwsRequests("ecs:DescribeServiceDeployments", ", ".join(batch)):
            answer = ecs.describe_service_deployments(serviceDeploymentArns=batch)
        for deployment in answer["serviceDeployments"]:
            details[deployment["serviceDeploymentArn"]] = deployment
    for arn in arns:
        if arn not in details:
            raise DeploymentNotFound(f"ECS does not describe {arn}")
    return details


def primaries(services):
    by_cluster = defaultdict(list)
    for service in services:
        by_cluster[service["cluster"]].append(service["service"])
    found = {}
    for cluster, names in by_cluster.items():
        for start in range(0, len(names), SERVICES):
            batch = names[start : start + SERVICES]
            with AwsRequests("ecs:DescribeServices", ", ".join(batch)):
                answer = ecs.describe_services(cluster=cluster, services=batch)
            for service in answer["services"]:
                for deployment in service["deployments"]:
                    if deployment["status"] == "PRIMARY":
                        found[service["serviceArn"]] = deployment
    return found


def judge(detail, newer, service, tasks):
    status = detail["status"]
    if status == "SUCCESSFUL":
        return judge_complete(newer, service, tasks)
    if status == "STOPPED":
        if "rollback" in detail:
            return "rolledBack", "ECS had begun to roll it back when it was stopped."
        if has_failed(detail):
            return "stalled", "The deployment failed and was stopped without a rollback."
        if newer:
            return "superseded", f"The newer deployment {newer} took over."
        return "stopped", "It was stopped before it was complete."
    if status == "ROLLBACK_SUCCESSFUL":
        return "rolledBack", "ECS rolled it back to the revision before."
    if status == "ROLLBACK_FAILED":
        return "stalled", "The deployment failed and the rollback failed too."
    if status in ("PENDING", "IN_PROGRESS") and has_failed(detail) and not can_roll_back(detail):
        return "stalled", "The deployment failed and there is nothing to go back to."
    return "inProgress", f"The deployment is {status}."


def judge_complete(newer, service, tasks):
    if newer:
        return "succeeded", f"The deployment was completed; {newer} has begun since."
    if tasks is None or tasks["taskDefinition"] != service["taskDefinition"]:
        return "inProgress", "The deployment is complete, but the service runs another revision."
    running, desired = tasks["runningCount"], tasks["desiredCount"]
    if running == desired:
        return "succeeded", f"The deployment is complete and all {running} tasks run it."
    return "inProgress", f"The deployment is complete, but {running} of {desired} tasks run."


def has_failed(detail):
    monitors = (detail.get("deploymentCircuitBreaker", {}), detail.get("alarms", {}))
    return any(monitor.get("status") == "TRIGGERED" for monitor in monitors)


def can_roll_back(detail):
    if "rollback" in detail:
        return True
    configuration = detail.get("deploymentConfiguration")
    configured = configuration is None or any(
        configuration.get(key, {}).get("rollback") for key in ("deploymentCircuitBreaker", "alarms")
    )
    return configured and bool(detail.get("sourceServiceRevisions"))


def release(services):
    verdicts = [service["verdict"] for service in services]
    verdict = "inProgress" if "inProgress" in verdicts else max(verdicts, key=VERDICTS.index)
    cause = " ".join(
        f"Service {service['service']}: {service['reason']}"
        for service in services
        if VERDICTS.index(service["verdict"]) >= VERDICTS.index(verdict)
    )
    return {"verdict": verdict, "cause": cause, "services": services}
