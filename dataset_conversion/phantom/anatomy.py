"""The skeleton and what else takes up tracer normally, drawn into an anterior, a middle and a posterior plane.

Proportions of a standard body of 1,740 mm by eye from anatomy and from the real scan NM1; not a segmented anatomy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from dataset_conversion.phantom.drawing import Frame, Plane, Points
from dataset_conversion.phantom.parameters import PhantomParameters

ANTERIOR, MIDDLE, POSTERIOR = 0, 1, 2
STANDARD_STATURE_MM = 1740
SIDES = (-1, 1)


@dataclass(frozen=True)
class Site:
    """Where a metastasis may lie: a bone's course in px (column, row), its plane, radius in px, uptake and weight."""

    course: np.ndarray
    plane: int
    radius_px: float
    uptake: float
    weight: float


class Body:
    """One patient's planes and the sites on the bones."""

    def __init__(self, parameters: PhantomParameters, rng: np.random.Generator) -> None:
        self.rng = rng
        stature = rng.uniform(*parameters.stature_mm)
        scale = stature / STANDARD_STATURE_MM
        length_mm = parameters.shape[0] * parameters.spacing_mm
        self.frame = Frame(
            parameters.shape,
            parameters.spacing_mm,
            scale,
            scale * rng.uniform(*parameters.width),
            rng.normal(0, 0.008),
            (rng.normal(0, 6), max(length_mm - stature, 0) * rng.uniform(0.25, 0.6)),
        )
        self.planes = [Plane(self.frame) for _ in range(3)]
        self.sites: list[Site] = []
        self._bend = rng.uniform(*parameters.scoliosis_mm) * rng.choice(SIDES), rng.uniform(0, 2 * np.pi)
        self._draw_soft_tissue(rng.uniform(*parameters.soft_tissue))
        self._draw_head()
        self._draw_spine()
        self._draw_chest()
        self._draw_shoulders_and_arms()
        self._draw_pelvis()
        self._draw_legs()
        self._texture()
        self._draw_urinary_tract(parameters)

    def bone(
        self,
        plane: int,
        points: Points,
        radius: float | Sequence[float],
        uptake: float,
        weight: float = 0.0,
        hollow: float = 0.0,
    ) -> None:
        """Draw a tubular bone with a little variation of its uptake, and remember it as a site of that weight."""
        uptake *= self.rng.uniform(0.88, 1.12)
        self.planes[plane].tube(points, radius, uptake, hollow)
        if weight:
            radius_px = self.frame.length_px(float(np.mean(radius)))
            self.sites.append(Site(self.frame.to_px(points), plane, radius_px, uptake, weight))

    def spine_x(self, y: float) -> float:
        """Sideways position of the spine at a height, mm."""
        amplitude, phase = self._bend
        return float(amplitude * np.sin(2 * np.pi * (y - 230) / 620 + phase))

    def vertebrae(self) -> Iterator[tuple[str, float, float, float]]:
        """Level, middle, half height and half width of every vertebra from C3 to L5, mm."""
        y = 235.0
        for level, number, pitch, half_width in (("C", 5, 15, 12), ("T", 12, 24, 14), ("L", 5, 35, 21)):
            for index in range(number):
                step = pitch + (0.4 * index if level == "T" else 0)
                yield f"{level}{index + (3 if level == 'C' else 1)}", y + step / 2, step / 2, half_width + 0.5 * index
                y += step

    def _draw_soft_tissue(self, uptake: float) -> None:
        middle = self.planes[MIDDLE]
        middle.ellipsoid((0, 112), (84, 118), 0.7 * uptake)
        middle.tube([(0, 180), (0, 300)], 60, 0.6 * uptake)
        flank = [(-112, 350), (-92, 480), (-78, 620), (-80, 740), (-92, 830), (-78, 930)]
        girth = self.rng.uniform(0.92, 1.25)
        for side in SIDES:
            middle.tube(
                [(-side * x, y) for x, y in flank], [66, 88 * girth, 88 * girth, 90 * girth, 98 * girth, 90], 0.8 * uptake
            )
            middle.tube(
                [(side * 170, 330), (side * 206, 610), (side * 220, 860), (side * 224, 970)], [56, 46, 36, 26], 0.6 * uptake
            )
            middle.tube(
                [(side * 94, 890), (side * 92, 1100), (side * 90, 1310), (side * 84, 1660)], [92, 82, 60, 40], 0.75 * uptake
            )
            middle.ellipsoid((side * 94, 1720), (36, 50), 0.4 * uptake)
        middle.tube([(0, 330), (0, 930)], [100, 118 * girth], 0.8 * uptake)
        middle.ellipsoid((-55, 560), (90, 55), 0.35 * uptake)  # liver
        middle.activity[:] = ndimage.gaussian_filter(middle.activity, 4)

    def _draw_head(self) -> None:
        for plane, share in ((ANTERIOR, 0.45), (POSTERIOR, 0.55)):
            self.planes[plane].shell((0, 98), (72, 92), 0.14, 0.6 * share * 2)
        face = self.planes[ANTERIOR]
        face.ellipsoid((0, 160), (52, 48), 0.42)
        face.ellipsoid((0, 195), (40, 34), 0.3)
        face.ellipsoid((0, 150), (12, 22), 0.35)
        for side in SIDES:
            face.ellipsoid((side * 26, 122), (15, 12), 0.15)
            face.ellipsoid((side * 28, 165), (14, 14), 0.25)
            face.ellipsoid((side * 56, 152), (8, 10), 0.3)  # temporomandibular joint
        jaw = [(-52, 160), (-46, 196), (-22, 220), (0, 226), (22, 220), (46, 196), (52, 160)]
        self.bone(ANTERIOR, jaw, 9, 0.3)
        skull = [(-60, 80), (-35, 30), (0, 12), (35, 30), (60, 80)]
        for plane in (ANTERIOR, POSTERIOR):
            self.sites.append(Site(self.frame.to_px(skull), plane, self.frame.length_px(10), 0.5, 0.35))
        self.planes[POSTERIOR].ellipsoid((0, 178), (34, 22), 0.4)

    def _draw_spine(self) -> None:
        for level, y, half, width in self.vertebrae():
            x = self.spine_x(y)
            uptake = {"C": 0.55, "T": 0.85, "L": 1.0}[level[0]]
            front, back = {"C": (0.5, 0.5), "T": (0.3, 0.7), "L": (0.5, 0.5)}[level[0]]
            body = [(x - width + half * 0.55, y), (x + width - half * 0.55, y)]
            for plane, share in ((MIDDLE, front), (POSTERIOR, back)):
                self.planes[plane].tube(body, half * 0.88, uptake * share * self.rng.uniform(0.9, 1.1))
            self.sites.append(
                Site(self.frame.to_px(body), POSTERIOR if level[0] == "T" else MIDDLE, self.frame.length_px(half), uptake,
                     {"C": 0.2, "T": 0.75, "L": 1.0}[level[0]])
            )  # fmt: skip
            for side in SIDES:
                self.planes[POSTERIOR].ellipsoid((x + side * width * 0.75, y - half * 0.2), (4.5, 5), 0.35 * uptake)
            self.planes[POSTERIOR].ellipsoid((x, y + half * 0.5), (3.5, half * 0.6), 0.3 * uptake)

    def _draw_chest(self) -> None:
        thoracic = [(y, x) for level, y, _, _ in self.vertebrae() if level[0] == "T" for x in [self.spine_x(y)]]
        t = np.linspace(0, 1, 12)
        for index, (y, x) in enumerate(thoracic):
            lateral = np.interp(index, [0, 2, 5, 8, 10, 11], [52, 88, 122, 134, 118, 78])
            drop = np.interp(index, [0, 3, 8, 11], [14, 46, 62, 40])
            for side in SIDES:
                course = np.stack(
                    [x * (1 - t) + side * (16 + (lateral - 16) * np.sin(t * np.pi / 2)), y - 6 + drop * t**1.7], 1
                )
                radius = 5.2 if index < 10 else 4.6
                self.bone(POSTERIOR, course, radius, 0.34, 0.32)
                if index >= 10:
                    continue
                end = np.interp(index, [0, 4, 7, 9], [24, 40, 66, 92])
                rise = np.interp(index, [0, 2, 6, 9], [12, 26, 34, 16])
                front = np.stack(
                    [side * (end + (lateral - end) * np.cos(t * np.pi / 2)), y - 6 + drop + rise * np.sin(t * np.pi / 2)], 1
                )
                self.bone(ANTERIOR, front[:9], radius, 0.3, 0.2)
                self.planes[ANTERIOR].ellipsoid((float(front[-3, 0]), float(front[-3, 1])), (5, 5), 0.16)  # costochondral
                self.planes[POSTERIOR].ellipsoid((x + side * 22, y - 4), (5, 5), 0.15)  # costovertebral
        self.bone(ANTERIOR, [(0, 334), (0, 362)], [23, 17], 0.7, 0.4)
        self.bone(ANTERIOR, [(0, 372), (0, 470)], [13, 15], 0.62, 0.5)
        self.planes[ANTERIOR].ellipsoid((0, 366), (12, 5), 0.25)

    def _draw_shoulders_and_arms(self) -> None:
        for side in SIDES:
            lift = self.rng.normal(0, 5)
            self.bone(
                ANTERIOR,
                [(side * 20, 332), (side * 75, 318 + lift), (side * 120, 310 + lift), (side * 156, 306 + lift)],
                6.5,
                0.45,
                0.12,
            )
            self.planes[ANTERIOR].ellipsoid((side * 21, 334), (11, 10), 0.45)  # sternoclavicular
            blade = [(side * 150, 330), (side * 76, 342), (side * 82, 400), (side * 100, 462), (side * 122, 410)]
            self.planes[POSTERIOR].polygon(blade, 0.16)
            self.bone(POSTERIOR, [(side * 78, 350), (side * 118, 334), (side * 156, 318)], 6, 0.5, 0.2)
            self.bone(POSTERIOR, [(side * 146, 345), (side * 122, 405), (side * 101, 460)], 5.5, 0.45, 0.2)
            self.bone(POSTERIOR, [(side * 77, 345), (side * 84, 400), (side * 100, 460)], 4, 0.3)
            self.planes[MIDDLE].ellipsoid((side * 158, 330), (22, 24), 0.75)  # humeral head
            abduction = self.rng.uniform(-6, 12)
            elbow, wrist = (side * (206 + abduction), 618), (side * (220 + abduction * 1.3), 850)
            self.bone(MIDDLE, [(side * 162, 345), (side * 182, 470), elbow], [15, 11.5, 14], 0.36, 0.25, hollow=0.3)
            self.planes[MIDDLE].ellipsoid(elbow, (20, 15), 0.35)
            for offset in (-11, 10):
                self.bone(MIDDLE, [(elbow[0] + offset * 0.8, 630), (wrist[0] + offset, 842)], 7.5, 0.26, hollow=0.25)
            self.planes[MIDDLE].ellipsoid((wrist[0], 858), (20, 13), 0.45)
            for finger in (-24, -12, 0, 12):
                self.bone(
                    MIDDLE,
                    [(wrist[0] + finger * 0.6, 875), (wrist[0] + finger * 1.1, 935), (wrist[0] + finger * 1.2, 985)],
                    4,
                    0.2,
                )

    def _draw_pelvis(self) -> None:
        x = self.spine_x(790)
        self.bone(POSTERIOR, [(x, 762), (x, 800), (x, 850)], [32, 27, 12], 0.75, 0.7)
        self.bone(POSTERIOR, [(x, 855), (x, 880)], [8, 5], 0.4)
        for side in SIDES:
            wing = [(30, 772), (58, 738), (95, 728), (128, 748), (136, 782), (118, 838), (98, 860), (62, 838), (40, 820)]
            self.planes[MIDDLE].polygon([(side * px, py) for px, py in wing], 0.34)
            crest = [(side * px, py) for px, py in ((36, 765), (60, 738), (96, 728), (128, 747), (137, 780))]
            self.bone(MIDDLE, crest, 8, 0.55, 0.6)
            self.bone(POSTERIOR, [(side * 37, 770), (side * 31, 800), (side * 33, 832)], 8, 0.75, 0.6)  # sacroiliac
            self.bone(MIDDLE, [(side * 130, 790), (side * 112, 845), (side * 98, 872)], [10, 13, 18], 0.4, 0.5)
            self.planes[MIDDLE].ellipsoid((side * 98, 884), (30, 30), 0.45)  # acetabulum and femoral head
            ring = [(side * 86, 900), (side * 52, 912), (side * 24, 908), (side * 6, 916)]
            self.bone(ANTERIOR, ring, 8, 0.4, 0.25)
            self.bone(POSTERIOR, [(side * 84, 905), (side * 66, 950), (side * 52, 962)], [12, 12, 11], 0.6, 0.35)  # ischium
            self.bone(ANTERIOR, [(side * 56, 958), (side * 28, 935), (side * 8, 922)], 6.5, 0.36)

    def _draw_legs(self) -> None:
        for side in SIDES:
            self.bone(MIDDLE, [(side * 104, 888), (side * 132, 922)], [15, 16], 0.42, 0.35)
            self.planes[MIDDLE].ellipsoid((side * 136, 915), (16, 20), 0.42)  # trochanter
            shaft = [(side * 132, 930), (side * 120, 1020), (side * 104, 1180), (side * 96, 1290)]
            self.bone(MIDDLE, shaft, [20, 17, 15, 22], 0.36, 0.5, hollow=0.35)
            knee = (side * 95, 1316)
            self.planes[MIDDLE].ellipsoid((knee[0], knee[1] - 16), (36, 20), 0.5)
            self.planes[MIDDLE].ellipsoid((knee[0], knee[1] + 20), (35, 15), 0.5)
            self.planes[ANTERIOR].ellipsoid((knee[0], knee[1] - 12), (19, 20), 0.45)  # patella
            tibia = [(side * 93, 1345), (side * 90, 1480), (side * 84, 1655)]
            self.bone(MIDDLE, tibia, [23, 14, 16], 0.34, 0.12, hollow=0.35)
            self.bone(MIDDLE, [(side * 118, 1350), (side * 108, 1660)], 5.5, 0.18)
            self.planes[MIDDLE].ellipsoid((side * 88, 1668), (26, 14), 0.5)
            self.planes[POSTERIOR].ellipsoid((side * 88, 1700), (17, 22), 0.4)
            self.bone(ANTERIOR, [(side * 90, 1685), (side * 97, 1735)], [17, 20], 0.22)
            for toe in (-15, -5, 5, 14):
                self.bone(ANTERIOR, [(side * (96 + toe * 0.9), 1735), (side * (98 + toe), 1762)], 5, 0.2)

    def _texture(self) -> None:
        """Uptake is never even: smooth relative variation of about 12 % over 2 cm."""
        height, width = self.frame.shape
        coarse = self.rng.standard_normal((height // 8 + 2, width // 8 + 2)).astype(np.float32)
        field = ndimage.zoom(coarse, 8, order=1)[:height, :width]
        for plane in self.planes:
            plane.activity *= 1 + 0.12 * field
            np.clip(plane.activity, 0, None, out=plane.activity)

    def _draw_urinary_tract(self, parameters: PhantomParameters) -> None:
        rng, low = self.rng, self.rng.uniform(*parameters.kidney_uptake)
        for side in SIDES:
            y = 618 + 8 * side * -1 + rng.normal(0, 8)
            if rng.random() < 0.97:
                self.planes[POSTERIOR].ellipsoid((side * 63, y), (25, 47), low * rng.uniform(0.7, 1.2), turn=-0.22 * side)
                self.planes[POSTERIOR].ellipsoid((side * 52, y + 5), (10, 16), low * rng.uniform(0, 0.8))
        bladder = rng.uniform(*parameters.bladder_uptake)
        self.planes[ANTERIOR].ellipsoid((rng.normal(0, 5), 880), (rng.uniform(26, 46), rng.uniform(18, 36)), bladder)
