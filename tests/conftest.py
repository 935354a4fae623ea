"""What tests of several packages need: a browser for pages, an interrupt that arrives, and equality to the last bit."""

from __future__ import annotations

import math
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

# Debian calls it chromium, other systems chromium-browser or google-chrome.
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_ARGUMENTS = ("--no-sandbox", "--headless", "--disable-gpu", "--disable-background-networking")

OpenPage = Callable[..., Page]


def pytest_configure() -> None:
    """A shell starts background jobs with SIGINT ignored, and so would be every process that a test interrupts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Headless Chromium of the system; its absence fails the tests of pages, it does not skip them."""
    path = next((found for name in _NAMES if (found := shutil.which(name))), None)
    assert path, f"none of {', '.join(_NAMES)} is installed; the pages are tested in it (apt-get install chromium)."
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=list(_ARGUMENTS))
        yield started
        started.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[OpenPage]:
    """Open a file as `page(path, width=, height=)`; a console error and any request but for that file fails the test."""
    context = browser.new_context()
    opened: set[str] = set()
    complaints: list[str] = []

    def heard(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(message.text)

    def requested(request: Request) -> None:
        if request.url not in opened and not request.url.startswith(("data:", "blob:")):
            complaints.append(f"request of {request.url[:200]}")

    def open_file(path: Path, width: int = 1500, height: int = 950) -> Page:
        one = context.new_page()
        one.set_viewport_size({"width": width, "height": height})
        one.on("console", heard)
        one.on("pageerror", lambda error: complaints.append(str(error)))
        one.on("request", requested)
        opened.add(path.absolute().as_uri())
        one.goto(path.absolute().as_uri())
        return one

    yield open_file
    context.close()
    assert not complaints, complaints


@pytest.fixture(scope="session")
def eventually() -> Callable[..., None]:
    """Wait until a JavaScript expression is true in a page, 10 s at most.

    Not Playwright's wait_for_function: from its second look on it evaluates inside the page, which our pages' policy forbids.
    """

    def wait(page: Page, expression: str) -> None:
        give_up = time.monotonic() + 10
        while not page.evaluate(expression):
            assert time.monotonic() < give_up, f"never true: {expression}"
            page.wait_for_timeout(20)

    return wait


@pytest.fixture(scope="session")
def same() -> Callable[[Any, Any], bool]:
    """Equal to the last bit, NaN equal to NaN, deep inside tensors, mappings and sequences."""
    import torch

    def equal(first: Any, second: Any) -> bool:
        if isinstance(first, torch.Tensor):
            return torch.equal(first, second)
        if isinstance(first, Mapping):
            return first.keys() == second.keys() and all(equal(first[key], second[key]) for key in first)
        if isinstance(first, list | tuple):
            return len(first) == len(second) and all(map(equal, first, second))
        if isinstance(first, float) and math.isnan(first):
            return isinstance(second, float) and math.isnan(second)
        return bool(first == second)

    return equal
