"""Images as users see them: fields of the config, the commands of layers, and comparisons.

The functions take bytes and return values. Users may push any config, so nothing here raises:
unexpected values read as empty, and texts and lists are cut at bounds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

from dtrfast.oci.digests import Digest
from dtrfast.oci.manifests import Manifest

_TEXT_LENGTH_MAX = 4096
PLATFORM_LENGTH_MAX = 128
# BuildKit's platform of manifests that run nowhere.
NO_PLATFORM = "unknown/unknown"
_ENTRIES_MAX = 500
_NOP = "/bin/sh -c #(nop)"
_SHELL = "/bin/sh -c "
_BUILDKIT = "# buildkit"
# Build arguments before the command, such as `|2 VERSION=1 NAME=x `.
_ARGUMENTS = re.compile(r"\|\d+ ")
# Reproducible builders write a constant in place of a date: Go's zero time, the Unix epoch, or the
# earliest date in a ZIP archive (buildpacks, Nix).
_NO_DATES = frozenset({date(1, 1, 1), date(1970, 1, 1), date(1980, 1, 1)})
# Annotations of a descriptor that name a file; the first present one counts. From
# https://github.com/opencontainers/image-spec/blob/main/annotations.md and from
# https://github.com/modelpack/model-spec, by its present and its former name.
_TITLES = ("org.opencontainers.image.title", "org.cncf.model.filepath", "org.cnai.model.filepath")
_BUILD_CACHE = "buildkit.cacheconfig"
# A string in Go's quotes. The pattern matches from every quote, also without a closing one, so the
# time is linear.
_QUOTED = re.compile(r'"(?:[^"\\]|\\.?)*+(?:"|\Z)', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Step:
    """A line of a config's history. `is_empty` is True if it made no layer."""

    command: str
    created: str
    is_empty: bool


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """The fields of a config blob. All are empty if the blob is not the config of an image."""

    created: str = ""
    author: str = ""
    os: str = ""
    architecture: str = ""
    variant: str = ""
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    exposed_ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    stop_signal: str = ""
    healthcheck: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    history: tuple[Step, ...] = ()

    @property
    def platform(self) -> str:
        return platform(self.os, self.architecture, self.variant)


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer, or a step without a layer, whose `digest` is empty. `title` is a file name."""

    command: str
    created: str = ""
    digest: str = ""
    size: int = 0
    media_type: str = ""
    title: str = ""


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A field in which two configs differ. A value is empty if its config lacks the field."""

    field: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """The differences of two images, by layers and by fields of the config."""

    common: tuple[Layer, ...]
    removed: tuple[Layer, ...]
    added: tuple[Layer, ...]
    changes: tuple[FieldChange, ...]


def platform(os: str, architecture: str, variant: str = "") -> str:
    """Return a platform such as `linux/arm64/v8`; empty if all parts are, and for the platform that
    BuildKit gives to attestations.
    """
    shown = "/".join(part for part in (os, architecture, variant) if part)
    return "" if shown == NO_PLATFORM else shown


