"""Stacks that are created, updated, rolled back and deleted as CloudFormation does it.

Holes in moto 5.2.5: a change set is applied inside the request, which outlasts every client's
patience when a service has to become steady, and shows no `…_IN_PROGRESS` meanwhile; resources
are made in no order and even by reading a stack; an update sees neither a parameter inside
`Fn::Sub` nor what follows from another resource's change; nothing is rolled back, and no event
says why; outputs are empty after a change set; a parameter's previous value is lost; a
template's URL at an address instead of a name is not understood; `AWS::NoValue` stays in lists;
a template is no longer valid where cfn-lint has but a warning; a stack is not found by the
physical id of one of its resources; a list that is the default of a parameter is one text, and the
members of a list keep the spaces around them; a resource of an unknown type is left out, and a
custom one done by a container; a change set is known by its name alone, whatever stack it is of, and
deleting one that is gone answers 500.
"""

import copy
import functools
import graphlib
import logging
import re
import threading
from collections.abc import Iterable
from typing import Any

from moto.cloudformation import parsing, responses
from moto.cloudformation.exceptions import AlreadyExistsException, ValidationError
from moto.cloudformation.models import (
    ChangeSet,
    CloudFormationBackend,
    Event,
    Stack,
    cloudformation_backends,
)
from moto.cloudformation.parsing import ResourceMap
from moto.cloudformation.responses import CloudFormationResponse, StackResourceDTO
from moto.cloudformation.utils import (
    generate_stack_id,
    get_stack_from_s3_url,
    validate_template_cfn_lint,
)
from moto.core.responses import ActionResult, EmptyResult

from glue import stack_parameters
from glue.resources.base import Place, Resource

logger = logging.getLogger("glue.stacks")

#: How long a request waits for the operation it began. AWS does not wait, but its CLI looks at
#: a stack only every 30 seconds, and most operations here end sooner. Clients wait 60 seconds.
PATIENCE_SECONDS = 25

#: The states in which a stack can be updated.
UPDATABLE = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE")

#: `${Name}` or `${Name.Attribute}`, but not the literal `${!Name}`.
SUBSTITUTION = re.compile(r"\$\{([^!}.]+)[^}]*\}")


def mentioned(value: Any) -> set[str]:
    """The logical names that intrinsic functions in a part of a template mention."""
    if isinstance(value, list):
        return set().union(*(mentioned(member) for member in value))
    if not isinstance(value, dict):
        return set()
    found: set[str] = set()
    for key, member in value.items():
        if key == "Ref" and isinstance(member, str):
            found.add(member)
        elif key == "Fn::GetAtt":
            found.add(member[0] if isinstance(member, list) else member.split(".")[0])
        elif key == "Fn::Sub":
            template = member[0] if isinstance(member, list) else member
            found.update(SUBSTITUTION.findall(template))
        found |= mentioned(member)
    return found


def references(resource: dict[str, Any]) -> set[str]:
    """The logical names that a resource refers to.

    `DependsOn` is of a resource only where it stands beside its properties: the containers of a
    task definition have dependencies of that name too.
    """
    depends_on = resource.get("DependsOn", [])
    named = {depends_on} if isinstance(depends_on, str) else set(depends_on)
    return named | mentioned(resource)


