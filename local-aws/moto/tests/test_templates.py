"""The templates of `infra/`: created, changed and deleted; bad parameters are refused before that."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from glue.stack_parameters import parsed
from glue.stacks import references
from tests.support import GlueTest, unique, wait_for

INFRA = Path(__file__).parents[3] / "infra"


class TemplateTest(GlueTest):
    template = ""

    def setUp(self) -> None:
        self.stack = unique(self.template.split(".")[0])

    def text(self) -> str:
        return (INFRA / self.template).read_text()

    def bring_about(self, **parameters: str) -> dict[str, str]:
        """Creates or updates the stack and gives its outputs."""
        described = self.deploy(self.stack, parsed(self.text()), **parameters)
        self.assertIn(
            described["StackStatus"],
            ("CREATE_COMPLETE", "UPDATE_COMPLETE"),
            self.reasons(),
        )
        return self.outputs(described)

    def reasons(self) -> list[str]:
        answer = self.client("cloudformation").describe_stack_events(
            StackName=self.stack
        )
        return [
            f"{event['LogicalResourceId']}: {event['ResourceStatusReason']}"
            for event in answer["StackEvents"]
            if "FAILED" in event["ResourceStatus"]
        ]

    def resources(self) -> dict[str, str]:
        """Physical ids by logical ones."""
        answer = self.client("cloudformation").describe_stack_resources(
            StackName=self.stack
        )
        return {
            it["LogicalResourceId"]: it["PhysicalResourceId"]
            for it in answer["StackResources"]
        }

    def take_down(self) -> None:
        self.delete(self.stack)
        wait_for(self.is_gone, 30)

    def is_gone(self) -> bool:
        if self.stack not in self.stack_names():
            return True
        described = self.client("cloudformation").describe_stacks(StackName=self.stack)
        status = described["Stacks"][0]["StackStatus"]
        self.assertNotEqual(status, "DELETE_FAILED", self.reasons())
        return False

    def refused(self, says: str, **parameters: str) -> None:
        """Deploying with these parameters is refused in these words, and leaves nothing."""
        with self.assertRaisesRegex(ClientError, says) as caught:
            self.deploy(self.stack, parsed(self.text()), **parameters)
        self.assertEqual(caught.exception.response["Error"]["Code"], "ValidationError")
        self.assertTrue(self.is_gone())

    def open_to_the_world(self, groups: list[str]) -> list[tuple[str, int]]:
        """Groups and ports that anybody may come in by."""
        answer = self.client("ec2").describe_security_groups(GroupIds=groups)
        return [
            (group["GroupId"], rule.get("FromPort", -1))
            for group in answer["SecurityGroups"]
            for rule in group["IpPermissions"]
            if any(it["CidrIp"] == "0.0.0.0/0" for it in rule["IpRanges"])
            or any(it["CidrIpv6"] == "::/0" for it in rule.get("Ipv6Ranges", []))
        ]


#: A request takes no longer template; CloudFormation reads such a one from S3.
#: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
LONGEST_TEMPLATE = 51_200


class Every(GlueTest):
    def template(self, path: Path) -> dict[str, str]:
        """The arguments by which a request has the template, or leads to it."""
        if path.stat().st_size <= LONGEST_TEMPLATE:
            return {"TemplateBody": path.read_text()}
        s3, bucket = self.client("s3"), unique("templates")
        s3.create_bucket(Bucket=bucket)
        s3.put_object(Bucket=bucket, Key=path.name, Body=path.read_bytes())
        return {"TemplateURL": f"https://{bucket}.s3.us-east-1.amazonaws.com/{path.name}"}

    def test_template_is_valid(self) -> None:
        for path in sorted(INFRA.glob("*.yml")):
            with self.subTest(path.name):
                answer = self.client("cloudformation").validate_template(
                    **self.template(path)
                )
                self.assertIn("bluegreen", answer["Description"])

    def test_output_tells_no_secret(self) -> None:
        for path in sorted(INFRA.glob("*.yml")):
            template = parsed(path.read_text())
            secret = {
                name
                for name, slot in template["Parameters"].items()
                if slot.get("NoEcho")
            }
            for name, output in template["Outputs"].items():
                with self.subTest(path.name, output=name):
                    self.assertEqual(references(output) & secret, set())

    def test_the_world_comes_in_by_the_ports_of_listeners_alone(self) -> None:
        opened = {
            (path.name, name, rule.get("FromPort", {}).get("Ref"))
            for path in sorted(INFRA.glob("*.yml"))
            for name, rule in ingress(parsed(path.read_text()))
            if rule.get("CidrIp") == "0.0.0.0/0" or rule.get("CidrIpv6") == "::/0"
        }
        balancer = "LoadBalancerSecurityGroup"
        self.assertEqual(
            opened,
            {("cluster.yml", balancer, port) for port in ("ListenerPort", "HttpsPort")},
        )

    def test_nothing_is_assumed_but_by_services_of_aws_and_github(self) -> None:
        for path in sorted(INFRA.glob("*.yml")):
            resources = parsed(path.read_text())["Resources"]
            for name, resource in resources.items():
                if resource["Type"] != "AWS::IAM::Role":
                    continue
                policy = resource["Properties"]["AssumeRolePolicyDocument"]
                for statement in policy["Statement"]:
                    with self.subTest(path.name, role=name):
                        [kind] = statement["Principal"]
                        self.assertIn(kind, ("Service", "Federated"))


def ingress(template: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rules by which something may come in, with the names of their resources."""
    for name, resource in template["Resources"].items():
        if resource["Type"] == "AWS::EC2::SecurityGroupIngress":
            yield name, resource["Properties"]
        if resource["Type"] == "AWS::EC2::SecurityGroup":
            for rule in resource["Properties"].get("SecurityGroupIngress", []):
                yield name, rule["Fn::If"][1] if "Fn::If" in rule else rule


