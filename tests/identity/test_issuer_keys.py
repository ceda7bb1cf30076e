"""The keys of issuers are fetched in the background, and few requests wait for them."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from joserfc.jwk import ECKey, KeySet

from dtrfast.errors import DtrfastError, IssuerUnavailable, TokenInvalid
from dtrfast.identity.issuer_keys import IssuerKeys, IssuerWatch
from dtrfast.identity.oidc import Issuer

CI = Issuer(name="ci", url="https://ci.example", audience="x")
OTHER = Issuer(name="other", url="https://other.example", audience="x")


def _keys(*ids: str) -> KeySet:
    return KeySet([ECKey.generate_key("P-256", {"kid": kid}) for kid in ids])


class Issuers:
    """The issuers of a test. Those in `hung` do not answer before `gate` opens."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.published = {"ci": _keys("one"), "other": _keys("one")}
        self.asked: Counter[str] = Counter()
        self.hung: set[str] = set()
        self.broken: set[str] = set()
        self.gate = threading.Event()

    def fetch(self, issuer: Issuer) -> KeySet:
        self.asked[issuer.name] += 1
        if issuer.name in self.hung:
            self.gate.wait(10)
        if issuer.name in self.broken:
            raise IssuerUnavailable(f"the issuer {issuer.name}: it is down")
        return self.published[issuer.name]

    def keys(self, **options: float) -> IssuerKeys:
        return IssuerKeys(self.fetch, lambda: self.now, **options)  # type: ignore[arg-type]


@pytest.fixture
def issuers() -> Iterator[Issuers]:
    made = Issuers()
    yield made
    made.gate.set()


def _until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.002)


def _refusal(find: Callable[[], object]) -> type[DtrfastError] | None:
    try:
        find()
    except DtrfastError as error:
        return type(error)
    return None


def test_an_issuer_that_hangs_holds_few_requests_and_no_other(issuers: Issuers) -> None:
    issuers.hung.add("ci")
    keys = issuers.keys(waiting_max=4, wait_seconds=10)
    refused: list[type[DtrfastError] | None] = []
    with ThreadPoolExecutor(40) as pool:
        for _ in range(40):
            find = partial(_refusal, lambda: keys.find(CI, "made up"))
            pool.submit(find).add_done_callback(lambda done: refused.append(done.result()))
        _until(lambda: len(refused) == 38)
        assert keys._waiting == 2
        assert keys.find(OTHER, "one")  # while two still wait
        issuers.gate.set()
    assert Counter(refused) == {IssuerUnavailable: 38, TokenInvalid: 2}
    assert issuers.asked == {"ci": 1, "other": 1}


def test_all_issuers_together_hold_few_requests(issuers: Issuers) -> None:
    hung = [Issuer(name=f"i{n}", url=f"https://i{n}.example", audience="x") for n in range(6)]
    issuers.hung.update(issuer.name for issuer in hung)
    issuers.published |= {issuer.name: _keys("one") for issuer in hung}
    keys = issuers.keys(waiting_max=3, wait_seconds=10)
    refused: list[type[DtrfastError] | None] = []
    with ThreadPoolExecutor(6) as pool:
        for issuer in hung:
            find = partial(_refusal, partial(keys.find, issuer, "one"))
            pool.submit(find).add_done_callback(lambda done: refused.append(done.result()))
        _until(lambda: len(refused) == 3)
        assert keys._waiting == 3
        issuers.gate.set()
    assert Counter(refused) == {IssuerUnavailable: 3, None: 3}


def test_a_request_waits_for_a_bounded_time(issuers: Issuers) -> None:
    issuers.hung.add("ci")
    began = time.monotonic()
    assert _refusal(lambda: issuers.keys(wait_seconds=0.02).find(CI, None)) is IssuerUnavailable
    assert time.monotonic() - began < 5


