"""How an event becomes a release: the stacks that take an image, and the execution."""

import hashlib
import json
import os
import re
from fnmatch import fnmatchcase

from clients import client
from failures import AwsRequestFailed, AwsRequests

cloudformation = client("cloudformation")
states = client("stepfunctions")

STATE_MACHINE_ARN = os.environ["STATE_MACHINE_ARN"]
_, PARTITION, _, REGION, ACCOUNT, _, _ = STATE_MACHINE_ARN.split(":")
PART_LENGTH = 31
STARTED_BY_LENGTH = 128

# What it means that CloudFormation tells no outputs of a stack in one of these statuses.
WITHOUT_OUTPUTS = (
    "CREATE_COMPLETE",
    "IMPORT_COMPLETE",
    "UPDATE_IN_PROGRESS",
    "UPDATE_COMPLETE",
    "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS",
    "UPDATE_ROLLBACK_COMPLETE",
)
NEVER_CREATED = ("CREATE_", "REVIEW_", "ROLLBACK_", "DELETE_")


def stacks_of(ecr, repository):
    """Names of the stacks in the repository's tag."""
    arn = f"arn:{PARTITION}:ecr:{REGION}:{ACCOUNT}:repository/{repository}"
    with AwsRequests("ecr:ListTagsForResource", arn):
        tags = ecr.list_tags_for_resource(resourceArn=arn)["tags"]
    names = [
        stack
        for tag in tags
        if tag["Key"] == "bluegreen:stacks"
        for stack in tag["Value"].split()
    ]
    return list(dict.fromkeys(names))


class TakenTags:
    """Which tags a stack takes, and whether CloudFormation is at work on it."""

    def __init__(self, stack):
        self.is_changing, self.patterns, self.reason = False, [], None
        try:
            with AwsRequests("cloudformation:DescribeStacks", stack):
                described = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
        except AwsRequestFailed as failure:
            if failure.code != "ValidationError":
                raise
            self.reason = f"There is no stack {stack}: {failure}"
            return
        outputs = {o["OutputKey"]: o["OutputValue"] for o in described.get("Outputs", [])}
        status = described["StackStatus"]
        self.is_changing = status.endswith("_IN_PROGRESS")
        self.patterns = outputs.get("ImageTags", "").split()
        if not outputs and status not in WITHOUT_OUTPUTS:
            if not status.startswith(NEVER_CREATED):
                raise AwsRequestFailed(
                    "cloudformation:DescribeStacks", stack, status, "its outputs are not told"
                )
            self.reason = f"The stack is {status}: its first image is deployed with it."

    def reason_to_skip(self, tag):
        """A sentence where the stack does not take the tag."""
        if self.reason:
            return self.reason
        if self.patterns and not any(fnmatchcase(tag, pattern) for pattern in self.patterns):
            return f"The tag {tag} is none that the stack takes."
        return None


def execution_name(stack, label, identity):
    digest = hashlib.sha256("\n".join(identity).encode()).hexdigest()[:16]
    return f"{part(stack)}-{part(label)}-{digest}"


def part(text):
    return re.sub(r"[^A-Za-z0-9_.-]", "_", text[:PART_LENGTH])


def start(name, release):
    """ARN of the execution of that name, started now or before."""
    execution = STATE_MACHINE_ARN.replace(":stateMachine:", ":execution:") + f":{name}"
    try:
        with AwsRequests("states:StartExecution", execution):
            started = states.start_execution(
                stateMachineArn=STATE_MACHINE_ARN, name=name, input=json.dumps(release)
            )
    except AwsRequestFailed as failure:
        if failure.code == "ExecutionAlreadyExists":
            return execution
        raise
    return started["executionArn"]
