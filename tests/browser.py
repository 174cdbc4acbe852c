"""A real browser for tests: the system's Chromium without a head, with a folder of its own that ends with it."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome")
ON_MACOS = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
# It asks nobody for anything but the pages of the test.
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE_MS = 240_000


def chromium() -> str:
    """Return where the browser is; one that is missing is an error, as `make setup-dev` brings it."""
    found = next((path for name in NAMES if (path := shutil.which(name))), ON_MACOS)
    assert Path(found).exists(), "no Chromium: `make setup-dev` brings it"
    return found


@contextmanager
def browsing() -> Iterator[Browser]:
    """Give a browser; it is gone afterwards."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(OPTIONS), timeout=PATIENCE_MS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def somebody(browser: Browser, user: str = "", password: str = "") -> Iterator[Page]:
    """Give the page of a person of their own, who has no cookie yet and types this password when asked."""
    known = {"http_credentials": {"username": user, "password": password}} if user else {}
    context = browser.new_context(**known)
    context.set_default_timeout(PATIENCE_MS)
    try:
        yield context.new_page()
    finally:
        context.close()
