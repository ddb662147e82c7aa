"""Stacks: order, updates, rollbacks, outputs."""

import json
import threading
from typing import Any
from unittest import mock

from botocore.exceptions import ClientError

from glue import gateway, stacks
from glue.resources.logs import LogGroup
from tests.support import GlueTest, unique, wait_for

GROUP = "AWS::Logs::LogGroup"


def group(name: Any = None, days: Any = 7, **attributes: Any) -> dict[str, Any]:
    properties = {"RetentionInDays": days}
    if name is not None:
        properties["LogGroupName"] = name
    return {"Type": GROUP, "Properties": properties, **attributes}


def template(resources: dict[str, Any], **rest: Any) -> dict[str, Any]:
    return {"Resources": resources, **rest}


#: Fails whenever it is created: the definition is no state machine.
BROKEN = {
    "Type": "AWS::StepFunctions::StateMachine",
    "Properties": {
        "RoleArn": "arn:aws:iam::123456789012:role/test",
        "DefinitionString": "{}",
    },
}


class Order(GlueTest):
    def test_references_are_found_wherever_they_hide(self) -> None:
        found = stacks.references(
            {
                "DependsOn": "A",
                "Properties": {
                    "P": [{"Ref": "B"}, {"Fn::GetAtt": ["C", "Arn"]}],
                    "Q": {"Fn::Sub": "${D}-${E.Arn}-${!F}"},
                    "R": {"Fn::Sub": ["${G}", {"X": {"Fn::If": ["Y", {"Ref": "H"}]}}]},
                },
            }
        )
        self.assertEqual(found, set("ABCDEGH"))

    def test_the_dependencies_of_containers_are_no_resources(self) -> None:
        name = unique("sidecar")
        containers = [
            {
                "Name": "web",
                "Image": "web",
                "Memory": 64,
                "DependsOn": [{"ContainerName": "envoy", "Condition": "HEALTHY"}],
            },
            {"Name": "envoy", "Image": "envoy", "Memory": 64},
        ]
        definition = {
            "Type": "AWS::ECS::TaskDefinition",
            "DependsOn": ["Group"],
            "Properties": {"ContainerDefinitions": containers},
        }
        stack = self.deploy(
            name, template({"Definition": definition, "Group": group(name)})
        )
        self.assertEqual(stack["StackStatus"], "CREATE_COMPLETE")

    def test_a_resource_comes_after_those_it_refers_to(self) -> None:
        name = unique("order")
        resources = {
            "Last": group({"Fn::Sub": f"{name}-${{First}}"}),
            "First": group(f"{name}-first"),
        }
        stack = self.deploy(name, template(resources))
        self.assertEqual(stack["StackStatus"], "CREATE_COMPLETE")
        events = self.client("cloudformation").describe_stack_events(StackName=name)
        made = [
            event["LogicalResourceId"]
            for event in reversed(events["StackEvents"])
            if event["ResourceType"] == GROUP
            and event["ResourceStatus"] == "CREATE_COMPLETE"
        ]
        self.assertEqual(made, ["First", "Last"])

    def test_a_circle_is_refused_and_leaves_no_stack(self) -> None:
        name = unique("circle")
        resources = {"A": group({"Ref": "B"}), "B": group({"Ref": "A"})}
        with self.assertRaisesRegex(ClientError, "Circular dependency"):
            self.deploy(name, template(resources))
        self.assertNotIn(name, self.stack_names())


