"""What the other parts of the local AWS ask of this process, beside the AWS APIs it serves.

They send and get JSON, at paths below `/_glue/`.
"""

import json
from collections.abc import Callable
from typing import Any

from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    create_backend_app,
)
from werkzeug.wrappers import Request, Response

#: What answers a request: its body becomes an answer.
Handler = Callable[[Any], Any]

#: By method and path.
HANDLERS: dict[tuple[str, str], Handler] = {}


class Refused(Exception):
    """A request that is not as it has to be; the message says what is wrong."""


def route(method: str, path: str) -> Callable[[Handler], Handler]:
    """Makes a function the handler of a path."""

    def register(handler: Handler) -> Handler:
        HANDLERS[(method, path)] = handler
        return handler

    return register


def _answer(handler: Handler, request: Request) -> Response:
    try:
        body = json.loads(request.get_data() or b"null")
        answer, status = handler(body), 200
    except (Refused, ValueError) as error:
        answer, status = {"message": str(error)}, 400
    return Response(json.dumps(answer), status, content_type="application/json")


def application() -> Any:
    """moto's application, and in front of it these routes."""
    moto = DomainDispatcherApplication(create_backend_app)

    def serve(environ: dict[str, Any], start_response: Any) -> Any:
        handler = HANDLERS.get((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
        if handler is None:
            return moto(environ, start_response)
        return _answer(handler, Request(environ))(environ, start_response)

    return serve
