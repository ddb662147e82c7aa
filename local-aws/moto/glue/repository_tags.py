"""Repositories of ECR, found by their tags.

Hole in moto 5.2.5: the Resource Groups Tagging API knows nothing of ECR.

https://docs.aws.amazon.com/resourcegroupstagging/latest/APIReference/API_GetResources.html
"""

from collections.abc import Iterator
from typing import Any

from moto.core.resource_tagging import (
    TaggedResource,
    make_tag_matcher,
    match_resource_type,
)
from moto.ecr.models import ecr_backends
from moto.resourcegroupstaggingapi.models import ResourceGroupsTaggingAPIBackend

TYPE = "ecr:repository"


def _repositories(
    backend: ResourceGroupsTaggingAPIBackend,
    tag_filters: list[dict[str, Any]] | None,
    resource_type_filters: list[str] | None,
    resource_arn_list: list[str] | None,
) -> Iterator[TaggedResource]:
    ecr = ecr_backends[backend.account_id][backend.region_name]
    matches = make_tag_matcher(tag_filters)
    if not match_resource_type(TYPE, resource_type_filters):
        return
    for repository in list(ecr.repositories.values()):
        listed = ecr.tagger.list_tags_for_resource(repository.arn)["tags"]
        tags = {tag["Key"]: tag["Value"] for tag in listed}
        is_asked_for = not resource_arn_list or repository.arn in resource_arn_list
        if tags and is_asked_for and matches(tags):
            yield TaggedResource(repository.arn, tags, TYPE)


def install() -> None:
    """Lets the tagging API find repositories."""
    others = ResourceGroupsTaggingAPIBackend._get_resources_generator

    def resources(
        self: ResourceGroupsTaggingAPIBackend,
        tag_filters: list[dict[str, Any]] | None = None,
        resource_type_filters: list[str] | None = None,
        resource_arn_list: list[str] | None = None,
    ) -> Iterator[TaggedResource]:
        filters = (tag_filters, resource_type_filters, resource_arn_list)
        yield from others(self, *filters)
        yield from _repositories(self, *filters)

    ResourceGroupsTaggingAPIBackend._get_resources_generator = resources
