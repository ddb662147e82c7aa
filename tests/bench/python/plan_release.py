"""Decides what a release will do, or that there is nothing to do. Only reads."""

import json
import os
import re

import alarms
import health_check
import images
import table
import task_definition
from clients import client
from failures import AwsRequestFailed, AwsRequests, InvalidInput, check
from services import rollout

cloudformation = client("cloudformation")
ecr = client("ecr")
ecs = client("ecs")

SERVICES = 10
SERVICE_ARN = re.compile(r"arn:([^:]+):ecs:([^:]+):([^:]+):service/(?:([^/]+)/)?[^/]+")
FORMS = {
    "stack": re.compile(r"[A-Za-z][A-Za-z0-9-]{0,127}"),
    "tag": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"),
    "digest": re.compile(r"sha256:[0-9a-f]{64}"),
    "repository": re.compile(r".+"),
    "pushedAt": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"),
    "startedBy": re.compile(r"(?s:.{1,128})"),
    "to": re.compile(r".+"),
}
# What the input of each action may have beside the stack.
FIELDS = {
    "deploy": (
        "tag",
        "digest",
        "repository",
        "migrate",
        "force",
        "ignoreAlarms",
        "pushedAt",
        "startedBy",
    ),
    "rollback": ("to", "force", "startedBy", "alarm"),
}
DAY = 24 * 3600
# The stack's output for each limit, with its lowest and its highest number.
LIMITS = {
    "migrationSeconds": ("MigrationTimeoutSeconds", 5, DAY),
    "deploymentSeconds": ("DeploymentTimeoutSeconds", 5, 2 * DAY),
    "postDeploySeconds": ("PostDeployTimeoutSeconds", 5, DAY),
    "rollbackWindowSeconds": ("RollbackWindowSeconds", 0, 7 * DAY),
    "targetHealthMinutes": ("TargetHealthMinutes", 0, 720),
}
# What the pipeline allows where the stack says nothing.
DEFAULTS = {
    "migrationSeconds": int(os.environ["MIGRATION_TIMEOUT_SECONDS"]),
    "deploymentSeconds": int(os.environ["DEPLOYMENT_TIMEOUT_SECONDS"]),
    "postDeploySeconds": int(os.environ["MIGRATION_TIMEOUT_SECONDS"]),
    "rollbackWindowSeconds": int(os.environ["ROLLBACK_WINDOW_SECONDS"]),
    "targetHealthMinutes": int(os.environ["TARGET_HEALTH_MINUTES"]),
}
COMMANDS = {"migration": "MigrationCommand", "postDeploy": "PostDeployCommand"}
SIZES = {
    "cpu": ("MigrationCpu", 128, 196_608),
    "memory": ("MigrationMemory", 4, 4_194_304),
}
TO_THE_SECOND = 19


class StackNotFound(Exception):
    pass


class StackBusy(Exception):
    pass


class NoServices(Exception):
    pass


class RepositoryNotLinked(Exception):
    pass


class AmbiguousRepository(Exception):
    pass


class InvalidStackOutput(Exception):
    pass


class UnsupportedDeploymentController(Exception):
    pass


def handler(event, context):
    check(event, ("request", "execution", "startedAt", "turn", "plan"))
    request = {key: value for key, value in event["request"].items() if value is not None}
    validate(request)
    release = identity(request, event["execution"], event["startedAt"])
    turn, before = event["turn"], event["plan"]
    if turn is None:
        plan = survey(request, release, [], [])
        return plan if plan["ending"] else {**plan, **guarded(plan)}
    if before is None:
        raise InvalidInput("`plan`: the plan of before the turn is missing")
    if not turn["taken"]:
        superseded = {"verdict": "superseded", "by": turn["supersededBy"]}
        ending = before["ending"] or superseded
        return {**before, "action": "end", "ending": ending, "revisions": [], "imageConfigs": []}
    if before["release"]["digest"]:
        request["digest"] = before["release"]["digest"]
    plan = survey(request, release, before["revisions"], before["imageConfigs"])
    return in_turn(plan, turn, request.get("migrate") is True)


def survey(request, release, known, image_configs):
    """What there is to do by stack and account alone."""
    try:
        stack = Stack(request["stack"])
        services = services_of(stack.name, {one["taskDefinition"]: one for one in known})
        if release["action"] == "rollback":
            plan = rollback(stack, services)
        else:
            plan = deploy(request, stack, services, image_configs)
    except (NoServices, RepositoryNotLinked, UnsupportedDeploymentController) as failure:
        if not release["alarm"]:
            raise
        return not_deployed_to(release, str(failure))
    image = plan.pop("image")
    plan["release"] = {**release, **image}
    if images_before := plan.pop("imagesBefore"):
        plan["release"]["imagesBefore"] = images_before
    if release["ignoreAlarms"] and release["action"] == "deploy":
        plan["alarms"] = []
    plan["revisions"] = [service.revision for service in services]
    return plan


