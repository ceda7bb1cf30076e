"""Texts of one user never run as code in another user's browser."""

from __future__ import annotations

import httpx
from playwright.sync_api import Browser

from tests.e2e.console.browser import person
from tests.e2e.console.conftest import HOSTILE, Town

README = f"""# {HOSTILE}

{HOSTILE}

[link](javascript:window.pwned=1) [data](data:text/html,<script>window.pwned=1</script>)
![image](javascript:window.pwned=1) <a href="javascript:window.pwned=1">a</a>

```{HOSTILE}
{HOSTILE}
```

| {HOSTILE} |
|---|
| <iframe src=//evil.example></iframe><style>*{{display:none}}</style> |
"""


def test_hostile_texts_stay_texts(browser: Browser, town: Town) -> None:
    managed = town.managed
    body = {"name": "hostile", "shortDescription": HOSTILE, "longDescription": README}
    managed.api("POST", "repositories/acme", body, "owen")
    managed.api("PATCH", "accounts/nora", {"fullName": HOSTILE}, "nora")
    managed.api("POST", "accounts/acme/teams", {"name": "team", "description": HOSTILE}, "owen")
    managed.api("POST", "accounts/nora/tokens", {"name": "token"}, "nora")
    # Any client can write a log line: with a path, an agent and the name of no account.
    httpx.get(
        f"{managed.registry.url}/v2/{'%3Cscript%3Ewindow.pwned=1%3C/script%3E'}/tags/list",
        headers={"user-agent": HOSTILE},
    )
    httpx.get(f"{managed.registry.url}/v2/", auth=(HOSTILE.replace(":", ""), "wrong"))
    pages = (
        "/repositories",
        "/repositories/acme/hostile",
        "/repositories/acme/hostile/-/settings",
        "/repositories/acme/app/-/tags/production",
        "/repositories/acme/app/-/compare?tag=production&tag=staging",
        "/users",
        "/users/nora",
        "/organizations/acme/teams",
        "/organizations/acme/teams/team",
        "/logs",
        "/logs/audit",
        f"/search?q={HOSTILE}",
        f"/repositories?filter={HOSTILE}",
        f"/logs?text={HOSTILE}",
        f"/sign-in?next={HOSTILE}",
        f"/repositories/acme/app/-/tags/{HOSTILE.replace('/', '')}",
    )
    with person(browser, managed, "admin") as admin:
        for path in pages:
            admin.go(path)
            admin.page.wait_for_timeout(100)
            assert admin.page.evaluate("window.pwned") is None, path
            assert admin.page.locator("main iframe, main script, main style").count() == 0, path
            assert "49" not in admin.page.locator("main h1, main .readme").all_inner_texts(), path


def test_a_policy_lets_nothing_else_run(town: Town) -> None:
    for path in ("/sign-in", "/repositories", "/no-such-page"):
        answer = httpx.get(town.managed.registry.url + path, headers={"accept": "text/html"})
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_other_sites_cannot_use_a_session(town: Town) -> None:
    url = town.managed.registry.url
    with httpx.Client(base_url=url) as client:
        form = {"username": "owen", "password": town.managed.secrets["owen"]}
        assert client.post("/sign-in", data=form, headers={"origin": url}).status_code == 303
        made = {"path.namespace": "acme", "body.name": "forged"}
        for headers in ({"origin": "https://evil.example"}, {"origin": url}, {}):
            answer = client.post("/do/create_repository", data=made, headers=headers)
            assert answer.status_code == 403, answer.text
        assert client.get("/repositories/acme/forged").status_code == 404
    # Another site cannot sign the user in to another account either.
    evil = {"origin": "https://evil.example"}
    assert httpx.post(f"{url}/sign-in", data=form, headers=evil).status_code == 403
