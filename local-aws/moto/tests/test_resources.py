"""Resources: every property arrives, on update too."""

import io
import json
import unittest
import zipfile
from typing import Any

from botocore.exceptions import ClientError

from glue.resources import ecs, types
from glue.resources.base import parameters
from tests.support import ROLE, GlueTest, unique, wait_for


class Parameters(unittest.TestCase):
    """From a template's properties to an API's parameters."""

    def test_names_take_the_case_of_the_api(self) -> None:
        properties = {
            "ServiceName": "s",
            "EnableECSManagedTags": "true",
            "DesiredCount": "2",
            "DeploymentConfiguration": {
                "MaximumPercent": 200,
                "DeploymentCircuitBreaker": {"Enable": True, "Rollback": "false"},
                "Strategy": "ROLLING",
            },
            "LoadBalancers": [{"ContainerName": "web", "ContainerPort": "3000"}],
            "NetworkConfiguration": {"AwsvpcConfiguration": {"Subnets": ["a"]}},
            "ServiceConnectConfiguration": None,
            "NoSuchProperty": 1,
        }
        expected = {
            "serviceName": "s",
            "enableECSManagedTags": True,
            "desiredCount": 2,
            "deploymentConfiguration": {
                "maximumPercent": 200,
                "deploymentCircuitBreaker": {"enable": True, "rollback": False},
                "strategy": "ROLLING",
            },
            "loadBalancers": [{"containerName": "web", "containerPort": 3000}],
            "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["a"]}},
        }
        self.assertEqual(parameters("ecs", "CreateService", properties), expected)

    def test_keys_of_maps_are_data(self) -> None:
        container = {
            "Name": "web",
            "DockerLabels": {"MyLabel": "x"},
            "LogConfiguration": {
                "LogDriver": "awslogs",
                "Options": {"awslogs-group": "g", "Some-Key": 1},
            },
            "Environment": [{"Name": "PORT", "Value": 3000}],
        }
        made = parameters(
            "ecs", "RegisterTaskDefinition", {"ContainerDefinitions": [container]}
        )
        expected = {
            "name": "web",
            "dockerLabels": {"MyLabel": "x"},
            "logConfiguration": {
                "logDriver": "awslogs",
                "options": {"awslogs-group": "g", "Some-Key": "1"},
            },
            "environment": [{"name": "PORT", "value": "3000"}],
        }
        self.assertEqual(made["containerDefinitions"], [expected])

    def test_the_types_that_the_templates_need_are_there(self) -> None:
        for name in (
            "AWS::ECS::Cluster",
            "AWS::ECS::Service",
            "AWS::ECS::TaskDefinition",
            "AWS::Lambda::EventInvokeConfig",
            "AWS::SQS::QueuePolicy",
        ):
            self.assertIn(name, types())


