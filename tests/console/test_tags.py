"""The pages that list tags and images: what is folded, and what is cut."""

from __future__ import annotations

import re
from html import unescape

import pytest

from dtrfast.oci.media_types import OCI_INDEX, OCI_MANIFEST
from dtrfast.registry import images
from tests.api.managed.test_deletion import image, put
from tests.api.managed.test_folded_tags import about, tag_of
from tests.api.managed.town import Town
from tests.console.browser import Browser
from tests.fakes.client import descriptor, index_manifest

APP = "/repositories/acme/app"


def page(town: Town, path: str = "/-/tags", who: str = "rita") -> str:
    answer = Browser(town, who).get(APP + path)
    assert answer.status_code == 200
    return " ".join(unescape(answer.text).split())


def test_folded_tags_are_on_the_page_of_their_image(town: Town) -> None:
    digest = put(town, image("one"), "one")
    signature = tag_of(digest, ".sig")
    signed = put(town, image("sig"), signature)
    referrer = put(town, about(image("one"), "application/spdx+json"))
    text = page(town)
    assert signature not in text
    assert f'<a class="badges" href="{APP}/-/tags/one#attached">' in text
    assert '<span class="badge">signature</span> <span class="badge">SBOM</span>' in text
    assert "2 tags, plus 1 of signatures, SBOMs or attestations." in text
    assert f'<a href="{APP}/-/tags?all=true">Show all tags</a>' in text
    everything = page(town, "/-/tags?all=true")
    assert f'href="{APP}/-/tags/{signature}"' in everything
    assert f'3 tags. <a href="{APP}/-/tags">Fold signatures' in everything
    of_image = page(town, "/-/tags/one")
    assert f'<a href="{APP}/-/tags/{signature}" title="Tag {signature}">' in of_image
    assert f'title="{signed}"' in of_image
    assert f'<a href="{APP}/-/manifests/{referrer}">' in of_image
    assert "cosign verify" in of_image
    # The first page of the repository folds as well.
    assert signature not in page(town, "")
    assert "All 7 tags" not in page(town, "")


def test_a_count_that_ends_early_says_so(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(6):
        put(town, image("one"), f"t{number}")
    assert "All 7 tags" in page(town, "")
    assert " 7 tags" in page(town)
    monkeypatch.setattr(images, "LOOKED_AT_MAX", 7)
    assert town.api("rita", "GET", "repositories/acme/app/images")["isCountExact"] is True
    monkeypatch.setattr(images, "LOOKED_AT_MAX", 6)
    assert town.api("rita", "GET", "repositories/acme/app/images")["isCountExact"] is False
    assert ">All tags</a>" in page(town, "").replace(" </a>", "</a>")
    assert "at least 6 tags" in page(town)


def test_a_cut_name_shows_the_whole_on_hover_and_no_raw_time(town: Town) -> None:
    for path in ("", "/-/tags"):
        text = page(town, path)
        assert '<span class="faint" title="owen">by owen</span>' in text
        assert not re.search(r'title="\d{4}-\d\d-\d\dT', text)


def test_a_choice_of_all_tags_stays_with_filter_sort_and_pages(town: Town) -> None:
    digest = put(town, image("one"), "one")
    for number in range(60):
        put(town, image("one"), f"t{number}")
    put(town, image("sig"), tag_of(digest, ".sig"))
    text = page(town, "/-/tags?all=true&sort=version")
    assert '<input type="hidden" name="all" value="true">' in text
    assert "all=true&sort=-version" in text
    assert "start=50" in text.partition('rel="next"')[2][:200]
    assert "all=true" in text.partition('rel="next"')[2][:200]
    empty = page(town, "/-/tags?filter=.sig")
    assert "No tag, besides those of signatures, SBOMs and attestations, has this" in empty
    assert "Show all tags" in empty


def test_an_attestation_of_an_index_is_no_platform(town: Town) -> None:
    one, other = image("1"), image("2")
    where = {"os": "linux", "architecture": "amd64"}
    nowhere = {"os": "unknown", "architecture": "unknown"}
    mark = {"vnd.docker.reference.type": "attestation-manifest"}
    attestation = put(town, other)
    put(town, one)
    rows = (
        {**descriptor(one, OCI_MANIFEST), "platform": where},
        {**descriptor(other, OCI_MANIFEST), "platform": nowhere, "annotations": mark},
    )
    put(town, index_manifest(*rows), "multi", OCI_INDEX)
    assert "unknown" not in page(town)
    text = page(town, "/-/tags/multi")
    assert "unknown" not in text
    platforms = text[text.index('id="platforms"') : text.index("</table>")]
    assert attestation not in platforms
    attached = text[text.index('id="attached"') :]
    assert f'<a href="{APP}/-/manifests/{attestation}">' in attached
    assert "in the index, made by the builder" in attached
    assert "cosign verify" not in text


def test_several_platforms_are_counted_and_all_are_there(town: Town) -> None:
    rows = []
    for machine in ("amd64", "arm64", "s390x"):
        body = image(machine)
        put(town, body)
        where = {"os": "linux", "architecture": machine}
        rows.append({**descriptor(body, OCI_MANIFEST), "platform": where})
    put(town, index_manifest(*rows), "multi", OCI_INDEX)
    text = page(town)
    assert 'title="linux/amd64, linux/arm64, linux/s390x"' in text
    assert "+2</span>" in text
    assert '<span class="hidden">, linux/arm64, linux/s390x</span>' in text


def test_untagged_images_have_their_badges(town: Town) -> None:
    digest = put(town, image("one"))
    put(town, about(image("one"), "application/vnd.dev.cosign.artifact.sig.v1+json"))
    text = page(town, "/-/untagged")
    assert f'<a class="badges" href="{APP}/-/manifests/{digest}#attached">' in text
    assert '<span class="badge">signature</span>' in text