def test_a_key_that_was_just_made_gets_in_with_its_first_job(issuers: Issuers) -> None:
    keys = issuers.keys()
    keys.keep([CI])
    _until(lambda: _refusal(lambda: keys.find(CI, "one")) is None)
    issuers.published["ci"] = _keys("one", "two")
    assert keys.find(CI, "two")
    issuers.published["ci"] = _keys("two", "three")
    with pytest.raises(TokenInvalid, match="try again in 30 s"):
        keys.find(CI, "three")
    issuers.now += 30
    assert keys.find(CI, "three")
    assert issuers.asked["ci"] == 3


def test_made_up_ids_make_few_asks(issuers: Issuers) -> None:
    keys = issuers.keys()
    keys.find(CI, "one")
    for _ in range(90):
        assert _refusal(lambda: keys.find(CI, "made up")) is TokenInvalid
        issuers.now += 1
    assert issuers.asked["ci"] == 3  # at once, after 30 s, and after 60 s


def test_a_key_that_was_just_made_gets_in_with_a_retry_where_its_issuer_is_slow(
    issuers: Issuers,
) -> None:
    keys = issuers.keys(wait_seconds=0.01)
    keys.keep([CI])
    _until(lambda: _refusal(lambda: keys.find(CI, "one")) is None)
    issuers.published["ci"] = _keys("two")
    issuers.hung.add("ci")
    issuers.now += 31
    assert _refusal(lambda: keys.find(CI, "two")) is IssuerUnavailable
    assert keys.find(CI, "one")  # the last keys are still valid
    issuers.gate.set()
    _until(lambda: _refusal(lambda: keys.find(CI, "two")) is None)
    assert issuers.asked["ci"] == 2


def test_old_keys_are_asked_for_again_while_they_serve(issuers: Issuers) -> None:
    keys = issuers.keys()
    keys.find(CI, "one")
    issuers.hung.add("ci")
    issuers.now += 2700
    began = time.monotonic()
    for _ in range(5):
        assert keys.find(CI, "one")
    assert time.monotonic() - began < 1
    _until(lambda: issuers.asked["ci"] == 2)


def test_keys_are_kept_before_a_job_comes(issuers: Issuers) -> None:
    keys = issuers.keys()
    for seconds, asked in ((0, 1), (10, 1), (2690, 2), (10, 2), (2700, 3)):
        issuers.now += seconds
        keys.keep([CI])
        _until(lambda: not keys._known[CI].is_asking)
        assert issuers.asked["ci"] == asked


def test_an_issuer_that_fails_is_left_alone_for_longer_each_time(issuers: Issuers) -> None:
    issuers.broken.add("ci")
    keys = issuers.keys()
    asked_at = []
    for _ in range(400):
        before = issuers.asked["ci"]
        keys.keep([CI])
        _until(lambda: not keys._known[CI].is_asking)
        if issuers.asked["ci"] > before:
            asked_at.append(issuers.now - 1000)
        issuers.now += 10
    assert asked_at == [0, 30, 90, 210, 450, 930, 1530, 2130, 2730, 3330, 3930]
    issuers.broken.clear()
    assert keys.find(CI, "one")  # a token causes a fetch


def test_an_ask_that_breaks_says_so_and_the_next_one_works(
    issuers: Issuers, caplog: pytest.LogCaptureFixture
) -> None:
    published = issuers.published.pop("ci")  # a KeyError
    keys = issuers.keys()
    assert _refusal(lambda: keys.find(CI, "one")) is IssuerUnavailable
    assert "asking the issuer ci failed" in caplog.text
    issuers.published["ci"] = published
    issuers.now += 30
    assert keys.find(CI, "one")


def test_the_watch_follows_the_settings_until_it_is_closed(issuers: Issuers) -> None:
    keys = issuers.keys()
    watch = IssuerWatch(keys, lambda: [CI, OTHER])
    watch.start()
    _until(lambda: issuers.asked == {"ci": 1, "other": 1})
    watch.close()
    keys.keep([OTHER])
    assert set(keys._known) == {OTHER}
