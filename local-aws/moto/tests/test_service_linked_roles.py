"""Roles that services have in an account for themselves."""

from botocore.exceptions import ClientError

from tests.support import GlueTest


class ServiceLinkedRoles(GlueTest):
    def test_that_of_ecs_is_made_once(self) -> None:
        iam = self.client("iam")
        made = iam.create_service_linked_role(AWSServiceName="ecs.amazonaws.com")
        self.assertEqual(made["Role"]["RoleName"], "AWSServiceRoleForECS")
        with self.assertRaises(ClientError) as refused:
            iam.create_service_linked_role(AWSServiceName="ecs.amazonaws.com")
        error = refused.exception.response["Error"]
        self.assertEqual(error["Code"], "InvalidInput")
        self.assertIn("AWSServiceRoleForECS has been taken in this account", error["Message"])
