"""What a model has to know of labelled videos."""

from __future__ import annotations

from typing import NotRequired, TypedDict


class VideoSpec(TypedDict):
    """Plain data, kept in the checkpoint.

    Attributes:
        classes: Names of the classes, in the order of their numbers.
        background: Names of the classes that edit and F1 leave out by default.
        feature_size: D of precomputed features; 0 where frames are pictures.
        image_size: Side of the square pictures, in pixels; 0 for features.
        stride: One of so many frames of a video is taken.
        feature_mean: What is subtracted from each feature; absent: nothing.
        feature_deviation: What each feature is divided by then.
    """

    classes: list[str]
    background: list[str]
    feature_size: int
    image_size: int
    stride: int
    feature_mean: NotRequired[list[float]]
    feature_deviation: NotRequired[list[float]]
