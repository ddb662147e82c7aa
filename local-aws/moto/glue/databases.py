"""The secrets of databases.

Hole in moto 5.2.5: the secret that RDS manages for a database names another user than the
database has, and the same password for all.

https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/rds-secrets-manager.html
"""

import json
import secrets

from moto.rds.models import MasterUserSecret

#: The length of the passwords that RDS makes.
PASSWORD_LENGTH = 28


def _secret_string(self: MasterUserSecret) -> str:
    password = secrets.token_urlsafe(PASSWORD_LENGTH)[:PASSWORD_LENGTH]
    return json.dumps(
        {"username": self.resource.master_username, "password": password}
    )


def install() -> None:
    """Puts these secrets in the place of moto's."""
    MasterUserSecret._generate_secret_string = _secret_string
