"""Operations on metrics of the processes and the host: now, and over thirty days."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from dtrfast.api.v0.operation import ApiCall, Operations
from dtrfast.identity.checks import Checks
from dtrfast.metrics import report
from dtrfast.metrics.report import MONTH_SECONDS, Metrics, MetricsHistory

operations = Operations("metrics")


@operations.add("GET", "/admin/metrics")
def get_metrics(call: ApiCall) -> Metrics:
    """Show the present metrics of the host and each process. Counters start with the process."""
    call.use(Checks).require_admin()
    return report.measure(call.config.store.data)


class HistoryQuery(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """The last `seconds`, in at most `points` points; of one `process`, or of all together."""

    seconds: Annotated[int, Meta(ge=60, le=MONTH_SECONDS)] = 3600
    points: Annotated[int, Meta(ge=2, le=1000)] = 300
    process: Annotated[str, Meta(max_length=64)] = ""


@operations.add("GET", "/admin/metrics/history", refusals=(404,))
def get_metrics_history(call: ApiCall, query: HistoryQuery) -> MetricsHistory:
    """Show the history of the metrics. Rates are per second; unknown values are null."""
    call.use(Checks).require_admin()
    data = call.config.store.data
    return report.read_history(data, query.process, query.seconds, query.points)
