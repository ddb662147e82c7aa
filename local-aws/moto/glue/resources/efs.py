"""`AWS::EFS::*`. No file system is mounted here: what is kept is what `Describe…` tells of it.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/AWS_EFS.html
"""

import json
from typing import Any

from glue.resources.base import Resource, ignoring_missing, parameters


class FileSystem(Resource):
    type_name = "AWS::EFS::FileSystem"
    attribute_names = frozenset({"Arn", "FileSystemId"})
    replacing = frozenset({"AvailabilityZoneName", "Encrypted", "KmsKeyId", "PerformanceMode"})

    def create(self, name: str) -> None:
        request = parameters("efs", "CreateFileSystem", self.properties)
        request["Tags"] = self.properties.get("FileSystemTags", []) + self.place.tags()
        policy = self.properties.get("BackupPolicy", {}).get("Status", "DISABLED")
        request["Backup"] = policy == "ENABLED"
        made = self.client("efs").create_file_system(**request)
        self.physical_resource_id = made["FileSystemId"]
        self.attributes = {"Arn": made["FileSystemArn"], "FileSystemId": made["FileSystemId"]}
        self._set_policies()

    def update(self, old: dict[str, Any]) -> None:
        self._set_policies()

    def remove(self) -> None:
        ignoring_missing(
            self.client("efs").delete_file_system,
            "FileSystemNotFound",
            FileSystemId=self.physical_resource_id,
        )

    def _set_policies(self) -> None:
        client, name = self.client("efs"), self.physical_resource_id
        client.put_lifecycle_configuration(
            FileSystemId=name, LifecyclePolicies=self.properties.get("LifecyclePolicies", [])
        )
        policy = self.properties.get("FileSystemPolicy")
        if policy:
            client.put_file_system_policy(
                FileSystemId=name, Policy=json.dumps(policy, default=str)
            )


class MountTarget(Resource):
    type_name = "AWS::EFS::MountTarget"
    attribute_names = frozenset({"Id", "IpAddress"})
    replacing = frozenset({"FileSystemId", "IpAddress", "SubnetId"})

    def create(self, name: str) -> None:
        request = parameters("efs", "CreateMountTarget", self.properties)
        made = self.client("efs").create_mount_target(**request)
        self.physical_resource_id = made["MountTargetId"]
        self.attributes = {"Id": made["MountTargetId"], "IpAddress": made["IpAddress"]}

    def update(self, old: dict[str, Any]) -> None:
        self.client("efs").modify_mount_target_security_groups(
            MountTargetId=self.physical_resource_id,
            SecurityGroups=self.properties["SecurityGroups"],
        )

    def remove(self) -> None:
        ignoring_missing(
            self.client("efs").delete_mount_target,
            "MountTargetNotFound",
            MountTargetId=self.physical_resource_id,
        )


class AccessPoint(Resource):
    """Any change makes a new one."""

    type_name = "AWS::EFS::AccessPoint"
    attribute_names = frozenset({"AccessPointId", "Arn"})

    def create(self, name: str) -> None:
        request = parameters("efs", "CreateAccessPoint", self.properties)
        request["Tags"] = self.properties.get("AccessPointTags", []) + self.place.tags()
        made = self.client("efs").create_access_point(**request)
        self.physical_resource_id = made["AccessPointId"]
        self.attributes = {
            "AccessPointId": made["AccessPointId"],
            "Arn": made["AccessPointArn"],
        }

    def remove(self) -> None:
        ignoring_missing(
            self.client("efs").delete_access_point,
            "AccessPointNotFound",
            AccessPointId=self.physical_resource_id,
        )
