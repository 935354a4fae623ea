"""progress_adversarial.png: what the two players did, epoch by epoch, beside nnU-Net's own progress.png."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from msa_trainer import epoch_log


def plot(rows: Mapping[str, Sequence[float]], path: Path) -> None:
    """Draw the adversarial rows of nnU-Net's log to a PNG: losses a scale, weight and gradient ratio, discriminator."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 10), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    segmentation, adversarial, players = figure.subplots(3, 1, sharex=True)
    for name in rows:
        if name.startswith("msa_segmentation_scale_"):
            scale = int(name.rsplit("_", 1)[1])
            segmentation.plot(rows[name], label="full resolution" if scale == 0 else f"1/{2**scale}")
        elif name.startswith("msa_l1_scale_"):
            scale = int(name.rsplit("_", 1)[1])
            adversarial.plot(rows[name], lw=1, label="pair" if scale == 0 else f"features 1/{2**scale}")
    if epoch_log.LESION_DICE in rows:
        segmentation.plot(rows[epoch_log.LESION_DICE], color="k", lw=1, label="per lesion (1 - Dice)")
    segmentation.set(ylabel="Dice + cross-entropy", title="Segmentation loss by deep-supervision scale")
    adversarial.plot(rows[epoch_log.ADVERSARIAL], color="k", lw=2, label="mean")
    adversarial.set(ylabel="multi-scale L1 (0 to 2)", title="Adversarial term by scale")
    players.plot(rows[epoch_log.WEIGHT], color="k", lw=2, label="weight")
    players.plot(rows[epoch_log.RATIO], "o-", ms=3, label="gradient ratio, adversarial / segmentation")
    players.plot(rows[epoch_log.DISCRIMINATOR], lw=1, label="discriminator gradient norm")
    dropped = int(sum(v for v in rows[epoch_log.DROPPED] if v == v))
    players.set(ylabel="weight, ratio, norm", xlabel="epoch", title=f"Players ({dropped} dropped steps)")
    players.set_yscale("symlog", linthresh=0.01)
    for axes in (segmentation, adversarial, players):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    beside = path.with_suffix(".part.png")
    figure.savefig(beside)
    beside.replace(path)
