"""CloudFormation resources that are made by calling the services' own APIs.

Holes in moto 5.2.5: its CloudFormation knows some types not at all (`AWS::SQS::QueuePolicy`,
`AWS::S3::BucketPolicy`, `AWS::Lambda::EventInvokeConfig`, `AWS::SecretsManager::Secret`,
`AWS::CloudWatch::Alarm`, `AWS::CDK::Metadata`, Cloud Map, the capacity providers of a cluster) and
loses properties of most others, on
update above all (a target group's attributes, a role's policies, a function's architecture, all
of an ECS service's network and load balancers; much of a VPC and of a database). Its APIs keep
them, and ECS is not moto's at all here.
"""

from collections.abc import Callable
from typing import Any

from moto.cloudformation import parsing
from moto.core.config import default_user_config

from glue.resources import (
    application_auto_scaling,
    cdk,
    cloudwatch,
    ec2,
    ecr,
    ecs,
    efs,
    elastic_load_balancing,
    events,
    iam,
    lambda_,
    logs,
    network,
    rds,
    s3,
    secrets_manager,
    service_discovery,
    sqs,
    ssm,
    step_functions,
)
from glue.resources.base import Resource

MODULES = (
    application_auto_scaling,
    cdk,
    cloudwatch,
    ec2,
    ecr,
    ecs,
    efs,
    elastic_load_balancing,
    events,
    iam,
    lambda_,
    logs,
    network,
    rds,
    s3,
    secrets_manager,
    service_discovery,
    sqs,
    ssm,
    step_functions,
)


def types() -> dict[str, type[Resource]]:
    """The resource types of this package by their names."""
    return {
        resource.type_name: resource
        for module in MODULES
        for resource in vars(module).values()
        if isinstance(resource, type)
        and issubclass(resource, Resource)
        and resource.type_name
    }


def _constant(value: Any) -> Callable[[], Any]:
    return lambda: value


def install() -> None:
    """Puts these types in the place of moto's own."""
    # Roles may have AWS's own policies; moto knows them, but has none unless told so.
    default_user_config["iam"] = {"load_aws_managed_policies": True}
    models = {**parsing.get_model_map(), **types()}
    parsing.get_model_map = _constant(models)
    parsing.get_model_list = _constant(list(models.values()))
