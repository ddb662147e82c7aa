"""Parameters of stacks: limits, rules, the Parameter Store, what has to exist."""

from typing import Any

from botocore.exceptions import ClientError

from glue import intrinsic_functions, stack_parameters
from tests.support import GlueTest, unique


def body(slots: dict[str, Any], **rest: Any) -> dict[str, Any]:
    group = {"Type": "AWS::Logs::LogGroup", "Properties": {}}
    return {"Parameters": slots, "Resources": {"Group": group}, **rest}


class StackTest(GlueTest):
    def refused(self, template: dict[str, Any], says: str, **values: str) -> None:
        name = unique("refused")
        with self.assertRaisesRegex(ClientError, says):
            self.deploy(name, template, **values)
        self.assertNotIn(name, self.stack_names())

    def accepted(self, template: dict[str, Any], **values: str) -> str:
        name = unique("accepted")
        described = self.deploy(name, template, **values)
        self.assertEqual(described["StackStatus"], "CREATE_COMPLETE")
        return name


class Limits(StackTest):
    def test_each_limit_is_kept_and_said(self) -> None:
        for slot, good, bad, says in (
            ({"AllowedValues": ["a", "b"]}, "b", "c", "must be one of AllowedValues"),
            ({"AllowedPattern": "[a-z]+"}, "abc", "abc1", r"must match pattern \[a-z\]\+"),
            ({"MinLength": 2}, "ab", "a", "must contain at least 2 characters"),
            ({"MaxLength": 2}, "ab", "abc", "must contain at most 2 characters"),
            ({"Type": "Number"}, "1.5", "one", "must be a number"),
            ({"Type": "Number", "MinValue": 2}, "2", "1", "must be a number not less than 2"),
            ({"Type": "Number", "MaxValue": 2}, "2", "3", "must be a number not greater than 2"),
            ({"Type": "List<Number>", "MaxValue": 2}, "1, 2", "1,3", "must be a number not greater"),
        ):
            with self.subTest(slot):
                template = body({"P": {"Type": "String", **slot}})
                self.accepted(template, P=good)
                self.refused(template, f"Parameter 'P' {says}", P=bad)
                described = {"ConstraintDescription": "Must be otherwise."}
                template["Parameters"]["P"].update(described)
                self.refused(
                    template,
                    "Parameter P failed to satisfy constraint: Must be otherwise",
                    P=bad,
                )

    def test_a_parameter_needs_a_value_and_a_place(self) -> None:
        template = body({"P": {"Type": "String"}})
        self.refused(template, r"Parameters: \[P\] must have values")
        with self.assertRaisesRegex(ClientError, r"\[Q\] do not exist in the template"):
            self.client("cloudformation").create_stack(
                StackName=unique("unknown"),
                TemplateBody='{"Resources": {}}',
                Parameters=[{"ParameterKey": "Q", "ParameterValue": "x"}],
            )

    def test_a_refused_update_leaves_the_stack_as_it_is(self) -> None:
        template = body({"P": {"Type": "Number", "MaxValue": 2}})
        name = self.accepted(template, P="1")
        with self.assertRaisesRegex(ClientError, "not greater than 2"):
            self.deploy(name, template, P="3")
        client = self.client("cloudformation")
        with self.assertRaisesRegex(ClientError, "not greater than 2"):
            client.update_stack(
                StackName=name,
                UsePreviousTemplate=True,
                Parameters=[{"ParameterKey": "P", "ParameterValue": "3"}],
            )
        stack = client.describe_stacks(StackName=name)["Stacks"][0]
        self.assertEqual(stack["StackStatus"], "CREATE_COMPLETE")
        self.assertEqual(stack["Parameters"][0]["ParameterValue"], "1")

    def test_an_update_keeps_a_value_that_was_a_default(self) -> None:
        template = body({"P": {"Type": "String", "Default": "d"}})
        name = self.accepted(template)
        template["Parameters"]["P"]["Default"] = "e"
        described = self.deploy(name, template)
        self.assertEqual(described["Parameters"][0]["ParameterValue"], "d")


class Rules(StackTest):
    def test_an_assertion_is_checked_where_its_condition_holds(self) -> None:
        template = body(
            {
                "Kind": {"Type": "String"},
                "Size": {"Type": "Number"},
                "Zones": {"Type": "CommaDelimitedList", "Default": "a,b"},
            },
            Rules={
                "Small": {
                    "RuleCondition": {"Fn::Equals": [{"Ref": "Kind"}, "small"]},
                    "Assertions": [
                        {
                            "Assert": {"Fn::Contains": [["1", "2"], {"Ref": "Size"}]},
                            "AssertDescription": "Small things have one or two.",
                        }
                    ],
                },
                "Known": {
                    "Assertions": [
                        {
                            "Assert": {
                                "Fn::And": [
                                    {
                                        "Fn::EachMemberIn": [
                                            {"Ref": "Zones"},
                                            ["a", "b", "c"],
                                        ]
                                    },
                                    {"Fn::Not": [{"Fn::Equals": [{"Ref": "Size"}, 0]}]},
                                ]
                            },
                            "AssertDescription": "Zones are a, b and c.",
                        }
                    ]
                },
            },
        )
        self.accepted(template, Kind="small", Size="2")
        self.accepted(template, Kind="large", Size="3")
        self.refused(template, "Small things have one or two", Kind="small", Size="3")
        self.refused(template, "Zones are a, b", Kind="large", Size="3", Zones="a,d")
        self.refused(template, "Zones are a, b", Kind="large", Size="0")

    def test_a_function_that_is_not_known_is_said(self) -> None:
        rule = {"Assertions": [{"Assert": {"Fn::RefAll": "AWS::EC2::VPC::Id"}}]}
        self.refused(body({}, Rules={"R": rule}), "Fn::RefAll")