# ---- configs -----------------------------------------------------------------------------------
def parse_config(body: bytes) -> ImageConfig:
    """Parse a config in the format of OCI or Docker. Never raises."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return ImageConfig()
    if not isinstance(document, dict):
        return ImageConfig()
    inner = document.get("config")
    run = inner if isinstance(inner, dict) else {}
    labels = run.get("Labels")
    pairs = list(labels.items())[:_ENTRIES_MAX] if isinstance(labels, dict) else []
    return ImageConfig(
        created=given_date(document.get("created")),
        author=plain(document.get("author")),
        os=plain(document.get("os")),
        architecture=plain(document.get("architecture")),
        variant=plain(document.get("variant")),
        env=_texts(run.get("Env")),
        entrypoint=_texts(run.get("Entrypoint")),
        cmd=_texts(run.get("Cmd")),
        working_dir=plain(run.get("WorkingDir")),
        user=plain(run.get("User")),
        exposed_ports=_keys(run.get("ExposedPorts")),
        volumes=_keys(run.get("Volumes")),
        stop_signal=plain(run.get("StopSignal")),
        healthcheck=_healthcheck(run.get("Healthcheck")),
        labels=tuple(sorted((plain(name), plain(text)) for name, text in pairs)),
        history=_history(document.get("history")),
    )


def plain(value: Any) -> str:
    """Return a string of a document, cut to 4096 characters; empty if `value` is not a string.

    Lone surrogates, which JSON can contain and UTF-8 cannot, are replaced.
    """
    if not isinstance(value, str):
        return ""
    return value[:_TEXT_LENGTH_MAX].encode("utf-8", "replace").decode()


def given_date(value: Any) -> str:
    """Return a date as it was written; empty for the constants that stand for no date."""
    text = plain(value)
    try:
        moment = datetime.fromisoformat(text)
        days = {moment.date(), moment.astimezone(UTC).date() if moment.tzinfo else moment.date()}
    except OverflowError:
        return ""  # the conversion to UTC leaves the years 1 to 9999
    except ValueError:
        return text
    return "" if days & _NO_DATES else text


def _texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return (plain(value),)
    entries = value[:_ENTRIES_MAX] if isinstance(value, list) else []
    return tuple(plain(entry) for entry in entries if isinstance(entry, str))


def _keys(value: Any) -> tuple[str, ...]:
    names = list(value)[:_ENTRIES_MAX] if isinstance(value, dict) else []
    return tuple(sorted(plain(name) for name in names))


def _healthcheck(value: Any) -> str:
    """Return the health check as a Dockerfile would write it. Its times are nanoseconds."""
    check = value if isinstance(value, dict) else {}
    test = _texts(check.get("Test"))
    if not test:
        return ""
    if test[0] == "NONE":
        return "NONE"
    command = list(test[1:])
    shown = " ".join(command) if test[0] == "CMD-SHELL" else json.dumps(command, ensure_ascii=False)
    options = [
        f"--{name}={min(check[key], 1 << 62) / 1e9:g}s"
        for key, name in (
            ("Interval", "interval"),
            ("Timeout", "timeout"),
            ("StartPeriod", "start-period"),
        )
        if isinstance(check.get(key), int) and check[key] > 0
    ]
    if isinstance(check.get("Retries"), int) and check["Retries"] > 0:
        options.append(f"--retries={check['Retries']}")
    return " ".join([*options, "CMD", shown])[:_TEXT_LENGTH_MAX]


def _history(value: Any) -> tuple[Step, ...]:
    entries = value[:_ENTRIES_MAX] if isinstance(value, list) else []
    return tuple(
        Step(
            clean_command(plain(entry.get("created_by")) or plain(entry.get("comment"))),
            given_date(entry.get("created")),
            entry.get("empty_layer") is True,
        )
        for entry in entries
        if isinstance(entry, dict)
    )


def clean_command(text: str) -> str:
    """Return the instruction of the Dockerfile for a line of the history, as far as possible.

    Users can push any line, so each step takes linear time.
    """
    line = text.strip().removesuffix(_BUILDKIT).rstrip()
    if line.startswith(_NOP):
        return _without_go(line.removeprefix(_NOP).strip())
    command = line.removeprefix("RUN ").lstrip()
    if _ARGUMENTS.match(command):
        _, shell, rest = command.partition(_SHELL)
        command = shell + rest if shell else command
    if command.startswith(_SHELL):
        return "RUN " + command.removeprefix(_SHELL).strip()
    return _without_go(line)


def _without_go(line: str) -> str:
    """Rewrite instructions that builders print as Go values.

    Examples: `HEALTHCHECK &{["CMD-SHELL" "x"] "30s" "0s" …}` and `EXPOSE map[80/tcp:{}]`.
    """
    if line.startswith("HEALTHCHECK &{["):
        # The command may contain `] `, but never `] "`, because its quotes have a backslash.
        test, _, times = line.removeprefix("HEALTHCHECK &{[").rpartition('] "')
        words = [_unquoted(found) for found in _QUOTED.findall(test)]
        spans = [_unquoted(found) for found in _QUOTED.findall('"' + times)]
        pairs = zip(("interval", "timeout", "start-period"), spans, strict=False)
        options = [f"--{name}={span} " for name, span in pairs if span != "0s"]
        if words[:1] == ["NONE"]:
            return "HEALTHCHECK NONE"
        is_shell = words[:1] == ["CMD-SHELL"]
        command = " ".join(words[1:]) if is_shell else json.dumps(words[1:], ensure_ascii=False)
        return f"HEALTHCHECK {''.join(options)}CMD {command}"
    if line.startswith("EXPOSE map[") and line.endswith("]"):
        ports = line.removeprefix("EXPOSE map[").removesuffix("]").replace(":{}", "")
        return f"EXPOSE {ports}"
    return line


def _unquoted(text: str) -> str:
    """Return the string in Go's quotes."""
    try:
        return plain(json.loads(text))
    except ValueError:
        return text[1:-1]


# ---- layers ------------------------------------------------------------------------------------
def with_commands(layers: Sequence[Layer], count: int, config: ImageConfig) -> tuple[Layer, ...]:
    """Return the layers with their commands, and the steps without a layer between them.

    `layers` are the first of the image's `count` layers. If they are not all, or if the history has
    another number of layers, the layers are returned without commands.
    """
    full = [step for step in config.history if not step.is_empty]
    if len(full) != count or len(layers) != count:
        return tuple(layers)
    rest = iter(layers)
    return tuple(
        Layer(step.command, step.created)
        if step.is_empty
        else replace(next(rest), command=step.command, created=step.created)
        for step in config.history
    )


def title_in(annotations: Any) -> str:
    """Return the file name in the annotations of a descriptor; empty if there is none."""
    notes = annotations if isinstance(annotations, dict) else {}
    return next(filter(None, (plain(notes.get(name)) for name in _TITLES)), "")


def content_of(manifest: Manifest) -> dict[Digest, int]:
    """Return the sizes of the blobs that a manifest names, by digest."""
    config = () if manifest.config is None else (manifest.config,)
    return {one.digest: one.size for one in (*config, *manifest.layers, *manifest.blobs)}


