"""Waits for ECS's verdict on every service, and looks at the application that they are."""

import time
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

import alarms
import health_check
import services
import table
import waits
from clients import client
from failures import AwsRequestFailed, AwsRequests, InvalidInput

ecs = services.ecs
elb = client("elbv2")

# From good to bad, so that the worst of several is their maximum.
VERDICTS = (
    "succeeded",
    "inProgress",
    "superseded",
    "stopped",
    "unhealthy",
    "again",
    "rolledBack",
    "stalled",
)
UNTOLD_MS = 60_000
YOUNG_MS = 500
STALE_MS = 10_000
RECENT_MS = 24 * 60 * 60 * 1000
MINUTE_MS = 60 * 1000
AWAITS = 10_000
HOOK = "ECS Hook State Change"
ROLLBACKS = 5
TRIES = 3
PAUSE_SECONDS = 1
LIMIT_SECONDS = 5


class DeploymentNotFound(Exception):
    pass


def handler(event, context):
    waits.drive(
        "verify-health",
        event,
        awaited=lambda asked: [service["service"] for service in asked["update"]["services"]],
        told=service_of,
        look=lambda asked: None if is_too_young(event, asked) else look(asked, event),
    )


def is_too_young(event, asked):
    """No deployment that replaces tasks ends so soon after its update."""
    update = asked["update"]
    young = "token" in event and table.now() < update["at"] + YOUNG_MS
    return young and all(one.get("replacesTasks") for one in update["services"])


def service_of(event):
    if event["detail-type"] == "ECS Deployment State Change":
        return event["resources"][0]
    is_hook = event["detail-type"] == HOOK
    return event["detail"].get("serviceArn") if is_hook else None


def look(asked, event):
    """None: there is no final verdict yet."""
    update, url, now = asked["update"], asked.get("healthCheckUrl"), table.now()
    wanted = update["services"]
    if not wanted:
        raise InvalidInput("`update.services`: there is none")
    if url is not None and not health_check.is_url(url):
        raise InvalidInput(f"`healthCheckUrl`: `{url}` is none that can be asked")
    described = services.describe(wanted)
    is_young = now < update["at"] + UNTOLD_MS
    moves = all(is_moving(described.get(one["service"]), one) for one in wanted)
    if event.get("detail-type") != HOOK and is_young and moves:
        return None
    seen = Seen(described)
    seconds = (update["deadline"] - update["at"]) // 1000
    update = {**update, "deadline": deadline(asked, seen, now), "seconds": seconds}
    if asked["rollback"]:
        return after_rollback(update, of_rollback(update, seen, now, is_young), now)
    found = of_release(update, seen, is_young)
    if found["verdict"] == "succeeded":
        verdict, cause = of_application(asked, seen, found["services"], now)
        if verdict is None:
            return None
        found = {**found, "verdict": verdict, "cause": cause or found["cause"]}
    if found["verdict"] == "inProgress":
        return overdue(update, "deployment", found, now)
    return answer(found, now)


def deadline(asked, seen, now):
    """A deployment that pauses at a hook has its time once more afterwards; the record tells of it."""
    update = asked["update"]
    moving = {
        one["service"]: seen.in_progress[one["service"]]
        for one in update["services"]
        if one["service"] in seen.in_progress
    }
    if not any(any(pauses(deployment)) for deployment in moving.values()):
        return update["deadline"]
    waiting = [
        (service, deployment, hook)
        for service, deployment in moving.items()
        for hook in pauses(deployment)
        if hook["status"] == "AWAITING_ACTION"
    ]
    text = " ".join(f"Service {name}: {sentence(*pause)}" for name, *pause in waiting)[:AWAITS]
    noted = note(asked, text or None, now)
    begins = noted
    if waiting:
        begins = max(int(hook["expiresAt"].timestamp() * 1000) for *_, hook in waiting)
    time = update["deadline"] - update["at"]
    return max(update["deadline"], (begins or update["at"]) + time)