class Updates(GlueTest):
    def retention(self, name: str) -> int | None:
        answer = self.client("logs").describe_log_groups(logGroupNamePrefix=name)
        groups = answer["logGroups"]
        return groups[0].get("retentionInDays") if groups else None

    def test_outputs_are_there_after_a_change_set(self) -> None:
        name = unique("outputs")
        body = template(
            {"Group": group(name)},
            Parameters={"Text": {"Type": "String", "Default": "a"}},
            Conditions={"No": {"Fn::Equals": [{"Ref": "Text"}, ""]}},
            Outputs={
                "Name": {"Value": {"Ref": "Group"}},
                "Text": {"Value": {"Fn::Sub": "<${Text}>"}},
                "Absent": {"Condition": "No", "Value": "x"},
            },
        )
        stack = self.deploy(name, body)
        self.assertEqual(self.outputs(stack), {"Name": name, "Text": "<a>"})
        stack = self.deploy(name, body, Text="b")
        self.assertEqual(self.outputs(stack), {"Name": name, "Text": "<b>"})

    def test_a_parameter_inside_a_substitution_changes_its_resource(self) -> None:
        name = unique("parameter")
        body = template(
            {
                "Group": {
                    "Type": GROUP,
                    "Properties": {
                        "LogGroupName": name,
                        "RetentionInDays": {"Fn::Sub": "${Days}"},
                    },
                }
            },
            Parameters={"Days": {"Type": "Number"}},
        )
        self.deploy(name, body, Days="7")
        self.assertEqual(self.retention(name), 7)
        stack = self.deploy(name, body, Days="14")
        self.assertEqual(stack["StackStatus"], "UPDATE_COMPLETE")
        self.assertEqual(self.retention(name), 14)

    def test_what_depends_on_a_replaced_resource_follows(self) -> None:
        name = unique("follow")
        resources = {
            "First": group(f"{name}-a"),
            "Second": group({"Fn::Sub": "${First}-second"}),
        }
        self.deploy(name, template(resources))
        resources["First"] = group(f"{name}-b")
        self.deploy(name, template(resources))
        answer = self.client("logs").describe_log_groups(logGroupNamePrefix=name)
        names = {group["logGroupName"] for group in answer["logGroups"]}
        self.assertEqual(names, {f"{name}-b", f"{name}-b-second"})

    def test_a_removed_resource_is_deleted_unless_it_is_retained(self) -> None:
        name = unique("remove")
        resources = {
            "Stays": group(f"{name}-stays"),
            "Goes": group(f"{name}-goes"),
            "Kept": group(f"{name}-kept", DeletionPolicy="Retain"),
        }
        self.deploy(name, template(resources))
        self.deploy(name, template({"Stays": resources["Stays"]}))
        self.assertIsNone(self.retention(f"{name}-goes"))
        self.assertEqual(self.retention(f"{name}-kept"), 7)

    def test_what_is_retained_except_on_create_outlives_its_stack_but_no_failed_creation(
        self,
    ) -> None:
        name = unique("except")
        kept = group(name, DeletionPolicy="RetainExceptOnCreate")
        fails = {**BROKEN, "DependsOn": "Kept"}
        stack = self.deploy(f"{name}-fails", template({"Kept": kept, "Fails": fails}))
        self.assertEqual(stack["StackStatus"], "ROLLBACK_COMPLETE")
        self.assertIsNone(self.retention(name))
        self.deploy(name, template({"Kept": kept}))
        self.delete(name)
        self.assertEqual(self.retention(name), 7)

    def test_an_export_can_be_imported_until_its_stack_is_deleted(self) -> None:
        name = unique("export")
        body = template(
            {"Group": group(name)},
            Outputs={"Out": {"Value": name, "Export": {"Name": f"{name}-x"}}},
        )
        stack = self.deploy(name, body)
        self.assertEqual(stack["Outputs"][0]["ExportName"], f"{name}-x")
        imported = {
            "Fn::Sub": [f"{name}-${{I}}", {"I": {"Fn::ImportValue": f"{name}-x"}}]
        }
        self.deploy(f"{name}-importing", template({"Group": group(imported)}))
        answer = self.client("logs").describe_log_groups(logGroupNamePrefix=f"{name}-")
        self.assertEqual(answer["logGroups"][0]["logGroupName"], f"{name}-{name}")
        self.delete(name)
        exports = self.client("cloudformation").list_exports()["Exports"]
        self.assertNotIn(f"{name}-x", [export["Name"] for export in exports])

    def test_each_resource_has_a_status_of_its_own(self) -> None:
        name = unique("status")
        resources = {"Same": group(f"{name}-a"), "Other": group(f"{name}-b")}
        self.deploy(name, template(resources))
        resources["Other"] = group(f"{name}-b", days=14)
        self.deploy(name, template(resources))
        answer = self.client("cloudformation").describe_stack_resources(StackName=name)
        statuses = {
            resource["LogicalResourceId"]: resource["ResourceStatus"]
            for resource in answer["StackResources"]
        }
        expected = {"Same": "CREATE_COMPLETE", "Other": "UPDATE_COMPLETE"}
        self.assertEqual(statuses, expected)

    def test_a_stack_is_found_by_a_resource_of_its(self) -> None:
        name, client = unique("owner"), self.client("cloudformation")
        self.deploy(name, template({"Other": group(f"{name}-a"), "Mine": group(f"{name}-b")}))
        found = client.describe_stack_resources(PhysicalResourceId=f"{name}-b")
        owners = {one["StackName"] for one in found["StackResources"]}
        self.assertEqual((owners, len(found["StackResources"])), ({name}, 2))
        with self.assertRaises(ClientError) as raised:
            client.describe_stack_resources(PhysicalResourceId=f"{name}-c")
        self.assertIn("does not exist", str(raised.exception))

    def test_previous_values_of_lists_and_secrets_are_kept(self) -> None:
        name = unique("previous")
        body = template(
            {"Group": group(name, days=7)},
            Parameters={
                "Names": {"Type": "CommaDelimitedList"},
                "Secret": {"Type": "String", "NoEcho": True},
                "Days": {"Type": "Number", "Default": 7},
            },
            Outputs={"Joined": {"Value": {"Fn::Join": ["+", {"Ref": "Names"}]}}},
        )
        self.deploy(name, body, Names="a,b", Secret="s")
        stack = self.deploy(name, body, Days="14")
        self.assertEqual(stack["StackStatus"], "UPDATE_COMPLETE")
        self.assertEqual(self.outputs(stack), {"Joined": "a+b"})
        described = {
            parameter["ParameterKey"]: parameter["ParameterValue"]
            for parameter in stack["Parameters"]
        }
        self.assertEqual(described, {"Names": "a,b", "Secret": "****", "Days": "14"})

    def test_a_list_is_one_by_default_too_and_its_members_have_no_spaces_around_them(
        self,
    ) -> None:
        name = unique("list")
        body = template(
            {"Group": group(name)},
            Parameters={"Names": {"Type": "CommaDelimitedList", "Default": "a, b"}},
            Outputs={"Joined": {"Value": {"Fn::Join": ["+", {"Ref": "Names"}]}}},
        )
        self.assertEqual(self.outputs(self.deploy(name, body)), {"Joined": "a+b"})
        changed = self.deploy(name, body, Names="c , d")
        self.assertEqual(self.outputs(changed), {"Joined": "c+d"})

    def test_a_change_set_without_changes_fails_with_the_known_reason(self) -> None:
        name = unique("empty")
        body = template(
            {"Group": group(name)},
            Parameters={"Days": {"Type": "Number", "Default": 7}},
        )
        self.deploy(name, body)
        client = self.client("cloudformation")
        change_set = client.create_change_set(
            StackName=name,
            ChangeSetName="empty",
            ChangeSetType="UPDATE",
            TemplateBody=json.dumps(body),
            Parameters=[{"ParameterKey": "Days", "UsePreviousValue": True}],
        )
        described = client.describe_change_set(ChangeSetName=change_set["Id"])
        self.assertEqual(described["Status"], "FAILED")
        self.assertIn("didn't contain changes", described["StatusReason"])