def archive(text: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        zipped.writestr("bootstrap", text)
    return buffer.getvalue()


class ResourceTest(GlueTest):
    def one(
        self, stack: str, kind: str, properties: dict[str, Any], **outputs: Any
    ) -> dict[str, str]:
        """Deploys a stack of one resource `It` and gives its outputs."""
        body = {
            "Resources": {"It": {"Type": kind, "Properties": properties}},
            "Outputs": {
                "Ref": {"Value": {"Ref": "It"}},
                **{
                    name: {"Value": {"Fn::GetAtt": ["It", attribute]}}
                    for name, attribute in outputs.items()
                },
            },
        }
        described = self.deploy(stack, body)
        self.assertIn(
            described["StackStatus"], ("CREATE_COMPLETE", "UPDATE_COMPLETE"), described
        )
        return self.outputs(described)


class LoadBalancing(ResourceTest):
    def test_a_target_group_keeps_its_health_check_and_attributes(self) -> None:
        stack, client = unique("tg"), self.client("elbv2")
        properties = {
            "Port": 3000,
            "Protocol": "HTTP",
            "TargetType": "ip",
            "VpcId": self.client("ec2").describe_vpcs()["Vpcs"][0]["VpcId"],
            "HealthCheckPath": "/health",
            "HealthCheckIntervalSeconds": "7",
            "Matcher": {"HttpCode": "200"},
            "TargetGroupAttributes": [
                {"Key": "deregistration_delay.timeout_seconds", "Value": 5}
            ],
        }
        arn = self.one(stack, "AWS::ElasticLoadBalancingV2::TargetGroup", properties)
        properties["HealthCheckPath"] = "/other"
        properties["TargetGroupAttributes"][0]["Value"] = 6
        after = self.one(stack, "AWS::ElasticLoadBalancingV2::TargetGroup", properties)
        self.assertEqual(after, arn)
        group = client.describe_target_groups(TargetGroupArns=[arn["Ref"]])
        group = group["TargetGroups"][0]
        self.assertEqual(group["HealthCheckPath"], "/other")
        self.assertEqual(group["HealthCheckIntervalSeconds"], 7)
        self.assertEqual(group["TargetType"], "ip")
        attributes = client.describe_target_group_attributes(TargetGroupArn=arn["Ref"])
        values = {it["Key"]: it["Value"] for it in attributes["Attributes"]}
        self.assertEqual(values["deregistration_delay.timeout_seconds"], "6")

    def test_a_listener_is_not_moved_to_the_port_of_another(self) -> None:
        client, ec2 = self.client("elbv2"), self.client("ec2")
        subnets = ec2.describe_subnets()["Subnets"]
        balancer = client.create_load_balancer(
            Name=unique("lb"), Subnets=[it["SubnetId"] for it in subnets[:2]]
        )["LoadBalancers"][0]["LoadBalancerArn"]
        action = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "200"}}
        one, other = (
            client.create_listener(
                LoadBalancerArn=balancer,
                Protocol="HTTP",
                Port=port,
                DefaultActions=[action],
            )["Listeners"][0]["ListenerArn"]
            for port in (80, 8080)
        )
        with self.assertRaisesRegex(ClientError, "DuplicateListener"):
            client.modify_listener(ListenerArn=other, Port=80)
        client.modify_listener(ListenerArn=one, Port=80)
        client.delete_listener(ListenerArn=one)
        moved = client.modify_listener(ListenerArn=other, Port=80)["Listeners"][0]
        self.assertEqual(moved["Port"], 80)

    def test_a_load_balancer_answers_on_this_machine(self) -> None:
        subnets = self.client("ec2").describe_subnets()["Subnets"]
        outputs = self.one(
            unique("lb"),
            "AWS::ElasticLoadBalancingV2::LoadBalancer",
            {"Subnets": [subnet["SubnetId"] for subnet in subnets[:2]]},
            Name="DNSName",
        )
        self.assertEqual(outputs["Name"], "localhost")
        described = self.client("elbv2").describe_load_balancers(
            LoadBalancerArns=[outputs["Ref"]]
        )
        self.assertEqual(described["LoadBalancers"][0]["DNSName"], "localhost")


class Identity(ResourceTest):
    def test_a_role_follows_its_policies(self) -> None:
        stack, client = unique("role"), self.client("iam")

        def policy(name: str, action: str) -> dict[str, Any]:
            statement = {"Effect": "Allow", "Action": action, "Resource": "*"}
            document = {"Version": "2012-10-17", "Statement": [statement]}
            return {"PolicyName": name, "PolicyDocument": document}

        properties = {
            "AssumeRolePolicyDocument": {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Principal": {"Service": "lambda.amazonaws.com"},
                        "Action": "sts:AssumeRole",
                    }
                ],
            },
            "Policies": [policy("a", "s3:GetObject"), policy("b", "s3:PutObject")],
        }
        name = self.one(stack, "AWS::IAM::Role", properties)["Ref"]
        properties["Policies"] = [policy("a", "s3:ListBucket")]
        self.one(stack, "AWS::IAM::Role", properties)
        policies = client.list_role_policies(RoleName=name)["PolicyNames"]
        self.assertEqual(policies, ["a"])
        document = client.get_role_policy(RoleName=name, PolicyName="a")
        self.assertIn("s3:ListBucket", json.dumps(document["PolicyDocument"]))
        arn = "arn:aws:iam::aws:policy/AmazonECSInfrastructureRolePolicyForLoadBalancers"
        properties["ManagedPolicyArns"] = [arn]
        self.one(stack, "AWS::IAM::Role", properties)
        attached = client.list_attached_role_policies(RoleName=name)
        self.assertEqual(attached["AttachedPolicies"][0]["PolicyArn"], arn)
        # Policies of stacks' own come and go beside the role's.
        apart, properties = unique("policy"), {"RoleName": name, **policy("c", "s3:A")}
        self.one(apart, "AWS::IAM::RolePolicy", properties)
        self.one(apart, "AWS::IAM::RolePolicy", {**properties, **policy("c", "s3:B")})
        document = client.get_role_policy(RoleName=name, PolicyName="c")
        self.assertIn("s3:B", json.dumps(document["PolicyDocument"]))
        self.delete(apart)
        wait_for(lambda: apart not in self.stack_names())
        policies = client.list_role_policies(RoleName=name)["PolicyNames"]
        self.assertEqual(policies, ["a"])


