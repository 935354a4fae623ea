"""The README's picture, made from a finished `make demo`: the viewer of its report, at the case with most found lesions.

python benchmarks/readme_picture.py demo        (needs Chromium and the extra "dev", as the tests do)
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import pandas as pd
from PIL import Image
from playwright.sync_api import sync_playwright

PICTURE = Path(__file__).parents[1] / "docs" / "report.png"
WINDOW = {"width": 1360, "height": 860}
# Colours are enough for a grey picture with outlines; the file is half as large.
COLOURS = 192
BLINKING_MS = 3000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demo", type=Path, help="folder of `msa demo`, or any with evaluation/ as `msa evaluate` writes it")
    folder = parser.parse_args().demo / "evaluation"
    lesions = pd.read_csv(folder / "lesions.csv")
    found = lesions[(lesions["source"] == "reference") & (lesions["status"] != "missed")]
    case = found["case"].value_counts().sort_index().idxmax()
    own = lesions[lesions["case"] == case].reset_index(drop=True)
    rows = own.loc[own["source"] == "reference", "centroid_row_px"]
    central = int((rows - rows.median()).abs().idxmin())  # around it most of the others are in sight
    browser_path = next(path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name)))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport=WINDOW)
        page.goto((folder / "report.html").absolute().as_uri())
        page.evaluate("msaViewer.ready")
        page.keyboard.press("f")
        page.locator(".v-cases button", has_text=str(case)).click()
        page.wait_for_function("name => msaViewer.state().case === name", arg=str(case))
        page.evaluate(f"msaViewer.openFinding({central})")
        page.evaluate("msaViewer.zoomBy(0.62)")
        page.wait_for_timeout(BLINKING_MS)
        PICTURE.parent.mkdir(exist_ok=True)
        page.locator("#msa-viewer").screenshot(path=str(PICTURE))
        browser.close()
    with Image.open(PICTURE) as image:
        reduced = image.convert("RGB").quantize(COLOURS, Image.Quantize.FASTOCTREE)
    reduced.save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
