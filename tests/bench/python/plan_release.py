"""Decides what a release will do, or that there is nothing to do. Only reads."""

import json
import re

import boto3

import task_definition
from failures import AwsRequestFailed, AwsRequests, InvalidInput, check

cloudformation = boto3.client("cloudformation")
ecr = boto3.client("ecr")
ecs = boto3.client("ecs")

SERVICES = 10
SERVICE_ARN = re.compile(r"arn:([^:]+):ecs:([^:]+):([^:]+):service/(?:([^/]+)/)?[^/]+")
FORMS = {
    "stack": re.compile(r"[A-Za-z][A-Za-z0-9-]{0,127}"),
    "tag": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"),
    "digest": re.compile(r"sha256:[0-9a-f]{64}"),
    "repository": re.compile(r".+"),
}


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


class ImageNotFound(Exception):
    pass


class InvalidStackOutput(Exception):
    pass


class UnsupportedDeploymentController(Exception):
    pass


def handler(event, context):
    validate(event)
    stack = event["stack"]
    outputs = outputs_of(stack)
    services = services_of(stack)
    repository = choose_repository(stack, services, event.get("repository"))
    unit = [service for service in services if service.containers_of(repository)]
    for service in unit:
        service.check_controller()
    digest = digest_of(repository, event)
    image = unit[0].image(repository, digest)
    behind = [service for service in unit if not service.runs(image)]
    migration = None
    if event.get("migrate") is not False:
        migration = migration_of(stack, outputs, unit, repository)
    deploy = bool(behind) or (event.get("migrate") is True and migration is not None)
    return {
        "action": "deploy" if deploy else "none",
        "reason": f"{len(behind)} of {len(unit)} services of {stack} do not run {image} yet.",
        "stack": stack,
        "repository": repository,
        "tag": event.get("tag"),
        "digest": digest,
        "image": image,
        "services": [service.planned(repository) for service in unit],
        "migration": migration if deploy else None,
    }


def validate(event):
    check(event, ("stack",), ("tag", "digest", "repository", "migrate"))
    if "tag" not in event and "digest" not in event:
        raise InvalidInput("one of `tag` and `digest` must be given")
    for key, form in FORMS.items():
        if key in event and not form.fullmatch(event[key]):
            raise InvalidInput(f"`{key}`: `{event[key]}` has not the form of a {key}")


def outputs_of(stack):
    try:
        with AwsRequests("cloudformation:DescribeStacks", stack):
            described = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
    except AwsRequestFailed as failure:
        if failure.code == "ValidationError" and "does not exist" in str(failure):
            raise StackNotFound(f"there is no stack {stack}") from failure
        raise
    if described["StackStatus"].endswith("_IN_PROGRESS"):
        raise StackBusy(f"{stack} is {described['StackStatus']}")
    return {
        output["OutputKey"]: output["OutputValue"].strip()
        for output in described.get("Outputs", [])
    }


def services_of(stack):
    arns = []
    with AwsRequests("cloudformation:ListStackResources", stack):
        for page in cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack):
            arns += [
                resource["PhysicalResourceId"]
                for resource in page["StackResourceSummaries"]
                if resource["ResourceType"] == "AWS::ECS::Service"
                and resource["ResourceStatus"] != "DELETE_COMPLETE"
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
            services += [Service(described.get(arn), arn) for arn in batch]
    return sorted(services, key=lambda service: service.arn)


def cluster_of(arn):
    partition, region, account, cluster = SERVICE_ARN.fullmatch(arn).groups()
    return f"arn:{partition}:ecs:{region}:{account}:cluster/{cluster or 'default'}"


class Service:
    """An active service with its current task definition."""

    def __init__(self, described, arn):
        if described is None or described["status"] != "ACTIVE":
            raise AwsRequestFailed("ecs:DescribeServices", arn, "MISSING", "ECS has no such service")
        self.arn = arn
        self.cluster = cluster_of(arn)
        self.controller = described.get("deploymentController", {}).get("type", "ECS")
        deployments = described["deployments"]
        self.is_settled = len(deployments) == 1 and deployments[0].get("rolloutState") == "COMPLETED"
        if "taskDefinition" not in described:
            self.check_controller()
        self.definition = task_definition.describe(ecs, described["taskDefinition"])

    def check_controller(self):
        if self.controller != "ECS":
            raise UnsupportedDeploymentController(f"{self.arn} has {self.controller}")

    def ecr_containers(self):
        _, region, account, _ = SERVICE_ARN.fullmatch(self.arn).groups()
        for container in self.definition["taskDefinition"]["containerDefinitions"]:
            match = task_definition.IMAGE.fullmatch(container["image"])
            if match and (match["account"], match["region"]) == (account, region):
                yield container, match["repository"]

    def repositories(self):
        return {repository for _, repository in self.ecr_containers()}

    def containers_of(self, repository):
        return [c["name"] for c, candidate in self.ecr_containers() if candidate == repository]

    def image(self, repository, digest):
        for container, candidate in self.ecr_containers():
            if candidate == repository:
                registry = container["image"].split("/", 1)[0]
                return f"{registry}/{repository}@{digest}"
        return None

    def runs(self, image):
        return self.is_settled and task_definition.is_pinned_to(self.definition, image)

    def planned(self, repository):
        return {
            "cluster": self.cluster,
            "service": self.arn,
            "taskDefinition": task_definition.arn(self.definition),
            "containers": self.containers_of(repository),
        }


def choose_repository(stack, services, wanted):
    run = sorted(set().union(*(service.repositories() for service in services)))
    run = [repository for repository in run if wanted in (None, repository)]
    if not run:
        raise NoServices(f"no service of {stack} runs images of {wanted or 'a repository'}")
    linked = [repository for repository in run if names_stack(services[0].arn, repository, stack)]
    if not linked:
        raise RepositoryNotLinked(f"{stack} runs images of {run}, none of which names it")
    if len(linked) > 1:
        raise AmbiguousRepository(f"{stack} runs images of {linked}")
    return linked[0]


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


def digest_of(repository, event):
    image = {"imageDigest": event["digest"]} if "digest" in event else {"imageTag": event["tag"]}
    try:
        with AwsRequests("ecr:DescribeImages", repository):
            answer = ecr.describe_images(repositoryName=repository, imageIds=[image])
    except AwsRequestFailed as failure:
        if failure.code == "ImageNotFoundException":
            raise ImageNotFound(f"{repository} has no image {image}") from failure
        raise
    return answer["imageDetails"][0]["imageDigest"]


def migration_of(stack, outputs, unit, repository):
    command = outputs.get("MigrationCommand")
    if not command:
        return None
    try:
        words = json.loads(command)
    except ValueError:
        words = None
    if not isinstance(words, list) or not words or not all(isinstance(w, str) for w in words):
        raise InvalidStackOutput(f"MigrationCommand of {stack} is no JSON array of strings")
    service, container = migration_container(stack, outputs.get("MigrationContainer"), unit, repository)
    return {
        "cluster": service.cluster,
        "service": service.arn,
        "taskDefinition": task_definition.arn(service.definition),
        "container": container,
        "command": words,
    }


def migration_container(stack, wanted, unit, repository):
    for service in unit:
        containers = service.containers_of(repository)
        if wanted in containers:
            return service, wanted
        if not wanted and len(containers) == 1:
            return service, containers[0]
        if not wanted:
            break
    raise InvalidStackOutput(f"MigrationContainer of {stack} names no container of {repository}")