class Templates(GlueTest):
    def test_a_template_may_lie_in_s3(self) -> None:
        name, s3 = unique("url"), self.client("s3")
        s3.create_bucket(Bucket=name)
        body = json.dumps(template({"Group": group(name)}))
        s3.put_object(Bucket=name, Key="a.template", Body=body.encode())
        url = f"{gateway.endpoint()}/{name}/a.template"
        self.client("cloudformation").create_stack(StackName=name, TemplateURL=url)
        self.assertEqual(self.settled(name)["StackStatus"], "CREATE_COMPLETE")


class Failures(GlueTest):
    def names(self, prefix: str) -> set[str]:
        answer = self.client("logs").describe_log_groups(logGroupNamePrefix=prefix)
        return {group["logGroupName"] for group in answer["logGroups"]}

    def test_a_failed_creation_is_rolled_back_and_says_why(self) -> None:
        name = unique("fail")
        resources = {
            "Group": group(f"{name}-group"),
            "Broken": {**BROKEN, "DependsOn": "Group"},
        }
        stack = self.deploy(name, template(resources))
        self.assertEqual(stack["StackStatus"], "ROLLBACK_COMPLETE")
        self.assertEqual(self.names(name), set())
        events = self.client("cloudformation").describe_stack_events(StackName=name)
        failed = [
            event
            for event in events["StackEvents"]
            if event["ResourceStatus"] == "CREATE_FAILED"
        ]
        self.assertEqual(failed[0]["LogicalResourceId"], "Broken")
        self.assertIn("InvalidDefinition", failed[0]["ResourceStatusReason"])

    def test_a_failed_update_brings_the_old_stack_back(self) -> None:
        name = unique("back")
        before = template(
            {"Group": group(f"{name}-old")}, Outputs={"O": {"Value": "before"}}
        )
        self.deploy(name, before)
        after = template(
            {
                "Group": group(f"{name}-new"),
                "Further": group(f"{name}-further"),
                "Broken": {**BROKEN, "DependsOn": ["Group", "Further"]},
            },
            Outputs={"O": {"Value": "after"}},
        )
        stack = self.deploy(name, after)
        self.assertEqual(stack["StackStatus"], "UPDATE_ROLLBACK_COMPLETE")
        self.assertEqual(self.names(name), {f"{name}-old"})
        self.assertEqual(self.outputs(stack), {"O": "before"})
        # And it can be updated again.
        stack = self.deploy(name, template({"Group": group(f"{name}-old", days=14)}))
        self.assertEqual(stack["StackStatus"], "UPDATE_COMPLETE")

    def test_what_is_not_supported_is_refused_by_its_name_and_made_in_no_part(self) -> None:
        name = unique("unknown")
        resources = {
            "Group": group(name),
            "Odd": {"Type": "AWS::Nowhere::Thing", "Properties": {}},
            "Own": {"Type": "Custom::VpcRestrictDefaultSG", "DependsOn": "Group"},
            "Late": {"Type": "AWS::CloudFormation::WaitCondition"},
        }
        body = template(resources)
        names = (
            r"\[AWS::CloudFormation::WaitCondition, AWS::Nowhere::Thing, "
            r"Custom::VpcRestrictDefaultSG\]"
        )
        client = self.client("cloudformation")
        with self.assertRaisesRegex(ClientError, names):
            self.deploy(name, body)
        with self.assertRaisesRegex(ClientError, names):
            client.create_stack(StackName=name, TemplateBody=json.dumps(body))
        self.assertNotIn(name, self.stack_names())
        self.assertEqual(self.names(name), set())

    def test_what_is_not_supported_may_have_a_condition_that_is_false(self) -> None:
        name = unique("conditional")
        odd = {"Type": "AWS::Nowhere::Thing", "Condition": "Odd"}
        body = template(
            {"Group": group(name), "Odd": odd},
            Parameters={"Wanted": {"Type": "String"}},
            Conditions={"Odd": {"Fn::Equals": [{"Ref": "Wanted"}, "yes"]}},
        )
        self.deploy(name, body, Wanted="no")
        self.assertEqual(self.names(name), {name})
        stack = self.deploy(name, body, Wanted="yes")
        self.assertEqual(stack["StackStatus"], "UPDATE_ROLLBACK_COMPLETE")
        events = self.client("cloudformation").describe_stack_events(StackName=name)
        reasons = [it.get("ResourceStatusReason", "") for it in events["StackEvents"]]
        self.assertTrue(any("[AWS::Nowhere::Thing]" in reason for reason in reasons))


