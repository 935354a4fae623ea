"""The README's pictures, made from a finished `make demo`: the viewers of its two reports.

python benchmarks/readme_picture.py demo        (needs Chromium and the extra "dev", as the tests do)

docs/report.png: the evaluation, at the view with most found lesions. docs/findings.png: the new scans, at the phantom with most
found lesions in both views. So they show the pages, and nothing of how often a network finds what.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import pandas as pd
from PIL import Image
from playwright.sync_api import Page, sync_playwright

PICTURES = Path(__file__).parents[1] / "docs"
# Wide enough for both views, narrow enough that the text stays legible in the README's width.
WINDOW = {"width": 1360, "height": 740}
SCALE = 1.5
# Colours are enough for a grey picture with outlines; the file is half as large.
COLOURS = 192
BLINKING_MS = 3000
# Of a whole-body view, so that its width fills its half of the picture.
TORSO_ZOOM = 1.45


def show_evaluation(page: Page, demo: Path) -> None:
    """The view with most found lesions, around the one in the middle."""
    lesions = pd.read_csv(demo / "evaluation" / "lesions.csv")
    case = str(_found(lesions)["case"].value_counts().sort_index().idxmax())
    own = lesions[lesions["case"] == case].reset_index(drop=True)
    rows = own.loc[own["source"] == "reference", "centroid_row_px"]
    central = int((rows - rows.median()).abs().idxmin())  # around it most of the others are in sight
    _open(page, demo / "evaluation" / "report.html", case)
    page.evaluate(f"msaViewer.openFinding({central})")
    page.evaluate("msaViewer.zoomBy(0.55)")
    page.wait_for_timeout(BLINKING_MS)


def show_findings(page: Page, demo: Path) -> None:
    """The study of the patient with most found lesions, around the middle one of those marked."""
    folder = demo / "findings"
    found = _found(pd.read_csv(demo / "evaluation" / "lesions.csv"))
    patient = found["case"].str.split("_").str[0].value_counts().sort_index().idxmax()  # one key, so one pseudonym in both
    markers = [json.loads(path.read_text()) for path in sorted(folder.glob("*/complete.json"))]
    marker = next(one for one in markers if one["patient"] == patient)
    _open(page, folder / "report.html", marker["study"])
    page.evaluate("msaViewer.reset()")
    page.evaluate(f"msaViewer.zoomBy({TORSO_ZOOM})")
    rows_mm = pd.read_csv(folder / marker["study"] / "lesions.csv")["centroid_row_mm"]
    state = page.evaluate("msaViewer.state()")
    shown_mm = (state["centres"][0]["row"] + 0.5) * marker["views"][0]["spacing_mm"][0]
    box = page.locator(".v-picture canvas").bounding_box()
    assert box is not None
    column, row = box["x"] + box["width"] / 4, box["y"] + box["height"] / 4
    page.mouse.move(column, row)
    page.mouse.down()
    page.mouse.move(column, row + state["zoom"] * (shown_mm - rows_mm.median()))
    page.mouse.up()
    page.mouse.move(0, 0)


def _found(lesions: pd.DataFrame) -> pd.DataFrame:
    return lesions[(lesions["source"] == "reference") & (lesions["status"] != "missed")]


def _open(page: Page, report: Path, case: str) -> None:
    """A case in the viewer, which fills the window."""
    page.goto(report.absolute().as_uri())
    page.evaluate("msaViewer.ready")
    page.keyboard.press("f")
    page.locator(".v-cases button", has_text=case).first.click()
    while page.evaluate("msaViewer.state().case") != case:
        page.wait_for_timeout(20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demo", type=Path, help="folder of `msa demo`: evaluation/ and findings/ in it are shown")
    demo = parser.parse_args().demo
    browser_path = next(path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name)))
    PICTURES.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox", "--disable-gpu"])
        for show, picture in ((show_evaluation, "report.png"), (show_findings, "findings.png")):
            page = browser.new_page(viewport=WINDOW, device_scale_factor=SCALE)
            show(page, demo)
            page.locator("#msa-viewer").screenshot(path=str(PICTURES / picture))
            page.close()
            with Image.open(PICTURES / picture) as image:
                reduced = image.convert("RGB").quantize(COLOURS, Image.Quantize.FASTOCTREE)
            reduced.save(PICTURES / picture, optimize=True)
        browser.close()


if __name__ == "__main__":
    main()
