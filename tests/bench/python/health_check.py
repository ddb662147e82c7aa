"""The URL at which an application tells its health."""

from urllib.parse import urlsplit


def is_url(text):
    """Whether it can be asked. A user name in it would stand in the record of every release."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    is_web = parts.scheme in ("http", "https")
    return is_web and bool(parts.hostname) and "@" not in parts.netloc and " " not in text
