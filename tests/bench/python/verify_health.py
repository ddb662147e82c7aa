"""Looks once at the deployment of every service, and at the application that they are."""

import time
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

import boto3

import health_check
import services
from failures import AwsRequests, InvalidInput, check

ecs = services.ecs
elb = boto3.client("elbv2")

# From good to bad, so that the worst of several is their maximum.
VERDICTS = (
    "succeeded",
    "inProgress",
    "superseded",
    "stopped",
    "unhealthy",
    "rolledBack",
    "stalled",
)
TRIES = 3
PAUSE_SECONDS = 1
LIMIT_SECONDS = 5


class DeploymentNotFound(Exception):
    pass


def handler(event, context):
    check(event, ("services",), ("rollback", "healthCheckUrl"))
    if not event["services"]:
        raise InvalidInput("`services`: there is none")
    url = event.get("healthCheckUrl")
    if url is not None and not health_check.is_url(url):
        raise InvalidInput(f"`healthCheckUrl`: `{url}` is none that can be asked")
    seen = Seen(event["services"])
    if event.get("rollback"):
        return way_back([verify_rollback(service, seen) for service in event["services"]])
    return verify_release(event["services"], seen, url)


class Seen:
    """What ECS tells of all services in a few calls, however many there are."""

    def __init__(self, wanted):
        self.services = services.describe(wanted)
        self.in_progress = services.in_progress(self.services)
        targets = map(services.target, self.in_progress.values())
        self.task_definitions = services.task_definitions(filter(None, targets))

    def current(self, service):
        """The deployment in progress, where it brings the revision of the release."""
        deployment = self.in_progress.get(service["service"])
        if deployment is None:
            return None
        revision = self.task_definitions.get(services.target(deployment))
        return deployment if revision == service["taskDefinition"] else None

    def tasks(self, service):
        described = self.services.get(service["service"], {})
        for deployment in described.get("deployments", []):
            if deployment["status"] == "PRIMARY":
                return deployment
        return None


def verify_release(wanted, seen, url):
    verdicts = []
    is_over = False
    for service, found in zip(wanted, find(wanted, seen)):
        if found is None:
            raise not_found(service)
        detail, newer = found
        is_over = is_over or newer is not None
        verdict, reason = judge(detail, newer, service, seen.tasks(service))
        verdicts.append(health(service, verdict, detail["status"], reason, alarms_of(detail)))
    result = release(verdicts)
    if result["verdict"] != "succeeded" or is_over:
        return result
    described = (seen.services.get(service["service"]) for service in wanted)
    lacking = lacking_targets([service for service in described if service])
    if lacking:
        return {**result, "verdict": "inProgress", "cause": " ".join(lacking)}
    problem = url and failing(url)
    if problem:
        return {**result, "verdict": "unhealthy", "cause": problem}
    return result


def health(service, verdict, status, reason, alarms=()):
    return {
        "service": service["service"],
        "verdict": verdict,
        "status": status,
        "reason": reason,
        "alarms": list(alarms),
    }


def alarms_of(deployment):
    """Those by which ECS ended the deployment."""
    alarms = deployment.get("alarms", {})
    return alarms.get("triggeredAlarmNames", []) if alarms.get("status") == "TRIGGERED" else []


def not_found(service):
    return DeploymentNotFound(f"{service['service']} has no deployment of {service['taskDefinition']}")


def find(wanted, seen):
    """For each service its newest deployment with the release's revision, and the one after it."""
    past = {
        service["service"]: find_in_history(service)
        for service in wanted
        if seen.current(service) is None
    }
    details = services.describe_deployments(found[0] for found in past.values() if found)
    for service in wanted:
        current = seen.current(service)
        if current is not None:
            yield current, None
            continue
        arn, newer = past[service["service"]] or (None, None)
        yield (details[arn], newer) if arn in details else None


def find_in_history(service):
    history = newest_first(service)
    for start in range(0, len(history), services.DEPLOYMENTS):
        batch = history[start : start + services.DEPLOYMENTS]
        revisions = services.task_definitions(
            deployment["targetServiceRevisionArn"] for deployment in batch
        )
        for deployment in batch:
            if revisions.get(deployment["targetServiceRevisionArn"]) == service["taskDefinition"]:
                arn = deployment["serviceDeploymentArn"]
                newest = history[0]["serviceDeploymentArn"]
                return arn, newest if newest != arn else None
    return None


def newest_first(service):
    history = []
    with AwsRequests("ecs:ListServiceDeployments", service["service"]):
        request = {"cluster": service["cluster"], "service": service["service"], "maxResults": 100}
        while True:
            page = ecs.list_service_deployments(**request)
            history += page["serviceDeployments"]
            if not page.get("nextToken"):
                break
            request["nextToken"] = page["nextToken"]
    return sorted(history, key=lambda deployment: deployment["createdAt"], reverse=True)


