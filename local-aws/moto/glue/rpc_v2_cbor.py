"""Speaks Smithy's RPC v2 CBOR protocol, in which newer SDKs ask CloudWatch.

moto 5.2.5 reads AWS's JSON and query protocols only, and takes such a request for one that names
no action. Here it becomes a JSON request, and its answer CBOR again; botocore's models say how.

https://smithy.io/2.0/additional-specs/protocols/smithy-rpc-v2.html
"""

import gzip
import io
import json
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import botocore.session
from botocore.model import OperationModel, ServiceModel
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from moto.moto_server.werkzeug_app import DomainDispatcherApplication

Environ = dict[str, Any]
Application = Callable[[Environ, Any], Iterable[bytes]]

PROTOCOL = "rpc-v2-cbor"
READER = create_parser("smithy-rpc-v2-cbor")
WRITER = create_serializer("smithy-rpc-v2-cbor", include_validation=False)
# By the name with which the paths of requests call them.
SERVICES = {"GraniteServiceVersion20100801": "cloudwatch"}
# A map of texts, which no model describes.
ERROR_SHAPE = ServiceModel(
    {
        "metadata": {},
        "shapes": {
            "Error": {
                "type": "map",
                "key": {"shape": "Text"},
                "value": {"shape": "Text"},
            },
            "Text": {"type": "string"},
        },
    }
).shape_for("Error")


@cache
def service_model(target: str) -> ServiceModel:
    return botocore.session.Session().get_service_model(SERVICES[target])


def operation_model(path: str) -> OperationModel:
    """The operation of a path `/service/TARGET/operation/NAME`."""
    _, _, target, _, name = path.split("/")
    return service_model(target).operation_model(name)


def decode(body: bytes) -> Any:
    return READER.parse_data_item(READER.get_peekable_stream_from_bytes(body))


def encode(value: dict[str, Any], shape: Any) -> bytes:
    body = bytearray()
    WRITER._serialize_data_item(body, value, shape)
    return bytes(body)


def as_json_request(environ: Environ, operation: OperationModel) -> Environ:
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    if environ.get("HTTP_CONTENT_ENCODING") == "gzip":
        body = gzip.decompress(body)
    parameters = decode(body) if body else {}
    request = create_serializer("json", include_validation=False).serialize_to_request(
        parameters, operation
    )
    body = request["body"]
    body = body.encode() if isinstance(body, str) else body
    translated = environ | {
        "PATH_INFO": "/",
        "RAW_URI": "/",
        "REQUEST_URI": "/",
        "CONTENT_TYPE": request["headers"]["Content-Type"],
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_X_AMZ_TARGET": request["headers"]["X-Amz-Target"],
        "wsgi.input": io.BytesIO(body),
    }
    translated.pop("HTTP_CONTENT_ENCODING", None)
    return translated


def as_cbor_answer(status: int, body: bytes, operation: OperationModel) -> bytes:
    if status >= 400:
        texts = {key: str(value) for key, value in json.loads(body).items()}
        return encode(texts, ERROR_SHAPE)
    shape = operation.output_shape
    if shape is None:
        return b""
    answer = {"body": body or b"{}", "headers": {}, "status_code": status}
    parsed = create_parser("json").parse(answer, shape)
    parsed.pop("ResponseMetadata")
    return encode(parsed, shape)


def answer_cbor(
    application: Application, environ: Environ, start_response: Any
) -> Iterable[bytes]:
    """Answers a CBOR request by what `application` answers to the same request in JSON."""
    operation = operation_model(environ["PATH_INFO"])
    told: dict[str, Any] = {}

    def remember(status: str, headers: list[tuple[str, str]], *_: Any) -> None:
        told.update(status=status, headers=headers)

    body = b"".join(application(as_json_request(environ, operation), remember))
    body = as_cbor_answer(int(told["status"].split()[0]), body, operation)
    replaced = ("content-type", "content-length")
    headers = [pair for pair in told["headers"] if pair[0].lower() not in replaced]
    headers += [
        ("Content-Type", "application/cbor"),
        ("Content-Length", str(len(body))),
        ("smithy-protocol", PROTOCOL),
    ]
    start_response(told["status"], headers)
    return [body]


def install() -> None:
    """Lets the server take requests in CBOR."""
    application = DomainDispatcherApplication.__call__

    def call(self: Any, environ: Environ, start_response: Any) -> Iterable[bytes]:
        if environ.get("HTTP_SMITHY_PROTOCOL") != PROTOCOL:
            return application(self, environ, start_response)

        def asked(environ: Environ, start_response: Any) -> Iterable[bytes]:
            return application(self, environ, start_response)

        return answer_cbor(asked, environ, start_response)

    DomainDispatcherApplication.__call__ = call
