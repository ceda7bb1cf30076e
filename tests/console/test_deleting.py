"""Deletions and restorations in the console: confirmations, sentences and undo."""

from __future__ import annotations

from dtrfast.console import flashes
from tests.api.managed.test_deletion import image, index_of, put, status
from tests.api.managed.town import Town
from tests.console.browser import Browser, Form, forms_of

APP = "/repositories/acme/app"
INDEX = "application/vnd.oci.image.index.v1+json"
COOKIE_SIZE_MAX = 4096


def deletions(text: str) -> list[Form]:
    return [form for form in forms_of(text) if form.operation == "delete_references"]


def test_the_first_button_deletes_the_tags_alone(town: Town) -> None:
    digest = put(town, image("1"), "a")
    will = Browser(town, "will")
    first, second = deletions(will.get(f"{APP}/-/delete-tags?tag=a").text)
    assert first.fields["body.references[]"] == ["a"]
    assert second.fields["body.references[]"] == [digest]
    assert will.act("delete_references", first.fields).status_code == 303
    assert (status(town, "a"), status(town, digest)) == (404, 200)


def test_the_question_names_what_needs_the_image(town: Town) -> None:
    child = image("child")
    put(town, child, "arm")
    put(town, index_of(child), "multi", INDEX)
    page = Browser(town, "will").get(f"{APP}/-/delete-tags?tag=arm").text
    assert "is part of the index" in page
    assert "multi" in page
    assert "at most" in page, "who sees less is told a bound"
    assert "at most" not in Browser(town, "admin").get(f"{APP}/-/delete-tags?tag=arm").text
    child_page = Browser(town, "will").get(f"{APP}/-/tags/arm").text
    assert "Part of" in child_page


def test_an_index_is_deleted_with_its_images_and_undone(town: Town) -> None:
    child = image("child")
    digest = put(town, child)
    put(town, index_of(child), "multi", INDEX)
    will = Browser(town, "will")
    page = will.get(f"{APP}/-/delete-tags?tag=multi").text
    assert "1 image that nothing else uses" in page.replace("\n", " ").replace("        ", "")
    done = will.act("delete_references", deletions(page)[1].fields)
    assert status(town, digest) == 404
    told = done.headers["set-cookie"].partition(";")[0]
    after = will.get(f"{APP}/-/tags", cookie=told).text
    assert "Deleted 2 images and 1 tag of acme/app: multi." in after
    undo = next(form for form in forms_of(after) if form.operation == "restore_deletion")
    assert will.act("restore_deletion", undo.fields).status_code == 303
    assert (status(town, digest), status(town, "multi")) == (200, 200)


def test_a_hundred_and_fifty_long_tags_are_told_and_undone(town: Town) -> None:
    names = [f"{number:03d}-{'x' * 124}" for number in range(150)]
    for name in names:
        put(town, image("1"), name)
    will = Browser(town, "will")
    query = "&".join(f"tag={name}" for name in names)
    fields = deletions(will.get(f"{APP}/-/delete-tags?{query}").text)[0].fields
    assert fields["body.references[]"] == names
    done = will.act("delete_references", fields)
    cookie = done.headers["set-cookie"]
    assert len(cookie) <= COOKIE_SIZE_MAX
    flash = flashes.read(cookie.partition("=")[2].partition(";")[0])
    assert flash is not None
    assert flash.undo is not None
    assert "and 142 more" in flash.text
    after = will.get(f"{APP}/-/tags", cookie=cookie.partition(";")[0]).text
    undo = next(form for form in forms_of(after) if form.operation == "restore_deletion")
    will.act("restore_deletion", undo.fields)
    assert {status(town, name) for name in (names[0], names[-1])} == {200}