class Functions(ResourceTest):
    def setUp(self) -> None:
        self.bucket = unique("code")
        self.client("s3").create_bucket(Bucket=self.bucket)

    def code(self, text: str) -> dict[str, str]:
        key = unique("zip")
        self.client("s3").put_object(Bucket=self.bucket, Key=key, Body=archive(text))
        return {"S3Bucket": self.bucket, "S3Key": key}

    def test_a_function_keeps_every_property(self) -> None:
        stack, client = unique("function"), self.client("lambda")
        properties = {
            "Code": self.code("one"),
            "Role": ROLE,
            "Runtime": "provided.al2023",
            "Handler": "bootstrap",
            "Architectures": ["arm64"],
            "Timeout": "30",
            "LoggingConfig": {"LogFormat": "JSON", "LogGroup": "group"},
            "DeadLetterConfig": {"TargetArn": "arn:aws:sqs:us-east-1:1:q"},
            "Environment": {"Variables": {"A": "1"}},
        }
        name = self.one(stack, "AWS::Lambda::Function", properties)["Ref"]
        before = client.get_function(FunctionName=name)["Configuration"]
        self.assertEqual(before["Architectures"], ["arm64"])
        self.assertEqual(before["Timeout"], 30)
        self.assertEqual(before["LoggingConfig"]["LogGroup"], "group")
        self.assertIn(":sqs:", before["DeadLetterConfig"]["TargetArn"])
        properties.update(
            Code=self.code("two"),
            Architectures=["x86_64"],
            Environment={"Variables": {"A": "2"}},
            LoggingConfig={"LogGroup": "other"},
        )
        self.one(stack, "AWS::Lambda::Function", properties)
        after = client.get_function(FunctionName=name)["Configuration"]
        self.assertNotEqual(after["CodeSha256"], before["CodeSha256"])
        self.assertEqual(after["Architectures"], ["x86_64"])
        self.assertEqual(after["Environment"]["Variables"], {"A": "2"})
        self.assertEqual(after["LoggingConfig"]["LogGroup"], "other")

    def test_event_invoke_configuration_and_permission(self) -> None:
        name = unique("function")
        self.client("lambda").create_function(
            FunctionName=name,
            Role=ROLE,
            Runtime="provided.al2023",
            Handler="bootstrap",
            Code={"ZipFile": archive("x")},
        )
        properties = {
            "FunctionName": name,
            "Qualifier": "$LATEST",
            "MaximumRetryAttempts": 1,
        }
        self.one(unique("invoke"), "AWS::Lambda::EventInvokeConfig", properties)
        described = self.client("lambda").get_function_event_invoke_config(
            FunctionName=name
        )
        self.assertEqual(described["MaximumRetryAttempts"], 1)
        properties = {
            "Action": "lambda:InvokeFunction",
            "FunctionName": name,
            "Principal": "events.amazonaws.com",
            "SourceArn": "arn:aws:events:us-east-1:123456789012:rule/r",
        }
        self.one(unique("permission"), "AWS::Lambda::Permission", properties)
        policy = self.client("lambda").get_policy(FunctionName=name)["Policy"]
        self.assertIn("rule/r", policy)


class SteadyServices(unittest.TestCase):
    def test_what_ecs_calls_a_success_early_is_waited_for_no_longer(self) -> None:
        service: dict[str, Any] = {
            "deployments": [{"status": "PRIMARY"}, {"status": "ACTIVE"}],
            "desiredCount": 3,
            "runningCount": 5,
        }
        self.assertFalse(ecs._is_steady(service))
        criteria = {"enable": False, "healthyPercent": 50}
        service["deploymentConfiguration"] = {"earlySuccessCriteria": criteria}
        self.assertFalse(ecs._is_steady(service))
        criteria["enable"] = True
        self.assertTrue(ecs._is_steady(service))