class Network(TemplateTest):
    template = "network.yml"

    def routes_to_the_internet(self, subnets: str) -> list[str]:
        """The kinds of gateway that these subnets' default routes lead to."""
        kinds = []
        for subnet in subnets.split(","):
            tables = self.client("ec2").describe_route_tables(
                Filters=[{"Name": "association.subnet-id", "Values": [subnet]}]
            )["RouteTables"]
            for route in tables[0]["Routes"]:
                if route.get("DestinationCidrBlock") == "0.0.0.0/0":
                    kinds.append("nat" if "NatGatewayId" in route else "internet")
        return kinds

    def endpoints(self) -> set[str]:
        vpc = self.resources()["Vpc"]
        answer = self.client("ec2").describe_vpc_endpoints(
            Filters=[{"Name": "vpc-id", "Values": [vpc]}]
        )
        return {
            it["ServiceName"].split(".", 3)[3]
            for it in answer["VpcEndpoints"]
            if it["State"] != "deleted"
        }

    def allowed(self) -> dict[str, list[dict[str, Any]]]:
        """The statements of each endpoint's policy."""
        vpc = self.resources()["Vpc"]
        answer = self.client("ec2").describe_vpc_endpoints(
            Filters=[{"Name": "vpc-id", "Values": [vpc]}]
        )
        return {
            it["ServiceName"].split(".", 3)[3]: json.loads(it["PolicyDocument"])["Statement"]
            for it in answer["VpcEndpoints"]
            if it["State"] != "deleted"
        }

    def test_endpoints_lead_to_the_own_account_where_there_is_no_other_way_out(self) -> None:
        self.bring_about(ExecEndpoint="true")
        account = "123456789012"
        repositories = f"arn:aws:ecr:us-east-1:{account}:repository/*"
        own = {
            "ecr.api": ("ecr:*", repositories),
            "ecr.dkr": ("ecr:*", repositories),
            "logs": ("logs:*", f"arn:aws:logs:us-east-1:{account}:*"),
            "secretsmanager": (
                "secretsmanager:*",
                f"arn:aws:secretsmanager:us-east-1:{account}:secret:*",
            ),
        }
        by_condition = {"s3": "aws:ResourceAccount", "ssmmessages": "aws:PrincipalAccount"}
        allowed = self.allowed()
        self.assertEqual(set(allowed), {*own, *by_condition})
        for service, (actions, resource) in own.items():
            statement = allowed[service][0]
            self.assertEqual((statement["Action"], statement["Resource"]), (actions, resource))
        for service, key in by_condition.items():
            condition = {"StringEquals": {key: account}}
            self.assertEqual(allowed[service][0]["Condition"], condition)
        layers = allowed["s3"][1]
        self.assertEqual(layers["Action"], "s3:GetObject")
        bucket = "arn:aws:s3:::prod-us-east-1-starport-layer-bucket/*"
        self.assertEqual(layers["Resource"], bucket)
        for change in ({"EndpointsReach": "ANY_ACCOUNT"}, {"NatGateways": "ONE"}):
            self.bring_about(**change)
            opened = self.allowed()
            for service in own:
                self.assertEqual(opened[service][0]["Resource"], "*", service)
            for service in by_condition:
                self.assertNotIn("Condition", opened[service][0], service)
            self.bring_about(EndpointsReach="OWN_ACCOUNT", NatGateways="NONE")
            self.assertEqual(self.allowed(), allowed)
        self.take_down()

    def test_by_default_private_subnets_reach_aws_and_nothing_else(self) -> None:
        outputs = self.bring_about()
        public, private = outputs["PublicSubnetIds"], outputs["PrivateSubnetIds"]
        self.assertEqual(self.routes_to_the_internet(public), ["internet"] * 2)
        self.assertEqual(self.routes_to_the_internet(private), [])
        wanted = {"ecr.api", "ecr.dkr", "logs", "secretsmanager", "s3"}
        self.assertEqual(self.endpoints(), wanted)
        subnets = self.client("ec2").describe_subnets(
            SubnetIds=[*public.split(","), *private.split(",")]
        )["Subnets"]
        self.assertEqual(len({it["CidrBlock"] for it in subnets}), 4)
        self.assertEqual(len({it["AvailabilityZone"] for it in subnets}), 2)
        self.assertFalse(any(it["MapPublicIpOnLaunch"] for it in subnets))
        groups = [self.resources()["EndpointSecurityGroup"]]
        self.assertEqual(self.open_to_the_world(groups), [])
        self.take_down()
        vpcs = self.client("ec2").describe_vpcs()["Vpcs"]
        self.assertNotIn(outputs["VpcId"], [vpc["VpcId"] for vpc in vpcs])

    def test_its_subnets_are_in_the_zones_that_are_named(self) -> None:
        outputs = self.bring_about(
            CidrBlock="172.31.0.0/16", ZoneNames="us-east-1c,us-east-1e"
        )
        for subnets in (outputs["PublicSubnetIds"], outputs["PrivateSubnetIds"]):
            described = self.client("ec2").describe_subnets(SubnetIds=subnets.split(","))
            zones = {it["AvailabilityZone"] for it in described["Subnets"]}
            self.assertEqual(zones, {"us-east-1c", "us-east-1e"})
        self.take_down()

    def test_zones_nat_and_endpoints_can_be_added_and_taken_away(self) -> None:
        before = self.bring_about(FlowLogs="NONE")
        after = self.bring_about(
            Zones="3", NatGateways="ONE_PER_ZONE", ExecEndpoint="true", FlowLogs="ALL"
        )
        self.assertEqual(after["VpcId"], before["VpcId"])
        private = after["PrivateSubnetIds"]
        self.assertEqual(self.routes_to_the_internet(private), ["nat"] * 3)
        self.assertIn("ssmmessages", self.endpoints())
        logs = self.client("ec2").describe_flow_logs(
            Filters=[{"Name": "resource-id", "Values": [after["VpcId"]]}]
        )["FlowLogs"]
        self.assertEqual([log["TrafficType"] for log in logs], ["ALL"])
        one = self.bring_about(NatGateways="ONE", InterfaceEndpoints="false")
        self.assertEqual(self.routes_to_the_internet(private), ["nat"] * 3)
        self.assertEqual(one["PrivateSubnetIds"], private)
        self.assertNotIn("logs", self.endpoints())
        gateways = self.client("ec2").describe_nat_gateways(
            Filters=[{"Name": "vpc-id", "Values": [after["VpcId"]]}]
        )["NatGateways"]
        states = [it["State"] for it in gateways if it["State"] != "deleted"]
        self.assertEqual(states, ["available"])
        self.take_down()

    def test_what_can_not_be_is_refused(self) -> None:
        for block in (
            "8.8.8.0/16",
            "10.0.0.0/28",
            "172.15.0.0/16",
            "172.32.0.0/16",
            "172.200.0.0/16",
            "192.167.0.0/16",
            "10.256.0.0/16",
        ):
            self.refused("CidrBlock failed to satisfy", CidrBlock=block)
        self.refused("ZoneNames failed to satisfy", ZoneNames="us-east-1")
        self.refused("Zones failed to satisfy constraint: Must be 2 or 3", Zones="4")
        self.refused("NatGateways failed to satisfy", NatGateways="SOME")
        self.refused("InterfaceEndpoints failed to satisfy", InterfaceEndpoints="yes")
        self.refused("ExecEndpoint failed to satisfy", ExecEndpoint="")
        self.refused("EndpointsReach failed to satisfy", EndpointsReach="NONE")
        self.refused("FlowLogs failed to satisfy", FlowLogs="SOME")
        self.refused("LogRetentionDays failed to satisfy", LogRetentionDays="2")
        self.refused(
            "Without NAT gateways tasks in private subnets need", InterfaceEndpoints="false"
        )


