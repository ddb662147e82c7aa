"""What ECS says of services and of their deployments, asked in batches that ECS takes."""

from clients import client
from failures import AwsRequestFailed, AwsRequests

ecs = client("ecs")

SERVICES = 10
DEPLOYMENTS = 20
OVER = ("SUCCESSFUL", "STOPPED", "ROLLBACK_SUCCESSFUL", "ROLLBACK_FAILED")


def describe(services):
    """The services that ECS knows, by their ARN."""
    by_cluster = {}
    for service in services:
        by_cluster.setdefault(service["cluster"], []).append(service["service"])
    found = {}
    for cluster, names in sorted(by_cluster.items()):
        for start in range(0, len(names), SERVICES):
            batch = names[start : start + SERVICES]
            with AwsRequests("ecs:DescribeServices", ", ".join(batch)):
                answer = ecs.describe_services(cluster=cluster, services=batch)
            for service in answer["services"]:
                found[service["serviceArn"]] = service
    return found


def in_progress(described):
    """The deployments in progress of described services, by the service's ARN."""
    current = {
        arn: service["currentServiceDeployment"]
        for arn, service in described.items()
        if "currentServiceDeployment" in service
    }
    details = describe_deployments(current.values())
    return {
        arn: details[deployment]
        for arn, deployment in current.items()
        if deployment in details and details[deployment]["status"] not in OVER
    }


def seen(described):
    """The deployments in progress, and the revisions between which they move."""
    deployments = in_progress(described)
    moves = [
        revision
        for deployment in deployments.values()
        for revision in (target(deployment), goes_back_to(deployment))
        if revision
    ]
    known = dict(filter(None, map(only_revision, described.values())))
    unknown = [revision for revision in moves if revision not in known]
    return deployments, {**known, **task_definitions(unknown)}


def only_revision(service):
    """The service revision that is all that a service runs, with its task definition."""
    revisions, deployments = service.get("currentServiceRevisions", []), service["deployments"]
    if len(revisions) != 1 or len(deployments) != 1:
        return None
    return revisions[0]["arn"], deployments[0]["taskDefinition"]


def rollout(service):
    """The state of its only deployment. Beside one that cleans up after its success, others are no part of it."""
    deployments = service["deployments"]
    if criteria(service).get("sourceServiceRevisionCleanup") == "DEFERRED":
        deployments = [one for one in deployments if one["status"] == "PRIMARY"]
    return deployments[0].get("rolloutState") if len(deployments) == 1 else None


def criteria(service):
    """Of an early success; empty where there are none."""
    known = service.get("deploymentConfiguration", {}).get("earlySuccessCriteria", {})
    return known if known.get("enable") else {}


def enough_tasks(service, desired):
    """How many of the desired tasks have to be healthy before a deployment is successful."""
    percent = criteria(service).get("healthyPercent", 100)
    return min(max(-(-desired * percent // 100), 1), desired)


def is_enough(service, running, desired):
    early = criteria(service) and running >= enough_tasks(service, desired)
    return running == desired or bool(early)


def describe_deployments(arns):
    """The deployments that ECS knows, by their ARN."""
    found = {}
    for batch in batches(arns):
        with AwsRequests("ecs:DescribeServiceDeployments", ", ".join(batch)):
            answer = ecs.describe_service_deployments(serviceDeploymentArns=batch)
        for deployment in answer["serviceDeployments"]:
            found[deployment["serviceDeploymentArn"]] = deployment
    return found


def task_definitions(revisions):
    """ARN of each service revision that ECS knows with the ARN of its task definition."""
    found = {}
    for batch in batches(revisions):
        with AwsRequests("ecs:DescribeServiceRevisions", ", ".join(batch)):
            answer = ecs.describe_service_revisions(serviceRevisionArns=batch)
        for revision in answer["serviceRevisions"]:
            found[revision["serviceRevisionArn"]] = revision["taskDefinition"]
    return found


def batches(arns):
    arns = sorted(set(arns))
    return [arns[start : start + DEPLOYMENTS] for start in range(0, len(arns), DEPLOYMENTS)]


def target(deployment):
    """ARN of the service revision that the deployment brings."""
    return deployment.get("targetServiceRevision", {}).get("arn")


def goes_back_to(deployment):
    """ARN of the service revision to which ECS takes the deployment back, or would."""
    told = deployment.get("rollback", {}).get("serviceRevisionArn")
    sources = deployment.get("sourceServiceRevisions", [])
    return told or (sources[0]["arn"] if len(sources) == 1 else None)


def roll_back(deployment):
    """None, or why ECS refuses: the deployment is over, or has nothing to go back to."""
    try:
        with AwsRequests("ecs:StopServiceDeployment", deployment):
            ecs.stop_service_deployment(serviceDeploymentArn=deployment, stopType="ROLLBACK")
    except AwsRequestFailed as failure:
        if failure.code in ("ConflictException", "ServiceDeploymentNotFoundException"):
            return str(failure)
        raise
    return None
