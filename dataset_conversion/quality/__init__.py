"""The QC page: what looks wrong with the views of a dataset, and a picture of each."""

from dataset_conversion.quality.dataset_checks import ViewRecord, dataset_flags
from dataset_conversion.quality.flag import Flag, worst_first
from dataset_conversion.quality.page import QcCase, write_qc_page
from dataset_conversion.quality.pair_checks import ViewStatistics, pair_flags, view_statistics
from dataset_conversion.quality.thumbnail import thumbnail
from dataset_conversion.quality.view_checks import view_flags

__all__ = [
    "Flag",
    "QcCase",
    "ViewRecord",
    "ViewStatistics",
    "dataset_flags",
    "pair_flags",
    "thumbnail",
    "view_flags",
    "view_statistics",
    "worst_first",
    "write_qc_page",
]