def test_a_notice_that_is_too_long_is_told_in_short(town: Town) -> None:
    will = Browser(town, "will")
    names = [f"{number:03d}-{'x' * 124}" for number in range(60)]
    for name in names:
        put(town, image("1"), name)
    fields = {"path.namespace": ["acme"], "path.repository": ["app"], "path.reference": names}
    cookie = will.act("delete_manifest", fields).headers["set-cookie"]
    assert len(cookie) <= COOKIE_SIZE_MAX
    told = flashes.read(cookie.partition("=")[2].partition(";")[0])
    assert told is not None
    assert told == flashes.Flash("Deleted 60 images or tags from acme/app.")


def test_untagged_images_are_shown_and_deleted(town: Town) -> None:
    digest = put(town, image("lost"))
    will = Browser(town, "will")
    assert digest in will.get(f"{APP}/-/untagged").text
    (form,) = deletions(will.get(f"{APP}/-/delete-tags?digest={digest}").text)
    will.act("delete_references", form.fields)
    assert status(town, digest) == 404
    assert 'type="checkbox"' not in Browser(town, "rita").get(f"{APP}/-/untagged").text


def test_the_trash_shows_one_kind_and_restores_what_is_selected(town: Town) -> None:
    digest = put(town, image("1"), "a")
    gone = put(town, image("2"), "b")
    town.api("will", "DELETE", "repositories/acme/app/manifests/a", status=204)
    town.api("will", "DELETE", f"repositories/acme/app/manifests/{gone}", status=204)
    will = Browser(town, "will")
    images, tags = (will.get(f"{APP}/-/trash{query}").text for query in ("", "?kind=tags"))
    assert gone in images
    assert f"a@{digest}" not in images
    assert f"a@{digest}" in tags
    # Without a kind in its address, the page opens on the kind that has something.
    of_app = {"path.namespace": ["acme"], "path.repository": ["app"]}
    assert will.act("restore_references", {**of_app, "body.references[]": [gone]}).is_redirect
    only_tags = will.get(f"{APP}/-/trash").text
    assert f"a@{digest}" in only_tags
    assert f'href="{APP}/-/trash?kind=tags&amp;sort=name"' in only_tags, "links keep the kind"
    assert "No deleted images." in will.get(f"{APP}/-/trash?kind=manifests").text
    town.api("will", "DELETE", f"repositories/acme/app/manifests/{gone}", status=204)
    fields = {**of_app, "body.references[]": ["", f"a@{digest}", gone]}
    assert will.act("restore_references", fields).status_code == 303
    assert (status(town, "a"), status(town, "b")) == (200, 200)
    nothing = {**fields, "body.references[]": [""]}
    answer = will.act("restore_references", nothing)
    assert answer.status_code == 400
    assert "Select at least one" in answer.text
    assert "restore_references" not in Browser(town, "rita").get(f"{APP}/-/trash?kind=tags").text


# ---- who may see what --------------------------------------------------------------------------
def test_pages_of_forms_are_for_those_who_may_use_them(town: Town) -> None:
    levels = {
        "settings": ("ada",),
        "permissions": ("ada",),
        "activity": ("ada",),
        "delete": ("ada",),
        "delete-tags?tag=v1": ("ada", "will"),
    }
    for page, allowed in levels.items():
        for who in ("rita", "will", "ada"):
            wanted = 200 if who in allowed else 403
            assert Browser(town, who).get(f"{APP}/-/{page}").status_code == wanted, (who, page)
        answer = Browser(town).get(f"/repositories/acme/open/-/{page}")
        assert answer.status_code == 303, page
        assert answer.headers["location"].startswith("/sign-in?next=")


# ---- room --------------------------------------------------------------------------------------
def test_disk_usage_needs_no_script(town: Town) -> None:
    will = Browser(town, "will")
    for place in (APP, f"{APP}/-/tags/v1"):
        page = will.get(place).text
        url = f"{place}/-/usage" if place == APP else f"{place}/usage"
        assert f'<a href="{url}">Measure</a>' in page
        whole, part = will.get(url).text, will.get(url, **{"hx-request": "true"}).text
        assert "<html" in whole
        assert "<html" not in part
        for text in (whole, part):
            assert "Deleting frees" in text
            assert "at most" in text
    assert "at most" not in Browser(town, "admin").get(f"{APP}/-/usage").text