class CapacityProviders(ResourceTest):
    def providers(self, cluster: str) -> tuple[list[str], list[str]]:
        described = self.client("ecs").describe_clusters(clusters=[cluster])["clusters"][0]
        strategy = described["defaultCapacityProviderStrategy"]
        return described["capacityProviders"], [it["capacityProvider"] for it in strategy]

    def test_a_cluster_gets_them_from_a_resource_of_their_own(self) -> None:
        cluster, stack = unique("cluster"), unique("providers")
        self.client("ecs").create_cluster(clusterName=cluster)
        kind = "AWS::ECS::ClusterCapacityProviderAssociations"
        properties = {
            "Cluster": cluster,
            "CapacityProviders": ["FARGATE", "FARGATE_SPOT"],
            "DefaultCapacityProviderStrategy": [{"CapacityProvider": "FARGATE", "Weight": "1"}],
        }
        self.one(stack, kind, properties)
        self.assertEqual(
            self.providers(cluster), (["FARGATE", "FARGATE_SPOT"], ["FARGATE"])
        )
        self.one(stack, kind, {**properties, "DefaultCapacityProviderStrategy": []})
        self.assertEqual(self.providers(cluster), (["FARGATE", "FARGATE_SPOT"], []))
        self.delete(stack)
        wait_for(lambda: stack not in self.stack_names())
        self.assertEqual(self.providers(cluster), ([], []))

    def test_a_cluster_follows_its_own(self) -> None:
        stack, kind = unique("cluster"), "AWS::ECS::Cluster"
        properties: dict[str, Any] = {"CapacityProviders": ["FARGATE"]}
        cluster = self.one(stack, kind, properties)["Ref"]
        properties["CapacityProviders"].append("FARGATE_SPOT")
        self.assertEqual(self.one(stack, kind, properties)["Ref"], cluster)
        self.assertEqual(self.providers(cluster)[0], ["FARGATE", "FARGATE_SPOT"])


class Names(ResourceTest):
    """Cloud Map."""

    def test_namespaces_of_every_kind(self) -> None:
        client, vpc = self.client("servicediscovery"), self.client("ec2").describe_vpcs()
        vpc = vpc["Vpcs"][0]["VpcId"]
        for kind, more, outputs, type_of_it in (
            ("Http", {}, {}, "HTTP"),
            ("PrivateDns", {"Vpc": vpc}, {"Zone": "HostedZoneId"}, "DNS_PRIVATE"),
            ("PublicDns", {}, {"Zone": "HostedZoneId"}, "DNS_PUBLIC"),
        ):
            stack, properties = unique("names"), {"Name": unique("shop"), **more}
            kind = f"AWS::ServiceDiscovery::{kind}Namespace"
            made = self.one(stack, kind, properties, Arn="Arn", Id="Id", **outputs)
            self.assertEqual(made["Ref"], made["Id"])
            self.assertTrue(all(made.values()), made)
            described = client.get_namespace(Id=made["Id"])["Namespace"]
            self.assertEqual(described["Type"], type_of_it)
            self.assertEqual(described["Arn"], made["Arn"])
            properties["Description"] = "new"
            self.one(stack, kind, properties)
            described = client.get_namespace(Id=made["Id"])["Namespace"]
            self.assertEqual(described["Description"], "new")
            self.delete(stack)
            wait_for(lambda gone=stack: gone not in self.stack_names())
            with self.assertRaisesRegex(ClientError, "NamespaceNotFound"):
                client.get_namespace(Id=made["Id"])

    def test_a_service_of_a_namespace(self) -> None:
        client, stack = self.client("servicediscovery"), unique("service")
        kind = "AWS::ServiceDiscovery::Service"
        namespace = self.one(
            unique("names"), "AWS::ServiceDiscovery::HttpNamespace", {"Name": unique("a")}
        )["Ref"]
        properties: dict[str, Any] = {"Name": "web", "NamespaceId": namespace}
        made = self.one(stack, kind, properties, Arn="Arn", Name="Name")
        self.assertEqual(made["Name"], "web")
        record = {"Type": "A", "TTL": "10"}
        properties["DnsConfig"] = {"DnsRecords": [record]}
        self.assertEqual(self.one(stack, kind, properties)["Ref"], made["Ref"])
        described = client.get_service(Id=made["Ref"])["Service"]
        self.assertEqual(described["NamespaceId"], namespace)
        self.assertEqual(described["DnsConfig"]["DnsRecords"], [{"Type": "A", "TTL": 10}])


