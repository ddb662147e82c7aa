"""`AWS::ECR::Repository`.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-ecr-repository.html
"""

from typing import Any

from glue.resources.base import Resource, ignoring_missing, parameters
from glue.resources.iam import document


class Repository(Resource):
    type_name = "AWS::ECR::Repository"
    name_property = "RepositoryName"
    attribute_names = frozenset({"Arn", "RepositoryUri"})
    replacing = frozenset({"EncryptionConfiguration", "RepositoryName"})

    def create(self, name: str) -> None:
        request = parameters("ecr", "CreateRepository", self._given())
        request["repositoryName"] = name.lower()
        request["tags"] = self._tags()
        created = self.client("ecr").create_repository(**request)["repository"]
        self.physical_resource_id = created["repositoryName"]
        self.attributes["Arn"] = created["repositoryArn"]
        self.attributes["RepositoryUri"] = created["repositoryUri"]
        self._put_policies({})

    def update(self, old: dict[str, Any]) -> None:
        client, name = self.client("ecr"), self.physical_resource_id
        mutability = parameters("ecr", "PutImageTagMutability", self._given())
        if "imageTagMutability" in mutability:
            mutability["repositoryName"] = name
            client.put_image_tag_mutability(**mutability)
        scanning = parameters("ecr", "PutImageScanningConfiguration", self.properties)
        if "imageScanningConfiguration" in scanning:
            scanning["repositoryName"] = name
            client.put_image_scanning_configuration(**scanning)
        arn = self.attributes["Arn"]
        gone = {tag["Key"] for tag in old.get("Tags", [])} - {
            tag["Key"] for tag in self.properties.get("Tags", [])
        }
        if gone:
            client.untag_resource(resourceArn=arn, tagKeys=sorted(gone))
        client.tag_resource(resourceArn=arn, tags=self._tags())
        self._put_policies(old)

    def remove(self) -> None:
        force = str(self.properties.get("EmptyOnDelete", False)).lower() == "true"
        ignoring_missing(
            self.client("ecr").delete_repository,
            "RepositoryNotFoundException",
            repositoryName=self.physical_resource_id,
            force=force,
        )

    def _given(self) -> dict[str, Any]:
        """The properties; the API names the parts of an exclusion more shortly."""
        given = dict(self.properties)
        name = "ImageTagMutabilityExclusionFilters"
        if name in given:
            given[name] = [
                {
                    "filterType": it["ImageTagMutabilityExclusionFilterType"],
                    "filter": it["ImageTagMutabilityExclusionFilterValue"],
                }
                for it in given[name]
            ]
        return given

    def _tags(self) -> list[dict[str, str]]:
        return self.properties.get("Tags", []) + self.place.tags()

    def _put_policies(self, old: dict[str, Any]) -> None:
        client, name = self.client("ecr"), self.physical_resource_id
        lifecycle = self.properties.get("LifecyclePolicy", {}).get(
            "LifecyclePolicyText"
        )
        if lifecycle:
            client.put_lifecycle_policy(
                repositoryName=name, lifecyclePolicyText=lifecycle
            )
        elif "LifecyclePolicy" in old:
            client.delete_lifecycle_policy(repositoryName=name)
        policy = self.properties.get("RepositoryPolicyText")
        if policy:
            client.set_repository_policy(
                repositoryName=name, policyText=document(policy)
            )
        elif "RepositoryPolicyText" in old:
            client.delete_repository_policy(repositoryName=name)
