"""Application Auto Scaling and the local ECS. Nothing follows a load here.

Holes in moto 5.2.5: it looks for a service in its own ECS, which is not the one that runs services
here, and leaves a service outside of the range that it registers.
"""

from functools import wraps
from typing import Any

from botocore.exceptions import ClientError
from moto.applicationautoscaling.exceptions import AWSValidationException
from moto.applicationautoscaling.models import ApplicationAutoscalingBackend

from glue import gateway


def _service(region: str, resource_id: str) -> dict[str, Any] | None:
    """The active service that a scalable target names, if there is one."""
    _, cluster, service = resource_id.split("/", 2)
    client = gateway.client("ecs", region)
    try:
        found = client.describe_services(cluster=cluster, services=[service])["services"]
    except ClientError:
        found = []
    return next((it for it in found if it["status"] == "ACTIVE"), None)


def _service_exists(self: ApplicationAutoscalingBackend, resource_id: str) -> bool:
    if _service(self.region_name, resource_id) is None:
        raise AWSValidationException(f"ECS service doesn't exist: {resource_id}")
    return True


def _within_range(register: Any) -> Any:
    """Brings what is registered into its range.

    https://docs.aws.amazon.com/autoscaling/application/APIReference/API_RegisterScalableTarget.html
    """

    @wraps(register)
    def registering(self: Any, namespace: str, r_id: str, *rest: Any, **named: Any) -> Any:
        target = register(self, namespace, r_id, *rest, **named)
        service = _service(self.region_name, r_id) if namespace == "ecs" else None
        if service:
            desired = service["desiredCount"]
            wanted = min(max(desired, target.min_capacity), target.max_capacity)
            if wanted != desired:
                gateway.client("ecs", self.region_name).update_service(
                    cluster=service["clusterArn"],
                    service=service["serviceArn"],
                    desiredCount=wanted,
                )
        return target

    return registering


def install() -> None:
    """Lets Application Auto Scaling ask the local ECS, and keep its services within their range."""
    backend = ApplicationAutoscalingBackend
    backend._ecs_service_exists_for_target = _service_exists
    backend.register_scalable_target = _within_range(backend.register_scalable_target)