def pauses(deployment):
    hooks = deployment.get("lifecycleHookDetails", [])
    return [hook for hook in hooks if hook.get("targetType") == "PAUSE"]


def sentence(deployment, hook):
    arn, hook_id = deployment["serviceDeploymentArn"], hook["hookId"]
    command = "aws ecs continue-service-deployment --action CONTINUE"
    return f"{command} --service-deployment-arn {arn} --hook-id {hook_id}: by {hook['expiresAt']}."


def note(asked, text, now):
    """Since when the deployments go on again."""
    record = asked.get("record") and table.record(asked["stack"], asked["record"])
    if not record or record.get("awaits") == text:
        return (record or {}).get("resumedAt")
    try:
        table.awaits(asked["stack"], asked["record"], asked["execution"], text)
    except (AwsRequestFailed, table.ExecutionRedriven) as failure:
        print(failure)
    return now


def answer(found, now, verdict=None):
    return {"verdict": verdict or found["verdict"], "cause": found["cause"], "at": now}


def overdue(update, what, found, now):
    if now <= update["deadline"]:
        return None
    cause = f"The {what} was not finished within {update['seconds']} seconds. {found['cause']}"
    return answer({**found, "cause": cause}, now, "stalled")


class Seen:
    """What ECS tells of all services in a few calls, however many there are."""

    def __init__(self, described):
        self.services = described
        self.in_progress, self.task_definitions = services.seen(described)

    def current(self, service):
        """The deployment in progress, where it brings the revision of the release."""
        deployment = self.in_progress.get(service["service"])
        if deployment is None:
            return None
        revision = self.task_definitions.get(services.target(deployment))
        return deployment if revision == service["taskDefinition"] else None

    def has_moved(self, service):
        primary = primary_of(self.services.get(service["service"]))
        done = service["service"] not in self.in_progress
        return done and has_rollout(primary, service, "COMPLETED")


def primary_of(described):
    deployments = (described or {}).get("deployments", [])
    return next((one for one in deployments if one["status"] == "PRIMARY"), None)


def has_rollout(primary, wanted, state):
    seen = primary and (primary["taskDefinition"], primary.get("rolloutState"))
    return seen == (wanted["taskDefinition"], state)


def is_moving(described, wanted):
    has_deployment = "currentServiceDeployment" in (described or {})
    has_failed = (primary_of(described) or {}).get("failedTasks", 0) > 0
    return has_deployment and not has_failed and has_rollout(primary_of(described), wanted, "IN_PROGRESS")


def of_release(update, seen, is_young):
    """What is done is asked about last, if at all."""
    moved = [one for one in update["services"] if seen.has_moved(one)]
    others = [one for one in update["services"] if one not in moved]
    healths = []
    for group in (others, moved):
        healths += judge_all(group, seen, update["at"], is_young)
        if any(is_failure(one) or one["verdict"] == "inProgress" for one in healths):
            break
    if any(map(is_failure, healths)):
        return whole(worst(healths), healths)
    return settled(healths)


def judge_all(wanted, seen, at, is_young):
    for service, found in zip(wanted, find(wanted, seen, at)):
        if found is None:
            yield untold(service, is_young)
            continue
        detail, newer = found
        described = seen.services.get(service["service"])
        failed = too_many_failures(described, service, detail)
        verdict, reason = failed or judge(detail, newer, service, described)
        one = health(service, verdict, reason, alarms_of(detail), newer is not None)
        yield {**one, "finishedAt": detail.get("finishedAt")}


def too_many_failures(described, service, detail):
    """Where traffic is shifted ECS's circuit breaker may not act."""
    configuration = detail.get("deploymentConfiguration", {})
    primary = primary_of(described)
    if detail["status"] not in ("PENDING", "IN_PROGRESS") or has_failed(detail) or primary is None:
        return None
    is_shifted = configuration.get("strategy", "ROLLING") != "ROLLING"
    if not is_shifted or primary["taskDefinition"] != service["taskDefinition"]:
        return None
    failed, most = primary.get("failedTasks", 0), threshold(configuration, described)
    return ("stalled", f"{failed} tasks failed, of {most}.") if failed >= most else None


