#!/bin/sh
# Makes sure that PostgreSQL's own programs, initdb and postgres, are on this machine.
# Does nothing when they are. On Debian and its kin it installs the distribution's package,
# without the cluster that Debian would make and start with it; elsewhere it says what to install.
set -eu

installed() {
    command -v initdb >/dev/null && command -v postgres >/dev/null && return 0
    for directory in /usr/lib/postgresql/*/bin; do
        [ -x "$directory/initdb" ] && [ -x "$directory/postgres" ] && return 0
    done
    return 1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

installed && exit 0

if ! command -v apt-get >/dev/null; then
    echo "PostgreSQL is missing: install the server with initdb and postgres on PATH" \
        "(Fedora: dnf install postgresql-server; macOS: brew install postgresql)." >&2
    exit 1
fi
if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
    echo "PostgreSQL is missing: run 'apt-get install postgresql' as root." >&2
    exit 1
fi

echo "Installing PostgreSQL from the distribution's packages ..." >&2
no_cluster=/etc/postgresql-common/createcluster.d/no-main-cluster.conf
as_root mkdir -p "$(dirname "$no_cluster")"
echo "create_main_cluster = false" | as_root tee "$no_cluster" >/dev/null
# It is meant for this installation alone.
trap 'as_root rm -f "$no_cluster"' EXIT
as_root apt-get update -qq
as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends postgresql >&2

installed || {
    echo "PostgreSQL was installed, but initdb and postgres are neither on PATH nor in /usr/lib/postgresql/*/bin." >&2
    exit 1
}
