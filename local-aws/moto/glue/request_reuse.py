"""Requests: what is the same for every one of them is found once.

Hole in moto 5.2.5: for every request it lists the directories of its own modules and the methods
of the class that answers, and it parses an update expression of DynamoDB each time it comes. All
other requests wait for that: Python runs one thread at a time.
"""

from functools import cache, lru_cache

from moto import backends
from moto.core import responses
from moto.dynamodb.parsing.expressions import UpdateExpressionParser

EXPRESSIONS = 256


def install() -> None:
    """Lets later requests have what an earlier one has found."""
    modules = tuple(backends.list_of_moto_modules())
    backends.list_of_moto_modules = lambda: modules
    responses.method_names_from_class = cache(responses.method_names_from_class)
    # Whoever validates and executes an expression copies its tree.
    parse = lru_cache(maxsize=EXPRESSIONS)(UpdateExpressionParser.make)
    UpdateExpressionParser.make = staticmethod(parse)