def threshold(configuration, described):
    breaker = configuration.get("deploymentCircuitBreaker", {})
    configured = breaker.get("thresholdConfiguration", {"type": "BOUNDED_PERCENT", "value": 50})
    part = -(-described["desiredCount"] * configured["value"] // 100)
    if configured["type"] == "COUNT":
        return max(configured["value"], 1)
    return max(part, 1) if configured["type"] == "UNBOUNDED_PERCENT" else min(max(part, 3), 200)


def of_application(asked, seen, healths, now):
    """Verdict and cause, by what ECS does not look at; None: targets may yet become healthy."""
    is_over = any(one["isOver"] for one in healths)
    wanted = (seen.services.get(one["service"]) for one in asked["update"]["services"])
    described = [service for service in wanted if service]
    lacking = [] if is_over else lacking_targets(described)
    slow = " ".join(lacking)
    if lacking and now <= targets_have_until(asked, healths):
        return None, slow
    in_alarm = alarms.in_alarm(asked.get("alarms", []))
    if in_alarm:
        return "unhealthy", f"These alarms are in ALARM: {', '.join(in_alarm)}."
    url = asked.get("healthCheckUrl")
    if url and not is_over and any(service["desiredCount"] for service in described):
        problem = failing(url)
        if problem:
            return "unhealthy", problem
    return "succeeded", slow


def targets_have_until(asked, healths):
    finished = [one["finishedAt"] for one in healths if one.get("finishedAt")]
    at = int(max(finished).timestamp() * 1000) if finished else asked["update"]["deadline"]
    return at + asked.get("targetHealthMinutes", 10) * MINUTE_MS


def health(service, verdict, reason, alarms=(), is_over=False):
    return {
        "service": service["service"],
        "verdict": verdict,
        "reason": reason,
        "alarms": list(alarms),
        "isOver": is_over,
    }


def alarms_of(deployment):
    """Those by which ECS ended the deployment."""
    told = deployment.get("alarms", {})
    return told.get("triggeredAlarmNames", []) if told.get("status") == "TRIGGERED" else []


def untold(service, is_young):
    problem = f"{service['service']} has no deployment of {service['taskDefinition']}"
    if not is_young:
        raise DeploymentNotFound(problem)
    return health(service, "inProgress", problem)


def find(wanted, seen, at):
    """For each service its newest deployment with the release's revision, and the one after it."""
    past = {
        service["service"]: find_in_history(service, seen, at - RECENT_MS)
        or find_in_history(service, seen)
        for service in wanted
        if seen.current(service) is None
    }
    # There is nothing more that the details of a successful one could tell.
    details = {brief["serviceDeploymentArn"]: brief for brief, _ in filter(None, past.values())}
    untold = [arn for arn, brief in details.items() if brief["status"] != "SUCCESSFUL"]
    details.update(services.describe_deployments(untold))
    for service in wanted:
        current = seen.current(service)
        if current is not None:
            yield current, None
            continue
        found = past[service["service"]]
        yield (details[found[0]["serviceDeploymentArn"]], found[1]) if found else None


def find_in_history(service, seen, since=None):
    history = newest_first(service, since)
    newest = history[0]["targetServiceRevisionArn"] if history else None
    if seen.task_definitions.get(newest) == service["taskDefinition"]:
        return history[0], None
    for start in range(0, len(history), services.DEPLOYMENTS):
        batch = history[start : start + services.DEPLOYMENTS]
        revisions = services.task_definitions(
            deployment["targetServiceRevisionArn"] for deployment in batch
        )
        for deployment in batch:
            if revisions.get(deployment["targetServiceRevisionArn"]) == service["taskDefinition"]:
                newest = history[0]["serviceDeploymentArn"]
                is_newest = newest == deployment["serviceDeploymentArn"]
                return deployment, None if is_newest else newest
    return None


def newest_first(service, since=None):
    history = []
    with AwsRequests("ecs:ListServiceDeployments", service["service"]):
        request = {"cluster": service["cluster"], "service": service["service"], "maxResults": 100}
        if since is not None:
            request["createdAt"] = {"after": since / 1000}
        while True:
            page = ecs.list_service_deployments(**request)
            history += page["serviceDeployments"]
            if not page.get("nextToken"):
                break
            request["nextToken"] = page["nextToken"]
    return sorted(history, key=lambda deployment: deployment["createdAt"], reverse=True)


def of_rollback(update, seen, now, is_young):
    """What counts is that every service is at rest with its revision."""
    healths, elsewhere = [], []
    for service in update["services"]:
        told = told_by_now(service, seen)
        (healths if told else elsewhere).append(told or service)
    undecided = any(one["verdict"] == "inProgress" for one in healths)
    if now > update["deadline"] or not undecided:
        healths += [last_rollback(service, update["at"], is_young) for service in elsewhere]
    return settled(healths)


def after_rollback(update, found, now):
    """An alarm may make ECS take a rollback back: it is begun again then."""
    if found["verdict"] == "inProgress":
        return overdue(update, "rollback", found, now)
    if found["verdict"] != "rolledBack":
        return answer(found, now)
    if update["tries"] > 1 and now - update["at"] < STALE_MS:
        return None
    by_alarms = all(one["verdict"] == "succeeded" or one["alarms"] for one in found["services"])
    again = by_alarms and update["tries"] < ROLLBACKS and now <= update["deadline"]
    return answer(found, now, "again" if again else None)


def told_by_now(service, seen):
    deployment = seen.in_progress.get(service["service"])
    if deployment is not None:
        verdict, reason = judge(deployment, None, service, None)
        return health(service, verdict, reason, alarms_of(deployment))
    rest = at_rest(seen.services.get(service["service"], {}), service)
    return rest and health(service, *rest)


def at_rest(described, service):
    """Verdict and reason; None for a service that has another revision."""
    revision = service["taskDefinition"]
    if described.get("taskDefinition") != revision:
        return None
    state = services.rollout(described) or "IN_PROGRESS"
    running, desired = described["runningCount"], described["desiredCount"]
    if len(described["deployments"]) > 1:
        running = (primary_of(described) or {}).get("runningCount", 0)
    if state == "COMPLETED" and services.is_enough(described, running, desired):
        return "succeeded", f"All {running} tasks run {revision} again."
    verdict = "stalled" if state == "FAILED" else "inProgress"
    return verdict, f"The rollback is {state} with {running} of {desired} tasks."


def last_rollback(service, at, is_young):
    history = newest_first(service, at - RECENT_MS) or newest_first(service)
    arn = history[0]["serviceDeploymentArn"] if history else None
    deployment = services.describe_deployments([arn]).get(arn) if arn else None
    if deployment is None:
        return untold(service, is_young)
    target = services.target(deployment)
    revision = services.task_definitions([target] if target else []).get(target)
    if revision != service["taskDefinition"] and deployment["status"] != "ROLLBACK_FAILED":
        return untold(service, is_young)
    verdict, reason = judge(deployment, None, service, None)
    return health(service, verdict, reason, alarms_of(deployment))


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
                enough = services.enough_tasks(service, service["desiredCount"])
                wanted[groups] = wanted.get(groups, 0) + enough
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


def judge(detail, newer, service, described):
    status = detail["status"]
    if status == "SUCCESSFUL":
        return judge_complete(newer, service, described)
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


def judge_complete(newer, service, described):
    if newer:
        return "succeeded", f"The deployment was completed; {newer} has begun since."
    tasks = primary_of(described)
    if tasks is None or tasks["taskDefinition"] != service["taskDefinition"]:
        return "inProgress", "The deployment is complete, but the service runs another revision."
    running, desired = tasks["runningCount"], tasks["desiredCount"]
    if services.is_enough(described, running, desired):
        return "succeeded", f"The deployment is complete and {running} tasks run it."
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


def is_failure(one):
    return VERDICTS.index(one["verdict"]) > VERDICTS.index("superseded")


def settled(healths):
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
