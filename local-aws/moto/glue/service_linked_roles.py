"""The service-linked role of ECS.

Hole in moto 5.2.5: it spells the role of ECS `AWSServiceRoleForecs`, and says of one that exists
`EntityAlreadyExists`, where IAM says `InvalidInput`.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/using-service-linked-roles.html,
https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateServiceLinkedRole.html
"""

from moto.iam import models
from moto.iam.exceptions import EntityAlreadyExists, InvalidInput
from moto.iam.models import IAMBackend, Role

_create = IAMBackend.create_service_linked_role


def _create_once(self: IAMBackend, service_name: str, description: str, suffix: str) -> Role:
    try:
        return _create(self, service_name, description, suffix)
    except EntityAlreadyExists:
        service = service_name.split(".", maxsplit=1)[0]
        name = f"AWSServiceRoleFor{models.SERVICE_NAME_CONVERSION.get(service, service)}"
        raise InvalidInput(
            f"Service role name {name} has been taken in this account, "
            "please try a different suffix."
        ) from None


def install() -> None:
    """Spells and refuses as IAM does."""
    models.SERVICE_NAME_CONVERSION["ecs"] = "ECS"
    IAMBackend.create_service_linked_role = _create_once
