"""axe-core finds no violation on any page of the console."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.console.test_browser import PAGES, browser, url

__all__ = ["browser", "url"]

pytestmark = pytest.mark.browser

AXE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.mark.parametrize(
    ("scheme", "width", "language"),
    [("light", 390, "en"), ("dark", 1280, "ru")],
)
def test_no_violation(browser: Browser, url: str, scheme: str, width: int, language: str) -> None:
    """The rules of WCAG 2.2, levels A and AA, and of good practice hold on each page."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, locale=language, bypass_csp=True
    )
    page = context.new_page()
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    found = []
    for path in PAGES:
        page.goto(url + path, wait_until="networkidle")
        page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
        page.evaluate(AXE.read_text())
        options = {"runOnly": {"type": "tag", "values": RULES}}
        answer = page.evaluate("options => axe.run(document, options)", options)
        found += [
            f"{path}: {violation['id']}: {node['html'][:120]}"
            for violation in answer["violations"]
            for node in violation["nodes"][:3]
        ]
    context.close()
    assert "\n".join(found) == ""


def test_on_paper(browser: Browser, url: str) -> None:
    """Printed, a page has its tables and pictures, and neither navigation nor forms."""
    page = browser.new_page()
    page.goto(f"{url}/console/segments/VOICE_MESSAGES", wait_until="networkidle")
    page.emulate_media(media="print")
    for hidden in ("header nav", ".find", ".filter", ".actions", "footer", ".panel"):
        assert not page.locator(hidden).first.is_visible(), hidden
    assert page.locator(".chart svg").is_visible()
    assert page.locator(".figures").is_visible()
    page.close()