def guarded(plan):
    """The end of an alarm that guards no deployment of the services."""
    alarm = plan["release"]["alarm"]
    if alarm is None or alarm["name"] in plan["alarms"]:
        return {}
    return nothing_to_roll_back("guardsNoDeployment")


def nothing_to_roll_back(why):
    return {"action": "end", "ending": {"verdict": "nothingToRollBack", "why": why}}


def in_turn(plan, taken, asked_to_migrate):
    release = plan["release"]
    turn = table.turn(release["stack"])
    if not asked_to_migrate:
        leave_migration_out(plan, turn)
    plan.update(decide(plan, turn, taken["touched"]))
    if plan["action"] in ("migrate", "deploy"):
        names = alarms.in_alarm(plan["alarms"])
        if names:
            raise alarms.AlarmsInAlarm(f"{', '.join(names)} of {release['stack']} are in ALARM")
    if plan["action"] != "settle":
        plan["revisions"], plan["imageConfigs"] = [], []
    if plan["action"] == "verify":
        plan["update"] = as_it_runs(plan)
    return plan


def leave_migration_out(plan, turn):
    """Where the last migration of the stack was the very same."""
    command, migrations = plan["migration"], plan["migrations"]
    last = json.loads(turn.get("migrated", "null"))
    if not command or not migrations or not last:
        return
    own = {key: command[key] for key in ("service", "container", "line")}
    own["repository"] = plan["release"]["repository"]
    own["fingerprint"] = migrations["fingerprint"]
    if last != {**own, "release": last["release"]}:
        return
    migrations["sameAs"], plan["migration"] = last["release"], None
    plan["reason"] += f" It has the same migrations as the release {last['release']}."
    if plan["action"] == "migrate":
        plan["action"] = "deploy"


def decide(plan, turn, touched):
    """Action and ending with the turn in hand."""
    release = plan["release"]
    unguarded = {} if plan["ending"] else guarded(plan)
    if plan["ending"] or unguarded:
        return unguarded
    if "unsettled" in turn:
        return {"action": "settle"}
    if plan["action"] == "rollback":
        window = plan["limits"]["rollbackWindowSeconds"]
        why = release["alarm"] and no_reason(release["alarm"], turn, window)
        return nothing_to_roll_back(why) if why else {}
    repository = release["repository"]
    if release["order"] < turn.get(f"deployed:{repository}", "") and not release["force"]:
        return {"action": "end", "ending": {"verdict": "stale"}}
    verified = turn.get(f"verified:{repository}")
    is_verified = not touched if verified is None else verified == release["digest"]
    if plan["action"] == "verify" and is_verified:
        return {"action": "record", "ending": {"verdict": "nothingToDeploy"}}
    return {}


def no_reason(alarm, turn, window):
    """Why an alarm takes nothing back; None: it does."""
    if "currentRecord" not in turn:
        return "noRelease"
    finished, at = turn["currentFinished"], table.millis_of(alarm["at"])
    if turn["currentAction"] == "rollback" or turn.get("rolledBackAt", 0) >= finished:
        return "justRolledBack"
    if at < turn["currentFrom"]:
        return "beforeTheRelease"
    if at > finished + window * 1000:
        return {"afterTheWindow": {"seconds": window}}
    return None


def as_it_runs(plan):
    at = table.now()
    services = [
        {
            "cluster": planned["cluster"],
            "service": planned["service"],
            "taskDefinition": planned["taskDefinition"],
            "previousTaskDefinition": planned["taskDefinition"],
            "replacesTasks": False,
        }
        for planned in plan["services"]
    ]
    deadline = at + plan["limits"]["deploymentSeconds"] * 1000
    return {"services": services, "at": at, "deadline": deadline, "tries": 1}


def identity(request, execution, started_at):
    """Which release the execution is; its image is not known yet."""
    pushed = min(request.get("pushedAt", started_at)[:TO_THE_SECOND], started_at[:TO_THE_SECOND])
    return {
        "stack": request["stack"],
        "action": request.get("action", "deploy"),
        "repository": None,
        "tag": request.get("tag"),
        "digest": None,
        "image": None,
        "commit": None,
        "commitUrl": None,
        "record": f"release#{started_at}#{execution['id'].rsplit(':', 1)[-1]}",
        "order": f"{pushed}#{started_at}",
        "startedAt": started_at,
        "pushedAt": request.get("pushedAt"),
        "startedBy": request.get("startedBy", "a person"),
        "to": request.get("to"),
        "alarm": request.get("alarm"),
        "force": request.get("force", False),
        "ignoreAlarms": request.get("ignoreAlarms", False),
    }