class Files(ResourceTest):
    """EFS."""

    def test_a_file_system_with_its_access(self) -> None:
        stack, client = unique("files"), self.client("efs")
        subnet = self.client("ec2").describe_subnets()["Subnets"][0]["SubnetId"]
        system = {"Ref": "System"}
        body = {
            "Resources": {
                "System": {
                    "Type": "AWS::EFS::FileSystem",
                    "Properties": {"Encrypted": True, "BackupPolicy": {"Status": "ENABLED"}},
                },
                "Target": {
                    "Type": "AWS::EFS::MountTarget",
                    "Properties": {"FileSystemId": system, "SubnetId": subnet},
                },
                "Point": {
                    "Type": "AWS::EFS::AccessPoint",
                    "Properties": {
                        "FileSystemId": system,
                        "PosixUser": {"Uid": "1000", "Gid": "1000"},
                    },
                },
            },
            "Outputs": {
                name: {"Value": {"Fn::GetAtt": attribute}}
                for name, attribute in {
                    "System": ["System", "Arn"],
                    "Point": ["Point", "Arn"],
                    "Address": ["Target", "IpAddress"],
                }.items()
            },
        }
        outputs = self.outputs(self.deploy(stack, body))
        system = outputs["System"].split("/")[-1]
        described = client.describe_file_systems(FileSystemId=system)["FileSystems"][0]
        self.assertEqual(described["FileSystemArn"], outputs["System"])
        self.assertTrue(described["Encrypted"])
        targets = client.describe_mount_targets(FileSystemId=system)["MountTargets"]
        self.assertEqual(targets[0]["IpAddress"], outputs["Address"])
        points = client.describe_access_points(FileSystemId=system)["AccessPoints"]
        self.assertEqual(points[0]["AccessPointArn"], outputs["Point"])
        self.assertEqual(points[0]["PosixUser"]["Uid"], 1000)
        self.delete(stack)
        wait_for(lambda: stack not in self.stack_names())
        with self.assertRaisesRegex(ClientError, "FileSystemNotFound"):
            client.describe_file_systems(FileSystemId=system)


class NoValue(ResourceTest):
    def test_no_value_leaves_its_place_in_a_list(self) -> None:
        tags = [{"Key": "a", "Value": "b"}, {"Ref": "AWS::NoValue"}]
        outputs = self.one(
            unique("nothing"), "AWS::ECR::Repository", {"Tags": tags}, Arn="Arn"
        )
        described = self.client("ecr").list_tags_for_resource(
            resourceArn=outputs["Arn"]
        )
        self.assertIn({"Key": "a", "Value": "b"}, described["tags"])


class StateMachines(ResourceTest):
    def test_the_definition_comes_from_s3_with_substitutions(self) -> None:
        stack, bucket = unique("machine"), unique("bucket")
        definition = (
            '{"StartAt": "A", "States": {"A": {"Type": "Wait", "Seconds": ${Seconds},'
            ' "Comment": "${Text}", "End": true}}}'
        )
        client = self.client("s3")
        client.create_bucket(Bucket=bucket)
        client.put_object(Bucket=bucket, Key="d.json", Body=definition.encode())
        properties: dict[str, Any] = {
            "RoleArn": ROLE,
            "StateMachineName": stack,
            "DefinitionS3Location": {"Bucket": bucket, "Key": "d.json"},
            "DefinitionSubstitutions": {"Seconds": 3, "Text": 'a "quote"'},
            "LoggingConfiguration": {"Level": "ERROR"},
        }
        kind = "AWS::StepFunctions::StateMachine"
        outputs = self.one(stack, kind, properties, Arn="Arn", Name="Name")
        self.assertEqual(outputs["Ref"], outputs["Arn"])
        self.assertEqual(outputs["Name"], stack)
        properties["DefinitionSubstitutions"]["Seconds"] = 4
        self.assertEqual(
            self.one(stack, kind, properties, Arn="Arn", Name="Name"), outputs
        )
        described = self.client("stepfunctions").describe_state_machine(
            stateMachineArn=outputs["Arn"]
        )
        state = json.loads(described["definition"])["States"]["A"]
        self.assertEqual((state["Seconds"], state["Comment"]), (4, 'a "quote"'))
        self.assertEqual(described["loggingConfiguration"]["level"], "ERROR")


