"""`AWS::ECS::*`: made with the gateway's own ECS, and awaited as CloudFormation does.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/AWS_ECS.html
"""

import time
from typing import Any

from botocore.exceptions import ClientError

from glue.resources.base import Resource, ignoring_missing, parameters

#: CloudFormation gives up on a service that is not steady after three hours.
STEADY_LIMIT_SECONDS = 3 * 60 * 60
#: How long ECS may take to tell of a deployment that was begun.
UNTOLD_LIMIT_SECONDS = 10
POLL_SECONDS = 0.5


def _tags(resource: Resource) -> list[dict[str, str]]:
    own = resource.place.tags("key", "value")
    given = resource.properties.get("Tags", [])
    return own + [{"key": tag["Key"], "value": tag["Value"]} for tag in given]


#: Properties of a cluster that PutClusterCapacityProviders changes.
PROVIDERS = ("CapacityProviders", "DefaultCapacityProviderStrategy")


def _put_providers(resource: Resource, cluster: str, properties: dict[str, Any]) -> None:
    """Gives a cluster these capacity providers in the place of those that it has."""
    given = {name: properties.get(name, []) for name in PROVIDERS}
    request = parameters("ecs", "PutClusterCapacityProviders", given)
    resource.client("ecs").put_cluster_capacity_providers(cluster=cluster, **request)


class Cluster(Resource):
    type_name = "AWS::ECS::Cluster"
    name_property = "ClusterName"
    attribute_names = frozenset({"Arn"})
    replacing = frozenset({"ClusterName"})

    def create(self, name: str) -> None:
        request = parameters("ecs", "CreateCluster", self.properties)
        request.update(clusterName=name, tags=_tags(self))
        cluster = self.client("ecs").create_cluster(**request)["cluster"]
        self.physical_resource_id = cluster["clusterName"]
        self.attributes["Arn"] = cluster["clusterArn"]

    def update(self, old: dict[str, Any]) -> None:
        """Settings make no difference here, and tags are not changed."""
        properties = self.properties
        if any(properties.get(name) != old.get(name) for name in PROVIDERS):
            _put_providers(self, self.physical_resource_id, properties)

    def remove(self) -> None:
        ignoring_missing(
            self.client("ecs").delete_cluster,
            "ClusterNotFoundException",
            cluster=self.physical_resource_id,
        )


class ClusterCapacityProviderAssociations(Resource):
    """The capacity providers of a cluster, apart from it: CDK writes them so."""

    type_name = "AWS::ECS::ClusterCapacityProviderAssociations"
    replacing = frozenset({"Cluster"})

    def create(self, name: str) -> None:
        self.physical_resource_id = self.properties["Cluster"]
        self.update({})

    def update(self, old: dict[str, Any]) -> None:
        _put_providers(self, self.physical_resource_id, self.properties)

    def remove(self) -> None:
        try:
            _put_providers(self, self.physical_resource_id, {})
        except ClientError as error:
            if error.response["Error"]["Code"] != "ClusterNotFoundException":
                raise


class TaskDefinition(Resource):
    """Every change registers a new revision; the old one is deregistered afterwards."""

    type_name = "AWS::ECS::TaskDefinition"
    attribute_names = frozenset({"TaskDefinitionArn"})

    def create(self, name: str) -> None:
        request = parameters("ecs", "RegisterTaskDefinition", self.properties)
        # The family CloudFormation makes up has no random part's separators of other names.
        request.setdefault("family", name.replace("-", ""))
        request["tags"] = _tags(self)
        answer = self.client("ecs").register_task_definition(**request)
        arn = answer["taskDefinition"]["taskDefinitionArn"]
        self.physical_resource_id = arn
        self.attributes["TaskDefinitionArn"] = arn

    def remove(self) -> None:
        ignoring_missing(
            self.client("ecs").deregister_task_definition,
            "ClientException",
            taskDefinition=self.physical_resource_id,
        )


