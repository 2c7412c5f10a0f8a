"""Make the screenshots of the README from the service that `make demo` serves.

    make screenshots

Needs Debian's chromium. It starts another service on a free port, with the same history.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.error import URLError
from urllib.request import urlopen

from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
SEGSVC = str(Path(sys.executable).with_name("segsvc"))

SHOTS = {"segment": "/console/segments/VOICE_MESSAGES", "user": "/console/users/1000"}


def main() -> None:
    """Fill a service, take the pictures, and stop it."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with TemporaryDirectory() as data:
        settings = {"SEGSVC_DATA_DIR": data, "SEGSVC_PORT": str(port), "SEGSVC_DATABASE_URL": ""}
        environment = os.environ | settings
        subprocess.run([SEGSVC, "migrate"], env=environment, check=True)
        demo = HERE.parent / "examples" / "demo.py"
        subprocess.run([sys.executable, str(demo)], env=environment, check=True)
        service = subprocess.Popen([SEGSVC, "serve"], env=environment)
        try:
            wait_for(f"{url}/healthz")
            take(url)
        finally:
            service.terminate()
            service.wait()


def wait_for(url: str) -> None:
    """Wait until the service answers."""
    while True:
        try:
            with urlopen(url):
                return
        except URLError:
            time.sleep(0.1)


def take(url: str) -> None:
    """Write a picture of each page, one of them light and one dark."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for name, path in SHOTS.items():
            page = chromium.new_page(viewport={"width": 1180, "height": 760}, locale="en-GB")
            page.emulate_media(color_scheme="dark" if name == "user" else "light")
            page.goto(url + path, wait_until="networkidle")
            page.screenshot(path=HERE / f"{name}.png")
            page.close()
        chromium.close()


if __name__ == "__main__":
    main()
