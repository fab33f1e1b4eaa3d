"""Measures of bitstreams, images and sets of images."""

from ..protocols import ImageMetric, Metric, Score, SetMetric
from ..results.case import Case
from .building import build, choose_metrics
from .intervals import summarise

__all__ = ["Case", "ImageMetric", "Metric", "Score", "SetMetric", "build", "choose_metrics", "summarise"]