class Database(TemplateTest):
    template = "database.yml"

    def network(self) -> dict[str, str]:
        ec2 = self.client("ec2")
        vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
        subnets = ec2.describe_subnets(
            Filters=[{"Name": "vpc-id", "Values": [vpc]}]
        )["Subnets"]
        ids = ",".join(it["SubnetId"] for it in subnets[:2])
        return {"VpcId": vpc, "SubnetIds": ids}

    def secret(self, outputs: dict[str, str]) -> dict[str, str]:
        answer = self.client("secretsmanager").get_secret_value(
            SecretId=outputs["DatabaseSecretArn"]
        )
        return json.loads(answer["SecretString"])

    def safe(self, described: dict[str, Any]) -> None:
        self.assertTrue(described["StorageEncrypted"])
        self.assertTrue(described["DeletionProtection"])
        self.assertFalse(described.get("PubliclyAccessible", False))
        self.assertEqual(described["BackupRetentionPeriod"], 7)
        self.assertIn("postgresql", described["EnabledCloudwatchLogsExports"])

    def test_an_instance_is_private_and_its_password_a_secret(self) -> None:
        outputs = self.bring_about(**self.network())
        rds, name = self.client("rds"), self.resources()["Instance"]
        described = rds.describe_db_instances(DBInstanceIdentifier=name)["DBInstances"][0]
        self.safe(described)
        self.assertEqual(described["Endpoint"]["Address"], outputs["DatabaseHost"])
        self.assertEqual(outputs["DatabasePort"], "5432")
        secret = self.secret(outputs)
        self.assertEqual(secret["username"], "app")
        self.assertNotIn(secret["password"], json.dumps(outputs))
        group = self.resources()["InstanceParameters"]
        values = rds.describe_db_parameters(DBParameterGroupName=group)["Parameters"]
        forced = [it for it in values if it["ParameterName"] == "rds.force_ssl"]
        self.assertEqual(forced[0]["ParameterValue"], "1")

    def test_only_who_wears_the_client_group_reaches_it(self) -> None:
        outputs = self.bring_about(**self.network())
        group = self.resources()["SecurityGroup"]
        described = self.client("ec2").describe_security_groups(GroupIds=[group])
        [rule] = described["SecurityGroups"][0]["IpPermissions"]
        self.assertEqual(rule["FromPort"], 5432)
        self.assertEqual(rule["IpRanges"], [])
        wearers = [it["GroupId"] for it in rule["UserIdGroupPairs"]]
        self.assertEqual(wearers, [outputs["ClientSecurityGroupId"]])

    def test_a_protected_database_outlives_the_attempt_to_delete_it(self) -> None:
        self.bring_about(**self.network())
        self.delete(self.stack)
        self.assertEqual(self.settled(self.stack)["StackStatus"], "DELETE_FAILED")

    def test_a_deleted_database_leaves_a_snapshot(self) -> None:
        for engine, described, member in (
            ("INSTANCE", "describe_db_snapshots", "DBSnapshots"),
            ("SERVERLESS", "describe_db_cluster_snapshots", "DBClusterSnapshots"),
        ):
            with self.subTest(engine):
                self.setUp()
                self.bring_about(Engine=engine, **self.network())
                resource = "Instance" if engine == "INSTANCE" else "Cluster"
                name = self.resources()[resource]
                self.bring_about(DeletionProtection="false")
                self.take_down()
                snapshots = getattr(self.client("rds"), described)()[member]
                identifier = resource.replace("Instance", "DBInstance")
                identifier = identifier.replace("Cluster", "DBCluster") + "Identifier"
                self.assertIn(name, [it[identifier] for it in snapshots])

    def test_a_serverless_cluster_is_private_and_grows(self) -> None:
        outputs = self.bring_about(Engine="SERVERLESS", **self.network())
        rds, name = self.client("rds"), self.resources()["Cluster"]

        def cluster() -> dict[str, Any]:
            return rds.describe_db_clusters(DBClusterIdentifier=name)["DBClusters"][0]

        self.safe(cluster())
        self.assertEqual(self.secret(outputs)["username"], "app")
        members = [it["DBInstanceIdentifier"] for it in cluster()["DBClusterMembers"]]
        resources = self.resources()
        self.assertEqual(set(members), {resources["Writer"], resources["Reader"]})
        self.bring_about(MaxCapacity="8")
        scaling = cluster()["ServerlessV2ScalingConfiguration"]
        self.assertEqual(scaling, {"MinCapacity": 0.5, "MaxCapacity": 8.0})

    def test_what_can_not_be_is_refused(self) -> None:
        network = self.network()
        for parameter, value in (
            ("Engine", "MYSQL"),
            ("EngineVersion", "9.6"),
            ("AllowMajorVersionUpgrade", "yes"),
            ("DatabaseName", "1st"),
            ("MasterUsername", "postgres"),
            ("InstanceClass", "t4g.micro"),
            ("StorageGiB", "19"),
            ("MaxStorageGiB", "65537"),
            ("MultiAz", "yes"),
            ("MinCapacity", "-1"),
            ("MaxCapacity", "257"),
            ("Readers", "2"),
            ("BackupRetentionDays", "0"),
            ("DeletionProtection", "no"),
            ("KmsKeyArn", "key"),
            ("CaCertificateIdentifier", "rds-ca-2019"),
            ("DatabaseInsights", "none"),
            ("LogStatementsSlowerThanMilliseconds", "-2"),
        ):
            with self.subTest(parameter):
                self.refused(
                    f"{parameter} failed to satisfy", **{**network, parameter: value}
                )
        self.refused(r"\[VpcId, SubnetIds\] must have values")

    def test_a_network_that_does_not_exist_makes_nothing(self) -> None:
        parameters = {**self.network(), "VpcId": "vpc-0123456789"}
        described = self.deploy(self.stack, parsed(self.text()), **parameters)
        self.assertEqual(described["StackStatus"], "ROLLBACK_COMPLETE")
        self.assertEqual(self.resources(), {})


