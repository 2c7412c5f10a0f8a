"""The pages in Chromium: light and dark, on a phone, by keyboard, and without JavaScript."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.console.seed import seed
from tests.processes import serving

pytestmark = pytest.mark.browser

PAGES = [
    "/console/segments",
    "/console/segments?sort=members",
    "/console/segments?q=nothing+has+this",
    "/console/segments/VOICE_MESSAGES",
    "/console/segments/DISCOUNT_30",
    "/console/segments/VOICE_MESSAGES/size",
    "/console/segments/VOICE_MESSAGES/percent?percent=30",
    "/console/segments/VOICE_MESSAGES/plan",
    "/console/segments/VOICE_MESSAGES/edit",
    "/console/segments/VOICE_MESSAGES/delete",
    "/console/segments/DISCOUNT_30/file",
    "/console/new-segment",
    "/console/membership?slug=VOICE_MESSAGES",
    "/console/users/1000/erase",
    "/console/new-layer",
    "/console/layers/DISCOUNTS",
    "/console/layers/DISCOUNTS/dissolve",
    "/console/sets?any_of=DISCOUNT_30",
    "/console/report",
    "/console/keys",
    "/console/users/1000",
    "/console/users/9223372036854775807",
    "/console/layers",
    "/console/audit",
    "/console/segments/NONE",
]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(data_dir=str(tmp_path_factory.mktemp("data"))) as (url, _):
        seed(url)
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        yield chromium
        chromium.close()


def watched(page: Page, url: str) -> list[str]:
    """Return what goes wrong on a page, filled while it is used."""
    faults: list[str] = []

    def look(text: str, *, wrong: bool) -> None:
        if wrong:
            faults.append(text)

    page.on("console", lambda m: look(m.text, wrong=m.type in {"error", "warning"}))
    page.on("pageerror", lambda error: look(str(error), wrong=True))
    page.on("request", lambda r: look(r.url, wrong=not r.url.startswith(url)))
    return faults


# Each pair of two of them is there once.
LOOKS = [
    {"color_scheme": scheme, "width": width, "locale": language, "java_script_enabled": script}
    for scheme, width, language, script in (
        ("light", 390, "ru", True),
        ("light", 1280, "en", False),
        ("dark", 390, "en", True),
        ("dark", 390, "ru", False),
        ("dark", 1280, "en", True),
    )
]


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: "-".join(map(str, look.values())))
def test_pages(browser: Browser, url: str, look: dict[str, Any]) -> None:
    """No page scrolls sideways, says an error in the console, or asks another host."""
    width, script = look["width"], look["java_script_enabled"]
    options = {name: value for name, value in look.items() if name != "width"}
    context = browser.new_context(viewport={"width": width, "height": 900}, **options)
    page = context.new_page()
    faults = watched(page, url)
    for path in PAGES:
        answer = page.goto(url + path)
        assert answer
        if answer.status == 404:  # Chromium says so itself
            faults.clear()
        box = page.locator("main").bounding_box()
        assert box
        assert box["width"] <= width
        if script:
            assert page.evaluate("document.documentElement.scrollWidth") == width, path
        assert page.locator("h1").count() == 1
        assert faults == [], path
    context.close()


def test_keyboard(browser: Browser, url: str) -> None:
    """Without a mouse: search a segment, open it, look a user up."""
    page = browser.new_page()
    page.goto(f"{url}/console/segments")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.name") == "q":
            break
    page.keyboard.type("voice")
    page.keyboard.press("Enter")
    page.wait_for_url("**q=voice**")
    assert page.locator("tbody tr").count() == 1
    page.get_by_role("link", name="VOICE_MESSAGES").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/VOICE_MESSAGES")
    page.locator("#find").focus()
    page.keyboard.type("1000")
    page.keyboard.press("Enter")
    page.wait_for_url("**/console/users/1000")
    assert "User 1000" in page.inner_text("h1")
    page.close()


def test_times_of_the_reader(browser: Browser, url: str) -> None:
    """With JavaScript, times are of the reader's zone, with UTC beside them."""
    context = browser.new_context(timezone_id="Asia/Tokyo", locale="en")
    page = context.new_page()
    page.goto(f"{url}/console/users/1000")
    time = page.locator("time").first
    assert (time.get_attribute("title") or "").endswith("UTC")
    assert time.inner_text()[-9:] == (time.get_attribute("title") or "")[-9:]
    context.close()


def test_pictures_have_what_tables_have(browser: Browser, url: str, tmp_path: Path) -> None:
    """A chart has a column for each row of the table behind it; pictures are drawn."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(f"{url}/console/segments/VOICE_MESSAGES", wait_until="networkidle")
    page.get_by_text("As a table").click()
    assert page.locator(".figures tbody tr").count() == page.locator(".column").count() > 0
    page.screenshot(path=tmp_path / "segment.png")
    assert (tmp_path / "segment.png").stat().st_size > 20_000
    page.close()
