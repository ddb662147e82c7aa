"""Load balancers that answer on this machine.

Hole in moto 5.2.5: a load balancer's DNSName is a name of AWS's that leads nowhere. The local
load balancers listen on the loopback address.
"""

from typing import Any

from moto.elbv2.models import FakeLoadBalancer

DNS_NAME = "localhost"


def install() -> None:
    """Gives every load balancer the name of this machine."""
    initialise = FakeLoadBalancer.__init__

    def on_this_machine(self: FakeLoadBalancer, *args: Any, **kwargs: Any) -> None:
        initialise(self, *args, **kwargs)
        self.dns_name = DNS_NAME

    FakeLoadBalancer.__init__ = on_this_machine
