"""Measures of bitstreams, images and sets of images."""

from .building import build
from .protocol import Case, ImageMetric, Metric, Score, SetMetric, summarise

__all__ = ["Case", "ImageMetric", "Metric", "Score", "SetMetric", "build", "summarise"]
