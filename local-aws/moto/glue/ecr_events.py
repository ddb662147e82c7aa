"""Events of ECR, tags that move, and images that are not there.

Holes in moto 5.2.5: PutImage and BatchDeleteImage emit no event; the digest of an image pushed
without one is the hash of its layers' digests, not of its manifest; an image whose only tag
moves to another one is deleted, where in ECR it stays, untagged, and is found by its digest; an
image without a tag, such as one of an index, cannot be pushed where tags are immutable with exceptions;
a failure of BatchGetImage does not name the digest that was asked for.

https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html
https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_ImageFailure.html
"""

import json
from hashlib import sha256
from typing import Any

from moto.ecr.models import ECRBackend, Image, Repository

from glue import aws_events


def _emit(backend: ECRBackend, detail: dict[str, Any]) -> None:
    aws_events.emit(
        backend.account_id,
        backend.region_name,
        "aws.ecr",
        "ECR Image Action",
        [],
        {"result": "SUCCESS", **detail},
    )


def _media_types(manifest: str, media_type: str | None) -> dict[str, str]:
    parsed = json.loads(manifest)
    types = {
        "manifest-media-type": media_type or parsed.get("mediaType"),
        "artifact-media-type": parsed.get("artifactType")
        or parsed.get("config", {}).get("mediaType"),
    }
    return {name: value for name, value in types.items() if value}


def _take_tag(backend: ECRBackend, repository_name: str, tag: str, keep: str) -> None:
    """Takes a tag from other images than the one with the manifest `keep`."""
    repository = backend.repositories.get(repository_name)
    if repository is None:
        return
    # Raises where tags are immutable.
    backend._resolve_image_tag_mutability(repository, tag)
    for image in repository.images:
        if tag in image.image_tags and image.image_manifest != keep:
            image.image_tags.remove(tag)
            if image.image_tag == tag:
                image.image_tag = image.image_tags[0] if image.image_tags else None


def install() -> None:
    """Makes pushes and deletions events, and names the images that are not there."""
    get = ECRBackend.batch_get_image
    resolve = ECRBackend._resolve_image_tag_mutability
    put = ECRBackend.put_image
    delete = ECRBackend.batch_delete_image

    def batch_get_image(
        self: ECRBackend,
        repository_name: str,
        registry_id: str | None = None,
        image_ids: list[dict[str, Any]] | None = None,
    ) -> dict[str, Any]:
        if not image_ids:
            return get(self, repository_name, registry_id, image_ids)
        images, failures = [], []
        for image_id in image_ids:
            answer = get(self, repository_name, registry_id, [image_id])
            images += answer["images"]
            failures += [{**one, "imageId": image_id} for one in answer["failures"]]
        return {"images": images, "failures": failures}

    def resolve_image_tag_mutability(
        self: ECRBackend, repository: Repository, tag: str | None
    ) -> list[Image]:
        return resolve(self, repository, tag) if tag else []

    def put_image(
        self: ECRBackend,
        repository_name: str,
        image_manifest: str,
        image_tag: str | None,
        image_manifest_mediatype: str | None = None,
        digest: str | None = None,
    ) -> Image:
        digest = digest or f"sha256:{sha256(image_manifest.encode()).hexdigest()}"
        if image_tag:
            _take_tag(self, repository_name, image_tag, image_manifest)
        image = put(
            self,
            repository_name,
            image_manifest,
            image_tag,
            image_manifest_mediatype,
            digest,
        )
        _emit(
            self,
            {
                "repository-name": repository_name,
                "image-digest": image.get_image_digest(),
                "action-type": "PUSH",
                **({"image-tag": image_tag} if image_tag else {}),
                **_media_types(image_manifest, image_manifest_mediatype),
            },
        )
        return image

    def batch_delete_image(
        self: ECRBackend,
        repository_name: str,
        registry_id: str | None = None,
        image_ids: list[dict[str, str]] | None = None,
    ) -> dict[str, Any]:
        answer = delete(self, repository_name, registry_id, image_ids)
        for image_id in answer["imageIds"]:
            tag = image_id.image_tag
            _emit(
                self,
                {
                    "repository-name": repository_name,
                    "image-digest": image_id.image_digest,
                    "action-type": "DELETE",
                    **({"image-tag": tag} if tag else {}),
                },
            )
        return answer

    ECRBackend.batch_get_image = batch_get_image
    ECRBackend._resolve_image_tag_mutability = resolve_image_tag_mutability
    ECRBackend.put_image = put_image
    ECRBackend.batch_delete_image = batch_delete_image
