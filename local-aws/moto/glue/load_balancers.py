"""Load balancers that answer on this machine, and whose listeners have a port each.

Holes in moto 5.2.5: a load balancer's DNSName is a name of AWS's that leads nowhere. The local
load balancers listen on the loopback address. And a listener may be moved to a port that another
one has, which AWS refuses as it does a new one:
https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_ModifyListener.html
"""

from typing import Any

from moto.elbv2.exceptions import DuplicateListenerError
from moto.elbv2.models import ELBv2Backend, FakeListener, FakeLoadBalancer

DNS_NAME = "localhost"


def install() -> None:
    """Gives every load balancer the name of this machine, and its listeners a port each."""
    initialise = FakeLoadBalancer.__init__

    def on_this_machine(self: FakeLoadBalancer, *args: Any, **kwargs: Any) -> None:
        initialise(self, *args, **kwargs)
        self.dns_name = DNS_NAME

    FakeLoadBalancer.__init__ = on_this_machine

    modify = ELBv2Backend.modify_listener

    def modify_to_a_free_port(
        self: ELBv2Backend, arn: str, port: Any = None, *args: Any, **kwargs: Any
    ) -> FakeListener:
        listener = self.describe_listeners(load_balancer_arn=None, listener_arns=[arn])[0]
        others = self.describe_listeners(
            load_balancer_arn=listener.load_balancer_arn, listener_arns=[]
        )
        for other in others:
            if port is not None and other.arn != arn and str(other.port) == str(port):
                raise DuplicateListenerError
        return modify(self, arn, port, *args, **kwargs)

    ELBv2Backend.modify_listener = modify_to_a_free_port
