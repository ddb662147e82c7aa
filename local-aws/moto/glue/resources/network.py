"""`AWS::EC2::*` of a network: VPC, subnets, routes, gateways, endpoints, flow logs.

Tasks here are processes of this machine and reach one another whatever a route table says; what
is kept is what `Describe…` tells of the network.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/AWS_EC2.html
"""

import json
from typing import Any

from glue.resources.base import Resource, ignoring_missing, parameters, text


class _Ec2(Resource):
    """Named by the id that EC2 gives it, and tagged."""

    #: The operation that makes it, and the member of the answer and its id.
    making = ""
    member = ""
    id_name = ""
    #: The operation that removes it, and the code that says it is gone.
    removing = ""
    missing = ""

    def create(self, name: str) -> None:
        operation = "".join(part.title() for part in self.making.split("_"))
        request = parameters("ec2", operation, self.without("Tags"))
        made = getattr(self.client("ec2"), self.making)(**request)[self.member]
        self.physical_resource_id = made[self.id_name]
        self.attributes[self.id_name] = self.physical_resource_id
        self.tag()

    def remove(self) -> None:
        ignoring_missing(
            getattr(self.client("ec2"), self.removing),
            self.missing,
            **{self.id_name: self.physical_resource_id},
        )

    def tag(self) -> None:
        tags = self.properties.get("Tags", []) + self.place.tags()
        self.client("ec2").create_tags(Resources=[self.physical_resource_id], Tags=tags)

    def retag(self, old: dict[str, Any]) -> None:
        kept = {tag["Key"] for tag in self.properties.get("Tags", [])}
        gone = [tag for tag in old.get("Tags", []) if tag["Key"] not in kept]
        if gone:
            self.client("ec2").delete_tags(
                Resources=[self.physical_resource_id],
                Tags=[{"Key": tag["Key"]} for tag in gone],
            )
        self.tag()


class Vpc(_Ec2):
    type_name = "AWS::EC2::VPC"
    attribute_names = frozenset(
        {"CidrBlock", "DefaultNetworkAcl", "DefaultSecurityGroup", "VpcId"}
    )
    replacing = frozenset({"CidrBlock"})
    making, member, id_name = "create_vpc", "Vpc", "VpcId"
    removing, missing = "delete_vpc", "InvalidVpcID.NotFound"

    def create(self, name: str) -> None:
        super().create(name)
        self.attributes["CidrBlock"] = self.properties["CidrBlock"]
        own = [{"Name": "vpc-id", "Values": [self.physical_resource_id]}]
        groups = self.client("ec2").describe_security_groups(Filters=own)
        acls = self.client("ec2").describe_network_acls(Filters=own)
        self.attributes["DefaultSecurityGroup"] = groups["SecurityGroups"][0]["GroupId"]
        self.attributes["DefaultNetworkAcl"] = acls["NetworkAcls"][0]["NetworkAclId"]
        self._set_names()

    def update(self, old: dict[str, Any]) -> None:
        self._set_names()
        self.retag(old)

    def _set_names(self) -> None:
        for name, default in (
            ("EnableDnsSupport", "true"),
            ("EnableDnsHostnames", "false"),
        ):
            value = text(self.properties.get(name, default)).lower() == "true"
            self.client("ec2").modify_vpc_attribute(
                VpcId=self.physical_resource_id, **{name: {"Value": value}}
            )


class Subnet(_Ec2):
    type_name = "AWS::EC2::Subnet"
    attribute_names = frozenset({"AvailabilityZone", "CidrBlock", "SubnetId", "VpcId"})
    replacing = frozenset({"AvailabilityZone", "CidrBlock", "VpcId"})
    making, member, id_name = "create_subnet", "Subnet", "SubnetId"
    removing, missing = "delete_subnet", "InvalidSubnetID.NotFound"

    def create(self, name: str) -> None:
        super().create(name)
        for attribute in ("AvailabilityZone", "CidrBlock", "VpcId"):
            self.attributes[attribute] = self.properties.get(attribute, "")
        self._set_addresses()

    def update(self, old: dict[str, Any]) -> None:
        self._set_addresses()
        self.retag(old)

    def _set_addresses(self) -> None:
        public = text(self.properties.get("MapPublicIpOnLaunch", False)) == "true"
        self.client("ec2").modify_subnet_attribute(
            SubnetId=self.physical_resource_id, MapPublicIpOnLaunch={"Value": public}
        )


