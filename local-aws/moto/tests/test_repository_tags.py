"""Repositories that are found by their tags."""

from typing import Any

from tests.support import GlueTest, unique


class Repositories(GlueTest):
    def setUp(self) -> None:
        self.key = unique("stacks")

    def create(self, tags: dict[str, str]) -> tuple[str, str]:
        name = f"team/{unique('web')}"
        created = self.client("ecr").create_repository(
            repositoryName=name,
            tags=[{"Key": key, "Value": value} for key, value in tags.items()],
        )
        return name, created["repository"]["repositoryArn"]

    def found(self, kind: str = "ecr:repository", **more: Any) -> dict[str, list[Any]]:
        pages = self.client("resourcegroupstaggingapi").get_paginator("get_resources")
        found = {}
        for page in pages.paginate(
            ResourceTypeFilters=[kind], TagFilters=[{"Key": self.key, **more}]
        ):
            for resource in page["ResourceTagMappingList"]:
                found[resource["ResourceARN"]] = resource["Tags"]
        return found

    def test_those_with_the_tag_are_found_with_all_their_tags(self) -> None:
        _, arn = self.create({self.key: "shop cafe", "team": "web"})
        self.create({"team": "web"})
        self.create({})
        tags = [
            {"Key": self.key, "Value": "shop cafe"},
            {"Key": "team", "Value": "web"},
        ]
        self.assertEqual(self.found(), {arn: tags})
        self.assertEqual(self.found("ecr"), {arn: tags})
        self.assertEqual(self.found("s3:bucket"), {})
        self.assertEqual(self.found(Values=["shop"]), {})
        self.assertEqual(list(self.found(Values=["shop cafe"])), [arn])

    def test_a_tag_that_comes_or_goes_later_counts(self) -> None:
        name, arn = self.create({})
        ecr = self.client("ecr")
        ecr.tag_resource(resourceArn=arn, tags=[{"Key": self.key, "Value": "shop"}])
        self.assertEqual(list(self.found()), [arn])
        ecr.untag_resource(resourceArn=arn, tagKeys=[self.key])
        self.assertEqual(self.found(), {})
        ecr.tag_resource(resourceArn=arn, tags=[{"Key": self.key, "Value": "shop"}])
        ecr.delete_repository(repositoryName=name)
        self.assertEqual(self.found(), {})

    def test_there_may_be_more_than_one_answer_has_room_for(self) -> None:
        arns = {self.create({self.key: "shop"})[1] for _ in range(120)}
        self.assertEqual(set(self.found()), arns)
