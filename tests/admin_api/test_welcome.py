"""The page of `/`: well-formed and accessible French for who types the server's name into a browser, and no more."""

from __future__ import annotations

from html.parser import HTMLParser

from admin_api.welcome import page
from dkim_keys.client_records import ClientService
from tests.admin_api.conftest import Api

VOID = {"meta"}


class Outline(HTMLParser):
    """Refuses elements that are not closed in order; keeps titles, links and cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.setdefault(self.open[-1], []).append(data.strip())


async def test_a_browser_finds_a_page_in_french_that_tells_how_mail_is_read(api: Api) -> None:
    answer = await api.client.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    outline = Outline(answer.text)
    assert outline.texts["h1"] == ["Messagerie des communes"]
    assert [tag for tag, _ in outline.seen if tag in ("h1", "h2", "h3")] == ["h1", "h2", "h2"]  # no level left out
    assert ("html", {"lang": "fr"}) in outline.seen
    assert "Le courrier ne se lit pas sur cette page" in answer.text
    assert (await api.client.head("/")).status_code == 200


async def test_the_page_may_load_nothing_and_be_framed_by_nobody_and_tells_no_version(api: Api) -> None:
    answer = await api.client.get("/")
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; ")
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "server" not in answer.headers
    tags = {tag for tag, _ in Outline(answer.text).seen}
    assert not tags & {"script", "style", "img", "link", "form", "iframe"}
    assert "version" not in answer.text.lower()
    post = await api.client.post("/")
    assert (post.status_code, post.json()["code"]) == (405, "method-not-allowed")


def test_the_settings_are_those_of_the_doors_that_are_open() -> None:
    services = [ClientService("_imaps", 993), ClientService("_submission", 587)]
    outline = Outline(page("mx.dept.test", services))
    assert outline.texts["td"] == ["mx.dept.test", "993", "SSL/TLS", "mx.dept.test", "587", "STARTTLS"]
    assert all(attrs.get("scope") for tag, attrs in outline.seen if tag == "th")
    assert "table" not in {tag for tag, _ in Outline(page("mx.dept.test", [])).seen}


def test_p9_the_name_cannot_write_markup() -> None:
    assert "<script>" not in page("<script>", [ClientService("_imaps", 993)])
