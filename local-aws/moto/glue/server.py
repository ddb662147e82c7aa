"""Serves moto with the patches of this package, on a free port of 127.0.0.1.

Prints one line, `listening PORT`, and ends when standard input closes.
"""

import gc
import os
import sys
import threading

from moto.core.config import default_user_config
from moto.moto_server.werkzeug_app import MotoRequestHandler
from werkzeug.serving import make_server

import glue
from glue import routes


#: How long one thread runs while others wait.
SWITCH_SECONDS = 0.0005


class QuietRequestHandler(MotoRequestHandler):
    """moto's request handler, without a line for every request."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


def end_with_standard_input() -> None:
    """Ends the process when standard input closes: whoever started it is gone."""
    sys.stdin.buffer.read()
    os._exit(0)


def main() -> None:
    """Runs the server until standard input closes."""
    # A short request need not wait for a long one's turn of five milliseconds.
    sys.setswitchinterval(SWITCH_SECONDS)
    threading.Thread(target=end_with_standard_input, daemon=True).start()
    # State machines are executed; moto's default is to only record them.
    default_user_config["stepfunctions"] = {"execute_state_machine": True}
    glue.install()
    server = make_server(
        "127.0.0.1",
        0,
        routes.application(),
        threaded=True,
        request_handler=QuietRequestHandler,
    )
    # What lives as long as the process is looked through for garbage no more.
    gc.collect()
    gc.freeze()
    print(f"listening {server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