class Others(ResourceTest):
    def test_the_metadata_of_cdk(self) -> None:
        stack, kind = unique("metadata"), "AWS::CDK::Metadata"
        made = self.one(stack, kind, {"Analytics": "v2:deflate64:a"})
        self.assertEqual(self.one(stack, kind, {"Analytics": "v2:deflate64:b"}), made)
        self.delete(stack)
        wait_for(lambda: stack not in self.stack_names())

    def test_a_queue_policy(self) -> None:
        url, _ = self.queue(unique("queue"), open_to_events=False)
        document = {"Statement": [{"Effect": "Allow", "Principal": "*"}]}
        properties = {"Queues": [url], "PolicyDocument": document}
        self.one(unique("policy"), "AWS::SQS::QueuePolicy", properties)
        described = self.client("sqs").get_queue_attributes(
            QueueUrl=url, AttributeNames=["Policy"]
        )
        self.assertEqual(json.loads(described["Attributes"]["Policy"]), document)

    def test_a_bucket_policy(self) -> None:
        s3, bucket, stack = self.client("s3"), unique("bucket"), unique("policy")
        s3.create_bucket(Bucket=bucket)
        for action in ("s3:GetObject", "s3:*"):
            document = {"Statement": [{"Effect": "Allow", "Action": action}]}
            properties = {"Bucket": bucket, "PolicyDocument": document}
            self.one(stack, "AWS::S3::BucketPolicy", properties)
            policy = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])
            self.assertEqual(policy, document)
        self.delete(stack)
        with self.assertRaisesRegex(ClientError, "NoSuchBucketPolicy"):
            s3.get_bucket_policy(Bucket=bucket)

    def test_a_queue_follows_its_attributes(self) -> None:
        stack = unique("queue")
        url = self.one(stack, "AWS::SQS::Queue", {"MessageRetentionPeriod": 60})["Ref"]
        self.one(stack, "AWS::SQS::Queue", {"MessageRetentionPeriod": 120})
        described = self.client("sqs").get_queue_attributes(
            QueueUrl=url, AttributeNames=["MessageRetentionPeriod"]
        )
        self.assertEqual(described["Attributes"]["MessageRetentionPeriod"], "120")

    def test_a_secret(self) -> None:
        stack, client = unique("secret"), self.client("secretsmanager")
        kind = "AWS::SecretsManager::Secret"
        arn = self.one(stack, kind, {"SecretString": "one"})["Ref"]
        self.assertEqual(client.get_secret_value(SecretId=arn)["SecretString"], "one")
        self.one(stack, kind, {"SecretString": "two"})
        self.assertEqual(client.get_secret_value(SecretId=arn)["SecretString"], "two")

    def test_an_alarm(self) -> None:
        properties = {
            "Namespace": "n",
            "MetricName": "m",
            "Statistic": "Sum",
            "Period": "60",
            "EvaluationPeriods": 1,
            "Threshold": "1",
            "ComparisonOperator": "GreaterThanThreshold",
        }
        name = self.one(unique("alarm"), "AWS::CloudWatch::Alarm", properties)["Ref"]
        described = self.client("cloudwatch").describe_alarms(AlarmNames=[name])
        self.assertEqual(described["MetricAlarms"][0]["Period"], 60)

    def test_a_composite_alarm(self) -> None:
        cloudwatch = self.client("cloudwatch")
        child, stack = unique("child"), unique("composite")
        cloudwatch.put_metric_alarm(
            AlarmName=child,
            Namespace="n",
            MetricName="m",
            Statistic="Sum",
            Period=60,
            EvaluationPeriods=1,
            Threshold=1,
            ComparisonOperator="GreaterThanThreshold",
        )
        kind = "AWS::CloudWatch::CompositeAlarm"
        properties = {"AlarmRule": f"NOT ALARM({child})", "ActionsEnabled": "false"}
        name = self.one(stack, kind, properties)["Ref"]

        def described() -> list[dict[str, Any]]:
            answer = cloudwatch.describe_alarms(
                AlarmNames=[name], AlarmTypes=["CompositeAlarm"]
            )
            return answer["CompositeAlarms"]

        self.assertEqual(described()[0]["StateValue"], "ALARM")
        self.assertFalse(described()[0]["ActionsEnabled"])
        self.one(stack, kind, {"AlarmRule": f"ALARM({child})"})
        self.assertEqual(described()[0]["StateValue"], "OK")
        self.delete(stack)
        wait_for(lambda: not described())

    def test_a_repository_follows_its_tags(self) -> None:
        stack, client = unique("repository"), self.client("ecr")
        tags = [{"Key": "bluegreen:stacks", "Value": "a"}, {"Key": "x", "Value": "y"}]
        outputs = self.one(stack, "AWS::ECR::Repository", {"Tags": tags}, Arn="Arn")
        tags = [{"Key": "bluegreen:stacks", "Value": "a b"}]
        self.one(stack, "AWS::ECR::Repository", {"Tags": tags}, Arn="Arn")
        described = client.list_tags_for_resource(resourceArn=outputs["Arn"])["tags"]
        values = {tag["Key"]: tag["Value"] for tag in described}
        self.assertEqual(values["bluegreen:stacks"], "a b")
        self.assertNotIn("x", values)

    def test_a_rule_follows_its_targets(self) -> None:
        stack, client = unique("rule"), self.client("events")
        arns = [self.queue(unique("queue"))[1] for _ in range(2)]
        properties = {
            "EventPattern": {"source": ["a"]},
            "Targets": [{"Id": "one", "Arn": arns[0]}],
        }
        name = self.one(stack, "AWS::Events::Rule", properties)["Ref"]
        properties["Targets"] = [
            {"Id": "two", "Arn": arns[1], "RetryPolicy": {"MaximumRetryAttempts": 3}}
        ]
        self.one(stack, "AWS::Events::Rule", properties)
        targets = client.list_targets_by_rule(Rule=name)["Targets"]
        self.assertEqual([target["Id"] for target in targets], ["two"])
        self.assertEqual(targets[0]["RetryPolicy"], {"MaximumRetryAttempts": 3})

    def test_security_groups_that_name_each_other(self) -> None:
        name, vpc = unique("groups"), self.client("ec2").describe_vpcs()["Vpcs"][0]
        group = {"GroupDescription": "g", "VpcId": vpc["VpcId"]}
        rule = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": "80"}
        body = {
            "Resources": {
                "A": {
                    "Type": "AWS::EC2::SecurityGroup",
                    "Properties": {
                        **group,
                        "SecurityGroupIngress": [{**rule, "CidrIp": "0.0.0.0/0"}],
                        "SecurityGroupEgress": [
                            {
                                **rule,
                                "DestinationSecurityGroupId": {
                                    "Fn::GetAtt": ["B", "GroupId"]
                                },
                            }
                        ],
                    },
                },
                "B": {"Type": "AWS::EC2::SecurityGroup", "Properties": group},
                "FromA": {
                    "Type": "AWS::EC2::SecurityGroupIngress",
                    "Properties": {
                        **rule,
                        "GroupId": {"Fn::GetAtt": ["B", "GroupId"]},
                        "SourceSecurityGroupId": {"Fn::GetAtt": ["A", "GroupId"]},
                    },
                },
            },
            "Outputs": {"A": {"Value": {"Ref": "A"}}, "B": {"Value": {"Ref": "B"}}},
        }
        outputs = self.outputs(self.deploy(name, body))
        client = self.client("ec2")
        groups = client.describe_security_groups(GroupIds=[outputs["A"], outputs["B"]])
        a, b = sorted(
            groups["SecurityGroups"], key=lambda it: it["GroupId"] != outputs["A"]
        )
        egress = [
            pair["GroupId"]
            for permission in a["IpPermissionsEgress"]
            for pair in permission.get("UserIdGroupPairs", [])
        ]
        self.assertEqual(egress, [outputs["B"]])
        self.assertEqual(
            b["IpPermissions"][0]["UserIdGroupPairs"][0]["GroupId"], outputs["A"]
        )
        self.delete(name)
        left = client.describe_security_groups()["SecurityGroups"]
        self.assertNotIn(outputs["A"], [it["GroupId"] for it in left])
