"""Begins the rollback of every service of a stack."""

import time

import services
import table
import task_definition
from failures import AwsRequestFailed, AwsRequests, InvalidInput, check

STALE_SECONDS = 3
LEAVE, STOP, UPDATE, AGAIN = range(4)


class RollbackRefused(Exception):
    pass


def handler(event, context):
    """All services are tried; then a failure is told, one that may pass before a refusal."""
    required = ("release", "execution", "target", "before", "earlier", "deploymentSeconds")
    check(event, required)
    wanted = event["target"]["services"]
    if not wanted:
        raise InvalidInput("`target.services`: there is none")
    call = table.call_of(context)
    table.begin(
        event["release"],
        event["execution"],
        "rollback",
        call,
        before=event["before"],
        services=wanted,
        target=event["target"] if event["target"]["requested"] else None,
    )
    with table.finishing(event["release"]["stack"], call):
        answers = roll_all_back(wanted, event["release"]["stack"], event["execution"]["id"])
    return done_with(event, answers)


def roll_all_back(wanted, stack, execution):
    seen = Seen(wanted)
    if any(seen.is_active(one) and seen.step(one) == LEAVE for one in wanted):
        time.sleep(STALE_SECONDS)
        seen = Seen(wanted)
    answers, failures = [], []
    for one in wanted:
        try:
            answers.append({**one, **back(one, seen, stack, execution)})
        except AwsRequestFailed as failure:
            failures.append(failure)
    if failures:
        done = ", ".join(answer["service"] for answer in answers) or "none"
        passing = next((failure for failure in failures if not failure.refused), None)
        if passing:
            raise passing
        raise RollbackRefused(f"{failures[0]} Services that were rolled back: {done}.")
    return answers


def done_with(event, answers):
    earlier = event["earlier"] or {"services": [], "tries": 0}
    before = {one["service"]: one["previousTaskDefinition"] for one in earlier["services"]}
    for answer in answers:
        previous = before.get(answer["service"], answer["previousTaskDefinition"])
        answer["previousTaskDefinition"] = previous
        answer["replacesTasks"] = False
    at = table.now()
    deadline = at + event["deploymentSeconds"] * 1000
    return {"services": answers, "at": at, "deadline": deadline, "tries": earlier["tries"] + 1}


class Seen:
    """The services as they were when the call began."""

    def __init__(self, wanted):
        self.services = services.describe(wanted)
        self.deployments, self.task_definitions = services.seen(self.services)

    def is_active(self, wanted):
        service = self.services.get(wanted["service"])
        return service is not None and service.get("status", "ACTIVE") == "ACTIVE"

    def step(self, wanted):
        revision = wanted["taskDefinition"]
        service = self.services[wanted["service"]]
        has_it = service.get("taskDefinition") == revision
        update = AGAIN if has_it else UPDATE
        deployment = self.deployments.get(wanted["service"])
        if deployment is None:
            return LEAVE if has_it and services.rollout(service) == "COMPLETED" else update
        status = deployment["status"]
        is_back = self.task_definitions.get(services.goes_back_to(deployment)) == revision
        is_forward = self.task_definitions.get(services.target(deployment)) == revision
        if status in ("ROLLBACK_REQUESTED", "ROLLBACK_IN_PROGRESS") and is_back:
            return LEAVE
        if status in ("PENDING", "IN_PROGRESS") and is_forward:
            return LEAVE
        if status in ("PENDING", "IN_PROGRESS") and is_back:
            return STOP
        return update

    def previous(self, wanted):
        """The revision that the service had, or was about to get."""
        deployment = self.deployments.get(wanted["service"], {})
        revision = self.task_definitions.get(services.target(deployment))
        return revision or self.services[wanted["service"]].get("taskDefinition", "")


def back(wanted, seen, stack, execution):
    """The revision that the service is to have, and the one that it had."""
    try:
        begin(wanted, seen)
    except AwsRequestFailed as failure:
        if failure.code != "ClientException" or "inactive" not in str(failure):
            raise
        ecs = services.ecs
        family = task_definition.family_of(ecs, wanted["taskDefinition"])
        revision = task_definition.register_again(ecs, family, stack, execution)
        wanted = {**wanted, "taskDefinition": revision}
        update(wanted, {})
    previous = seen.previous(wanted)
    return {"taskDefinition": wanted["taskDefinition"], "previousTaskDefinition": previous}


def begin(wanted, seen):
    if not seen.is_active(wanted):
        raise AwsRequestFailed(
            "ecs:DescribeServices", wanted["service"], "MISSING", "ECS has no such service", True
        )
    step = seen.step(wanted)
    if step == STOP:
        deployment = seen.deployments[wanted["service"]]["serviceDeploymentArn"]
        if services.roll_back(deployment):
            update(wanted, {})
    elif step == UPDATE:
        update(wanted, {})
    elif step == AGAIN:
        update(wanted, {"forceNewDeployment": True})


def update(wanted, force):
    with AwsRequests("ecs:UpdateService", wanted["service"]):
        services.ecs.update_service(**wanted, **force)