class InternetGateway(_Ec2):
    type_name = "AWS::EC2::InternetGateway"
    attribute_names = frozenset({"InternetGatewayId"})
    making, member = "create_internet_gateway", "InternetGateway"
    id_name, removing = "InternetGatewayId", "delete_internet_gateway"
    missing = "InvalidInternetGatewayID.NotFound"

    def update(self, old: dict[str, Any]) -> None:
        self.retag(old)


class VpcGatewayAttachment(Resource):
    """Any change makes a new attachment."""

    type_name = "AWS::EC2::VPCGatewayAttachment"

    def create(self, name: str) -> None:
        self.client("ec2").attach_internet_gateway(**self.properties)
        self.physical_resource_id = f"IGW|{self.properties['VpcId']}"

    def remove(self) -> None:
        ignoring_missing(
            self.client("ec2").detach_internet_gateway,
            "Gateway.NotAttached",
            "InvalidInternetGatewayID.NotFound",
            **self.properties,
        )


class RouteTable(_Ec2):
    type_name = "AWS::EC2::RouteTable"
    attribute_names = frozenset({"RouteTableId"})
    replacing = frozenset({"VpcId"})
    making, member, id_name = "create_route_table", "RouteTable", "RouteTableId"
    removing, missing = "delete_route_table", "InvalidRouteTableID.NotFound"

    def update(self, old: dict[str, Any]) -> None:
        self.retag(old)


class Route(Resource):
    type_name = "AWS::EC2::Route"
    attribute_names = frozenset({"CidrBlock"})
    replacing = frozenset({"DestinationCidrBlock", "RouteTableId"})

    def create(self, name: str) -> None:
        self.client("ec2").create_route(**self.properties)
        destination = self.properties["DestinationCidrBlock"]
        self.physical_resource_id = f"{self.properties['RouteTableId']}|{destination}"
        self.attributes["CidrBlock"] = destination

    def update(self, old: dict[str, Any]) -> None:
        self.client("ec2").replace_route(**self.properties)

    def remove(self) -> None:
        ignoring_missing(
            self.client("ec2").delete_route,
            "InvalidRoute.NotFound",
            "InvalidRouteTableID.NotFound",
            RouteTableId=self.properties["RouteTableId"],
            DestinationCidrBlock=self.properties["DestinationCidrBlock"],
        )


class SubnetRouteTableAssociation(Resource):
    """Any change makes a new association."""

    type_name = "AWS::EC2::SubnetRouteTableAssociation"
    attribute_names = frozenset({"Id"})

    def create(self, name: str) -> None:
        made = self.client("ec2").associate_route_table(**self.properties)
        self.physical_resource_id = made["AssociationId"]
        self.attributes["Id"] = self.physical_resource_id

    def remove(self) -> None:
        ignoring_missing(
            self.client("ec2").disassociate_route_table,
            "InvalidAssociationID.NotFound",
            AssociationId=self.physical_resource_id,
        )


class ElasticAddress(Resource):
    type_name = "AWS::EC2::EIP"
    attribute_names = frozenset({"AllocationId", "PublicIp"})
    replacing = frozenset({"Domain"})

    def create(self, name: str) -> None:
        made = self.client("ec2").allocate_address(Domain="vpc")
        self.physical_resource_id = made["PublicIp"]
        self.attributes = {key: made[key] for key in ("AllocationId", "PublicIp")}

    def update(self, old: dict[str, Any]) -> None:
        """Only its tags can change, which nothing here reads."""

    def remove(self) -> None:
        ignoring_missing(
            self.client("ec2").release_address,
            "InvalidAllocationID.NotFound",
            AllocationId=self.attributes["AllocationId"],
        )