def in_order(resources: dict[str, Any]) -> list[str]:
    """Logical names, each after those it depends on."""
    graph = {
        name: (references(resource) & resources.keys()) - {name}
        for name, resource in resources.items()
    }
    try:
        return list(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        names = ", ".join(sorted(set(error.args[1])))
        raise ValidationError(
            message=f"Circular dependency between resources: [{names}]"
        ) from error


def unsupported(resources: dict[str, Any]) -> str | None:
    """Why these resources cannot be made here: no resource of another type is left out silently."""
    known = parsing.get_model_map()
    unknown = sorted({it["Type"] for it in resources.values()} - known.keys())
    if not unknown:
        return None
    return (
        f"Template format error: Unrecognized resource types: [{', '.join(unknown)}]. The local "
        "AWS has no such resources, nor custom ones. Leave them out of what is deployed to it, or "
        "give them a condition that is false there."
    )


def something(value: Any) -> Any:
    """A resolved template without the places where `AWS::NoValue` stood, in lists too."""
    if isinstance(value, dict):
        return {key: something(it) for key, it in value.items() if it is not None}
    if isinstance(value, list):
        return [something(member) for member in value if member is not None]
    return value


#: The policies that keep a resource. The second does so but where its creation is rolled back:
#: https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-deletionpolicy.html
RETAINING = ("Retain", "RetainExceptOnCreate")


def not_retained(
    resources: dict[str, Any], policy: str, retaining: tuple[str, ...] = RETAINING
) -> dict[str, Any]:
    """Those of `resources` that `policy` does not retain."""
    return {
        name: resource
        for name, resource in resources.items()
        if resource.glue_resolved.get(policy) not in retaining
    }


#: A template, its parameters, and what the Parameter Store had for them.
Previous = tuple[Any, dict[str, Any], dict[str, str]]


class Failure(Exception):
    """A resource could not be brought to the state the template wants."""


class ChangeSetNotFound(ValidationError):
    """https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_DescribeChangeSet.html"""

    code = "ChangeSetNotFound"

    def __init__(self, name: str):
        super().__init__(message=f"ChangeSet [{name}] does not exist")


class Operation:
    """One change of a stack, run in a thread of its own."""

    def __init__(self, stack: Stack):
        self.stack = stack
        self.map: ResourceMap = stack.resource_map
        accounts = cloudformation_backends[stack.account_id]
        self.backend: CloudFormationBackend = accounts[stack.region_name]
        #: What other resources have taken the place of, and what the template has no more.
        #: Both are deleted when all else has succeeded.
        self.replaced: dict[str, Any] = {}
        self.removed: dict[str, Any] = {}
        #: Resources made by this operation.
        self.made: list[str] = []

    # The three operations.

    def create(self) -> None:
        """Makes every resource of the stack's template."""
        try:
            self.check_parameters()
            self.bring_about()
        except Failure as failure:
            self.status("ROLLBACK_IN_PROGRESS", str(failure))
            self.finish("ROLLBACK", lambda: self.delete_all(("Retain",)))
        else:
            self.publish_outputs()
            self.status("CREATE_COMPLETE")

    def update(self, previous: Previous) -> None:
        """Makes the difference between the stack's resources and its template."""
        try:
            self.check_parameters()
            self.bring_about()
        except Failure as failure:
            self.status("UPDATE_ROLLBACK_IN_PROGRESS", str(failure))
            self.finish("UPDATE_ROLLBACK", lambda: self.go_back(previous))
        else:
            self.publish_outputs()
            self.status("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS")
            replaced = dict(reversed(self.replaced.items()))
            self.clean_up(not_retained(replaced, "UpdateReplacePolicy"))
            self.clean_up(not_retained(self.removed, "DeletionPolicy"))
            self.status("UPDATE_COMPLETE")

    def delete(self) -> None:
        """Deletes every resource and then the stack."""
        self.finish("DELETE", self.delete_all)
        if self.stack.status == "DELETE_COMPLETE":
            self.withdraw_exports()
            self.backend.stacks.pop(self.stack.stack_id, None)
            self.backend.deleted_stacks[self.stack.stack_id] = self.stack

    # Their parts.

    def check_parameters(self) -> None:
        """Sees that what the parameters name exists, which CloudFormation does only now."""
        stack = self.stack
        try:
            stack_parameters.check_existence(
                stack.template_dict, stack.parameters, stack.region_name
            )
        except stack_parameters.Missing as missing:
            raise Failure(str(missing)) from missing

    def bring_about(self) -> None:
        """Brings every resource to what the template says, in order."""
        template = self.stack.template_dict["Resources"]
        wanted = {
            name: resource
            for name, resource in template.items()
            if self.is_wanted(resource)
        }
        refused = unsupported(wanted)
        if refused:
            raise Failure(refused)
        for name in in_order(wanted):
            self.bring_about_one(name, wanted[name])
        for name in reversed(in_order(dict(self.map._resource_json_map))):
            if name not in wanted and name in self.map._parsed_resources:
                self.removed[name] = self.map._parsed_resources.pop(name)
        self.map._resource_json_map = template

    def is_wanted(self, resource: dict[str, Any]) -> bool:
        condition = resource.get("Condition")
        return not condition or self.map.lazy_condition_map[condition]

    def bring_about_one(self, name: str, template: dict[str, Any]) -> None:
        """Creates, updates or replaces one resource."""
        existing = self.map._parsed_resources.get(name)
        action = "CREATE" if existing is None else "UPDATE"
        try:
            model, resolved, new_name = parsing.parse_resource_and_generate_name(
                name, template, self.map
            )
            resolved = something(copy.deepcopy(resolved))
            if existing is None:
                self.event(name, template["Type"], "CREATE_IN_PROGRESS")
                resource = self.make(model, name, resolved, new_name)
            elif existing.glue_resolved == resolved:
                return
            else:
                self.event(name, template["Type"], "UPDATE_IN_PROGRESS", existing)
                resource = self.change(model, name, existing, resolved, new_name)
        except Exception as error:
            logger.warning("%s of %s failed: %s", action, name, error)
            reason = f"Resource handler returned message: {error}"
            self.event(name, template["Type"], f"{action}_FAILED", existing, reason)
            raise Failure(
                f"The following resource(s) failed to {action.lower()}: [{name}]. "
            ) from error
        self.map._parsed_resources[name] = resource
        self.event(name, template["Type"], f"{action}_COMPLETE", resource)

    def make(
        self, model: Any, name: str, resolved: dict[str, Any], new_name: str
    ) -> Any:
        """A new resource."""
        if issubclass(model, Resource):
            resource = model(self.place(name), resolved.get("Properties", {}))
            try:
                resource.create(self.limited(model, resolved, new_name))
            except Exception:
                # What was begun has to be deleted as well.
                if resource.physical_resource_id:
                    self.made.append(name)
                    self.labelled(resource, name, resolved)
                    self.map._parsed_resources[name] = resource
                raise
        else:
            resource = model.create_from_cloudformation_json(
                new_name,
                copy.deepcopy(resolved),
                self.stack.account_id,
                self.stack.region_name,
                LogicalId=name,
                StackId=self.stack.stack_id,
                ResourceType=resolved["Type"],
            )
        self.made.append(name)
        return self.labelled(resource, name, resolved)

    def change(
        self,
        model: Any,
        name: str,
        existing: Any,
        resolved: dict[str, Any],
        new_name: str,
    ) -> Any:
        """The resource after an update in place, or the one that replaces it."""
        old = existing.glue_resolved.get("Properties", {})
        new = resolved.get("Properties", {})
        if not isinstance(existing, Resource):
            updated = model.update_from_cloudformation_json(
                existing,
                new_name,
                copy.deepcopy(resolved),
                self.stack.account_id,
                self.stack.region_name,
            )
            return self.labelled(updated, name, resolved)
        changed = {
            key for key in old.keys() | new.keys() if old.get(key) != new.get(key)
        }
        in_place = type(existing).update is not Resource.update
        if in_place and not changed & model.replacing:
            existing.properties = new
            try:
                existing.update(old)
            except Exception:
                # What it has become is unknown: any template will bring about a change.
                existing.glue_resolved = {**resolved, "Failed": True}
                raise
            return self.labelled(existing, name, resolved)
        self.replaced[name] = existing
        return self.make(model, name, resolved, new_name)

    def limited(self, model: Any, resolved: dict[str, Any], name: str) -> str:
        """A made-up name, as short as the service wants it."""
        if model.name_property in resolved.get("Properties", {}):
            return str(name)
        if len(name) <= model.name_limit:
            return name
        end = name[-13:]
        return name[: model.name_limit - len(end)] + end

    def labelled(self, resource: Any, name: str, resolved: dict[str, Any]) -> Any:
        resource.cf_resource_type = resolved["Type"]
        resource.logical_resource_id = name
        resource.glue_resolved = resolved
        return resource

    def place(self, name: str) -> Place:
        stack = self.stack
        return Place(
            stack_id=stack.stack_id,
            stack_name=stack.name,
            logical_id=name,
            account_id=stack.account_id,
            region=stack.region_name,
        )

    def go_back(self, previous: Previous) -> None:
        """Brings about the previous template again; what it replaced still exists."""
        news = {
            name: self.map._parsed_resources.pop(name)
            for name in reversed(self.made)
            if name in self.map._parsed_resources
        }
        self.map._parsed_resources.update(self.replaced)
        load(self.stack, *previous)
        self.bring_about()
        self.clean_up(news)

    def delete_all(self, retaining: tuple[str, ...] = RETAINING) -> None:
        """Deletes every resource that the template does not retain."""
        for name in reversed(in_order(dict(self.map._resource_json_map))):
            resource = self.map._parsed_resources.get(name)
            if resource is None:
                continue
            if not_retained({name: resource}, "DeletionPolicy", retaining):
                self.delete_one(name, resource)
            self.map._parsed_resources.pop(name)

    def clean_up(self, obsolete: dict[str, Any]) -> None:
        """Deletes what is not needed any more, what depends on others first.

        A failure is told and does no harm.
        """
        for name, resource in obsolete.items():
            try:
                self.delete_one(name, resource)
            except Failure:
                logger.warning("%s is left over", name, exc_info=True)

    def delete_one(self, name: str, resource: Any) -> None:
        kind = resource.cf_resource_type
        self.event(name, kind, "DELETE_IN_PROGRESS", resource)
        try:
            if isinstance(resource, Resource):
                resource.remove()
            else:
                self.map._delete_resource(resource, resource.glue_resolved)
        except Exception as error:
            self.event(name, kind, "DELETE_FAILED", resource, str(error))
            raise Failure(
                f"The following resource(s) failed to delete: [{name}]. "
            ) from error
        self.event(name, kind, "DELETE_COMPLETE", resource)

    # What clients see.

    def finish(self, kind: str, work: Any) -> None:
        try:
            work()
        except Failure as failure:
            self.status(f"{kind}_FAILED", str(failure))
        else:
            self.status(f"{kind}_COMPLETE")

    def publish_outputs(self) -> None:
        """Computes outputs and exports; what the stack had before gives way to them."""
        stack = self.stack
        outputs = stack._create_output_map()
        exports = {export.value: export for export in outputs.exports}
        stack.glue_outputs = [
            {
                "OutputKey": output.key,
                "OutputValue": str(output.value),
                "Description": output.description,
                "ExportName": getattr(exports.get(output.value), "name", None),
            }
            for output in outputs.values()
            if output
        ]
        self.withdraw_exports()
        self.backend.exports.update({it.name: it for it in exports.values()})

    def withdraw_exports(self) -> None:
        for name, export in list(self.backend.exports.items()):
            if export.exporting_stack_id == self.stack.stack_id:
                del self.backend.exports[name]

    def status(self, status: str, reason: str | None = None) -> None:
        self.stack.status = status
        self.stack._add_stack_event(status, resource_status_reason=reason)

    def event(
        self,
        name: str,
        kind: str,
        status: str,
        resource: Any = None,
        reason: str | None = None,
    ) -> None:
        if resource is not None:
            resource.glue_status = status
        self.stack.events.append(
            Event(
                stack_id=self.stack.stack_id,
                stack_name=self.stack.name,
                logical_resource_id=name,
                physical_resource_id=getattr(resource, "physical_resource_id", ""),
                resource_type=kind,
                resource_status=status,
                resource_status_reason=reason,
                resource_properties=None,
            )
        )


def load(
    stack: Stack, template: Any, parameters: dict[str, Any], stored: dict[str, str]
) -> None:
    """Makes `template` and `parameters` what the stack is to become.

    `stored` is what the Parameter Store has for parameters that name something there.
    """
    stack.template = template
    stack._parse_template()
    stack.description = stack.template_dict.get("Description")
    stack.parameters = parameters
    resources = stack.resource_map
    resources.glue_stored = stored
    resources.input_parameters = parameters
    resources._template = stack.template_dict
    for name in list(resources.resolved_parameters):
        resources._parsed_resources.pop(name, None)
    resources.resolved_parameters = {}
    resources.load_mapping()
    resources.load_parameters()
    for name, slot in stack.template_dict.get("Parameters", {}).items():
        value = resources.resolved_parameters[name]
        if slot["Type"] == "CommaDelimitedList":
            members = value.split(",") if isinstance(value, str) else value
            resources.resolved_parameters[name] = [one.strip() for one in members]
    resources._parsed_resources.update(resources.resolved_parameters)
    resources.load_conditions()


def run(stack: Stack, status: str, work: Any, *arguments: Any) -> None:
    """Sets the status of a beginning operation, and runs it in the background."""
    stack.status = status
    stack._add_stack_event(status, resource_status_reason="User Initiated")

    def guarded() -> None:
        try:
            work(*arguments)
        except Exception as error:  # a fault of this glue must not leave a stack busy
            logger.exception("stack %s", stack.name)
            stack.status = status.replace("_IN_PROGRESS", "_FAILED")
            stack._add_stack_event(stack.status, resource_status_reason=str(error))

    thread = threading.Thread(target=guarded, daemon=True, name=f"stack {stack.name}")
    thread.start()
    thread.join(PATIENCE_SECONDS)


def begin_create(stack: Stack) -> None:
    stack.resource_map._resource_json_map = stack.template_dict["Resources"]
    run(stack, "CREATE_IN_PROGRESS", Operation(stack).create)


def begin_update(
    stack: Stack, template: Any, parameters: dict[str, Any], stored: dict[str, str]
) -> None:
    if stack.status not in UPDATABLE:
        raise ValidationError(
            message=f"Stack:{stack.stack_id} is in {stack.status} state and can not be "
            "updated."
        )
    previous = (stack.template, stack.parameters, stack.resource_map.glue_stored)
    load(stack, template, parameters, stored)
    run(stack, "UPDATE_IN_PROGRESS", Operation(stack).update, previous)


# What takes the place of moto's own.


def _create_stack(
    self: CloudFormationBackend,
    name: str,
    template: str,
    parameters: dict[str, Any],
    notification_arns: list[str] | None = None,
    tags: dict[str, str] | None = None,
    role_arn: str | None = None,
    **_ignored: Any,
) -> Stack:
    if name in [stack.name for stack in self.stacks.values()]:
        raise AlreadyExistsException(f"Stack {name} already exists")
    stored = accepted(template, parameters, self.region_name)
    stack = Stack(
        stack_id=generate_stack_id(name, self.region_name, self.account_id),
        name=name,
        # The resource map is filled below, by the one function that does so.
        template='{"Resources": {}}',
        parameters={},
        account_id=self.account_id,
        region_name=self.region_name,
        notification_arns=notification_arns,
        tags=tags,
        role_arn=role_arn,
        cross_stack_resources=self.exports,
    )
    load(stack, template, parameters, stored)
    self.stacks[stack.stack_id] = stack
    begin_create(stack)
    return stack


def _execute_change_set(
    self: CloudFormationBackend, change_set_name: str, stack_name: str | None = None
) -> None:
    change_set = _change_set(self, stack_name, change_set_name)
    stack = self.stacks[change_set.stack_id]
    change_set.execution_status = "EXECUTE_COMPLETE"
    stack.resource_map.cross_stack_resources = self.exports
    # AWS documents that the values of the moment when the change set was made count.
    change = (change_set.template, change_set.parameters, change_set.glue_stored)
    if change_set.change_set_type == "CREATE":
        load(stack, *change)
        begin_create(stack)
    else:
        begin_update(stack, *change)


def _change_sets(
    backend: CloudFormationBackend, stack_name: str | None, name: str
) -> list[ChangeSet]:
    """Those of a name that are meant: of one stack, or by their ARN. The newest is the last."""
    return [
        one
        for one in backend.change_sets.values()
        if name == one.change_set_id
        or (name == one.change_set_name and stack_name in (one.stack_name, one.stack_id))
    ]


def _change_set(
    backend: CloudFormationBackend, stack_name: str | None, name: str
) -> ChangeSet:
    found = _change_sets(backend, stack_name, name)
    if not found:
        raise ChangeSetNotFound(name)
    return found[-1]


def _create_change_set(create: Any) -> Any:
    """moto's `create_change_set`, which comes only to what CloudFormation accepts."""

    @functools.wraps(create)
    def create_change_set(
        self: CloudFormationBackend,
        stack_name: str,
        change_set_name: str,
        template: str,
        parameters: dict[str, Any],
        **further: Any,
    ) -> tuple[str, str]:
        stored = accepted(template, parameters, self.region_name)
        ids = create(
            self, stack_name, change_set_name, template, parameters, **further
        )
        self.change_sets[ids[0]].glue_stored = stored
        return ids

    return create_change_set


def accepted(
    template: str, parameters: dict[str, Any], region: str
) -> dict[str, str]:
    """Refuses a bad template and bad parameters; what the Parameter Store has for those of the
    parameters that name something there.

    Whether a condition lets a resource be made is known only once the operation runs.
    """
    parsed = stack_parameters.parsed(template)
    resources = parsed["Resources"]
    refused = unsupported(
        {name: one for name, one in resources.items() if "Condition" not in one}
    )
    if refused:
        raise ValidationError(message=refused)
    in_order(resources)
    stack_parameters.check(parsed, parameters)
    return stack_parameters.stored(parsed, parameters, region)


def _stored(self: ResourceMap, value: str, value_type: str) -> Any:
    """The value of a parameter that names one of the Parameter Store."""
    text = self.glue_stored[value]
    return text.split(",") if "List" in value_type else text


def _update(
    self: Stack,
    template: str,
    role_arn: str | None = None,
    parameters: dict[str, Any] | None = None,
    tags: dict[str, str] | None = None,
) -> None:
    stored = accepted(template, parameters or {}, self.region_name)
    begin_update(self, template, parameters or {}, stored)


def _delete_stack(self: CloudFormationBackend, name_or_stack_id: str) -> None:
    for stack in list(self.stacks.values()):
        if name_or_stack_id in (stack.name, stack.stack_id):
            run(stack, "DELETE_IN_PROGRESS", Operation(stack).delete)


def _resources(self: Stack) -> Iterable[Any]:
    parsed = self.resource_map._parsed_resources
    names = list(self.template_dict.get("Resources", {}))
    return [parsed[name] for name in names if parsed.get(name) is not None]


def _owner(backend: CloudFormationBackend, physical_id: str) -> Stack:
    """The stack that has the resource."""
    for stack in backend.stacks.values():
        if any(one.physical_resource_id == physical_id for one in stack.stack_resources):
            return stack
    raise ValidationError(physical_id, f"Stack for {physical_id} does not exist")


def _raw_parameters(self: Stack) -> dict[str, str]:
    """Parameters as they were given, for `UsePreviousValue`."""
    return {
        name: stack_parameters.text(self.parameters.get(name, slot.get("Default", "")))
        for name, slot in self.template_dict.get("Parameters", {}).items()
    }


def _template_at(template_url: str, account_id: str, partition: str = "aws") -> str:
    """The template that was uploaded to S3 at this endpoint or at AWS's."""
    by_name = template_url.replace("//127.0.0.1:", "//localhost:")
    return get_stack_from_s3_url(by_name, account_id, partition)


def _has_parameters(self: Stack, other: dict[str, Any]) -> bool:
    """Whether `other` come to the same as what the stack has, in the Parameter Store too."""
    template, region = self.template_dict, self.region_name
    if stack_parameters.given(template, other) != _raw_parameters(self):
        return False
    stored = stack_parameters.stored(template, other, region)
    return stored == self.resource_map.glue_stored


def _described_parameters(self: Stack) -> list[dict[str, str]]:
    slots = self.template_dict.get("Parameters", {})
    described = []
    for name, value in _raw_parameters(self).items():
        hidden = slots[name].get("NoEcho")
        shown = {"ParameterKey": name, "ParameterValue": "****" if hidden else value}
        if slots[name].get("Type", "").startswith(stack_parameters.STORED):
            shown["ResolvedValue"] = self.resource_map.glue_stored[value]
        described.append(shown)
    return described


def _validate_template(self: CloudFormationBackend, template: str) -> list[Any]:
    """cfn-lint's errors; what it only warns of, CloudFormation takes."""
    found = validate_template_cfn_lint(template)
    errors = [it for it in found if it.rule.severity == "error"]
    if errors:
        raise ValidationError(message=f"Template format error: {errors[0].message}")
    return []


def _update_parameters(
    self: CloudFormationBackend, instance: Any, incoming_params: list[dict[str, Any]]
) -> dict[str, str]:
    """What an update gives, with the previous values that it asks for, defaults among them."""
    previous = instance.stack_parameters
    return {
        it["ParameterKey"]: (
            previous[it["ParameterKey"]]
            if it.get("UsePreviousValue")
            else it["ParameterValue"]
        )
        for it in incoming_params
    }


def install() -> None:
    """Puts these stacks in the place of moto's."""
    describe = StackResourceDTO.__init__

    def describe_resource(self: StackResourceDTO, stack: Stack, resource: Any) -> None:
        describe(self, stack, resource)
        self.resource_status = getattr(resource, "glue_status", stack.status)

    describe_named = CloudFormationResponse.describe_stack_resources

    def describe_stack_resources(self: CloudFormationResponse) -> Any:
        physical_id = self._get_param("PhysicalResourceId")
        if physical_id is None:
            return describe_named(self)
        stack = _owner(self.cloudformation_backend, physical_id)
        told = [StackResourceDTO(stack, one) for one in stack.stack_resources]
        return ActionResult({"StackResources": told})

    CloudFormationResponse.describe_stack_resources = describe_stack_resources

    def describe_change_set(self: CloudFormationResponse) -> Any:
        names = self._get_param("StackName"), self._get_param("ChangeSetName")
        return ActionResult(_change_set(self.cloudformation_backend, *names))

    def delete_change_set(self: CloudFormationResponse) -> Any:
        """Succeeds where the stack exists, whether or not it has the change set.

        `cdk deploy` relies on it: it deletes what an earlier one may have left, by one name.
        """
        backend = self.cloudformation_backend
        stack_name = self._get_param("StackName")
        if stack_name is not None:
            backend.get_stack(stack_name)
        for one in _change_sets(backend, stack_name, self._get_param("ChangeSetName")):
            del backend.change_sets[one.change_set_id]
        return EmptyResult()

    CloudFormationResponse.describe_change_set = describe_change_set
    CloudFormationResponse.delete_change_set = delete_change_set
    StackResourceDTO.__init__ = describe_resource
    responses.get_stack_from_s3_url = _template_at
    CloudFormationBackend.create_stack = _create_stack
    CloudFormationBackend.create_change_set = _create_change_set(
        CloudFormationBackend.create_change_set
    )
    CloudFormationBackend.execute_change_set = _execute_change_set
    CloudFormationBackend.validate_template = _validate_template
    CloudFormationBackend._resolve_update_parameters = _update_parameters
    ResourceMap.parse_ssm_parameter = _stored
    ResourceMap.glue_stored = {}
    CloudFormationBackend.delete_stack = _delete_stack
    # A change set without changes is made, as failed; the AWS CLI knows it by its reason.
    CloudFormationResponse._validate_different_update = lambda *_ignored: None
    Stack.has_parameters = _has_parameters
    Stack.update = _update
    Stack.stack_resources = property(_resources)
    Stack.stack_parameters = property(_raw_parameters)
    Stack.parameter_list = property(_described_parameters)
    Stack.outputs = property(lambda self: getattr(self, "glue_outputs", None))
