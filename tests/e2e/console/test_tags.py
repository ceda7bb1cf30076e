"""Tags in a browser: a calm table at every width, folded signatures, and the pull command."""

from __future__ import annotations

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from dtrfast.oci.digests import Digest
from dtrfast.oci.media_types import OCI_INDEX, OCI_MANIFEST
from tests.e2e.console.browser import Person, person
from tests.e2e.console.conftest import Town
from tests.e2e.console.pusher import Pusher
from tests.e2e.managed import ManagedRegistry
from tests.fakes.client import descriptor, index_manifest

TAGS = "/repositories/acme/tags/-/tags"
LONG = "pr-" + "x" * 100 + "-and-more-to-128-letters"
LONG += "y" * (128 - len(LONG))
_ATTESTATION = {"vnd.docker.reference.type": "attestation-manifest"}
_WIDE = "Math.max(0, document.documentElement.scrollWidth - innerWidth)"
_SCROLLED = "nodes => nodes.filter(node => node.scrollWidth > node.clientWidth).length"


@pytest.fixture(scope="module")
def tagged(town: Town) -> ManagedRegistry:
    """The registry with acme/tags: versions, a long tag with a signature, and an index."""
    managed = town.managed
    managed.api("POST", "repositories/acme", {"name": "tags", "visibility": "public"})
    auth = ("owen", managed.secrets["owen"])
    with httpx.Client(base_url=managed.registry.url, auth=auth, timeout=30) as client:
        push = Pusher(client, "acme/tags")
        for tag in ("v1.10", "v1.9", "v1.10-rc.1"):
            push.image(tag, tag.encode(), os="linux", architecture="amd64")
        signed = push.image(LONG, b"long", os="linux", architecture="amd64")
        for end in (".sig", ".att", ".sbom"):
            push.image(f"sha256-{Digest.of_bytes(signed).hex}{end}", end.encode())
        rows = []
        for machine in ("amd64", "arm64", "unknown"):
            system = "unknown" if machine == "unknown" else "linux"
            body = push.image("", machine.encode(), os=system, architecture=machine)
            where = {"os": system, "architecture": machine}
            notes = _ATTESTATION if machine == "unknown" else {}
            rows.append({**descriptor(body, OCI_MANIFEST), "platform": where, "annotations": notes})
        push.manifest("multi", index_manifest(*rows), OCI_INDEX)
    return managed


def tags_of(page: Page) -> list[str]:
    return page.locator("tbody th .named > a.cut").all_inner_texts()


@pytest.mark.parametrize("width", [390, 768, 1280, 1920])
def test_long_tags_are_cut_and_nothing_scrolls_sideways(
    browser: Browser, tagged: ManagedRegistry, width: int
) -> None:
    options = {"viewport": {"width": width, "height": 900}}
    with person(browser, tagged, "owen", **options) as owen:
        for path in (TAGS, f"{TAGS}?all=true", "/repositories/acme/tags", f"{TAGS}/{LONG}"):
            owen.go(path)
            assert owen.page.evaluate(_WIDE) == 0, path
            assert owen.page.locator(".table").evaluate_all(_SCROLLED) == 0, path
        owen.go(TAGS)
        link = owen.page.get_by_role("link", name=LONG, exact=True)
        assert link.get_attribute("title") == LONG
        assert link.inner_text() == LONG  # what is copied
        box, row = link.bounding_box(), owen.page.locator("tr", has=link).bounding_box()
        assert box is not None
        assert row is not None
        assert box["height"] < 32  # one line
        assert box["x"] + box["width"] <= row["x"] + row["width"]
        assert row["height"] < 110
        digest = owen.page.locator("td.of-digest code").first
        if width >= 1280:
            assert len(digest.inner_text()) == len("sha256:") + 64
            assert digest.evaluate("node => node.clientWidth < node.scrollWidth")
        if width in (390, 1280):
            for path in (TAGS, "/repositories/acme/tags", f"{TAGS}/{LONG}"):
                owen.go(path)
                assert owen.violations() == [], path
            owen.go(TAGS)
            owen.shoot(f"tags_{width}")


