"""Pushes and deletions of images."""

import json
from hashlib import sha256
from typing import Any

from tests.support import GlueTest, unique


def manifest(number: int) -> str:
    config = {
        "mediaType": "application/vnd.oci.image.config.v1+json",
        "digest": f"sha256:{number:064x}",
        "size": 2,
    }
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config,
            "layers": [],
        }
    )


def digest(text: str) -> str:
    return f"sha256:{sha256(text.encode()).hexdigest()}"


class Events(GlueTest):
    def setUp(self) -> None:
        self.repository = unique("repository")
        self.client("ecr").create_repository(repositoryName=self.repository)
        self.url, arn = self.queue(unique("events"))
        rule, client = unique("rule"), self.client("events")
        detail = {"repository-name": [self.repository]}
        pattern = {"source": ["aws.ecr"], "detail": detail}
        client.put_rule(Name=rule, EventPattern=json.dumps(pattern))
        client.put_targets(Rule=rule, Targets=[{"Id": "q", "Arn": arn}])

    def push(self, text: str, **tag: str) -> None:
        self.client("ecr").put_image(
            repositoryName=self.repository, imageManifest=text, **tag
        )

    def event(self) -> dict[str, Any]:
        return json.loads(self.received(self.url)[0]["Body"])

    def test_a_push_with_a_tag(self) -> None:
        self.push(manifest(1), imageTag="v1")
        event = self.event()
        self.assertEqual(event["source"], "aws.ecr")
        self.assertEqual(event["detail-type"], "ECR Image Action")
        self.assertEqual(event["account"], "123456789012")
        self.assertEqual(event["resources"], [])
        self.assertRegex(event["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        self.assertEqual(
            event["detail"],
            {
                "result": "SUCCESS",
                "repository-name": self.repository,
                "image-digest": digest(manifest(1)),
                "action-type": "PUSH",
                "image-tag": "v1",
                "manifest-media-type": "application/vnd.oci.image.manifest.v1+json",
                "artifact-media-type": "application/vnd.oci.image.config.v1+json",
            },
        )

    def test_a_push_by_digest_has_no_tag(self) -> None:
        self.push(manifest(2), imageDigest=digest(manifest(2)))
        detail = self.event()["detail"]
        self.assertEqual(detail["action-type"], "PUSH")
        self.assertNotIn("image-tag", detail)

    def test_a_push_by_digest_where_only_some_tags_can_move(self) -> None:
        self.client("ecr").put_image_tag_mutability(
            repositoryName=self.repository,
            imageTagMutability="IMMUTABLE_WITH_EXCLUSION",
            imageTagMutabilityExclusionFilters=[
                {"filterType": "WILDCARD", "filter": "latest"}
            ],
        )
        self.push(manifest(6), imageDigest=digest(manifest(6)))
        self.assertEqual(self.event()["detail"]["action-type"], "PUSH")

    def test_a_deletion(self) -> None:
        self.push(manifest(3), imageTag="v3")
        self.event()
        self.client("ecr").batch_delete_image(
            repositoryName=self.repository, imageIds=[{"imageTag": "v3"}]
        )
        detail = self.event()["detail"]
        self.assertEqual(detail["action-type"], "DELETE")
        self.assertEqual(detail["image-tag"], "v3")
        self.assertEqual(detail["image-digest"], digest(manifest(3)))

    def test_an_image_that_lost_its_tag_is_still_there(self) -> None:
        self.push(manifest(4), imageTag="latest")
        self.push(manifest(5), imageTag="latest")
        client = self.client("ecr")
        found = client.batch_get_image(
            repositoryName=self.repository,
            imageIds=[{"imageDigest": digest(manifest(4))}, {"imageTag": "latest"}],
        )
        self.assertEqual(found["failures"], [])
        digests = [image["imageId"]["imageDigest"] for image in found["images"]]
        self.assertEqual(digests, [digest(manifest(4)), digest(manifest(5))])

    def test_an_image_that_is_not_there_is_named_as_it_was_asked_for(self) -> None:
        self.push(manifest(6), imageTag="v6")
        asked = [{"imageDigest": digest(manifest(7))}, {"imageTag": "v7"}]
        found = self.client("ecr").batch_get_image(
            repositoryName=self.repository, imageIds=[{"imageTag": "v6"}, *asked]
        )
        self.assertEqual(len(found["images"]), 1)
        self.assertEqual([one["imageId"] for one in found["failures"]], asked)
        codes = {one["failureCode"] for one in found["failures"]}
        self.assertEqual(codes, {"ImageNotFound"})
