"""Draw one shape of each kind in LabelMe itself (its window, its save, its masks) and record what it writes; see README.md."""

from __future__ import annotations

import base64
import io
import json
import os
import sys
from pathlib import Path

os.environ["QT_QPA_PLATFORM"] = "offscreen"
import labelme
import numpy as np
from PIL import Image
from PyQt5 import QtCore, QtWidgets

MAJOR = int(labelme.__version__.split(".")[0])
if MAJOR < 5:  # gives Qt sizes with fractions, which today's Python no longer cuts off by itself
    from qtpy import QtCore as OldQtCore

    class Size(QtCore.QSize):
        def __init__(self, *sides: float) -> None:
            super().__init__(*(int(side) if isinstance(side, float) else side for side in sides))

    OldQtCore.QSize = Size
from labelme import app, utils  # noqa: E402  after the correction

try:
    from labelme._shape import Shape
except ImportError:
    from labelme.shape import Shape

HEIGHT, WIDTH = 64, 48
BLOB = np.array([[0, 1, 1, 0, 0], [1, 1, 1, 1, 0], [1, 0, 0, 1, 1], [0, 1, 1, 1, 0]], bool)
SHAPES = [
    ("polygon", "metastasis", None, [(3.2, 4.7), (11.9, 2.3), (14.1, 9.8), (7.4, 13.6)], None),
    ("polygon", "metastasis", 7, [(20.5, 5.5), (26.0, 5.5), (26.0, 10.25), (20.5, 10.25)], None),
    ("polygon", "metastasis", 7, [(28.1, 6.2), (33.7, 7.9), (29.3, 12.4)], None),
    ("rectangle", "Metastase", None, [(35.3, 3.4), (40.6, 12.2)], None),
    ("circle", "转移", None, [(10.4, 26.7), (14.9, 28.1)], None),
]
if MAJOR >= 5:
    SHAPES.append(("mask", "metastasis", None, [(30.0, 24.0), (34.0, 27.0)], BLOB))
if MAJOR >= 6:
    SHAPES.append(("oriented_rectangle", "benign", None, [(22.0, 40.0), (30.0, 44.0), (27.0, 50.0), (19.0, 46.0)], None))

folder, pictures = Path(__file__).parent, Path(sys.argv[1])
(pictures / "scan").mkdir(parents=True, exist_ok=True)
image = pictures / "scan" / "0001_anterior.png"
Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint8)).save(image)

qt = QtWidgets.QApplication([])
window = app.MainWindow(file_or_dir=str(image)) if MAJOR >= 6 else app.MainWindow(filename=str(image))
for _ in range(200):
    qt.processEvents()
shapes = []
for kind, label, group, points, mask in SHAPES:
    shape = Shape(label=label, shape_type=kind, group_id=group, flags={})
    shape.mask = mask
    for x, y in points:
        (shape.add_point if hasattr(shape, "add_point") else shape.addPoint)(QtCore.QPointF(x, y))
    shape.close()
    shapes.append(shape)
(getattr(window, "_load_shapes", None) or window.loadShapes)(shapes)
written = pictures / "saved.json"
assert (window.save_labels if MAJOR >= 6 else window.saveLabels)(str(written))

content = json.loads(written.read_text(encoding="utf-8"))
content["imageData"] = None  # the picture is not needed; everything else stays as it was written
(folder / f"labelme_{labelme.__version__}.json").write_text(
    json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8", newline="\n"
)
masks = []
for shape in content["shapes"]:
    one = dict(shape)
    if one["shape_type"] == "mask":
        one["mask"] = np.array(Image.open(io.BytesIO(base64.b64decode(one["mask"])))).astype(bool)
    drawn = utils.shapes_to_label((HEIGHT, WIDTH), [one], {one["label"]: 1})
    masks.append((drawn[0] if isinstance(drawn, tuple) else drawn).astype(np.uint8))
Image.fromarray(np.concatenate(masks, axis=1)).save(folder / f"labelme_{labelme.__version__}_masks.png", optimize=True)
os._exit(0)  # a window that nobody sees needs no farewell