class GitHub(TemplateTest):
    template = "github.yml"

    def role(self) -> dict[str, Any]:
        name = self.resources()["PushRole"]
        return self.client("iam").get_role(RoleName=name)["Role"]

    def test_one_repository_may_push_to_one_repository(self) -> None:
        arn = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"
        providers = self.client("iam").list_open_id_connect_providers()
        self.assertEqual(providers["OpenIDConnectProviderList"], [])
        outputs = self.bring_about(GitHubRepository="octocat/shop", RepositoryName="shop")
        self.assertEqual(outputs["OidcProviderArn"], arn)
        [statement] = self.role()["AssumeRolePolicyDocument"]["Statement"]
        self.assertEqual(statement["Principal"], {"Federated": arn})
        self.assertEqual(
            statement["Condition"]["StringLike"],
            {
                "token.actions.githubusercontent.com:sub": (
                    "repo:octocat/shop:ref:refs/heads/main"
                )
            },
        )
        policy = self.client("iam").get_role_policy(
            RoleName=self.resources()["PushRole"], PolicyName="push-images"
        )["PolicyDocument"]
        login, push = policy["Statement"]
        self.assertEqual(login["Action"], "ecr:GetAuthorizationToken")
        self.assertTrue(push["Resource"].endswith(":repository/shop"))
        self.bring_about(GitHubSubject="environment:production")
        [statement] = self.role()["AssumeRolePolicyDocument"]["Statement"]
        subject = statement["Condition"]["StringLike"]
        self.assertIn("repo:octocat/shop:environment:production", subject.values())
        # In the tokens of newer repositories both names have their IDs.
        self.bring_about(GitHubRepository="octocat@583231/shop@1296269")
        [statement] = self.role()["AssumeRolePolicyDocument"]["Statement"]
        subject = statement["Condition"]["StringLike"]
        self.assertIn(
            "repo:octocat@583231/shop@1296269:environment:production", subject.values()
        )
        # A second stack uses the account's one provider, which outlives both.
        first, self.stack = self.stack, unique("github")
        other = {"GitHubRepository": "octocat/cafe", "RepositoryName": "cafe"}
        outputs = self.bring_about(OidcProviderArn=arn, **other)
        self.assertEqual(outputs["OidcProviderArn"], arn)
        self.assertNotIn("OidcProvider", self.resources())
        self.take_down()
        self.stack = first
        self.take_down()
        providers = self.client("iam").list_open_id_connect_providers()
        self.assertEqual(len(providers["OpenIDConnectProviderList"]), 1)

    def test_a_creation_that_fails_leaves_no_provider_behind(self) -> None:
        template = parsed(self.text())
        # Beside the provider, something that can not be made.
        template["Resources"]["Impossible"] = {
            "Type": "AWS::EC2::Subnet",
            "DependsOn": "OidcProvider",
            "Properties": {"VpcId": "vpc-0123456789", "CidrBlock": "10.0.0.0/24"},
        }
        before = self.client("iam").list_open_id_connect_providers()
        arn = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"
        self.assertNotIn({"Arn": arn}, before["OpenIDConnectProviderList"])
        described = self.deploy(
            self.stack, template, GitHubRepository="octocat/shop", RepositoryName="shop"
        )
        self.assertEqual(described["StackStatus"], "ROLLBACK_COMPLETE")
        after = self.client("iam").list_open_id_connect_providers()
        self.assertNotIn({"Arn": arn}, after["OpenIDConnectProviderList"])

    def test_what_can_not_be_is_refused(self) -> None:
        good = {"GitHubRepository": "octocat/shop", "RepositoryName": "shop"}
        for parameter, value in (
            ("GitHubRepository", "octocat"),
            ("GitHubRepository", "octocat/*"),
            ("GitHubRepository", "octocat@583231/shop"),
            ("GitHubRepository", "octocat/shop@1296269"),
            ("GitHubRepository", "octocat@*/shop@*"),
            ("GitHubSubject", "*"),
            ("GitHubSubject", "pull_request"),
            ("OidcProviderArn", "arn:aws:iam::123456789012:oidc-provider/elsewhere"),
            ("RepositoryName", "*"),
        ):
            with self.subTest(parameter, value=value):
                self.refused(
                    f"{parameter} failed to satisfy", **{**good, parameter: value}
                )


