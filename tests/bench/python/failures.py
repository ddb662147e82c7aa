"""The errors that the state machine knows; their names are the classes'."""

from botocore.exceptions import BotoCoreError, ClientError

# Codes that AWS sends with a status below 500 although the same request may succeed later.
TRANSIENT = (
    "ServerException",
    "RequestLimitExceeded",
    "TooManyRequestsException",
    "RequestTimeout",
    "RequestTimeoutException",
    "ExpiredTokenException",
)


class InvalidInput(Exception):
    pass


class AwsRequestFailed(Exception):
    def __init__(self, action, resource, code, message, refused=False):
        super().__init__(f"{action} for {resource} failed: {code}: {message}")
        self.code = code
        # AWS said no, and would say no again.
        self.refused = refused


class AwsRequests:
    """Turns a failed request within a `with` into AwsRequestFailed."""

    def __init__(self, action, resource):
        self.action = action
        self.resource = resource

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if isinstance(error, ClientError):
            details = error.response["Error"]
            code = details["Code"]
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            raise AwsRequestFailed(
                self.action,
                self.resource,
                code,
                details["Message"],
                status < 500 and "Throttl" not in code and code not in TRANSIENT,
            ) from error
        if isinstance(error, BotoCoreError):
            raise AwsRequestFailed(
                self.action, self.resource, type(error).__name__, str(error)
            ) from error


def check(value, required, optional=(), where=""):
    """Refuses a mapping with a key too few or too many, and names the key."""
    if not isinstance(value, dict):
        raise InvalidInput(f"{where or 'the input'} is not an object")
    for key in required:
        if key not in value:
            raise InvalidInput(f"missing field `{where}{key}`")
    for key in value:
        if key not in required and key not in optional:
            raise InvalidInput(f"unknown field `{where}{key}`")
    return value
