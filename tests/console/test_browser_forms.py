"""The forms in Chromium: a large file with progress, a task by keyboard alone, times of a zone."""

import json
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.console.seed import send
from tests.console.test_browser import browser, url, watched

__all__ = ["browser", "url"]

pytestmark = pytest.mark.browser

LINES = 200_000
UPLOADED = f"200{chr(0x202F)}000"


def api(url: str, path: str) -> Any:
    """Return what the API says."""
    with urlopen(f"{url}/api/v1{path}") as response:  # noqa: S310 (our own address)
        return json.load(response)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of many user ids, whose name is HTML."""
    path = tmp_path_factory.mktemp("files") / "<b>large<b>.csv"
    path.write_text("user_id\n" + "".join(f"{10**9 + n}\n" for n in range(LINES)))
    return path


def test_a_large_file_with_progress(browser: Browser, url: str, large: Path) -> None:
    """A file is counted while a bar grows, then saved without being chosen again."""
    send(url, "POST", "/segments", {"slug": "LARGE"})
    context = browser.new_context()
    page = context.new_page()
    faults = watched(page, url)
    page.goto(f"{url}/console/segments/LARGE/file")
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 10**6}
    context.new_cdp_session(page).send("Network.emulateNetworkConditions", slow)
    page.set_input_files("#file", large)
    page.get_by_role("button", name="Count first").click()
    bar = page.locator("progress")
    expect(bar).to_be_visible()
    while not 0 < bar.evaluate("bar => bar.value") < 1:
        assert bar.is_visible()
    answer = page.locator("#answer")
    expect(answer).to_contain_text("Nothing was changed", timeout=60_000)
    expect(answer).to_contain_text(UPLOADED)
    assert api(url, "/segments/LARGE")["members"] == 0
    page.get_by_role("button", name="Save").click()
    expect(answer).to_contain_text("Done", timeout=60_000)
    expect(answer).to_contain_text(UPLOADED)
    assert api(url, "/segments/LARGE")["members"] == LINES
    expect(bar).to_be_hidden()
    assert faults == []
    context.close()


@pytest.mark.parametrize("script", [True, False])
def test_a_bad_file(browser: Browser, url: str, tmp_path: Path, *, script: bool) -> None:
    """Bad lines are named with their numbers, and nothing is changed."""
    path = tmp_path / "bad.csv"
    path.write_text("1\n<b>x</b>\n3\n")
    context = browser.new_context(java_script_enabled=script)
    page = context.new_page()
    page.goto(f"{url}/console/segments/VOICE_MESSAGES/file")
    page.set_input_files("#file", path)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("line 2 must have a user id")
    expect(page.get_by_role("alert")).to_contain_text("<b>x</b>")
    context.close()


def test_a_file_without_javascript(browser: Browser, url: str, tmp_path: Path) -> None:
    """A file is sent as any form is, and its counts are a page."""
    send(url, "POST", "/segments", {"slug": "PLAIN"})
    path = tmp_path / "few.csv"
    path.write_text("1\n2\n")
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{url}/console/segments/PLAIN/file")
    page.set_input_files("#file", path)
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#answer")).to_contain_text("Done")
    assert api(url, "/segments/PLAIN")["members"] == 2
    context.close()


def tab_to(page: Page, name: str) -> None:
    """Press Tab until the element with a name has the focus."""
    for _ in range(80):
        page.keyboard.press("Tab")
        focused = page.evaluate("document.activeElement.name || document.activeElement.textContent")
        if focused.strip() == name:
            return
    raise AssertionError(f"nothing called {name} gets the focus")


def test_a_task_by_keyboard(browser: Browser, url: str) -> None:
    """Without a mouse: create a segment, put a user in, set the percentage, delete it."""
    page = browser.new_page()
    page.goto(f"{url}/console/segments")
    tab_to(page, "Create a segment")
    page.keyboard.press("Enter")
    page.wait_for_url("**/new-segment")
    tab_to(page, "slug")
    page.keyboard.type("KEYBOARD")
    page.keyboard.press("Enter")
    page.wait_for_url("**/segments/KEYBOARD")
    expect(page.get_by_role("status")).to_contain_text("KEYBOARD was created")
    tab_to(page, "Add or remove a user")
    page.keyboard.press("Enter")
    tab_to(page, "user_id")
    page.keyboard.type("7")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("User 7 was added to KEYBOARD")
    tab_to(page, "Percentage")
    page.keyboard.press("Enter")
    page.wait_for_url("**/percent")
    tab_to(page, "percent")
    page.keyboard.type("12.5")
    page.keyboard.press("Enter")
    page.wait_for_url("**percent=12.5**")
    tab_to(page, "Save")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("KEYBOARD was changed")
    assert api(url, "/segments/KEYBOARD")["percent"] == 12.5
    tab_to(page, "Delete")
    page.keyboard.press("Enter")
    page.wait_for_url("**/delete")
    tab_to(page, "Delete the segment")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("KEYBOARD was deleted")
    page.close()


def test_times_of_forms(browser: Browser, url: str) -> None:
    """With JavaScript, a form takes and shows times of the reader's zone, exactly as stored."""
    send(url, "POST", "/segments", {"slug": "TOKYO", "percent": 1})
    steps = [{"at": "2098-01-01T00:00:00.123456Z", "percent": 5}]
    send(url, "PUT", "/segments/TOKYO/plan", {"steps": steps})
    context = browser.new_context(timezone_id="Asia/Tokyo")
    page = context.new_page()
    page.goto(f"{url}/console/segments/TOKYO/plan")
    expect(page.locator("thead .zone")).to_have_text("GMT+9")
    rows = page.locator("tbody input[name=at]")
    assert rows.nth(0).input_value().startswith("2098-01-01T09:00")
    rows.nth(1).fill("2098-01-02T09:00")
    page.locator("tbody input[name=percent]").nth(1).fill("10")
    page.get_by_role("button", name="Save").click()
    page.wait_for_url("**/segments/TOKYO")
    stored = api(url, "/segments/TOKYO/plan")["steps"]
    assert [step["at"] for step in stored] == [steps[0]["at"], "2098-01-02T00:00:00.000000Z"]
    context.close()