class ChangeSets(GlueTest):
    def test_deleting_one_that_is_gone_succeeds_where_its_stack_exists(self) -> None:
        name, client = unique("gone"), self.client("cloudformation")
        self.deploy(name, template({"Group": group(name)}))
        client.delete_change_set(StackName=name, ChangeSetName="cdk-deploy-change-set")
        with self.assertRaisesRegex(ClientError, "does not exist"):
            client.delete_change_set(StackName=f"{name}-other", ChangeSetName="any")
        with self.assertRaises(client.exceptions.ChangeSetNotFoundException):
            client.describe_change_set(StackName=name, ChangeSetName="any")

    def test_two_stacks_may_have_change_sets_of_one_name(self) -> None:
        one, other = unique("one"), unique("other")
        client = self.client("cloudformation")
        for name in (one, other):
            body = json.dumps(template({"Group": group(name)}))
            client.create_change_set(
                StackName=name, ChangeSetName="same", ChangeSetType="CREATE", TemplateBody=body
            )
        described = client.describe_change_set(StackName=one, ChangeSetName="same")
        self.assertEqual(described["StackName"], one)
        client.execute_change_set(StackName=one, ChangeSetName="same")
        self.assertEqual(self.settled(one)["StackStatus"], "CREATE_COMPLETE")
        client.delete_change_set(StackName=one, ChangeSetName="same")
        described = client.describe_change_set(StackName=other, ChangeSetName="same")
        self.assertEqual(described["StackName"], other)


