"""Calls back into the local AWS's one endpoint."""

from functools import cache
from typing import Any

import boto3
from botocore.config import Config
from moto.settings import moto_server_port


def endpoint() -> str:
    """The address of the gateway; moto is told its port in `MOTO_PORT`."""
    return f"http://127.0.0.1:{moto_server_port()}"


@cache
def client(service: str, region: str = "us-east-1") -> Any:
    """A boto3 client of `service` at the gateway. Every request is sent once."""
    session: Any = boto3.session.Session()
    return session.client(
        service,
        region_name=region,
        endpoint_url=endpoint(),
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(
            retries={"total_max_attempts": 1},
            proxies={},
        ),
    )