def verify_rollback(service, seen):
    """Whether the service is back: what counts is that it is at rest with its revision."""
    deployment = seen.in_progress.get(service["service"])
    if deployment is None:
        rest = at_rest(seen.services.get(service["service"], {}), service)
        if rest is not None:
            return health(service, *rest)
        deployment = last_way_back(service)
    verdict, reason = judge(deployment, None, service, None)
    reason = f"On the way back: {reason}"
    return health(service, verdict, deployment["status"], reason, alarms_of(deployment))


def at_rest(described, service):
    """Verdict, status and reason; None for a service that has another revision."""
    revision = service["taskDefinition"]
    if described.get("taskDefinition") != revision:
        return None
    rollouts = [deployment.get("rolloutState") for deployment in described["deployments"]]
    state = (rollouts[0] if len(rollouts) == 1 else None) or "IN_PROGRESS"
    running, desired = described["runningCount"], described["desiredCount"]
    if state == "COMPLETED" and running == desired:
        return "succeeded", state, f"All {running} tasks run {revision} again."
    verdict = "stalled" if state == "FAILED" else "inProgress"
    return verdict, state, f"The way back is {state} with {running} of {desired} tasks."


def last_way_back(service):
    history = newest_first(service)
    if not history:
        raise not_found(service)
    arn = history[0]["serviceDeploymentArn"]
    deployment = services.describe_deployments([arn]).get(arn)
    if deployment is None:
        raise not_found(service)
    target = services.target(deployment)
    revision = services.task_definitions([target] if target else []).get(target)
    if revision != service["taskDefinition"] and deployment["status"] != "ROLLBACK_FAILED":
        raise not_found(service)
    return deployment


def lacking_targets(described):
    """A sentence for every target group that lacks healthy targets.

    A service that shifts traffic has two groups, of which one has to have the targets.
    """
    wanted = {}
    for service in described:
        for balancer in service.get("loadBalancers", []):
            alternate = balancer.get("advancedConfiguration", {}).get("alternateTargetGroupArn")
            groups = tuple(sorted(filter(None, (balancer.get("targetGroupArn"), alternate))))
            if groups:
                wanted[groups] = wanted.get(groups, 0) + service["desiredCount"]
    lacking = []
    for groups, number in sorted(wanted.items()):
        most = 0
        for group in groups:
            most = max(most, healthy(group))
            if most >= number:
                break
        if most < number:
            lacking.append(f"{most} of {number} targets of {' and '.join(groups)} are healthy.")
    return lacking


def healthy(group):
    with AwsRequests("elasticloadbalancing:DescribeTargetHealth", group):
        answer = elb.describe_target_health(TargetGroupArn=group)
    states = [target["TargetHealth"]["State"] for target in answer["TargetHealthDescriptions"]]
    return states.count("healthy")


class NoRedirects(HTTPRedirectHandler):
    """A redirection is an answer as any other."""

    def redirect_request(self, *_):
        return None


def failing(url):
    """A sentence where the URL does not answer a GET with 2xx."""
    opener = build_opener(NoRedirects)
    request = Request(url, headers={"User-Agent": "bluegreen"})
    for attempt in range(TRIES):
        if attempt:
            time.sleep(PAUSE_SECONDS)
        try:
            with opener.open(request, timeout=LIMIT_SECONDS):
                return None
        except HTTPError as error:
            problem = f"it answers with status {error.code}"
        except OSError as error:
            problem = str(error)
    return f"The health check {url} failed {TRIES} times, at last because {problem}."


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


MONITORS = ("deploymentCircuitBreaker", "alarms")


def is_triggered(detail, monitor):
    return detail.get(monitor, {}).get("status") == "TRIGGERED"


def has_failed(detail):
    return any(is_triggered(detail, monitor) for monitor in MONITORS)


def can_roll_back(detail):
    """Where rollback is configured for what ended the deployment and there is a revision to go to."""
    if "rollback" in detail:
        return True
    configuration = detail.get("deploymentConfiguration")
    configured = configuration is None or any(
        configuration.get(monitor, {}).get("rollback") and is_triggered(detail, monitor)
        for monitor in MONITORS
    )
    return configured and bool(detail.get("sourceServiceRevisions"))


def release(healths):
    verdict = worst(healths)
    if VERDICTS.index(verdict) > VERDICTS.index("superseded"):
        return whole(verdict, healths)
    return way_back(healths)


def way_back(healths):
    is_undecided = any(one["verdict"] == "inProgress" for one in healths)
    return whole("inProgress" if is_undecided else worst(healths), healths)


def worst(healths):
    return max((one["verdict"] for one in healths), key=VERDICTS.index)


def whole(verdict, healths):
    cause = " ".join(
        f"Service {one['service']}: {one['reason']}"
        for one in healths
        if VERDICTS.index(one["verdict"]) >= VERDICTS.index(verdict)
    )
    return {"verdict": verdict, "cause": cause, "services": healths}
