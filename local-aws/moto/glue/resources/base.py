"""What all resources of a stack have in common."""

from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import botocore.session
from botocore.exceptions import ClientError
from botocore.model import ListShape, MapShape, Shape, StructureShape
from moto.cloudformation.exceptions import UnformattedGetAttTemplateException
from moto.core.common_models import CloudFormationModel

from glue import gateway


@dataclass(frozen=True)
class Place:
    """Where a resource belongs."""

    stack_id: str
    stack_name: str
    logical_id: str
    account_id: str
    region: str

    def tags(self, key: str = "Key", value: str = "Value") -> list[dict[str, str]]:
        """The tags CloudFormation gives every resource of a stack."""
        return [
            {key: "aws:cloudformation:stack-name", value: self.stack_name},
            {key: "aws:cloudformation:stack-id", value: self.stack_id},
            {key: "aws:cloudformation:logical-id", value: self.logical_id},
        ]


class Resource(CloudFormationModel):
    """A resource of a stack: how it is made, changed and removed.

    `physical_resource_id` is what `Ref` gives and `attributes` what `Fn::GetAtt` gives.
    """

    #: `AWS::Service::Type`
    type_name: ClassVar[str] = ""
    #: The property that names the resource, if one does.
    name_property: ClassVar[str] = ""
    #: The longest name the service takes.
    name_limit: ClassVar[int] = 255
    #: The attributes of `Fn::GetAtt`.
    attribute_names: ClassVar[frozenset[str]] = frozenset()
    #: Properties whose change makes CloudFormation replace the resource.
    replacing: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, place: Place, properties: dict[str, Any]):
        self.place = place
        self.properties = properties
        self.physical_resource_id = ""
        self.attributes: dict[str, Any] = {}

    # What each type says.

    def create(self, name: str) -> None:
        """Makes the resource, under `name` where it has one."""
        raise NotImplementedError

    def update(self, old: dict[str, Any]) -> None:
        """Changes the resource from the properties `old` to `self.properties`."""
        raise NotImplementedError

    def remove(self) -> None:
        """Removes the resource."""
        raise NotImplementedError

    # What moto's CloudFormation asks.

    @classmethod
    def cloudformation_type(cls) -> str:
        return cls.type_name

    @classmethod
    def cloudformation_name_type(cls) -> str:
        return cls.name_property

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        return attr in cls.attribute_names

    def get_cfn_attribute(self, attribute_name: str) -> Any:
        if attribute_name not in self.attribute_names:
            raise UnformattedGetAttTemplateException()
        return self.attributes[attribute_name]

    def is_created(self) -> bool:
        return True

    # Helpers.

    def client(self, service: str) -> Any:
        """A client of `service` in this resource's region."""
        return gateway.client(service, self.place.region)

    def without(self, *names: str) -> dict[str, Any]:
        """The properties but those named."""
        return {
            name: value for name, value in self.properties.items() if name not in names
        }


def ignoring_missing(call: Any, *codes: str, **parameters: Any) -> None:
    """Calls, and does not mind that what was to be removed is gone already."""
    try:
        call(**parameters)
    except ClientError as error:
        if error.response["Error"]["Code"] not in codes:
            raise


@cache
def _model(service: str) -> Any:
    return botocore.session.get_session().get_service_model(service)


def parameters(service: str, operation: str, properties: dict[str, Any]) -> Any:
    """A template's properties as parameters of `operation`, in the case its API has.

    CloudFormation writes `TaskDefinition`, ECS wants `taskDefinition`; a map's keys (Docker
    labels, a log driver's options) are data and stay as they are. Numbers and booleans become
    text where the API wants text, and the other way round, as CloudFormation's own coercion
    does. Properties the operation does not have are left out.
    """
    shape = _model(service).operation_model(operation).input_shape
    return _shaped(shape, properties)


def _shaped(shape: Shape, value: Any) -> Any:
    if value is None:
        return None
    if isinstance(shape, StructureShape):
        members = {name.lower(): name for name in shape.members}
        return {
            members[name.lower()]: _shaped(shape.members[members[name.lower()]], member)
            for name, member in value.items()
            if name.lower() in members and member is not None
        }
    if isinstance(shape, ListShape):
        values = value if isinstance(value, list) else [value]
        return [_shaped(shape.member, member) for member in values]
    if isinstance(shape, MapShape):
        return {key: _shaped(shape.value, member) for key, member in value.items()}
    return _scalar(shape.type_name, value)


def _scalar(type_name: str, value: Any) -> Any:
    if type_name == "boolean":
        return value if isinstance(value, bool) else str(value).lower() == "true"
    if type_name in ("integer", "long"):
        return int(value)
    if type_name in ("double", "float"):
        return float(value)
    if type_name == "string":
        return text(value)
    return value


def text(value: Any) -> str:
    """A value as CloudFormation writes it where text is wanted."""
    return str(value).lower() if isinstance(value, bool) else str(value)
