"""Writes what serves now into the table and into the stack's image parameter."""

import time

import table
from clients import client
from failures import AwsRequestFailed, AwsRequests, InvalidInput, check

ssm = client("ssm")

PAUSES_SECONDS = (1, 2)


def handler(event, context):
    check(event, ("plan", "execution", "update", "target", "rolledBack"))
    plan, target = event["plan"], event["target"]
    if target and not event["rolledBack"]:
        raise InvalidInput("`rolledBack`: it is null after a rollback")
    if target and target["requested"] and not (target["release"] or target["first"]):
        raise InvalidInput("`target.release`: it is null after a rollback")
    stack, call = plan["release"]["stack"], table.call_of(context)
    with table.finishing(stack, call, only_after=AwsRequestFailed):
        serves(event, table.now(), call)
    with table.finishing(stack, call):
        unwritten = write_image(plan, image_of(plan, target))
    post_deploy = None
    if not unwritten and not target and event["update"]:
        post_deploy = command(plan["postDeploy"], event["update"])
    return {"postDeploy": post_deploy, "unwritten": unwritten}


def serves(event, now, call):
    plan, execution, target = event["plan"], event["execution"], event["target"]
    release, update = plan["release"], event["rolledBack"] or event["update"]
    stack, repository = release["stack"], release["repository"]
    services = update and table.compact(
        [
            {key: one[key] for key in ("cluster", "service", "taskDefinition")}
            for one in update["services"]
        ]
    )
    current = {
        "currentRecord": release["record"],
        "currentAction": release["action"],
        "currentFrom": update and update["at"],
        "currentFinished": now,
    }
    succeeded = {
        "verdict": "succeeded",
        "services": services,
        "finishedAt": table.rfc3339(now),
    }

    def decide(turn):
        of_turn = table.alone(turn, stack, call)
        of_record = table.Update(stack, release["record"])
        if target is None:
            deployed = f"deployed:{repository}"
            newest = max(release["order"], turn.get(deployed, ""))
            of_turn.set_all({deployed: newest})
            if update is None:
                return [of_turn]
            of_turn.set_all({f"verified:{repository}": release["digest"], **current})
            return [of_turn, of_record.set(**succeeded, image=release["image"])]
        if not target["requested"]:
            return [of_turn.set(rolledBackAt=now), of_record.set(services=services)]
        good = target["release"] or {**target["first"], "record": None, "digest": "none"}
        of_turn.set_all({f"verified:{good['repository']}": good["digest"], **current})
        table.restoring(of_record.set(**succeeded), target)
        return [of_turn.set(rolledBackAt=now), of_record, *take_back(turn, release, good)]

    table.change_own(stack, execution, decide)


def take_back(turn, release, good):
    """The release that served until now is rolled back, if it was good."""
    key = turn.get("currentRecord")
    former = table.record(release["stack"], key) if key else None
    if not former or key in (good["record"], release["record"]):
        return []
    if (former["verdict"], former["repository"]) != ("succeeded", good["repository"]):
        return []
    update = table.Update(release["stack"], key, {"verdict": "succeeded"})
    by = f"the alarm {release['alarm']['name']}" if release["alarm"] else release["startedBy"]
    cause = f"It was taken back by {by}.\n{former.get('cause', '')}"
    return [update.set(verdict="rolledBack", rolledBackBy=release["record"], cause=cause)]


def image_of(plan, target):
    """The image that serves; None: nobody knows which it is."""
    if target:
        return target["serving"]
    return {"repository": plan["release"]["repository"], "image": plan["release"]["image"]}


def write_image(plan, serving):
    """None, or why the parameter could not be written."""
    name = serving and plan["imageParameters"].get(serving["repository"])
    if not name:
        return None
    for pause in (*PAUSES_SECONDS, None):
        try:
            with AwsRequests("ssm:PutParameter", name):
                ssm.put_parameter(
                    Name=name, Value=serving["image"], Type="String", Overwrite=True
                )
            return None
        except AwsRequestFailed as failure:
            is_final = failure.refused and failure.code != "TooManyUpdates"
            if is_final or pause is None:
                return {"parameter": name, "serving": serving, "reason": str(failure)}
            time.sleep(pause)


def command(planned, update):
    """With the revision that its service has since."""
    if planned is None:
        return None
    revisions = {one["service"]: one["taskDefinition"] for one in update["services"]}
    revision = revisions.get(planned["service"], planned["taskDefinition"])
    return {**planned, "taskDefinition": revision}