def not_deployed_to(release, reason):
    return {
        **nothing_to_roll_back({"notDeployedTo": reason}),
        "reason": reason,
        "release": release,
        "imageParameters": {},
        "services": [],
        "migration": None,
        "migrations": None,
        "postDeploy": None,
        "alarms": [],
        "healthCheckUrl": None,
        "limits": {key: DEFAULTS[key] for key in DEFAULTS if key != "postDeploySeconds"},
        "update": None,
        "revisions": [],
        "imageConfigs": [],
    }


def validate(event):
    action = event.get("action", "deploy") if isinstance(event, dict) else "deploy"
    if action not in FIELDS:
        raise InvalidInput(f"`action`: there is no {action}")
    check(event, ("stack",), ("action", *FIELDS[action]))
    if action == "deploy" and "tag" not in event and "digest" not in event:
        raise InvalidInput("one of `tag` and `digest` must be given")
    for key, form in FORMS.items():
        if key in event and not form.fullmatch(event[key]):
            raise InvalidInput(f"`{key}`: `{event[key]}` has not the form of a {key}")
    if "alarm" in event:
        check(event["alarm"], ("name", "at"), where="alarm.")


def deploy(event, stack, services, image_configs):
    linked = linked_repositories(stack.name, services, event.get("repository"))
    if len(linked) > 1:
        raise AmbiguousRepository(f"{stack.name} runs images of {linked}")
    repository = linked[0]
    unit = unit_of(services, linked)
    is_own = owns_commands(stack, services, repository)
    digest, manifest = images.find(repository, event)
    platforms = [service.revision["platform"] for service in unit]
    configs = images.configs(repository, digest, manifest, platforms, image_configs)
    image = unit[0].image(repository, digest)
    behind = [service for service in unit if not service.runs(image)]
    limits = stack.limits()
    migration = post_deploy = None
    if event.get("migrate", is_own):
        if not stack.outputs and stack.status.endswith("_FAILED"):
            raise stack.invalid("MigrationCommand", "CloudFormation tells no outputs of it")
        migration = command_of(
            stack, "migration", unit, repository, configs, limits["migrationSeconds"]
        )
    seconds = limits.pop("postDeploySeconds")
    if is_own:
        post_deploy = command_of(stack, "postDeploy", unit, repository, configs, seconds)
    deploys = behind or (event.get("migrate") is True and migration)
    return {
        "action": ("migrate" if migration else "deploy") if deploys else "verify",
        "reason": f"{len(behind)} of {len(unit)} services of {stack.name} do not run {image} yet.",
        "image": {
            "repository": repository,
            "digest": digest,
            "image": image,
            "commit": configs[0]["commit"],
            "commitUrl": images.commit_url(configs[0]),
        },
        "imageConfigs": configs,
        "migration": migration if deploys else None,
        "migrations": deploys and migration and fingerprint_of(configs) or None,
        "postDeploy": post_deploy,
        "limits": limits,
        **common(stack, unit, linked),
    }


def fingerprint_of(configs):
    fingerprint = images.migrations(configs)
    return fingerprint and {"fingerprint": fingerprint, "sameAs": None}


def rollback(stack, services):
    """Back from whatever the services run now."""
    linked = linked_repositories(stack.name, services, None)
    limits = stack.limits()
    limits.pop("postDeploySeconds")
    return {
        "action": "rollback",
        "reason": f"Stack {stack.name} is to go back to an earlier release.",
        "image": {},
        "imageConfigs": [],
        "migration": None,
        "migrations": None,
        "postDeploy": None,
        "limits": limits,
        **common(stack, unit_of(services, linked), linked),
    }


def common(stack, unit, repositories):
    return {
        "ending": None,
        "imageParameters": image_parameters(stack, unit, repositories),
        "services": [service.planned(repositories) for service in unit],
        "imagesBefore": sorted(
            {image for service in unit for image in service.containers_of(repositories, "image")}
        ),
        "alarms": sorted({alarm for service in unit for alarm in service.alarms}),
        "healthCheckUrl": stack.health_check_url(),
        "update": None,
    }


