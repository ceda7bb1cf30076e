"""The page of the management API: Swagger UI in the frame of the console."""

from __future__ import annotations

from dtrfast.console.page import PageFunction, PageRequest, View


def show(page: PageRequest) -> View:
    """Show the operations. The page needs no sign-in, as the document itself."""
    return View("api.html")


PAGES: dict[str, PageFunction] = {"/api/docs": show}