class Artifacts(TemplateTest):
    template = "artifacts.yml"

    def test_the_bucket_takes_and_gives_what_is_uploaded_and_goes_with_its_stack(
        self,
    ) -> None:
        bucket, s3 = self.bring_about()["BucketName"], self.client("s3")
        s3.put_object(Bucket=bucket, Key="template", Body=b"text")
        found = s3.get_object(Bucket=bucket, Key="template")
        self.assertEqual(found["Body"].read(), b"text")
        statements = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])
        self.assertEqual(statements["Statement"][0]["Effect"], "Deny")
        # Nobody takes away what was uploaded, or puts something else in its place.
        s3.put_object(Bucket=bucket, Key="template", Body=b"other")
        s3.delete_object(Bucket=bucket, Key="template")
        found = s3.list_object_versions(Bucket=bucket)
        versions = [it["VersionId"] for it in found["Versions"]]
        texts = [
            s3.get_object(Bucket=bucket, Key="template", VersionId=it)["Body"].read()
            for it in versions
        ]
        self.assertEqual(sorted(texts), [b"other", b"text"])
        versions += [it["VersionId"] for it in found["DeleteMarkers"]]
        objects = [{"Key": "template", "VersionId": it} for it in versions]
        s3.delete_objects(Bucket=bucket, Delete={"Objects": objects})
        key = "arn:aws:kms:us-east-1:123456789012:key/one"
        self.assertEqual(self.bring_about(KmsKeyArn=key)["BucketName"], bucket)
        self.take_down()
        names = [it["Name"] for it in s3.list_buckets()["Buckets"]]
        self.assertNotIn(bucket, names)

    def test_bad_parameters_are_refused(self) -> None:
        self.refused("KmsKeyArn failed to satisfy", KmsKeyArn="key")