def owns_commands(stack, services, repository):
    """Whether the commands are this repository's, and not another one's of the stack."""
    wanted = stack.outputs.get("MigrationContainer")
    if not wanted or any(wanted in one.containers_of([repository]) for one in services):
        return True
    others = [one for one in services if not one.containers_of([repository])]
    owners = [own for one in others for named, own in one.ecr_containers() if named["name"] == wanted]
    return not owners or not names_stack(services[0].arn, owners[0], stack.name)


def image_parameters(stack, unit, repositories):
    """By repository, the parameter from which the template takes its image, if it is ours to write."""
    found = {}
    for name, value in stack.stored:
        match = task_definition.IMAGE.fullmatch(value)
        if name.startswith(f"/bluegreen/{stack.name}/") and match and match["repository"] in repositories:
            if any(service.is_beside(match) for service in unit):
                found[match["repository"]] = name
    return found


def unit_of(services, repositories):
    """The services that run images of the repositories. They are released as one."""
    unit = [service for service in services if service.containers_of(repositories)]
    for service in unit:
        service.check_controller()
    return unit


class Stack:
    """A stack that is at rest, with what its outputs say."""

    def __init__(self, name):
        self.name = name
        described = describe_stack(name)
        self.status = described["StackStatus"]
        if self.status.endswith("_IN_PROGRESS"):
            raise StackBusy(f"{name} is {self.status}")
        self.outputs = {
            output["OutputKey"]: output["OutputValue"].strip()
            for output in described.get("Outputs", [])
        }
        self.stored = [
            (parameter["ParameterValue"], parameter["ResolvedValue"])
            for parameter in described.get("Parameters", [])
            if "ResolvedValue" in parameter
        ]

    def invalid(self, output, problem):
        return InvalidStackOutput(f"{output} of {self.name}: {problem}")

    def limits(self):
        own = {limit: self.number(*bounds) for limit, bounds in LIMITS.items()}
        return DEFAULTS | {limit: value for limit, value in own.items() if value is not None}

    def number(self, output, lowest, highest):
        text = self.outputs.get(output)
        if not text:
            return None
        if not re.fullmatch(r"[0-9]+", text) or not lowest <= int(text) <= highest:
            raise self.invalid(output, f"`{text}` is no number that it may have")
        return int(text)

    def health_check_url(self):
        url = self.outputs.get("HealthCheckUrl")
        if url and not health_check.is_url(url):
            raise self.invalid("HealthCheckUrl", f"`{url}` is none that can be asked")
        return url or None


def describe_stack(name):
    try:
        with AwsRequests("cloudformation:DescribeStacks", name):
            return cloudformation.describe_stacks(StackName=name)["Stacks"][0]
    except AwsRequestFailed as failure:
        if failure.code == "ValidationError" and "does not exist" in str(failure):
            raise StackNotFound(f"there is no stack {name}") from failure
        raise


def services_of(stack, known):
    arns = []
    with AwsRequests("cloudformation:ListStackResources", stack):
        for page in cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack):
            arns += [
                resource["PhysicalResourceId"]
                for resource in page["StackResourceSummaries"]
                if resource["ResourceType"] == "AWS::ECS::Service"
                and resource["ResourceStatus"] not in ("DELETE_COMPLETE", "DELETE_SKIPPED")
            ]
    by_cluster = {}
    for arn in sorted(arns):
        by_cluster.setdefault(cluster_of(arn), []).append(arn)
    services = []
    for cluster, names in by_cluster.items():
        for start in range(0, len(names), SERVICES):
            batch = names[start : start + SERVICES]
            with AwsRequests("ecs:DescribeServices", ", ".join(batch)):
                answer = ecs.describe_services(cluster=cluster, services=batch)
            described = {service["serviceArn"]: service for service in answer["services"]}
            services += [Service(described.get(arn), arn, known) for arn in batch]
    return sorted(services, key=lambda service: service.arn)


def revision_of(definition):
    described = task_definition.describe(ecs, definition)
    containers = described["taskDefinition"]["containerDefinitions"]
    return {
        "taskDefinition": task_definition.arn(described),
        "containers": [
            {
                "name": one["name"],
                "image": one["image"],
                **({"entryPoint": one["entryPoint"]} if one.get("entryPoint") else {}),
            }
            for one in containers
        ],
        "platform": images.platform_of(described["taskDefinition"]),
    }


def cluster_of(arn):
    partition, region, account, cluster = SERVICE_ARN.fullmatch(arn).groups()
    return f"arn:{partition}:ecs:{region}:{account}:cluster/{cluster or 'default'}"