class NatGateway(_Ec2):
    type_name = "AWS::EC2::NatGateway"
    attribute_names = frozenset({"NatGatewayId"})
    replacing = frozenset({"AllocationId", "ConnectivityType", "SubnetId"})
    making, member, id_name = "create_nat_gateway", "NatGateway", "NatGatewayId"
    removing, missing = "delete_nat_gateway", "NatGatewayNotFound"

    def update(self, old: dict[str, Any]) -> None:
        self.retag(old)


class VpcEndpoint(Resource):
    type_name = "AWS::EC2::VPCEndpoint"
    attribute_names = frozenset({"DnsEntries", "Id"})
    replacing = frozenset({"ServiceName", "VpcEndpointType", "VpcId"})

    def create(self, name: str) -> None:
        request = parameters("ec2", "CreateVpcEndpoint", self.without("Tags"))
        if "PolicyDocument" in request:
            request["PolicyDocument"] = json.dumps(
                self.properties["PolicyDocument"], default=str
            )
        made = self.client("ec2").create_vpc_endpoint(**request)["VpcEndpoint"]
        self.physical_resource_id = made["VpcEndpointId"]
        entries = [
            f"{entry.get('HostedZoneId', '')}:{entry.get('DnsName', '')}"
            for entry in made.get("DnsEntries", [])
        ]
        self.attributes = {"Id": self.physical_resource_id, "DnsEntries": entries}

    def update(self, old: dict[str, Any]) -> None:
        request: dict[str, Any] = {}
        for name, add, drop in (
            ("RouteTableIds", "AddRouteTableIds", "RemoveRouteTableIds"),
            ("SubnetIds", "AddSubnetIds", "RemoveSubnetIds"),
        ):
            before, after = old.get(name, []), self.properties.get(name, [])
            request[add] = [it for it in after if it not in before]
            request[drop] = [it for it in before if it not in after]
        given = {name: value for name, value in request.items() if value}
        self._follow(given)
        policy = self.properties.get("PolicyDocument")
        if policy and policy != old.get("PolicyDocument"):
            given["PolicyDocument"] = json.dumps(policy, default=str)
        self.client("ec2").modify_vpc_endpoint(
            VpcEndpointId=self.physical_resource_id, **given
        )

    def remove(self) -> None:
        ignoring_missing(
            self.client("ec2").delete_vpc_endpoints,
            "InvalidVpcEndpointId.NotFound",
            VpcEndpointIds=[self.physical_resource_id],
        )

    def _follow(self, changed: dict[str, Any]) -> None:
        """Gives new route tables their route to the endpoint, which moto does at creation only."""
        client = self.client("ec2")
        for table in changed.get("AddRouteTableIds", []):
            client.create_route(
                RouteTableId=table,
                DestinationPrefixListId=self._prefix_list(),
                GatewayId=self.physical_resource_id,
            )
        for table in changed.get("RemoveRouteTableIds", []):
            client.delete_route(
                RouteTableId=table, DestinationPrefixListId=self._prefix_list()
            )

    def _prefix_list(self) -> str:
        """The addresses of the service that a gateway endpoint stands for."""
        name = [{"Name": "prefix-list-name", "Values": [self.properties["ServiceName"]]}]
        found = self.client("ec2").describe_managed_prefix_lists(Filters=name)
        return found["PrefixLists"][0]["PrefixListId"]


class FlowLog(Resource):
    """Any change makes a new one."""

    type_name = "AWS::EC2::FlowLog"
    attribute_names = frozenset({"Id"})

    def create(self, name: str) -> None:
        properties = {
            **self.without("ResourceId", "Tags"),
            "ResourceIds": [self.properties["ResourceId"]],
        }
        request = parameters("ec2", "CreateFlowLogs", properties)
        made = self.client("ec2").create_flow_logs(**request)
        if made.get("Unsuccessful"):
            raise RuntimeError(made["Unsuccessful"][0]["Error"]["Message"])
        self.physical_resource_id = made["FlowLogIds"][0]
        self.attributes["Id"] = self.physical_resource_id

    def remove(self) -> None:
        ignoring_missing(
            self.client("ec2").delete_flow_logs,
            "InvalidFlowLogId.NotFound",
            FlowLogIds=[self.physical_resource_id],
        )