class Service(Resource):
    type_name = "AWS::ECS::Service"
    name_property = "ServiceName"
    attribute_names = frozenset({"Name", "ServiceArn"})
    replacing = frozenset(
        {"Cluster", "LaunchType", "Role", "SchedulingStrategy", "ServiceName"}
    )

    def create(self, name: str) -> None:
        request = parameters("ecs", "CreateService", self.properties)
        request.update(serviceName=name, tags=_tags(self))
        if request.get("schedulingStrategy") != "DAEMON":
            request.setdefault("desiredCount", 1)
        service = self.client("ecs").create_service(**request)["service"]
        self.physical_resource_id = service["serviceArn"]
        self.attributes["ServiceArn"] = service["serviceArn"]
        self.attributes["Name"] = service["serviceName"]
        self._await_steady(service)

    def update(self, old: dict[str, Any]) -> None:
        request = parameters("ecs", "UpdateService", self.properties)
        request["service"] = self.physical_resource_id
        service = self.client("ecs").update_service(**request)["service"]
        self._await_steady(service)

    def remove(self) -> None:
        ignoring_missing(
            self.client("ecs").delete_service,
            "ServiceNotFoundException",
            "ServiceNotActiveException",
            "ClusterNotFoundException",
            cluster=self._cluster(),
            service=self.physical_resource_id,
            force=True,
        )
        self._await_gone()

    def _cluster(self) -> str:
        return self.properties.get("Cluster", "default")

    def _describe(self) -> dict[str, Any]:
        answer = self.client("ecs").describe_services(
            cluster=self._cluster(), services=[self.physical_resource_id]
        )
        return answer["services"][0] if answer["services"] else {"status": "MISSING"}

    def _await_steady(self, service: dict[str, Any]) -> None:
        """Waits for the deployment that this change began."""
        primary = _primary(service)
        told = False
        began = time.monotonic()
        while time.monotonic() < began + STEADY_LIMIT_SECONDS:
            service = self._describe()
            deployments = {it["id"]: it for it in service.get("deployments", [])}
            deployment = deployments.get(primary["id"])
            told = told or deployment is not None
            # Reads of ECS may be behind its writes, as CloudFormation knows.
            if not told and time.monotonic() < began + UNTOLD_LIMIT_SECONDS:
                time.sleep(POLL_SECONDS)
                continue
            if deployment is None or deployment.get("rolloutState") == "FAILED":
                raise RuntimeError(
                    "Error occurred during operation 'ECS Deployment Circuit Breaker was "
                    f"triggered': {_reason(primary, deployment, service)}"
                )
            # ECS may leave the state out where traffic is shifted.
            if deployment.get("rolloutState", "COMPLETED") == "COMPLETED" and _is_steady(service):
                return
            time.sleep(POLL_SECONDS)
        raise RuntimeError("Service did not stabilize in time")

    def _await_gone(self) -> None:
        deadline = time.monotonic() + STEADY_LIMIT_SECONDS
        while time.monotonic() < deadline:
            if self._describe()["status"] in ("INACTIVE", "MISSING"):
                return
            time.sleep(POLL_SECONDS)
        raise RuntimeError("Service did not drain in time")


def _primary(service: dict[str, Any]) -> dict[str, Any]:
    for deployment in service["deployments"]:
        if deployment["status"] == "PRIMARY":
            return deployment
    raise RuntimeError("The service has no primary deployment")


def _is_steady(service: dict[str, Any]) -> bool:
    """Whether nothing is left to wait for once the deployment is completed."""
    configuration = service.get("deploymentConfiguration", {})
    if configuration.get("earlySuccessCriteria", {}).get("enable"):
        # ECS starts the rest, and cleans up, behind it: for as long as two weeks.
        # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/early-success-criteria.html
        return True
    return (
        len(service["deployments"]) == 1
        and service["runningCount"] == service["desiredCount"]
    )


def _reason(
    primary: dict[str, Any], deployment: dict[str, Any] | None, service: dict[str, Any]
) -> str:
    """Why a deployment failed: its own reason, or the event that tells of its end."""
    if deployment and deployment.get("rolloutStateReason"):
        return deployment["rolloutStateReason"]
    for event in service.get("events", []):
        if primary["id"] in event["message"] and "failed" in event["message"]:
            return event["message"]
    return f"deployment {primary['id']} is gone"
