"""A small picture of a view with its lesions outlined."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from scipy import ndimage

# Half of a clinical matrix of 1024 x 256: outlines of 2 px lesions are seen, and a page of 10,000 stays under 50 MB.
LONGEST_SIDE_PX = 512
# Upper end of the grey scale, among pixels with counts: above it lie bladder and injection site, which would whiten the rest.
WINDOW_PERCENTILE = 99.5
# Below 1 it darkens the low counts: ribs and soft tissue are seen beside a spine at full black.
GAMMA = 0.6
# Vermilion of the colour-blind-safe palette of Okabe and Ito (2008), pure enough to survive the compression of colour.
OUTLINE_RGB = (230, 60, 0)
# Distances of the ring from the lesion; the gap keeps the ring's colour, which WebP stores at half resolution, off the lesion.
RING_PX = (1, 3)
# WebP of 2 to 3 KB; higher quality spends its bytes on noise.
WEBP_QUALITY = 45
WEBP_EFFORT = 2  # of 0 to 6; more takes twice the time for a twentieth of the size


def thumbnail(counts: np.ndarray, mask: np.ndarray | None, spacing_mm: tuple[float, float]) -> bytes:
    """Picture one view as WebP: dark where there are more counts, lesions ringed in vermilion, aspect true to millimetres.

    counts: (H, W) non-negative. mask: (H, W), above 0 in lesions, or None. spacing_mm: (row, column) pixel size. The longer
    side becomes 512 px; a ring leaves its lesion free.
    """
    height_mm, width_mm = counts.shape[0] * spacing_mm[0], counts.shape[1] * spacing_mm[1]
    scale = LONGEST_SIDE_PX / max(height_mm, width_mm)
    size = max(round(width_mm * scale), 1), max(round(height_mm * scale), 1)
    small = _resized(counts, size)
    above = small[small > 0]
    highest = float(np.percentile(above, WINDOW_PERCENTILE)) if above.size else 1.0
    grey = 255 - 255 * np.clip(small / highest, 0, 1) ** GAMMA
    picture = np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
    if mask is not None and mask.any():
        lesion = _resized(mask > 0, size) > 0
        inner, outer = (ndimage.binary_dilation(lesion, np.ones((2 * reach + 1,) * 2)) for reach in RING_PX)
        picture[outer & ~inner] = OUTLINE_RGB
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "WEBP", quality=WEBP_QUALITY, method=WEBP_EFFORT, use_sharp_yuv=True)
    return buffer.getvalue()


def _resized(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Mean over the area of each new pixel, so no lesion falls between two."""
    return np.asarray(Image.fromarray(pixels.astype(np.float32)).resize(size, Image.Resampling.BOX))