def test_signatures_are_found_from_the_row_of_their_image(
    browser: Browser, tagged: ManagedRegistry
) -> None:
    with person(browser, tagged) as visitor:
        visitor.go(TAGS)
        assert not any(tag.startswith("sha256-") for tag in tags_of(visitor.page))
        row = visitor.page.locator("tr", has_text="multi")
        expect(row.locator("td.of-platforms")).to_contain_text("linux/amd64")
        expect(row).not_to_contain_text("unknown")
        badges = visitor.page.locator("tr", has_text=LONG).locator(".badges")
        assert badges.inner_text().split() == ["signature", "SBOM", "attestation"]
        badges.click()
        attached = visitor.page.locator("#attached")
        expect(attached).to_be_in_viewport()
        attached.locator("li", has_text="SBOM").get_by_role("link").click()
        visitor.page.wait_for_url("**/-/tags/sha256-*.sbom")
        visitor.go(TAGS)
        visitor.page.get_by_role("link", name="Show all tags").click()
        visitor.page.wait_for_url("**/-/tags?all=true")
        assert sum(tag.startswith("sha256-") for tag in tags_of(visitor.page)) == 3
        visitor.page.get_by_role("link", name="Fold signatures").click()
        visitor.page.wait_for_url("**/-/tags")


def test_tags_come_newest_first_or_as_versions(browser: Browser, tagged: ManagedRegistry) -> None:
    """All of them were pushed within a second or two."""
    with person(browser, tagged) as visitor:
        visitor.go(TAGS)
        assert tags_of(visitor.page) == ["multi", LONG, "v1.10-rc.1", "v1.9", "v1.10"]
        visitor.page.get_by_role("link", name="Tag", exact=True).click()
        wanted = ["v1.9", "v1.10-rc.1", "v1.10", "multi", LONG]
        expect(visitor.page.locator("tbody th .named > a.cut")).to_have_text(wanted)
        visitor.page.locator("thead th[aria-sort=ascending] a").click()
        expect(visitor.page.locator("tbody th .named > a.cut")).to_have_text(wanted[::-1])


def test_the_client_of_the_pull_command_is_chosen_once(
    browser: Browser, tagged: ManagedRegistry
) -> None:
    with person(browser, tagged) as visitor:
        visitor.go("/repositories/acme/tags")
        command = _command(visitor)
        expect(command).to_have_text(f"docker pull {tagged.host}/acme/tags:multi")
        visitor.page.evaluate("window.isSame = true")
        choice = visitor.page.get_by_label("Client")
        choice.focus()
        choice.select_option("skopeo")
        expect(command).to_have_text(
            f"skopeo copy --src-tls-verify=false docker://{tagged.host}/acme/tags:multi"
            " oci:tags:multi"
        )
        assert visitor.page.evaluate("window.isSame")
        expect(choice).to_be_focused()
        visitor.go("/repositories/acme/open")
        expect(command).to_contain_text("skopeo copy")
        visitor.page.get_by_label("Client").select_option("kubernetes")
        expect(command).to_contain_text("containers:\n- name: app\n")
        # An error does not take the command away: the browser loads the page.
        visitor.page.route("**/open?client=podman", lambda one: one.fulfill(status=404), times=1)
        visitor.page.get_by_label("Client").select_option("podman")
        expect(command).to_contain_text("podman pull")
        assert visitor.page.url.endswith("?client=podman")


def test_the_client_is_chosen_without_scripts(browser: Browser, tagged: ManagedRegistry) -> None:
    with person(browser, tagged, java_script_enabled=False) as visitor:
        visitor.go(f"{TAGS}/v1.9")
        visitor.page.get_by_label("Client").select_option("podman")
        visitor.press("Show")
        expect(_command(visitor)).to_contain_text("podman pull")
        visitor.go("/repositories/acme/open")
        expect(_command(visitor)).to_contain_text("podman pull")
        assert visitor.page.get_by_label("Client").input_value() == "podman"


def _command(visitor: Person) -> Locator:
    return visitor.page.locator("#pull-command pre").first