class ParameterStore(StackTest):
    SLOT = {"P": {"Type": "AWS::SSM::Parameter::Value<String>"}}
    OUTPUTS = {"Out": {"Value": {"Ref": "P"}}}

    def put(self, name: str, value: str) -> None:
        self.client("ssm").put_parameter(
            Name=name, Value=value, Type="String", Overwrite=True
        )

    def status_of_change_set(self, stack: str) -> str:
        """Whether an update with the previous template and parameters would change anything."""
        client = self.client("cloudformation")
        change_set = client.create_change_set(
            StackName=stack,
            ChangeSetName=unique("same"),
            UsePreviousTemplate=True,
            ChangeSetType="UPDATE",
            Parameters=[{"ParameterKey": "P", "UsePreviousValue": True}],
        )
        return client.describe_change_set(ChangeSetName=change_set["Id"])["Status"]

    def test_the_stored_value_is_taken_at_each_update(self) -> None:
        name, template = unique("/stored"), body(self.SLOT, Outputs=self.OUTPUTS)
        self.put(name, "one")
        stack = self.accepted(template, P=name)
        described = self.client("cloudformation").describe_stacks(StackName=stack)
        described = described["Stacks"][0]
        self.assertEqual(self.outputs(described), {"Out": "one"})
        [parameter] = described["Parameters"]
        self.assertEqual(parameter["ParameterValue"], name)
        self.assertEqual(parameter["ResolvedValue"], "one")
        self.assertEqual(self.status_of_change_set(stack), "FAILED")
        self.put(name, "two")
        # Nothing but the stored value is new, and that is a change.
        self.assertEqual(self.status_of_change_set(stack), "CREATE_COMPLETE")
        described = self.deploy(stack, template)
        self.assertEqual(described["StackStatus"], "UPDATE_COMPLETE")
        self.assertEqual(self.outputs(described), {"Out": "two"})

    def test_a_change_set_keeps_the_value_of_its_making(self) -> None:
        name, template = unique("/stored"), body(self.SLOT, Outputs=self.OUTPUTS)
        self.put(name, "one")
        stack = self.accepted(template, P=name)
        self.put(name, "two")
        client = self.client("cloudformation")
        change_set = client.create_change_set(
            StackName=stack,
            ChangeSetName="later",
            UsePreviousTemplate=True,
            ChangeSetType="UPDATE",
            Parameters=[{"ParameterKey": "P", "UsePreviousValue": True}],
        )
        self.put(name, "three")
        client.execute_change_set(ChangeSetName=change_set["Id"])
        self.assertEqual(self.outputs(self.settled(stack)), {"Out": "two"})

    def test_what_is_not_stored_is_refused(self) -> None:
        says = r"Unable to fetch parameters \[/nothing\] from parameter store"
        self.refused(body(self.SLOT), says, P="/nothing")


class Existence(StackTest):
    def test_what_a_parameter_names_has_to_exist(self) -> None:
        for kind in ("VPC", "Subnet", "SecurityGroup"):
            with self.subTest(kind):
                template = body({"P": {"Type": f"AWS::EC2::{kind}::Id"}})
                name = unique("missing")
                described = self.deploy(name, template, P="nothing-0123")
                self.assertEqual(described["StackStatus"], "ROLLBACK_COMPLETE")
                events = self.client("cloudformation").describe_stack_events(
                    StackName=name
                )["StackEvents"]
                reasons = [it.get("ResourceStatusReason") for it in events]
                self.assertIn(
                    "Parameter validation failed: parameter value nothing-0123 for "
                    "parameter name P does not exist",
                    reasons,
                )


class IntrinsicFunctions(StackTest):
    def test_networks_are_cut_out_of_one(self) -> None:
        cut = intrinsic_functions.cidr("10.0.0.0/16", 3, "8")
        self.assertEqual(cut, ["10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/24"])

    def test_a_condition_may_be_named_in_its_short_form(self) -> None:
        parsed = stack_parameters.parsed(
            "{A: !And [!Condition B, !Equals [!Ref C, d]], E: !GetAtt F.G.H}"
        )
        self.assertEqual(
            parsed,
            {
                "A": {
                    "Fn::And": [
                        {"Condition": "B"},
                        {"Fn::Equals": [{"Ref": "C"}, "d"]},
                    ]
                },
                "E": {"Fn::GetAtt": ["F", "G", "H"]},
            },
        )
