"""Parsing of image configs from any builder, and comparison of two images."""

from __future__ import annotations

import json

import pytest

from dtrfast.oci import images
from dtrfast.oci.manifests import parse_manifest
from dtrfast.oci.media_types import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST
from tests.fakes.client import descriptor

LAYER = images.Layer("", "", "sha256:" + "0" * 64, 3, OCI_LAYER, "")
DOCKER = {
    "architecture": "arm64",
    "variant": "v8",
    "os": "linux",
    "created": "2026-01-01T00:00:00Z",
    "config": {
        "Env": ["PATH=/bin", "A=1"],
        "Cmd": ["sh"],
        "Entrypoint": ["/app"],
        "ExposedPorts": {"8080/tcp": {}, "53/udp": {}},
        "Volumes": {"/data": {}},
        "Labels": {"b": "2", "a": "<b>"},
        "User": "1000",
        "WorkingDir": "/srv",
        "StopSignal": "SIGINT",
    },
    "history": [
        {"created_by": "/bin/sh -c #(nop) ADD file:1 in / "},
        {"created_by": '/bin/sh -c #(nop)  CMD ["sh"]', "empty_layer": True},
        {"created_by": "RUN /bin/sh -c apt-get update # buildkit"},
    ],
}


def test_a_config_is_read() -> None:
    config = images.parse_config(json.dumps(DOCKER).encode())
    assert config.platform == "linux/arm64/v8"
    assert config.env == ("PATH=/bin", "A=1")
    assert config.exposed_ports == ("53/udp", "8080/tcp")
    assert config.volumes == ("/data",)
    assert config.labels == (("a", "<b>"), ("b", "2"))
    assert (config.user, config.working_dir, config.stop_signal) == ("1000", "/srv", "SIGINT")
    assert [step.command for step in config.history] == [
        "ADD file:1 in /",
        'CMD ["sh"]',
        "RUN apt-get update",
    ]


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("/bin/sh -c #(nop)  ENV A=1", "ENV A=1"),
        ("/bin/sh -c apt-get update", "RUN apt-get update"),
        ("RUN /bin/sh -c make # buildkit", "RUN make"),
        ("COPY a /b # buildkit", "COPY a /b"),
        ("|1 V=2 /bin/sh -c make $V", "RUN make $V"),
        ("RUN |2 A=1 B=2 /bin/sh -c make # buildkit", "RUN make"),
        ("bazel build", "bazel build"),
        ("/bin/sh -c #(nop)  EXPOSE map[80/tcp:{} 53/udp:{}]", "EXPOSE 80/tcp 53/udp"),
        (
            'HEALTHCHECK &{["CMD-SHELL" "[ -f x ] || \\"a\\""] "30s" "3s" "0s" "0s" \'\\x03\'}',
            'HEALTHCHECK --interval=30s --timeout=3s CMD [ -f x ] || "a"',
        ),
        (
            'HEALTHCHECK &{["CMD" "curl" "-f"] "0s" "0s" "5s" \'\\x00\'}',
            'HEALTHCHECK --start-period=5s CMD ["curl", "-f"]',
        ),
        ('HEALTHCHECK &{["NONE"] "0s" "0s" "0s" \'\\x00\'}', "HEALTHCHECK NONE"),
        ("", ""),
    ],
)
def test_commands_are_as_in_the_dockerfile(text: str, command: str) -> None:
    assert images.clean_command(text) == command


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"x"',
        b"\xff",
        b"[" * 100_000,
        json.dumps({"config": 1, "history": {}, "os": 3}).encode(),
        json.dumps({"config": {"Env": {"a": 1}, "Labels": [1], "Cmd": 7}}).encode(),
        json.dumps({"config": {"Env": [1, None, "A=1"]}, "history": [1, None, {}]}).encode(),
    ],
)
def test_no_config_is_too_strange(body: bytes) -> None:
    config = images.parse_config(body)
    assert config.os == ""
    assert all(isinstance(entry, str) for entry in config.env)


def test_a_date_that_stands_for_none_is_none() -> None:
    dates = {
        "2026-01-01T00:00:00.123456789Z": "2026-01-01T00:00:00.123456789Z",
        "2010-05-06T07:08:09+02:00": "2010-05-06T07:08:09+02:00",
        "0001-01-01T00:00:00Z": "",
        "0001-01-01T00:00:00+14:00": "",
        "0001-01-01T00:00:00": "",
        "1970-01-01T00:00:00Z": "",
        "1970-01-01T00:00:01.000Z": "",
        "1969-12-31T19:00:00-05:00": "",
        "1970-01-01T01:00:00+01:00": "",
        "1970-01-02T00:00:00Z": "1970-01-02T00:00:00Z",
        "1980-01-01T00:00:01Z": "",
        "9999-12-31T23:59:59-14:00": "",
        "last week": "last week",
        "": "",
    }
    found = {}
    for text in dates:
        step = {"created": text, "created_by": "COPY a /a"}
        config = images.parse_config(json.dumps({"created": text, "history": [step]}).encode())
        assert config.history[0].created == config.created, text
        found[text] = config.created
    assert found == dates
    assert images.parse_config(b'{"created": 1700000000}').created == ""


