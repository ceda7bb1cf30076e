"""The store's report for administrators."""

from __future__ import annotations

from dtrfast.index.engine import WriteTransaction
from dtrfast.index.tables import DAMAGES
from dtrfast.store import contents, damage
from dtrfast.store.report import DamageReport, ScrubReport
from dtrfast.store.store import Store
from tests.store.conftest import push


def test_new_damages_are_taken_once(store: Store) -> None:
    digest = push(store.blobs, b"content" * 2000)
    assert store.report.damages(10) == store.report.take_new_damages(10) == []
    with store.engine.read() as transaction:
        content = contents.find(transaction, digest)
    assert content is not None
    damage.mark_content(store._context, content.number, "a test")
    found = store.report.damages(10)
    assert [(type(one), one.reason) for one in found] == [(DamageReport, "a test")]
    assert store.report.take_new_damages(10) == found
    assert store.report.take_new_damages(10) == []
    assert store.report.damages(10) == found


def test_a_scrub_is_told(store: Store) -> None:
    assert store.report.scrub() == ScrubReport(0, 0, 0)


def test_tables_are_surveyed(store: Store) -> None:
    assert store.report.survey(100)["damages"] == "0 rows"

    def add(transaction: WriteTransaction) -> None:
        for number in range(3):
            transaction.put(DAMAGES, b"%d" % number, b"")

    store.engine.write(add)
    assert store.report.survey(4)["damages"] == "3 rows"
    assert store.report.survey(3)["damages"] == "many rows"
