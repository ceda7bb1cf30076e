"""Images as people look at them: what a config says, which command made a layer, what differs.

Bytes in, values out. Anybody may push any config, so nothing here raises: what is not as expected
reads as empty, and texts and lists are cut at bounds.
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
_ENTRIES_MAX = 500
_NOP = "/bin/sh -c #(nop)"
_SHELL = "/bin/sh -c "
_BUILDKIT = "# buildkit"
# `|2 VERSION=1 NAME=x `: build arguments before the command.
_ARGUMENTS = re.compile(r"\|\d+ ")
# Builders that make the same bytes each time write a constant in place of a date: the zero of Go's
# clock, the zero of Unix's, or the first day that a ZIP archive can hold (buildpacks, Nix).
_NO_DATES = frozenset({date(1, 1, 1), date(1970, 1, 1), date(1980, 1, 1)})
# What a descriptor's annotations may call the name of a file; the first that is there counts.
# https://github.com/opencontainers/image-spec/blob/main/annotations.md and the model specification
# of https://github.com/modelpack/model-spec, by its present and its former name.
_TITLES = ("org.opencontainers.image.title", "org.cncf.model.filepath", "org.cnai.model.filepath")
_BUILD_CACHE = "buildkit.cacheconfig"
# A text in Go's quotes. It begins at every quote, so that no text is looked at twice.
_QUOTED = re.compile(r'"(?:[^"\\]|\\.?)*+(?:"|\Z)', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Step:
    """A line of a config's history. `is_empty`: it made no layer."""

    command: str
    created: str
    is_empty: bool


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What a config blob says. All of it is empty for what is no image's."""

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
    """A layer, or a step that made none: then `digest` is empty. `title` is a file's name."""

    command: str
    created: str = ""
    digest: str = ""
    size: int = 0
    media_type: str = ""
    title: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """A field of two configs that differs; empty where one has it not."""

    field: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two images, layer by layer and field by field."""

    common: tuple[Layer, ...]
    removed: tuple[Layer, ...]
    added: tuple[Layer, ...]
    changes: tuple[Change, ...]


def platform(os: str, architecture: str, variant: str = "") -> str:
    """`linux/arm64/v8`; empty where nothing is known."""
    return "/".join(part for part in (os, architecture, variant) if part)


# ---- configs -----------------------------------------------------------------------------------
def parse_config(body: bytes) -> ImageConfig:
    """What a config says, in OCI's or Docker's form."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return ImageConfig()
    if not isinstance(document, dict):
        return ImageConfig()
    inner = document.get("config")
    run = inner if isinstance(inner, dict) else {}
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
        labels=_pairs(run.get("Labels")),
        history=_history(document.get("history")),
    )


def plain(value: Any) -> str:
    """A text of a document, cut; empty for what is none. JSON can hold halves of characters, which
    no answer can be encoded with.
    """
    if not isinstance(value, str):
        return ""
    return value[:_TEXT_LENGTH_MAX].encode("utf-8", "replace").decode()


def given_date(value: Any) -> str:
    """A date as it was written; empty where its text only stands for none."""
    text = plain(value)
    try:
        moment = datetime.fromisoformat(text)
        days = {moment.date(), moment.astimezone(UTC).date() if moment.tzinfo else moment.date()}
    except OverflowError:
        return ""  # the first or the last year of the calendar, in another zone
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


def _pairs(value: Any) -> tuple[tuple[str, str], ...]:
    items = list(value.items())[:_ENTRIES_MAX] if isinstance(value, dict) else []
    return tuple(sorted((plain(name), plain(text)) for name, text in items))


