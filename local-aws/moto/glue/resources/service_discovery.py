"""`AWS::ServiceDiscovery::*`, Cloud Map's namespaces and services.

Names here lead nowhere: tasks are processes of this machine, and no Service Connect proxy runs
beside them. What is kept is what Cloud Map tells of a namespace.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/AWS_ServiceDiscovery.html
"""

from typing import Any

from glue.resources.base import Resource, ignoring_missing, parameters


class _Namespace(Resource):
    """Named by the id that Cloud Map gives it."""

    name_property = "Name"
    #: What the operations on it have in their names.
    kind = ""

    def create(self, name: str) -> None:
        client = self.client("servicediscovery")
        operation = f"Create{self.kind.title().replace('_', '')}Namespace"
        request = parameters("servicediscovery", operation, self.properties)
        request["Tags"] = self.properties.get("Tags", []) + self.place.tags()
        begun = getattr(client, f"create_{self.kind}_namespace")(**request)
        targets = client.get_operation(OperationId=begun["OperationId"])["Operation"]
        self.physical_resource_id = targets["Targets"]["NAMESPACE"]
        made = client.get_namespace(Id=self.physical_resource_id)["Namespace"]
        zone = made["Properties"].get("DnsProperties", {}).get("HostedZoneId")
        self.attributes = {"Arn": made["Arn"], "Id": made["Id"], "HostedZoneId": zone}

    def update(self, old: dict[str, Any]) -> None:
        change = {"Description": self.properties.get("Description", "")}
        update = getattr(self.client("servicediscovery"), f"update_{self.kind}_namespace")
        update(Id=self.physical_resource_id, Namespace=change)

    def remove(self) -> None:
        ignoring_missing(
            self.client("servicediscovery").delete_namespace,
            "NamespaceNotFound",
            Id=self.physical_resource_id,
        )


class HttpNamespace(_Namespace):
    type_name = "AWS::ServiceDiscovery::HttpNamespace"
    attribute_names = frozenset({"Arn", "Id"})
    replacing = frozenset({"Name"})
    kind = "http"


class PrivateDnsNamespace(_Namespace):
    type_name = "AWS::ServiceDiscovery::PrivateDnsNamespace"
    attribute_names = frozenset({"Arn", "HostedZoneId", "Id"})
    replacing = frozenset({"Name", "Vpc"})
    kind = "private_dns"


class PublicDnsNamespace(_Namespace):
    type_name = "AWS::ServiceDiscovery::PublicDnsNamespace"
    attribute_names = frozenset({"Arn", "HostedZoneId", "Id"})
    replacing = frozenset({"Name"})
    kind = "public_dns"


class Service(Resource):
    type_name = "AWS::ServiceDiscovery::Service"
    name_property = "Name"
    attribute_names = frozenset({"Arn", "Id", "Name"})
    replacing = frozenset({"HealthCheckCustomConfig", "Name", "NamespaceId", "Type"})

    def create(self, name: str) -> None:
        request = parameters("servicediscovery", "CreateService", self.properties)
        request["Name"] = name
        request["Tags"] = self.properties.get("Tags", []) + self.place.tags()
        made = self.client("servicediscovery").create_service(**request)["Service"]
        self.physical_resource_id = made["Id"]
        self.attributes = {key: made[key] for key in ("Arn", "Id", "Name")}

    def update(self, old: dict[str, Any]) -> None:
        request = parameters(
            "servicediscovery",
            "UpdateService",
            {"Id": self.physical_resource_id, "Service": self.properties},
        )
        self.client("servicediscovery").update_service(**request)

    def remove(self) -> None:
        ignoring_missing(
            self.client("servicediscovery").delete_service,
            "ServiceNotFound",
            Id=self.physical_resource_id,
        )