# ---- kinds -------------------------------------------------------------------------------------
# A part of a media type, and the common name of such artifacts. The first match counts.
_KINDS: tuple[tuple[str, str], ...] = (
    ("cosign.simplesigning", "signature"),
    ("cosign.artifact.sig", "signature"),
    ("notary.signature", "signature"),
    ("sigstore.bundle", "signature"),
    ("spdx", "SBOM"),
    ("cyclonedx", "SBOM"),
    ("syft", "SBOM"),
    ("sbom", "SBOM"),
    ("in-toto", "attestation"),
    ("dsse", "attestation"),
    ("slsa", "attestation"),
    ("attestation", "attestation"),
    ("sarif", "vulnerability report"),
    ("vuln", "vulnerability report"),
    ("trivy", "vulnerability report"),
    ("helm.config", "Helm chart"),
    ("helm.chart", "Helm chart"),
    ("wasm", "WebAssembly module"),
    (_BUILD_CACHE, "build cache"),
    ("docker.plugin", "Docker plugin"),
)
_TAG_KINDS = {".sig": "signature", ".att": "attestation", ".sbom": "SBOM"}
# A tag that names the digest of another manifest: one of cosign, or without an ending the tag of
# a list of referrers. Registries without the referrers API need such lists:
# https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema
_ATTACHMENT = re.compile(r"sha256-([0-9a-f]{64})(\.sig|\.att|\.sbom|)")


def kind_of(manifest: Manifest) -> str:
    """Return the common name of a manifest's artifact: image, index, Helm chart, signature …"""
    if manifest.kind == "index":
        # BuildKit's cache may be an index of blobs; one of them is the config of the cache.
        is_cache = any(_BUILD_CACHE in one.media_type for one in manifest.manifests)
        return "build cache" if is_cache else "index"
    types = [manifest.artifact_type or "", *(layer.media_type for layer in manifest.layers[:3])]
    named = _named(types)
    if named:
        return named
    config = "" if manifest.config is None else manifest.config.media_type
    if "container.image" in config or "oci.image.config" in config:
        return "image"
    return "artifact"


def kind_of_referrer(artifact_type: str, annotations: Mapping[str, str]) -> str:
    """Return the common name of a manifest that refers to another one."""
    given = [artifact_type, annotations.get("in-toto.io/predicate-type", "")]
    given.append(annotations.get("dev.sigstore.bundle.predicateType", ""))
    return _named(reversed(given)) or "artifact"


def kind_of_tag(tag: str) -> str:
    """Return the common name of the artifact that cosign stores under such a tag; else empty."""
    found = _ATTACHMENT.fullmatch(tag)
    return _TAG_KINDS.get(found[2], "") if found else ""


def subject_of_tag(tag: str) -> Digest | None:
    """Return the digest of the manifest that a tag of cosign, or of a list of referrers, is about;
    None for other tags.
    """
    # Lists ask for each of thousands of tags: most need no pattern.
    found = _ATTACHMENT.fullmatch(tag) if tag.startswith("sha256-") else None
    return Digest("sha256", bytes.fromhex(found[1])) if found else None


def attachment_tags(subject: Digest) -> list[str]:
    """Return the tags for which `subject_of_tag` returns this digest, that of the list last."""
    name = f"sha256-{subject.hex}"
    return [*(name + end for end in _TAG_KINDS), name] if subject.algorithm == "sha256" else []


def _named(types: Iterable[str]) -> str:
    for one in types:
        lower = one.lower()
        for part, kind in _KINDS:
            if part in lower:
                return kind
    return ""


# ---- two images --------------------------------------------------------------------------------
def compare(
    before: Sequence[Layer], after: Sequence[Layer], old: ImageConfig, new: ImageConfig
) -> Comparison:
    """Compare two images: their common, removed and added layers, and their config fields."""
    had = {layer.digest for layer in before if layer.digest}
    has = {layer.digest for layer in after if layer.digest}
    was, now = _fields(old), _fields(new)
    changes = (FieldChange(name, was.get(name, ""), now.get(name, "")) for name in was | now)
    return Comparison(
        tuple(layer for layer in after if layer.digest and layer.digest in had),
        tuple(layer for layer in before if layer.digest and layer.digest not in has),
        tuple(layer for layer in after if layer.digest and layer.digest not in had),
        tuple(change for change in changes if change.before != change.after),
    )


def _fields(config: ImageConfig) -> dict[str, str]:
    """Return the fields of a config as texts by name. Each entry of a list is its own field."""
    found = {
        "platform": config.platform,
        "created": config.created,
        "entrypoint": json.dumps(config.entrypoint) if config.entrypoint else "",
        "cmd": json.dumps(config.cmd) if config.cmd else "",
        "working directory": config.working_dir,
        "user": config.user,
        "stop signal": config.stop_signal,
    }
    for entry in config.env:
        name, _, value = entry.partition("=")
        found[f"env {name}"] = value
    found |= {f"label {name}": value for name, value in config.labels}
    found |= {f"port {port}": "exposed" for port in config.exposed_ports}
    found |= {f"volume {path}": "declared" for path in config.volumes}
    return found
