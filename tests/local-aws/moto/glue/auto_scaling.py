"""Application Auto Scaling and the local ECS.

Hole in moto 5.2.5: it looks for a service in its own ECS, which is not the one that runs services
here.
"""

from botocore.exceptions import ClientError
from moto.applicationautoscaling.exceptions import AWSValidationException
from moto.applicationautoscaling.models import ApplicationAutoscalingBackend

from glue import gateway


def _service_exists(self: ApplicationAutoscalingBackend, resource_id: str) -> bool:
    _, cluster, service = resource_id.split("/", 2)
    client = gateway.client("ecs", self.region_name)
    try:
        found = client.describe_services(cluster=cluster, services=[service])["services"]
    except ClientError:
        found = []
    if not any(it["status"] == "ACTIVE" for it in found):
        raise AWSValidationException(f"ECS service doesn't exist: {resource_id}")
    return True


def install() -> None:
    """Lets Application Auto Scaling ask the local ECS."""
    ApplicationAutoscalingBackend._ecs_service_exists_for_target = _service_exists