def _healthcheck(value: Any) -> str:
    """The check as a Dockerfile has it; its times are nanoseconds in the config."""
    check = value if isinstance(value, dict) else {}
    test = _texts(check.get("Test"))
    if not test:
        return ""
    if test[0] == "NONE":
        return "NONE"
    command = list(test[1:])
    shown = " ".join(command) if test[0] == "CMD-SHELL" else json.dumps(command, ensure_ascii=False)
    options = [
        f"--{name}={_seconds(check[key])}"
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


def _seconds(nanoseconds: int) -> str:
    return f"{min(nanoseconds, 1 << 62) / 1e9:g}s"


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
    """A line of the history as it stood in the Dockerfile, as far as that can be told.

    Anybody writes these lines, so each step here looks at a text once.
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
    """Builders write some instructions as Go prints its values: `HEALTHCHECK &{["CMD-SHELL" "x"]
    "30s" "0s" …}`, `EXPOSE map[80/tcp:{}]`.
    """
    if line.startswith("HEALTHCHECK &{["):
        # A bracket in the command may come before a blank, but its quotes have a backslash.
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
    """A text as Go quotes it."""
    try:
        return plain(json.loads(text))
    except ValueError:
        return text[1:-1]


# ---- layers ------------------------------------------------------------------------------------
def with_commands(layers: Sequence[Layer], count: int, config: ImageConfig) -> tuple[Layer, ...]:
    """The first of `count` layers, each with its command, and steps without one between them.

    Where history and layers do not fit together, layers have no commands.
    """
    full = [step for step in config.history if not step.is_empty]
    if len(full) != count or len(layers) != count:
        return tuple(layers)
    rest = iter(layers)
    return tuple(
        Layer(step.command, step.created) if step.is_empty else _with_command(next(rest), step)
        for step in config.history
    )


def _with_command(layer: Layer, step: Step) -> Layer:
    return replace(layer, command=step.command, created=step.created)


def title_in(annotations: Any) -> str:
    """The name of a file in the annotations of a descriptor; empty where there is none."""
    notes = annotations if isinstance(annotations, dict) else {}
    return next(filter(None, (plain(notes.get(name)) for name in _TITLES)), "")


def content_of(manifest: Manifest) -> dict[Digest, int]:
    """The sizes of the blobs that a manifest names, each once however often it is named."""
    config = () if manifest.config is None else (manifest.config,)
    return {one.digest: one.size for one in (*config, *manifest.layers, *manifest.blobs)}


# ---- kinds -------------------------------------------------------------------------------------
# A part of a type, and what people call such a thing. The first that fits counts.
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


def kind_of(manifest: Manifest) -> str:
    """What people call what a manifest describes: image, index, Helm chart, signature …"""
    if manifest.kind == "index":
        # BuildKit's cache may be an index of blobs, one of which is the cache's config.
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
    """What people call a manifest that refers to another."""
    given = [artifact_type, annotations.get("in-toto.io/predicate-type", "")]
    given.append(annotations.get("dev.sigstore.bundle.predicateType", ""))
    return _named(reversed(given)) or "artifact"


def kind_of_tag(tag: str) -> str:
    """What cosign keeps under such a tag beside an image; empty for others."""
    name, dot, end = tag.rpartition(".")
    return _TAG_KINDS.get(dot + end, "") if re.fullmatch(r"sha256-[0-9a-f]{64}", name) else ""


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
    """What two images have in common, and what not."""
    had = {layer.digest for layer in before if layer.digest}
    has = {layer.digest for layer in after if layer.digest}
    return Comparison(
        tuple(layer for layer in after if layer.digest and layer.digest in had),
        tuple(layer for layer in before if layer.digest and layer.digest not in has),
        tuple(layer for layer in after if layer.digest and layer.digest not in had),
        tuple(_changes(_fields(old), _fields(new))),
    )


def _fields(config: ImageConfig) -> dict[str, str]:
    """A config as texts by name; lists of named things entry by entry."""
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


def _changes(old: Mapping[str, str], new: Mapping[str, str]) -> Iterable[Change]:
    for name in dict.fromkeys((*old, *new)):
        if old.get(name, "") != new.get(name, ""):
            yield Change(name, old.get(name, ""), new.get(name, ""))
