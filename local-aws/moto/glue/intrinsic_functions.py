"""Intrinsic functions of templates.

Holes in moto 5.2.5: `Fn::Cidr` stays as it is, an attribute with a dot in its name, such as
`Endpoint.Address`, loses what follows the dot, and `!Condition` is taken for a function.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference.html
"""

import ipaddress
import itertools
from collections.abc import Callable
from typing import Any

from moto.cloudformation import models, parsing, responses, utils


def cidr(block: str, count: Any, bits: Any) -> list[str]:
    """`count` networks inside of `block`, each with `bits` bits for its hosts."""
    network = ipaddress.ip_network(block)
    subnets = network.subnets(new_prefix=network.max_prefixlen - int(bits))
    return [str(subnet) for subnet in itertools.islice(subnets, int(count))]


def _with_these(clean: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """moto's resolver, which calls itself by its name in its module, and so comes here."""

    def clean_json(value: Any, resources: Any) -> Any:
        if isinstance(value, dict) and "Fn::Cidr" in value:
            return cidr(*(clean_json(it, resources) for it in value["Fn::Cidr"]))
        if isinstance(value, dict) and "Fn::GetAtt" in value:
            attribute = value["Fn::GetAtt"]
            if isinstance(attribute, str):
                attribute = attribute.split(".")
            name, *rest = attribute
            return clean({"Fn::GetAtt": [name, ".".join(rest)]}, resources)
        return clean(value, resources)

    return clean_json


def short_form(loader: Any, tag: str, node: Any) -> Any:
    """`!Condition Name` and such, written out."""
    if tag == "!Condition":
        return {"Condition": node.value}
    return utils.yaml_tag_constructor(loader, tag, node)


def install() -> None:
    """Puts the resolver and the reading of short forms in the place of moto's."""
    models.yaml_tag_constructor = short_form
    responses.yaml_tag_constructor = short_form
    parsing.clean_json = _with_these(parsing.clean_json)
