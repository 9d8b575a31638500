"""Panels: conversion of frames to tensors and back, and all arithmetic with times."""

from tsar.data.panel.columns import Columns
from tsar.data.panel.frequency import Frequency
from tsar.data.panel.future import make_future, read_future
from tsar.data.panel.inference import check_time_zone
from tsar.data.panel.panel import Labels, Panel, TimeShift
from tsar.data.panel.reading import is_long, row_order

__all__ = [
    "Columns",
    "Frequency",
    "Labels",
    "Panel",
    "TimeShift",
    "check_time_zone",
    "is_long",
    "make_future",
    "read_future",
    "row_order",
]
