"""Refusing a manifest costs little CPU time, for any content of 4 MiB."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable

import pytest
from msgspec import UNSET

from dtrfast.errors import ManifestInvalid
from dtrfast.oci import documents
from dtrfast.oci.manifests import parse_manifest, read_manifest
from dtrfast.oci.media_types import OCI_MANIFEST

SIZE = 4 * 1024 * 1024
START = b'{"schemaVersion":2,'
DESCRIPTOR = b'"digest":"sha256:' + b"0" * 64 + b'","size":1'


def filled(head: bytes, item: bytes, tail: bytes) -> bytes:
    count = (SIZE - len(START) - len(head) - len(tail)) // (len(item) + 1)
    return START + head + b",".join([item] * count) + tail


def named(item: bytes) -> bytes:
    return b",".join(b'"%d":%s' % (number, item) for number in range(300_000))


SHAPES: dict[str, Callable[[], bytes]] = {
    "numbers for layers": lambda: filled(b'"layers":[', b"1", b"]}"),
    "empty layers": lambda: filled(b'"layers":[', b"{}", b"]}"),
    "empty layers, then a number": lambda: filled(b'"layers":[', b"{}", b",1]}"),
    "sizes that are texts": lambda: filled(b'"layers":[', b'{"size":""}', b"]}"),
    "unknown fields": lambda: filled(b'"layers":[', b'{"x":1}', b"]}"),
    "urls": lambda: filled(b'"layers":[{"urls":[', b"1", b"]}]}"),
    "a late url": lambda: filled(b'"layers":[{"urls":[', b'""', b",1]}]}"),
    "os.features": lambda: filled(b'"config":{"platform":{"os.features":[', b"1", b"]}}}"),
    "layers again": lambda: filled(b"", b'"layers":[1]', b"}"),
    "good layers again": lambda: filled(b"", b'"layers":[]', b',"x":1}'),
    "urls again": lambda: filled(b'"config":{', b'"urls":[]', b',"x":1}}'),
    "fields of schema 1": lambda: filled(b"", b'"fsLayers":0', b"}"),
    "many fields each": lambda: filled(
        b'"layers":[', b"{" + DESCRIPTOR + b"," + b",".join([b'"urls":[]'] * 40) + b',"x":1}', b"]}"
    ),
    "annotations": lambda: START + b'"annotations":{' + named(b"1") + b"}}",
    "a late annotation": lambda: START + b'"annotations":{' + named(b'""') + b',"x":1}}',
    "lists in an unknown field": lambda: filled(b'"x":[', b"[]", b"]}"),
    "escapes and half a character": lambda: filled(b'"x":["', rb"\n" * 999, rb'\ud800"]}'),
    "halves of characters": lambda: filled(b'"x":["', rb"\ud800", b'"]}'),
    "bytes that are not UTF-8": lambda: filled(b'"x":["', b"\xff", b'"]}'),
}


def refuse(body: bytes) -> None:
    with pytest.raises(ManifestInvalid):
        parse_manifest(body, None)


def seconds_of_a_plain_loop() -> float:
    """Measure the machine's speed: about 0.1 s on a machine where a body may take 0.3 s."""
    begin = time.thread_time()
    total = 0
    for number in range(2_000_000):
        total += number & 3
    return time.thread_time() - begin


@pytest.mark.long
@pytest.mark.parametrize("shape", SHAPES)
def test_a_refused_manifest_costs_little(shape: str) -> None:
    body = SHAPES[shape]()
    assert len(body) <= SIZE
    refuse(START)  # makes cached objects
    costs = []
    for _ in range(2):
        limit = 8 * seconds_of_a_plain_loop()
        begin = time.thread_time()
        refuse(body)
        costs.append((time.thread_time() - begin) / limit)
    assert min(costs) < 1, costs


@pytest.mark.long
@pytest.mark.parametrize("shape", SHAPES)
def test_a_refused_manifest_takes_little_memory(shape: str) -> None:
    body = SHAPES[shape]()
    tracemalloc.start()
    try:
        refuse(body)
        assert tracemalloc.get_traced_memory()[1] < 100_000_000
    finally:
        tracemalloc.stop()


def test_numbers_for_layers_are_counted_before_they_are_read() -> None:
    body = START + b'"layers":[' + b",".join([b"1"] * 400_000) + b"]}"
    tracemalloc.start()
    try:
        with pytest.raises(ManifestInvalid, match="more than 10000 descriptors in layers"):
            parse_manifest(body, OCI_MANIFEST)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_the_first_fault_ends_the_reading() -> None:
    body = START + b'"config":{"size":""},"layers":[{"size":""},1]}'
    assert documents.read_pushed(body).document.layers is UNSET
    stored = documents.read(body).document.layers
    assert stored
    assert len(stored) == 2


@pytest.mark.parametrize("late", [b'"x":[1]', b'"x":true'])
def test_a_late_fault_is_named_with_its_list(late: bytes) -> None:
    name = b'"annotations":{%s,%s}' % (b",".join(b'"%d":""' % n for n in range(20_000)), late)
    with pytest.raises(ManifestInvalid, match="annotations has a value that is not text"):
        parse_manifest(START + name + b"}", OCI_MANIFEST)
    urls = b'"config":{"urls":[%s,1]}' % b",".join([b'""'] * 20_000)
    with pytest.raises(ManifestInvalid, match=r"config.urls has an item that is not text"):
        parse_manifest(START + urls + b"}", OCI_MANIFEST)


def test_a_stored_manifest_keeps_its_good_descriptors_beside_many_faults() -> None:
    one = b'{"digest":"sha256:%064d","size":1,"annotations":{"a":1}}'
    good = b",".join(one % number for number in range(11_000))
    body = START + b'"layers":[' + good + b"," + b",".join([b"1"] * 5000) + b"]}"
    found = read_manifest(body, OCI_MANIFEST)
    assert len(found.layers) == 11_000
    assert found.fault.startswith('layers[0].annotations["a"] is a number')


def test_an_object_of_very_many_fields_is_refused() -> None:
    body = START + b",".join(b'"%d":1' % n for n in range(10_001)) + b"}"
    with pytest.raises(ManifestInvalid, match="more than 10000 fields"):
        parse_manifest(body, OCI_MANIFEST)