class ImageRepository(TemplateTest):
    template = "image-repository.yml"

    def test_it_is_created_changed_and_kept(self) -> None:
        name = unique("shop")
        outputs = self.bring_about(RepositoryName=name, Stacks="shop")
        ecr = self.client("ecr")

        def tags() -> dict[str, str]:
            answer = ecr.list_tags_for_resource(resourceArn=outputs["RepositoryArn"])
            return {tag["Key"]: tag["Value"] for tag in answer["tags"]}

        def repository() -> dict[str, Any]:
            return ecr.describe_repositories(repositoryNames=[name])["repositories"][0]

        self.assertEqual(tags()["bluegreen:stacks"], "shop")
        self.assertTrue(repository()["imageScanningConfiguration"]["scanOnPush"])
        self.bring_about(Stacks="shop shop-staging", ImageTagMutability="IMMUTABLE")
        self.assertEqual(tags()["bluegreen:stacks"], "shop shop-staging")
        self.assertEqual(repository()["imageTagMutability"], "IMMUTABLE")
        self.bring_about(MutableTags="dev-*")
        described = repository()
        self.assertEqual(described["imageTagMutability"], "IMMUTABLE_WITH_EXCLUSION")
        excepted = [
            it["filter"] for it in described["imageTagMutabilityExclusionFilters"]
        ]
        self.assertEqual(excepted, ["dev-*"])
        self.take_down()
        self.assertEqual(repository()["repositoryName"], name)

    def test_what_can_not_be_is_refused(self) -> None:
        for parameter, value in (
            ("RepositoryName", "Shop"),
            ("Stacks", "shop  cafe"),
            ("ImageTagMutability", "NEVER"),
            ("MutableTags", "not a tag"),
            ("ImagesToKeep", "1"),
            ("KmsKeyArn", "key"),
        ):
            with self.subTest(parameter):
                self.refused(f"{parameter} failed to satisfy", **{parameter: value})
        self.refused("Only IMMUTABLE tags have exceptions", MutableTags="latest")


