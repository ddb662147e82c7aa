#!/bin/sh
# Makes sure that this machine has what no file of the project can bring: a C compiler (Rust links
# with it) and Python's venv module. With the word "tests" also PostgreSQL's own programs, and jq,
# which people use beside the AWS CLI, and skopeo and buildah, which push images: without these two
# some tests are ignored. With the word "bench" valgrind, which counts instructions.
# prepare-machine.sh [PYTHON [tests | bench]]
# Does nothing when all is there. On Debian and its kin it installs what is missing from the
# distribution's packages; elsewhere it says what to install.
set -eu
python=${1:-python3}
purpose=${2:-building}

have_postgresql() {
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

fail() {
    echo "$1" >&2
    exit 1
}

# What some tests need and nothing else does.
without_optional() {
    [ -z "$optional" ] || echo "Without$optional some tests are ignored. $1" >&2
}

# rustup's cargo fetches the toolchain that rust-toolchain.toml names; a distribution's cannot.
if ! command -v cargo >/dev/null; then
    echo "There is no cargo: install Rust with rustup, https://rustup.rs, then try again." >&2
    exit 1
fi
if ! command -v rustup >/dev/null; then
    wanted=$(sed -n 's/^channel = "\(.*\)"$/\1/p' "$(dirname "$0")/../rust-toolchain.toml")
    case "$(cargo --version)" in
    "cargo $wanted "*) ;;
    *)
        echo "$(cargo --version) is not $wanted, and there is no rustup to fetch it: install Rust with rustup, https://rustup.rs, then try again." >&2
        exit 1
        ;;
    esac
fi
if ! command -v "$python" >/dev/null; then
    echo "There is no $python: install Python 3.10 or newer, or name it: make PYTHON=/path/to/python3" >&2
    exit 1
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
    echo "$("$python" --version) is too old: Python 3.10 or newer is needed. Name it: make PYTHON=/path/to/python3" >&2
    exit 1
fi

packages=
missing=
command -v cc >/dev/null || {
    packages="$packages gcc libc6-dev"
    missing="$missing a C compiler named cc,"
}
"$python" -c 'import ensurepip, venv' 2>/dev/null || {
    packages="$packages python3-venv"
    missing="$missing Python's module venv,"
}
if [ "$purpose" = tests ]; then
    have_postgresql || {
        packages="$packages postgresql"
        missing="$missing PostgreSQL with initdb and postgres on PATH,"
    }
    command -v jq >/dev/null || {
        packages="$packages jq"
        missing="$missing jq,"
    }
fi
optional=
if [ "$purpose" = tests ]; then
    for program in skopeo buildah; do
        command -v "$program" >/dev/null || optional="$optional $program"
    done
fi
if [ "$purpose" = bench ]; then
    command -v valgrind >/dev/null || {
        packages="$packages valgrind"
        missing="$missing valgrind,"
    }
fi

missing="Missing:${missing%,}."
if ! command -v apt-get >/dev/null; then
    without_optional "Install them with your system's packages."
    [ -z "$packages" ] || fail "$missing Install what is missing with your system's packages, then try again."
    exit 0
fi
if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
    without_optional "Run 'apt-get install$optional' as root."
    [ -z "$packages" ] || fail "$missing Run 'apt-get install$packages' as root, then try again."
    exit 0
fi
[ -n "$packages$optional" ] || exit 0

if [ -n "$packages" ]; then
    echo "$missing Installing$packages ..." >&2
fi
# Debian would make and start a database cluster with the package; nobody asked for one.
no_cluster=/etc/postgresql-common/createcluster.d/no-main-cluster.conf
as_root mkdir -p "$(dirname "$no_cluster")"
echo "create_main_cluster = false" | as_root tee "$no_cluster" >/dev/null
trap 'as_root rm -f "$no_cluster"' EXIT
install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends "$@" >&2
}
as_root apt-get update -qq || [ -z "$packages" ]
# shellcheck disable=SC2086 # one word a package
[ -z "$packages" ] || install $packages
if [ -n "$optional" ]; then
    echo "Installing$optional, with which tests push images ..." >&2
    # shellcheck disable=SC2086 # one word a package
    install $optional || without_optional "Their packages cannot be had."
fi
