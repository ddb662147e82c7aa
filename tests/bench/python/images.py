"""What an image in ECR says of itself, and how a command runs behind its entry point."""

import json
import re
import shlex
from urllib.request import urlopen

import task_definition
from clients import client
from failures import AwsRequestFailed, AwsRequests

ecr = client("ecr")

MANIFESTS = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
]
ARCHITECTURES = {"X86_64": "amd64", "ARM64": "arm64"}
SHELLS = ("sh", "ash", "bash", "dash", "fish", "ksh", "mksh", "rbash", "zsh")
SHELL_CALLERS = ("flock", "runuser", "script", "su")
COMMITS = {"github": "commit", "gitlab": "-/commit", "bitbucket": "commits", "codeberg": "commit"}
LABEL = re.compile(r"[^\x00-\x1f\x7f]{1,256}")


class ImageNotFound(Exception):
    pass


class ImagePlatformMismatch(Exception):
    pass


class ImageUnusable(Exception):
    pass


class EntryPointIgnoresCommand(Exception):
    pass


def find(repository, event):
    """Digest and manifest of the image that was asked for."""
    image = {"imageDigest": event["digest"]} if "digest" in event else {"imageTag": event["tag"]}
    found = batch_get(repository, [image])
    if not found:
        raise ImageNotFound(f"{repository} has no image {image}")
    return found[0]["imageId"]["imageDigest"], json.loads(found[0]["imageManifest"])


def batch_get(repository, ids):
    with AwsRequests("ecr:BatchGetImage", repository):
        answer = ecr.batch_get_image(
            repositoryName=repository, imageIds=ids, acceptedMediaTypes=MANIFESTS
        )
    for failure in answer.get("failures", []):
        if failure["failureCode"] != "ImageNotFound":
            code, reason = failure["failureCode"], failure["failureReason"]
            raise AwsRequestFailed("ecr:BatchGetImage", repository, code, reason)
    return answer["images"]


def missing(references):
    """Those that nobody can pull any more."""
    by_repository = {}
    for reference in references:
        if match := task_definition.IMAGE.fullmatch(reference):
            by_repository.setdefault(match["repository"], {})[reference] = id_of(match)
    lost = []
    for repository, ids in sorted(by_repository.items()):
        out_of_reach = unreachable(repository, list(ids.values()))
        lost += [reference for reference, one in ids.items() if one in out_of_reach]
    return lost


def unreachable(repository, ids):
    try:
        with AwsRequests("ecr:BatchGetImage", repository):
            answer = ecr.batch_get_image(
                repositoryName=repository, imageIds=ids, acceptedMediaTypes=MANIFESTS
            )
    except AwsRequestFailed as failure:
        if failure.code == "RepositoryNotFoundException":
            return ids
        raise
    return [
        failure["imageId"]
        for failure in answer.get("failures", [])
        if failure["failureCode"] in ("ImageNotFound", "ImageInaccessible")
    ]


def id_of(match):
    """What a task that starts asks for."""
    if match["digest"]:
        return {"imageDigest": match["digest"]}
    return {"imageTag": match["tag"] or "latest"}


def platform_of(definition):
    """On what the tasks of a task definition run; None: on any instance."""
    told = definition.get("runtimePlatform", {})
    only_fargate = definition.get("requiresCompatibilities") == ["FARGATE"]
    family = told.get("operatingSystemFamily") or ("LINUX" if only_fargate else None)
    architecture = told.get("cpuArchitecture") or ("X86_64" if only_fargate else None)
    if not family or architecture not in ARCHITECTURES:
        return None
    system = "linux" if family == "LINUX" else "windows"
    return {"os": system, "architecture": ARCHITECTURES[architecture]}


def configs(repository, digest, manifest, platforms, known):
    """What the image says of itself for each of the platforms, as far as it is not known."""
    if known and all(of_platform(known, platform) for platform in platforms):
        return known
    manifests = [manifest]
    if "manifests" in manifest:
        ids = {chosen(repository, manifest["manifests"], platform) for platform in platforms}
        found = batch_get(repository, [{"imageDigest": one} for one in sorted(ids)])
        if len(found) < len(ids):
            raise ImageUnusable(f"{repository}@{digest} lacks the image of a platform")
        manifests = [json.loads(image["imageManifest"]) for image in found]
    got = [config(repository, digest, one) for one in manifests]
    for platform in platforms:
        if not of_platform(got, platform):
            raise ImagePlatformMismatch(f"{repository}@{digest} is not built for {platform}")
    return got


