"""What is told of a role to whoever judges its calls."""

import json
from typing import Any

import requests

from glue import gateway
from tests.support import GlueTest, unique

DOCUMENT = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}],
}


def told(arn: str) -> Any:
    answer = requests.post(f"{gateway.endpoint()}/_glue/role", json={"arn": arn}, timeout=10)
    return answer.json()


class Policies(GlueTest):
    def created(self, **more: str) -> tuple[str, str]:
        """The name and the ARN of a role without policies."""
        name = unique("judged")
        role = self.client("iam").create_role(
            RoleName=name, Path="/shop/", AssumeRolePolicyDocument="{}", **more
        )["Role"]
        return name, role["Arn"]

    def managed(self) -> str:
        """The ARN of a managed policy."""
        return self.client("iam").create_policy(
            PolicyName=unique("managed"), PolicyDocument=json.dumps(DOCUMENT)
        )["Policy"]["Arn"]

    def test_a_role_has_inline_and_managed_policies_and_those_of_aws(self) -> None:
        client = self.client("iam")
        name, arn = self.created()
        self.assertEqual(told(arn), {"policies": [], "boundary": None})
        client.put_role_policy(
            RoleName=name, PolicyName="p", PolicyDocument=json.dumps(DOCUMENT)
        )
        client.attach_role_policy(RoleName=name, PolicyArn=self.managed())
        self.assertEqual(told(arn)["policies"], [DOCUMENT, DOCUMENT])
        client.attach_role_policy(
            RoleName=name,
            PolicyArn="arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole",
        )
        actions = told(arn)["policies"][2]["Statement"][0]["Action"]
        self.assertIn("logs:PutLogEvents", actions)

    def test_the_version_of_a_managed_policy_that_counts_is_its_default(self) -> None:
        client, policy = self.client("iam"), self.managed()
        name, arn = self.created()
        client.attach_role_policy(RoleName=name, PolicyArn=policy)
        changed = json.dumps({**DOCUMENT, "Id": "second"})
        client.create_policy_version(PolicyArn=policy, PolicyDocument=changed, SetAsDefault=True)
        self.assertEqual(told(arn)["policies"], [{**DOCUMENT, "Id": "second"}])

    def test_a_boundary_is_told_and_one_that_is_gone_allows_nothing(self) -> None:
        client, policy = self.client("iam"), self.managed()
        name, arn = self.created(PermissionsBoundary=policy)
        self.assertEqual(told(arn)["boundary"], DOCUMENT)
        client.put_role_permissions_boundary(
            RoleName=name, PermissionsBoundary="arn:aws:iam::123456789012:policy/gone"
        )
        self.assertEqual(told(arn)["boundary"]["Statement"], [])

    def test_a_role_that_does_not_exist_has_no_policies(self) -> None:
        missing = f"arn:aws:iam::123456789012:role/{unique('none')}"
        self.assertEqual(told(missing), {"policies": [], "boundary": None})