def test_titles_of_anything_are_texts() -> None:
    strange: tuple[object, ...] = (None, 1, [], {}, {"org.opencontainers.image.title": 1})
    for notes in strange:
        assert images.title_in(notes) == ""


@pytest.mark.parametrize(
    ("check", "shown"),
    [
        (
            {"Test": ["CMD-SHELL", "curl -f /"], "Interval": 5_000_000_000, "Retries": 3},
            "--interval=5s --retries=3 CMD curl -f /",
        ),
        ({"Test": ["CMD", "a", "b"], "Timeout": 500_000_000}, '--timeout=0.5s CMD ["a", "b"]'),
        ({"Test": ["NONE"]}, "NONE"),
        ({"Test": 3, "Interval": "x"}, ""),
        ({"Test": ["CMD", "a"], "Interval": "x", "Retries": None}, 'CMD ["a"]'),
        (None, ""),
    ],
)
def test_a_health_check_is_told_as_in_the_dockerfile(check: object, shown: str) -> None:
    config = images.parse_config(json.dumps({"config": {"Healthcheck": check}}).encode())
    assert config.healthcheck == shown


def test_texts_and_lists_are_cut() -> None:
    body = json.dumps({"author": "x" * 10**6, "config": {"Env": ["A=" + "y" * 10**4] * 600}})
    config = images.parse_config(body.encode())
    assert len(config.author) <= 4096
    assert len(config.env) <= 500
    assert len(config.env[0]) <= 4096


def test_layers_have_their_commands_and_steps_stand_between() -> None:
    config = images.parse_config(json.dumps(DOCKER).encode())
    layers = images.with_commands([LAYER, LAYER], 2, config)
    assert [(layer.command, bool(layer.digest)) for layer in layers] == [
        ("ADD file:1 in /", True),
        ('CMD ["sh"]', False),
        ("RUN apt-get update", True),
    ]


def test_layers_that_do_not_fit_the_history_have_no_commands() -> None:
    config = images.parse_config(json.dumps(DOCKER).encode())
    assert images.with_commands([LAYER], 1, config) == (LAYER,)
    assert images.with_commands([LAYER, LAYER], 500, config) == (LAYER, LAYER)


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({}, "image"),
        ({"artifactType": "application/vnd.dev.sigstore.bundle.v0.3+json"}, "signature"),
        ({"artifactType": "application/spdx+json"}, "SBOM"),
        ({"config": {"mediaType": "application/vnd.cncf.helm.config.v1+json"}}, "Helm chart"),
        ({"artifactType": "application/x-anything"}, "image"),
    ],
)
def test_manifests_have_kinds(fields: dict[str, object], kind: str) -> None:
    config = descriptor(b"{}", OCI_CONFIG)
    given = fields.get("config")
    if isinstance(given, dict):
        config.update(given)
    document = {
        "schemaVersion": 2,
        "config": config,
        "layers": [descriptor(b"x", OCI_LAYER)],
        **{name: value for name, value in fields.items() if name != "config"},
    }
    manifest = parse_manifest(json.dumps(document).encode(), OCI_MANIFEST)
    assert images.kind_of(manifest) == kind


@pytest.mark.parametrize(
    ("artifact_type", "annotations", "kind"),
    [
        ("application/vnd.cncf.notary.signature", {}, "signature"),
        ("application/vnd.cyclonedx+json", {}, "SBOM"),
        ("application/vnd.in-toto+json", {}, "attestation"),
        (
            "application/vnd.in-toto+json",
            {"in-toto.io/predicate-type": "https://spdx.dev/Document"},
            "SBOM",
        ),
        ("application/sarif+json", {}, "vulnerability report"),
        ("", {}, "artifact"),
    ],
)
def test_referrers_have_kinds(artifact_type: str, annotations: dict[str, str], kind: str) -> None:
    assert images.kind_of_referrer(artifact_type, annotations) == kind


def test_tags_of_cosign_are_told() -> None:
    assert images.kind_of_tag(f"sha256-{'a' * 64}.sig") == "signature"
    assert images.kind_of_tag(f"sha256-{'a' * 64}.sbom") == "SBOM"
    assert images.kind_of_tag("v1.sig") == ""


def test_a_comparison_tells_layers_and_fields() -> None:
    one, two, three = (images.Layer("", "", f"sha256:{n}", n) for n in (1, 2, 3))
    old = images.ImageConfig(env=("A=1", "B=1"), labels=(("l", "x"),), cmd=("a",))
    new = images.ImageConfig(env=("A=2", "C=1"), exposed_ports=("80/tcp",), cmd=("a",))
    found = images.compare((one, two), (one, three), old, new)
    assert (found.common, found.removed, found.added) == ((one,), (two,), (three,))
    assert {(c.field, c.before, c.after) for c in found.changes} == {
        ("env A", "1", "2"),
        ("env B", "1", ""),
        ("env C", "", "1"),
        ("label l", "x", ""),
        ("port 80/tcp", "", "exposed"),
    }


def test_an_attestation_of_buildkit_has_no_platform() -> None:
    config = images.parse_config(b'{"os": "unknown", "architecture": "unknown"}')
    assert config.platform == ""
    assert images.platform("unknown", "amd64") == "unknown/amd64"