def of_platform(got, platform):
    return next((one for one in got if platform in (None, one["platform"])), None)


def chosen(repository, manifests, platform):
    for one in manifests:
        built_for = {key: one.get("platform", {}).get(key) for key in ("os", "architecture")}
        if built_for == platform or (platform is None and built_for["os"] not in (None, "unknown")):
            return one["digest"]
    raise ImagePlatformMismatch(f"an image of {repository} is not built for {platform}")


def config(repository, digest, manifest):
    if not manifest.get("layers") or "config" not in manifest:
        raise ImageUnusable(f"{repository}@{digest} has no layers that could be run")
    blob = manifest["config"]["digest"]
    with AwsRequests("ecr:GetDownloadUrlForLayer", repository):
        answer = ecr.get_download_url_for_layer(repositoryName=repository, layerDigest=blob)
    with urlopen(answer["downloadUrl"], timeout=20) as response:
        told = json.load(response)
    run = told.get("config") or {}
    labels = run.get("Labels") or {}
    return {
        "platform": {"os": told["os"], "architecture": told["architecture"]},
        "entryPoint": run.get("Entrypoint") or [],
        "commit": label(labels, "org.opencontainers.image.revision"),
        "source": label(labels, "org.opencontainers.image.source"),
        "migrations": label(labels, "bluegreen.migrations"),
    }


def label(labels, name):
    value = labels.get(name, "").strip()
    return value if LABEL.fullmatch(value) else None


def migrations(configs):
    """The fingerprint of the migrations in the image, the same for all its platforms."""
    fingerprints = {one.get("migrations") for one in configs}
    return fingerprints.pop() if len(fingerprints) == 1 else None


def commit_url(one):
    """Where a person reads the commit that the image was built from, or else the sources."""
    source = (one["source"] or "").rstrip("/").removesuffix(".git")
    match = re.fullmatch(r"https://([^/]+)/.+", source)
    if not match:
        return None
    forge = next((label for label in match[1].split(".") if label in COMMITS), None)
    if forge and re.fullmatch(r"[0-9a-fA-F]+", one["commit"] or ""):
        return f"{source}/{COMMITS[forge]}/{one['commit']}"
    return source


def words(entry_point, command):
    """The words that take the place of the container's command, so that `command` runs."""
    script = script_of(entry_point)
    if script is None:
        return command
    if script == ():
        return command if len(command) == 1 else [shlex.join(command)]
    text, own_name = script
    used = re.sub(r"'[^']*'|\\.|(?<!\S)#.*", "", text)
    if own_name is None or not re.search(r"\$\{?[@*]", used):
        raise EntryPointIgnoresCommand(f"`{text}` would run instead of {command}")
    return command if own_name or re.search(r"\$\{?0", used) else ["sh", *command]


def script_of(entry_point):
    """None: no shell takes a script. (): it waits for one. Else the script, and whether `$0` is there."""
    entry_point = split(entry_point)
    for at, word in enumerate(entry_point):
        program, rest = word.rsplit("/", 1)[-1], entry_point[at + 1 :]
        script = None
        if program in SHELLS:
            script = script_of_shell(rest)
        elif program in SHELL_CALLERS:
            options = [i for i, w in enumerate(rest) if re.fullmatch(r"-[a-z]*c|--command", w)]
            script = options and (rest[options[0] + 1 : options[0] + 2] + [None])[:2]
            script = None if not options else () if len(script) == 1 else tuple(script)
        if script is not None:
            return script
    return None


def script_of_shell(words):
    words, takes_script = list(words), False
    while words and words[0][:1] in ("-", "+"):
        word = words.pop(0)
        if word in ("-", "--"):
            break
        if word.startswith("--"):
            takes_script |= word == "--command"
            del words[: word in ("--rcfile", "--init-file")]
        else:
            takes_script |= word[0] == "-" and "c" in word
            del words[: len(re.findall("[oO]", word))]
    if not takes_script:
        return None
    return (words[0], len(words) > 1) if words else ()


def split(entry_point):
    """`env -S 'bash -c'` is the words `env bash -c`."""
    words, rest = [], list(entry_point)
    while rest:
        word = rest.pop(0)
        match = re.fullmatch(r"(?:-S|--split-string=?)(.*)", word)
        if words and words[-1].rsplit("/", 1)[-1] == "env" and match:
            words += shlex.split(match[1] or (rest.pop(0) if rest else ""))
        else:
            words.append(word)
    return words