class Pipeline(TemplateTest):
    """What is refused; the end-to-end tests bring it about, packaged and with its functions."""

    template = "pipeline.yml"

    def test_every_limit_is_kept(self) -> None:
        for parameter, value in (
            ("MigrationTimeoutSeconds", "4"),
            ("MigrationTimeoutSeconds", "86401"),
            ("DeploymentTimeoutSeconds", "4"),
            ("DeploymentTimeoutSeconds", "172801"),
            ("RollbackWindowSeconds", "-1"),
            ("RollbackWindowSeconds", "604801"),
            ("TargetHealthMinutes", "-1"),
            ("TargetHealthMinutes", "721"),
            ("ReconcileMinutes", "1"),
            ("ReconcileMinutes", "1441"),
            ("AlarmTopicArn", "topic"),
            ("Architecture", "riscv"),
            ("TaskRoles", "a role"),
            ("InfrastructureRoles", "a role"),
            ("TaskRoles", "shop-*,a role"),
            ("TaskRoles", "shop-*,,cafe-*"),
            ("LogRetentionDays", "2"),
            ("RecordRetentionDays", "29"),
            ("RecordRetentionDays", "3654"),
            ("Tracing", "yes"),
        ):
            with self.subTest(parameter, value=value):
                self.refused(f"{parameter} failed to satisfy", **{parameter: value})

    def passed_roles(self, **parameters: str) -> list[list[str]]:
        """What the functions that give roles to tasks may pass, in a stack of nothing else."""
        pipeline, template = parsed(self.text()), {}
        template["Parameters"] = {"TaskRoles": pipeline["Parameters"]["TaskRoles"]}
        template["Resources"] = roles = {}
        for name, role in pipeline["Resources"].items():
            for policy in role["Properties"].get("Policies", []):
                statements = policy.get("PolicyDocument", {}).get("Statement", [])
                passing = [it for it in statements if it.get("Action") == "iam:PassRole"]
                if passing:
                    policy["PolicyDocument"]["Statement"] = passing
                    role["Properties"]["Policies"] = [policy]
                    roles[name] = role
                    break
        deployed = self.deploy(self.stack, template, **parameters)
        self.assertEqual(deployed["StackStatus"], "CREATE_COMPLETE", self.reasons())
        iam, passed = self.client("iam"), []
        for role in self.resources().values():
            (name,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
            policy = iam.get_role_policy(RoleName=role, PolicyName=name)
            (statement,) = policy["PolicyDocument"]["Statement"]
            passed.append(statement["Resource"])
        self.take_down()
        return passed

    def test_one_pipeline_serves_the_roles_of_every_application(self) -> None:
        """https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference-join.html"""
        own = "arn:*:iam::*:role/bluegreen/*"
        others = ["arn:*:iam::*:role/shop-*", "arn:*:iam::*:role/team/cafe"]
        for given, passed in (
            ({}, [own, own]),
            ({"TaskRoles": "shop-*"}, [own, others[0]]),
            ({"TaskRoles": "shop-*,team/cafe"}, [own, *others]),
        ):
            with self.subTest(given):
                self.assertEqual(self.passed_roles(**given), [passed] * 3)


class Cluster(TemplateTest):
    """What is refused; `local-aws/tests/templates.rs` brings it about, with a real ECS."""

    template = "cluster.yml"

    def good(self) -> dict[str, str]:
        name = f"/bluegreen/{self.stack}/image"
        self.client("ssm").put_parameter(
            Name=name, Value="r/shop:v1", Type="String", Overwrite=True
        )
        ec2 = self.client("ec2")
        vpc = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
        subnets = ec2.describe_subnets()["Subnets"]
        ids = ",".join(it["SubnetId"] for it in subnets[:2])
        return {"ImageParameter": name, "VpcId": vpc, "SubnetIds": ids}

    def test_every_limit_is_kept(self) -> None:
        for parameter, value in (
            ("ImageParameter", "registry/shop:v1"),
            ("MigrationCommand", "websvc migrate"),
            ("MigrationCommand", "[1]"),
            ("MigrationCommand", "[a]"),
            ("MigrationCommand", '["a",]'),
            ("MigrationCommand", '["a" "b"]'),
            ("PostDeployCommand", "[]"),
            ("PostDeployCommand", r'["\x"]'),
            ("ContractCommand", "rails db:contract"),
            ("ImageTags", ""),
            ("ContainerPort", "0"),
            ("DatabaseSecretArn", "secret"),
            ("DatabaseSecretKmsKeyArn", "key"),
            ("DatabaseHost", "a host"),
            ("DatabasePort", "65536"),
            ("DatabaseName", "a name"),
            ("DatabaseSslMode", "disable"),
            ("DatabaseSecurityGroupId", "default"),
            ("TaskSubnetIds", "subnet-1,private"),
            ("AssignPublicIp", "true"),
            ("Scheme", "public"),
            ("ListenerPort", "65536"),
            ("CertificateArn", "certificate"),
            ("DomainName", "https://shop.example.com"),
            ("DomainName", "shop"),
            ("HttpsPort", "0"),
            ("HttpRedirect", "yes"),
            ("AccessLogBucket", "A"),
            ("Strategy", "ALL_AT_ONCE"),
            ("BakeTimeMinutes", "1441"),
            ("CanaryPercent", "0"),
            ("CanaryBakeTimeMinutes", "541"),
            ("LinearStepPercent", "2.9"),
            ("LinearStepBakeTimeMinutes", "16"),
            ("TestListenerPort", "-1"),
            ("TestListenerCidr", "0.0.0.0/0"),
            ("TestListenerCidr", "10.0.0.0/7"),
            ("Hook", "SOMEBODY"),
            ("HookFunctionArn", "function"),
            ("DeploymentAlarms", "yes"),
            ("MigrationTimeoutSeconds", "4"),
            ("MigrationTimeoutSeconds", "86401"),
            ("DeploymentTimeoutSeconds", "4"),
            ("DeploymentTimeoutSeconds", "172801"),
            ("PostDeployTimeoutSeconds", "4"),
            ("PostDeployTimeoutSeconds", "1h"),
            ("ContractTimeoutSeconds", "86401"),
            ("RollbackWindowSeconds", "-1"),
            ("RollbackWindowSeconds", "604801"),
            ("TargetHealthMinutes", "-1"),
            ("TargetHealthMinutes", "721"),
            ("InService", "yes"),
            ("DesiredCount", "-1"),
            ("WorkerCount", "5001"),
            ("Autoscaling", "yes"),
            ("MinCount", "-1"),
            ("MaxCount", "0"),
            ("CpuTargetPercent", "91"),
            ("Cpu", "300"),
            ("Memory", "256"),
            ("CpuArchitecture", "MIPS"),
            ("HealthCheckPath", "health"),
            ("HealthCheckIntervalSeconds", "4"),
            ("HealthCheckGracePeriodSeconds", "3601"),
            ("DeregistrationDelaySeconds", "3601"),
            ("StopTimeoutSeconds", "121"),
            ("ContainerInsights", "on"),
            ("LogRetentionDays", "2"),
            ("ExecuteCommand", "yes"),
            ("MaxErrors", "0"),
            ("MaxLatencySeconds", "0"),
            ("AlarmTopicArn", "topic"),
        ):
            with self.subTest(parameter, value=value):
                self.refused(
                    f"{parameter} failed to satisfy", **{**self.good(), parameter: value}
                )

    def test_every_command_that_is_an_array_of_strings_is_taken(self) -> None:
        parameters = parsed(self.text())["Parameters"]
        commands = (
            ["rails", "db:migrate"],
            ["sh", "-c", 'echo "a, b" \\ [c] \n \u0007'],
            ["", "ü"],
        )
        for parameter in ("MigrationCommand", "PostDeployCommand", "ContractCommand"):
            pattern = re.compile(parameters[parameter]["AllowedPattern"])
            for command in commands:
                for text in (json.dumps(command), json.dumps(command, indent=1)):
                    with self.subTest(parameter, text=text):
                        self.assertTrue(pattern.match(text))

    def test_every_number_within_the_limits_is_taken(self) -> None:
        parameters = parsed(self.text())["Parameters"]
        day = 86_400
        for parameter, least, most in (
            ("MigrationTimeoutSeconds", 5, day),
            ("DeploymentTimeoutSeconds", 5, 2 * day),
            ("PostDeployTimeoutSeconds", 5, day),
            ("ContractTimeoutSeconds", 5, day),
            ("RollbackWindowSeconds", 0, 7 * day),
            ("TargetHealthMinutes", 0, 720),
        ):
            pattern = re.compile(parameters[parameter]["AllowedPattern"])
            taken = [it for it in range(10 * day) if pattern.match(str(it))]
            with self.subTest(parameter):
                self.assertEqual(taken, list(range(least, most + 1)))

    def test_parameters_that_do_not_go_together_are_refused(self) -> None:
        secret = "arn:aws:secretsmanager:us-east-1:123456789012:secret:s"
        certificate = "arn:aws:acm:us-east-1:123456789012:certificate/c"
        for says, parameters in (
            ("With 256 units of Cpu", {"Cpu": "256", "Memory": "4096"}),
            ("With 512 units of Cpu", {"Cpu": "512", "Memory": "512"}),
            ("With 1024 units of Cpu", {"Cpu": "1024", "Memory": "1024"}),
            ("With 2048 units of Cpu", {"Cpu": "2048", "Memory": "4097"}),
            ("With 4096 units of Cpu", {"Cpu": "4096", "Memory": "4096"}),
            (
                "DatabaseUrl or a DatabaseSecretArn, not both",
                {"DatabaseSecretArn": secret, "DatabaseUrl": "u", "DatabaseHost": "h"},
            ),
            ("needs a DatabaseHost", {"DatabaseSecretArn": secret}),
            (
                "need a port each",
                {"CertificateArn": certificate, "ListenerPort": "443"},
            ),
            (
                "another TestListenerPort than ListenerPort",
                {"Strategy": "CANARY", "ListenerPort": "9000"},
            ),
            (
                "another TestListenerPort than HttpsPort",
                {
                    "Strategy": "CANARY",
                    "CertificateArn": certificate,
                    "TestListenerPort": "443",
                },
            ),
            ("needs a HookFunctionArn", {"Strategy": "CANARY", "Hook": "LAMBDA"}),
            ("a Hook needs another Strategy", {"Hook": "PAUSE"}),
            (
                "it needs a TestListenerPort",
                {"Strategy": "CANARY", "Hook": "PAUSE", "TestListenerPort": "0"},
            ),
        ):
            with self.subTest(says):
                self.refused(says, **{**self.good(), **parameters})

    def test_an_image_that_nobody_has_named_is_refused(self) -> None:
        good = {**self.good(), "ImageParameter": "/bluegreen/nothing/image"}
        self.refused("Unable to fetch parameters", **good)
