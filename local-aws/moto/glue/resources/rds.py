"""`AWS::RDS::*`.

No database runs behind an endpoint: moto only tells of it. What connects to one in the local AWS
is told the address of a real server as a parameter; user and password are those of the secret,
which is a real one.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/AWS_RDS.html
"""

from typing import Any

from glue.resources.base import Resource, ignoring_missing, parameters, text


class _Rds(Resource):
    """What RDS knows by a name, kept in lower case."""

    #: The part of its operations' names, such as `DBInstance` of `CreateDBInstance`.
    noun = ""
    #: The same in the names of boto3, such as `db_instance`.
    name_of_boto = ""
    missing = ""
    #: Properties that only its creation takes.
    once = frozenset[str]()

    def create(self, name: str) -> None:
        made = self.call("Create", **{self.name_property: name.lower()})
        self.physical_resource_id = made[self.name_property]
        self.described(made)

    def update(self, old: dict[str, Any]) -> None:
        identity = {self.name_property: self.physical_resource_id}
        self.described(self.call("Modify", **identity))

    def remove(self) -> None:
        ignoring_missing(
            getattr(self.client("rds"), f"delete_{self.name_of_boto}"),
            self.missing,
            **{self.name_property: self.physical_resource_id},
        )

    def call(self, verb: str, **identity: str) -> dict[str, Any]:
        given = self.without("Tags", *(self.once if verb == "Modify" else ()))
        request = parameters("rds", f"{verb}{self.noun}", given)
        if verb == "Create":
            request["Tags"] = self.properties.get("Tags", []) + self.place.tags()
        request.update(identity)
        call = getattr(self.client("rds"), f"{verb.lower()}_{self.name_of_boto}")
        return call(**request).get(self.noun, identity)

    def described(self, made: dict[str, Any]) -> None:
        """Takes the attributes of `Fn::GetAtt` from what RDS answers."""


class SubnetGroup(_Rds):
    type_name = "AWS::RDS::DBSubnetGroup"
    name_property = "DBSubnetGroupName"
    replacing = frozenset({"DBSubnetGroupName"})
    noun, name_of_boto = "DBSubnetGroup", "db_subnet_group"
    missing = "DBSubnetGroupNotFoundFault"


class _ParameterGroup(_Rds):
    def create(self, name: str) -> None:
        super().create(name)
        self._set()

    def update(self, old: dict[str, Any]) -> None:
        self._set()

    def call(self, verb: str, **identity: str) -> dict[str, Any]:
        # The API names the family otherwise.
        self.properties.setdefault(
            "DBParameterGroupFamily", self.properties.get("Family")
        )
        return super().call(verb, **identity)

    def _set(self) -> None:
        values = [
            {
                "ParameterName": name,
                "ParameterValue": text(value),
                "ApplyMethod": "pending-reboot",
            }
            for name, value in self.properties.get("Parameters", {}).items()
        ]
        if values:
            call = getattr(self.client("rds"), f"modify_{self.name_of_boto}")
            call(
                **{self.name_property: self.physical_resource_id}, Parameters=values
            )


class ParameterGroup(_ParameterGroup):
    type_name = "AWS::RDS::DBParameterGroup"
    name_property = "DBParameterGroupName"
    replacing = frozenset({"DBParameterGroupName", "Description", "Family"})
    noun, name_of_boto = "DBParameterGroup", "db_parameter_group"
    missing = "DBParameterGroupNotFound"


class ClusterParameterGroup(_ParameterGroup):
    type_name = "AWS::RDS::DBClusterParameterGroup"
    name_property = "DBClusterParameterGroupName"
    replacing = frozenset({"DBClusterParameterGroupName", "Description", "Family"})
    noun, name_of_boto = "DBClusterParameterGroup", "db_cluster_parameter_group"
    missing = "DBParameterGroupNotFound"


class _Database(_Rds):
    """An instance or a cluster. Its snapshot is taken where the template's policy asks for one."""

    attribute_names = frozenset(
        {
            "DBClusterArn",
            "DBInstanceArn",
            "Endpoint.Address",
            "Endpoint.Port",
            "MasterUserSecret.SecretArn",
            "ReadEndpoint.Address",
        }
    )
    once = frozenset(
        {
            "AvailabilityZone",
            "DatabaseName",
            "DBName",
            "DBSubnetGroupName",
            "Engine",
            "KmsKeyId",
            "MasterUsername",
            "SnapshotIdentifier",
            "StorageEncrypted",
        }
    )

    def remove(self) -> None:
        last = {"SkipFinalSnapshot": True}
        if self.glue_resolved.get("DeletionPolicy", "Snapshot") == "Snapshot":
            name = f"{self.physical_resource_id}-snapshot"
            last = {"SkipFinalSnapshot": False, "FinalDBSnapshotIdentifier": name}
        if self.properties.get("DBClusterIdentifier") and self.noun == "DBInstance":
            # A cluster's data are in the cluster's snapshot.
            last = {"SkipFinalSnapshot": True}
        if "DeleteAutomatedBackups" in self.properties:
            last["DeleteAutomatedBackups"] = self.properties["DeleteAutomatedBackups"]
        ignoring_missing(
            getattr(self.client("rds"), f"delete_{self.name_of_boto}"),
            self.missing,
            **{self.name_property: self.physical_resource_id},
            **last,
        )

    def described(self, made: dict[str, Any]) -> None:
        endpoint = made.get("Endpoint") or {}
        if isinstance(endpoint, str):
            endpoint = {"Address": endpoint, "Port": made.get("Port")}
        secret = made.get("MasterUserSecret") or {}
        self.attributes = {
            f"{self.noun}Arn": made[f"{self.noun}Arn"],
            "Endpoint.Address": endpoint.get("Address", ""),
            "Endpoint.Port": text(endpoint.get("Port", "")),
            "MasterUserSecret.SecretArn": secret.get("SecretArn", ""),
            "ReadEndpoint.Address": made.get("ReaderEndpoint", ""),
        }


class Instance(_Database):
    type_name = "AWS::RDS::DBInstance"
    name_property = "DBInstanceIdentifier"
    name_limit = 63
    replacing = frozenset(
        {
            "AvailabilityZone",
            "DBInstanceIdentifier",
            "DBName",
            "DBSubnetGroupName",
            "Engine",
            "KmsKeyId",
            "MasterUsername",
            "StorageEncrypted",
        }
    )
    noun, name_of_boto = "DBInstance", "db_instance"
    missing = "DBInstanceNotFound"

    def call(self, verb: str, **identity: str) -> dict[str, Any]:
        # CloudFormation has its own word.
        if "VPCSecurityGroups" in self.properties:
            self.properties["VpcSecurityGroupIds"] = self.properties["VPCSecurityGroups"]
        return super().call(verb, **identity)


class Cluster(_Database):
    type_name = "AWS::RDS::DBCluster"
    name_property = "DBClusterIdentifier"
    name_limit = 63
    replacing = frozenset(
        {
            "DatabaseName",
            "DBClusterIdentifier",
            "DBSubnetGroupName",
            "Engine",
            "KmsKeyId",
            "MasterUsername",
            "StorageEncrypted",
        }
    )
    noun, name_of_boto = "DBCluster", "db_cluster"
    missing = "DBClusterNotFoundFault"