class InProgress(GlueTest):
    def test_an_operation_shows_its_status_and_refuses_another(self) -> None:
        name = unique("slow")
        go_on = threading.Event()
        create = LogGroup.create

        def slowly(self: LogGroup, group_name: str) -> None:
            go_on.wait(10)
            create(self, group_name)

        client = self.client("cloudformation")
        body = template(
            {"Group": group(name)}, Outputs={"Name": {"Value": {"Ref": "Group"}}}
        )
        with (
            mock.patch.object(stacks, "PATIENCE_SECONDS", 0),
            mock.patch.object(LogGroup, "create", slowly),
        ):
            client.create_stack(StackName=name, TemplateBody=json.dumps(body))
            stack = client.describe_stacks(StackName=name)["Stacks"][0]
            self.assertEqual(stack["StackStatus"], "CREATE_IN_PROGRESS")
            # Reading the stack does not make its resources.
            resources = client.list_stack_resources(StackName=name)
            self.assertEqual(resources["StackResourceSummaries"], [])
            with self.assertRaises(ClientError):
                client.update_stack(StackName=name, TemplateBody=json.dumps(body))
            go_on.set()
            stack = self.settled(name)
        self.assertEqual(stack["StackStatus"], "CREATE_COMPLETE")
        self.assertEqual(self.outputs(stack), {"Name": name})

    def test_a_deleted_stack_is_gone_with_its_resources(self) -> None:
        name = unique("gone")
        self.deploy(name, template({"Group": group(name)}))
        self.delete(name)
        wait_for(lambda: name not in self.stack_names())
        answer = self.client("logs").describe_log_groups(logGroupNamePrefix=name)
        self.assertEqual(answer["logGroups"], [])
