"""Frames in, tensors out, and back: and all arithmetic with times."""

from tsar.panel.columns import Columns
from tsar.panel.frequency import Frequency
from tsar.panel.future import make_future, read_future
from tsar.panel.inference import check_zone
from tsar.panel.joining import beside_each_other, join
from tsar.panel.panel import Jump, Labels, Panel
from tsar.panel.reading import is_long, row_order

__all__ = [
    "Columns",
    "Frequency",
    "Jump",
    "Labels",
    "Panel",
    "beside_each_other",
    "check_zone",
    "is_long",
    "join",
    "make_future",
    "read_future",
    "row_order",
]
