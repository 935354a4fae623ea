"""A picture viewer for a self-contained page: canvas, windowing in counts, outlines, tables, keyboard; no network.

It knows nothing of metrics. Whoever makes a page hands it cases (`ViewerCase`: panels side by side, findings as table rows,
already in the order to be read), the layers that may be outlined and the columns of the table, and embeds what
`viewer_blocks` yields. `evaluation.report_cases` does so with a reference; a report of predictions alone uses one layer and
two panels, anterior and posterior, a case.
"""

from __future__ import annotations

from evaluation.viewer.contract import Column, Finding, Layer, Panel, ViewerCase
from evaluation.viewer.page import viewer_blocks, viewer_html

__all__ = ["Column", "Finding", "Layer", "Panel", "ViewerCase", "viewer_blocks", "viewer_html"]