class Service:
    """An active service with its current task definition."""

    def __init__(self, described, arn, known):
        if described is None or described["status"] != "ACTIVE":
            raise AwsRequestFailed("ecs:DescribeServices", arn, "MISSING", "ECS has no such service")
        self.arn = arn
        self.cluster = cluster_of(arn)
        self.controller = described.get("deploymentController", {}).get("type", "ECS")
        alarms = described.get("deploymentConfiguration", {}).get("alarms", {})
        self.alarms = alarms.get("alarmNames", []) if alarms.get("enable") else []
        self.is_settled = rollout(described) == "COMPLETED"
        if "taskDefinition" not in described:
            self.check_controller()
        definition = described["taskDefinition"]
        self.revision = known.get(definition) or revision_of(definition)

    def check_controller(self):
        if self.controller != "ECS":
            raise UnsupportedDeploymentController(f"{self.arn} has {self.controller}")

    def ecr_containers(self):
        for container in self.revision["containers"]:
            match = task_definition.IMAGE.fullmatch(container["image"])
            if match and self.is_beside(match):
                yield container, match["repository"]

    def is_beside(self, image):
        _, region, account, _ = SERVICE_ARN.fullmatch(self.arn).groups()
        return (image["account"], image["region"]) == (account, region)

    def repositories(self):
        return {repository for _, repository in self.ecr_containers()}

    def containers_of(self, repositories, key="name"):
        return [c[key] for c, candidate in self.ecr_containers() if candidate in repositories]

    def image(self, repository, digest):
        for container, candidate in self.ecr_containers():
            if candidate == repository:
                registry = container["image"].split("/", 1)[0]
                return f"{registry}/{repository}@{digest}"
        return None

    def entry_point(self, container, configs):
        own = next(one for one in self.revision["containers"] if one["name"] == container)
        config = images.of_platform(configs, self.revision["platform"])
        return own.get("entryPoint") or config["entryPoint"]

    def runs(self, image):
        return self.is_settled and task_definition.are_pinned_to(
            self.revision["containers"], image
        )

    def planned(self, repositories):
        return {
            "cluster": self.cluster,
            "service": self.arn,
            "taskDefinition": self.revision["taskDefinition"],
            "containers": self.containers_of(repositories),
        }


def linked_repositories(stack, services, wanted):
    """The repositories whose images the stack runs and whose tag names the stack."""
    run = sorted(set().union(*(service.repositories() for service in services)))
    run = [repository for repository in run if wanted in (None, repository)]
    if not run:
        raise NoServices(f"no service of {stack} runs images of {wanted or 'a repository'}")
    linked = [repository for repository in run if names_stack(services[0].arn, repository, stack)]
    if not linked:
        raise RepositoryNotLinked(f"{stack} runs images of {run}, none of which names it")
    return linked


def names_stack(service, repository, stack):
    partition, region, account, _ = SERVICE_ARN.fullmatch(service).groups()
    arn = f"arn:{partition}:ecr:{region}:{account}:repository/{repository}"
    try:
        with AwsRequests("ecr:ListTagsForResource", arn):
            tags = ecr.list_tags_for_resource(resourceArn=arn)["tags"]
    except AwsRequestFailed as failure:
        if failure.code == "RepositoryNotFoundException":
            return False
        raise
    return any(tag["Key"] == "bluegreen:stacks" and stack in tag["Value"].split() for tag in tags)


def command_of(stack, purpose, unit, repository, configs, seconds):
    """The command that an output of the stack asks for, and where it runs."""
    output = COMMANDS[purpose]
    command = stack.outputs.get(output)
    if not command:
        return None
    try:
        words = json.loads(command)
    except ValueError:
        words = None
    if not isinstance(words, list) or not words or not all(isinstance(w, str) for w in words):
        raise stack.invalid(output, f"`{command}` is no JSON array of strings")
    service, container = container_of(stack, unit, repository)
    entry_point = service.entry_point(container, configs)
    words = images.words(entry_point, words)
    return {
        "purpose": purpose,
        "cluster": service.cluster,
        "service": service.arn,
        "taskDefinition": service.revision["taskDefinition"],
        "container": container,
        "command": words,
        "line": [*entry_point, *words],
        "size": {
            key: stack.number(output, *bounds) if purpose == "migration" else None
            for key, (output, *bounds) in SIZES.items()
        },
        "timeoutSeconds": seconds,
    }


def container_of(stack, unit, repository):
    wanted = stack.outputs.get("MigrationContainer")
    for service in unit:
        containers = service.containers_of([repository])
        if wanted in containers:
            return service, wanted
        if not wanted and len(containers) == 1:
            return service, containers[0]
        if not wanted:
            break
    raise stack.invalid("MigrationContainer", f"it names no container of {repository}")
