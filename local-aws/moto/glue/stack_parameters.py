"""The parameters of a stack: limits, rules, and values that lie in the Parameter Store.

Holes in moto 5.2.5: it checks no limit of a parameter (`AllowedPattern`, `MinValue`, …), knows no
`Rules`, takes names that the template does not have, and answers 500 where a parameter of type
`AWS::SSM::Parameter::Value<String>` names nothing.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/parameters-section-structure.html
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/rules-section-structure.html
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

import yaml
from botocore.exceptions import ClientError
from moto.cloudformation.exceptions import ValidationError

from glue import gateway
from glue.intrinsic_functions import short_form

STORED = "AWS::SSM::Parameter::Value<"


class Missing(Exception):
    """A value of the type `AWS::EC2::…::Id` is no such resource of the account."""


def parsed(template: str) -> dict[str, Any]:
    """A template, JSON or YAML, with its short forms written out."""
    yaml.add_multi_constructor("", short_form)
    return yaml.load(template, Loader=yaml.Loader)


def given(template: dict[str, Any], values: dict[str, Any]) -> dict[str, str]:
    """Every parameter of the template with its value as text, defaults included."""
    slots = template.get("Parameters", {})
    unknown = sorted(values.keys() - slots.keys())
    if unknown:
        raise ValidationError(
            message=f"Parameters: [{', '.join(unknown)}] do not exist in the template"
        )
    missing = [
        name
        for name, slot in slots.items()
        if name not in values and "Default" not in slot
    ]
    if missing:
        raise ValidationError(
            message=f"Parameters: [{', '.join(missing)}] must have values"
        )
    return {
        name: text(values.get(name, slot.get("Default")))
        for name, slot in slots.items()
    }


def text(value: Any) -> str:
    """A parameter's value as a request has it."""
    if isinstance(value, list):
        return ",".join(map(text, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def check(template: dict[str, Any], values: dict[str, Any]) -> None:
    """Refuses what CloudFormation refuses before it looks at a resource."""
    texts = given(template, values)
    for name, value in texts.items():
        _check_one(name, template["Parameters"][name], value)
    for name, rule in template.get("Rules", {}).items():
        _check_rule(name, rule, template["Parameters"], texts)


# Limits. https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/parameters-section-structure.html
# gives a message with and without ConstraintDescription only for AllowedPattern; the others have
# the words that CloudFormation answers in practice.


def _check_one(name: str, slot: dict[str, Any], value: str) -> None:
    kind = slot.get("Type", "String")
    members = value.split(",") if kind in ("CommaDelimitedList", "List<Number>") else [value]
    members = [member.strip() for member in members]
    for member in members:
        for broken in _broken(name, slot, kind, member):
            described = slot.get("ConstraintDescription")
            if described:
                broken = f"Parameter {name} failed to satisfy constraint: {described}"
            raise ValidationError(message=broken)


def _broken(name: str, slot: dict[str, Any], kind: str, value: str) -> Iterator[str]:
    """What of a parameter's limits a value breaks."""
    if kind.endswith("Number") or kind == "List<Number>":
        number = _number(value)
        if number is None:
            yield f"Parameter '{name}' must be a number"
            return
        if "MinValue" in slot and number < float(slot["MinValue"]):
            yield f"Parameter '{name}' must be a number not less than {slot['MinValue']}"
        if "MaxValue" in slot and number > float(slot["MaxValue"]):
            yield f"Parameter '{name}' must be a number not greater than {slot['MaxValue']}"
    if "MinLength" in slot and len(value) < int(slot["MinLength"]):
        yield f"Parameter '{name}' must contain at least {slot['MinLength']} characters"
    if "MaxLength" in slot and len(value) > int(slot["MaxLength"]):
        yield f"Parameter '{name}' must contain at most {slot['MaxLength']} characters"
    if "AllowedValues" in slot and value not in map(text, slot["AllowedValues"]):
        yield f"Parameter '{name}' must be one of AllowedValues"
    # The pattern has to match the whole value.
    if "AllowedPattern" in slot and not re.fullmatch(slot["AllowedPattern"], value):
        yield f"Parameter '{name}' must match pattern {slot['AllowedPattern']}"


def _number(value: str) -> float | None:
    return float(value) if re.fullmatch(r"[-+]?\d+(\.\d*)?", value) else None


# Rules. The documentation does not say in which words an assertion is refused; its description is
# in them.


def _check_rule(
    name: str, rule: dict[str, Any], slots: dict[str, Any], values: dict[str, str]
) -> None:
    def evaluate(expression: Any) -> Any:
        return _evaluate(expression, slots, values, name)

    if "RuleCondition" in rule and not evaluate(rule["RuleCondition"]):
        return
    for assertion in rule["Assertions"]:
        if not evaluate(assertion["Assert"]):
            description = assertion.get("AssertDescription", "an assertion is false")
            raise ValidationError(message=f"Rule {name} failed: {description}")


FUNCTIONS: dict[str, Callable[..., bool]] = {
    "Fn::And": lambda *conditions: all(conditions),
    "Fn::Or": lambda *conditions: any(conditions),
    "Fn::Not": lambda condition: not condition,
    "Fn::Equals": lambda one, other: text(one) == text(other),
    "Fn::Contains": lambda members, value: text(value) in map(text, members),
    "Fn::EachMemberEquals": lambda members, value: all(
        text(member) == text(value) for member in members
    ),
    "Fn::EachMemberIn": lambda members, others: {text(it) for it in members}
    <= {text(it) for it in others},
}


def _evaluate(
    expression: Any, slots: dict[str, Any], values: dict[str, str], rule: str
) -> Any:
    if isinstance(expression, list):
        return [_evaluate(member, slots, values, rule) for member in expression]
    if not isinstance(expression, dict):
        return expression
    [(function, argument)] = expression.items()
    if function == "Ref":
        kind = slots[argument].get("Type", "String")
        is_list = kind.startswith("List<") or kind == "CommaDelimitedList"
        return values[argument].split(",") if is_list else values[argument]
    if function not in FUNCTIONS:
        raise ValidationError(
            message=f"Template error: rule {rule} has {function}, which the local AWS does not know"
        )
    return FUNCTIONS[function](*_evaluate(argument, slots, values, rule))


# The Parameter Store.


def stored(
    template: dict[str, Any], values: dict[str, Any], region: str
) -> dict[str, str]:
    """What lies in the Parameter Store now, by the names that `values` give."""
    slots = template.get("Parameters", {})
    names = {
        value
        for name, value in given(template, values).items()
        if slots[name].get("Type", "").startswith(STORED)
    }
    found = {}
    for name in sorted(names):
        try:
            answer = gateway.client("ssm", region).get_parameter(Name=name)
        except ClientError as error:
            raise ValidationError(
                message=f"Unable to fetch parameters [{name}] from parameter store for this account."
            ) from error
        found[name] = answer["Parameter"]["Value"]
    return found


# What is there. CloudFormation begins the operation and ends it at once where something is not.

#: For each type of parameter: the operation, its argument and the codes that say "there is none".
EXISTING = {
    "AWS::EC2::VPC::Id": ("describe_vpcs", "VpcIds"),
    "AWS::EC2::Subnet::Id": ("describe_subnets", "SubnetIds"),
    "AWS::EC2::SecurityGroup::Id": ("describe_security_groups", "GroupIds"),
}


def check_existence(
    template: dict[str, Any], values: dict[str, Any], region: str
) -> None:
    """Finds the networks, subnets and security groups that parameters name."""
    slots = template.get("Parameters", {})
    for name, value in given(template, values).items():
        kind = re.sub(r"^List<(.*)>$", r"\1", slots[name].get("Type", "String"))
        if kind not in EXISTING:
            continue
        operation, argument = EXISTING[kind]
        describe = getattr(gateway.client("ec2", region), operation)
        for member in value.split(","):
            try:
                describe(**{argument: [member.strip()]})
            except ClientError as error:
                raise Missing(
                    f"Parameter validation failed: parameter value {member.strip()} for "
                    f"parameter name {name} does not exist"
                ) from error
