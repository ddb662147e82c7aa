"""From a revision of a task definition to the next one, which pins the image."""

import re

from failures import AwsRequestFailed, AwsRequests

STACK_TAG = "bluegreen:stack"
EXECUTION_TAG = "bluegreen:execution"
IMAGE = re.compile(
    r"(?P<account>\d{12})\.dkr[.-]ecr(?:-fips)?\.(?P<region>[^./]+)\.[^/]+/"
    r"(?P<repository>[^:@]+)(?::(?P<tag>[^@]+))?(?:@(?P<digest>.+))?"
)
# What ECS adds when it registers, and takes back from nobody.
MADE_BY_ECS = (
    "compatibilities",
    "deleteRequestedAt",
    "deregisteredAt",
    "registeredAt",
    "registeredBy",
    "requiresAttributes",
    "revision",
    "status",
    "taskDefinitionArn",
)

LONGEST_FAMILY = 255
SUFFIXES = {
    "migration": "-bluegreen-migration",
    "postDeploy": "-bluegreen-post-deploy",
    "contract": "-bluegreen-contract",
}


class NothingToPin(Exception):
    pass


def repository(image):
    """Account, region and name of the ECR repository, or None."""
    match = IMAGE.fullmatch(image)
    return match and (match["account"], match["region"], match["repository"])


def describe(ecs, task_definition):
    with AwsRequests("ecs:DescribeTaskDefinition", task_definition):
        return ecs.describe_task_definition(taskDefinition=task_definition, include=["TAGS"])


def family_of(ecs, revision):
    """A revision, and the latest of its family where that is another one."""
    newest = latest(ecs, revision.split("/")[-1].rsplit(":", 1)[0])
    if newest and arn(newest) == revision:
        return newest, None
    return describe(ecs, revision), newest


def are_pinned_to(containers, image):
    images = [
        container["image"]
        for container in containers
        if repository(container["image"]) == repository(image)
    ]
    return bool(images) and all(candidate == image for candidate in images)


def register_pinned(ecs, family, image, stack, execution):
    """Registers the revision with the image pinned, unless the latest one is it; its ARN."""
    described, newest = family
    wanted = pinned(described, image, stack, execution)
    return register(ecs, wanted, newest if execution else None)


def register_again(ecs, family, stack, execution):
    """Registers what a revision runs once more, unless the latest one is it; its ARN."""
    described, newest = family
    wanted = registration(described)
    wanted["tags"] = marked(wanted.get("tags", []), stack, execution)
    return register(ecs, wanted, newest)


def one_off_family(family, purpose):
    suffix = SUFFIXES[purpose]
    return family[: LONGEST_FAMILY - len(suffix)] + suffix


def register_one_off(ecs, described, command, image, stack, execution, again):
    """Registers what a one-off task runs, in a family of its own; its ARN."""
    wanted = pinned(described, image, stack, execution)
    wanted["family"] = one_off_family(wanted["family"], command["purpose"])
    size = {key: str(value) for key, value in command.get("size", {}).items() if value}
    wanted.update(size)
    for one in wanted["containerDefinitions"]:
        one["essential"] = one["name"] == command["container"]
        if wanted.get("networkMode") != "awsvpc":
            one.pop("portMappings", None)
        if one["essential"]:
            one.pop("restartPolicy", None)
            if "cpu" in size:
                one["cpu"] = 0
            if "memory" in size:
                one.pop("memory", None)
                one.pop("memoryReservation", None)
    return register(ecs, wanted, latest(ecs, wanted["family"]) if again else None)


def pinned(described, image, stack, execution):
    wanted = registration(described)
    containers = [dict(container) for container in wanted["containerDefinitions"]]
    own = [c for c in containers if repository(c["image"]) == repository(image)]
    if not own:
        raise NothingToPin(f"no container has an image of the repository of {image}")
    for container in own:
        container["image"] = image
    wanted["containerDefinitions"] = containers
    wanted["tags"] = marked(wanted.get("tags", []), stack, execution)
    return wanted


def register(ecs, wanted, newest):
    if newest and registration(newest) == wanted:
        return arn(newest)
    with AwsRequests("ecs:RegisterTaskDefinition", wanted["family"]):
        registered = ecs.register_task_definition(**wanted)
    return arn(registered)


def latest(ecs, family):
    try:
        return describe(ecs, family)
    except AwsRequestFailed as failure:
        if failure.code == "ClientException":
            return None
        raise


def arn(described):
    return described["taskDefinition"]["taskDefinitionArn"]


def registration(described):
    definition = described["taskDefinition"]
    request = {key: value for key, value in definition.items() if key not in MADE_BY_ECS}
    tags = [tag for tag in described.get("tags", []) if not tag["key"].lower().startswith("aws:")]
    if tags:
        request["tags"] = sorted(tags, key=lambda tag: tag["key"])
    return request


def marked(tags, stack, execution):
    marks = {STACK_TAG: stack}
    if execution:
        marks[EXECUTION_TAG] = execution
    kept = [tag for tag in tags if tag["key"] not in (STACK_TAG, EXECUTION_TAG)]
    kept += [{"key": key, "value": value} for key, value in marks.items()]
    return sorted(kept, key=lambda tag: tag["key"])


def log_location(definition, container, task_arn):
    containers = definition["containerDefinitions"]
    configuration = next(
        (c.get("logConfiguration") for c in containers if c["name"] == container), None
    )
    if not configuration or configuration["logDriver"] != "awslogs":
        return None
    options = configuration.get("options", {})
    if "awslogs-group" not in options or "awslogs-stream-prefix" not in options:
        return None
    task_id = task_arn.rsplit("/", 1)[-1]
    return {
        "group": options["awslogs-group"],
        "stream": f"{options['awslogs-stream-prefix']}/{container}/{task_id}",
        "region": options.get("awslogs-region") or task_arn.split(":")[3],
    }
