"""What the Lambda service needs to know about a function.

Holes in moto 5.2.5: GetFunction gives a `Code.Location` that leads nowhere; a function's
`LoggingConfig` and `DeadLetterConfig` are not kept, nor is a change of its architecture.
"""

from typing import Any

from moto.awslambda.models import LambdaFunction
from moto.s3.exceptions import MissingBucket
from moto.s3.models import s3_backends

from glue import gateway

#: Properties that are kept as they were given.
KEPT = ("DeadLetterConfig", "LoggingConfig")


def _location(function: LambdaFunction) -> str:
    """Puts the code where Lambda keeps it, into S3, and tells its address."""
    bucket = f"awslambda-{function.region}-tasks"
    digest = function.code_sha_256.replace("/", "_").rstrip("=")
    key = f"snapshots/{function.account_id}/{function.function_name}-{digest}"
    backend = s3_backends[function.account_id]["aws"]
    try:
        backend.head_bucket(bucket)
    except MissingBucket:
        backend.create_bucket(bucket, function.region)
    if backend.get_object(bucket, key) is None:
        backend.put_object(bucket, key, function.code_bytes)
    # Presigned, as Lambda's own: moto gives objects to nobody else without an access key.
    return f"{gateway.endpoint()}/{bucket}/{key}?X-Amz-Signature=local"


def install() -> None:
    """Completes functions."""
    initialise = LambdaFunction.__init__
    configuration = LambdaFunction.get_configuration
    code = LambdaFunction.get_code
    update_configuration = LambdaFunction.update_configuration
    update_code = LambdaFunction.update_function_code

    def initialise_keeping(
        self: LambdaFunction,
        account_id: str,
        spec: dict[str, Any],
        *rest: Any,
        **kw: Any,
    ) -> None:
        self.glue_kept = {name: spec[name] for name in KEPT if name in spec}
        initialise(self, account_id, spec, *rest, **kw)

    def get_configuration(self: LambdaFunction, on_create: bool = False) -> Any:
        return {**configuration(self, on_create), **self.glue_kept}

    def get_code(self: LambdaFunction) -> dict[str, Any]:
        answer = code(self)
        if "ImageUri" not in self.code:
            answer["Code"] = {"Location": _location(self), "RepositoryType": "S3"}
        return answer

    def update_keeping(self: LambdaFunction, updates: dict[str, Any]) -> Any:
        self.glue_kept.update({name: updates[name] for name in KEPT if name in updates})
        return update_configuration(self, updates)

    def update_function_code(self: LambdaFunction, spec: dict[str, Any]) -> Any:
        if spec.get("Architectures"):
            self.architectures = spec["Architectures"]
        return update_code(self, spec)

    LambdaFunction.__init__ = initialise_keeping
    LambdaFunction.get_configuration = get_configuration
    LambdaFunction.get_code = get_code
    LambdaFunction.update_configuration = update_keeping
    LambdaFunction.update_function_code = update_function_code
