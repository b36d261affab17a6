"""Captions of images of which there are features instead of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from lightning.pytorch.utilities import rank_zero_info

from ...errors import DataError, UsageError
from ..formats.folders import path_of
from .base import Units
from .captions import CaptionData
from .entries import Entry
from .features import FeatureImages, FeatureSource, find_source, open_source, sizes
from .files import Layout
from .matching import match
from .pictures import Missing


class CaptionFeatures(CaptionData):
    r"""Captions in every form that `CaptionData` reads, and features of the images.

    Features are an array for each image, of its regions (bottom-up attention) or of a grid: (D,),
    (regions, D), (h, w, D) or (D, h, w), of which D is the largest axis. Images may differ in the
    number of regions. An array is called like its image, with or without suffix, or by its number,
    as COCO's images have one.

    Args:
        root: A folder with a caption file, or the file; see `layout`.
        features: A folder of `.npy` files, one an image; or one `.npz` or `.h5` file for all, an
            LMDB database, or a `.npy` array with a row an image and a file of their names; null:
            what lies in `root` as `features`.
        layout: What kind of caption file to look for: flickr8k, csv, karpathy, coco, json, jsonl;
            auto: the one that is there.
        columns: Which column of a table, or key of an object, is which, where they are called
            otherwise: `image=file,caption=2`, by names or by numbers from 1.
        missing: What to do about images without features, or with damaged ones: `error`, or `skip`
            them and say which.
        val_fraction: Share of the images for validation, where the files don't say; 0 for none.
        test_fraction: Share of the images for the test, where the files don't say; 0 for none.
        min_count: Words that are rarer in the training captions are unknown.
        units: What a caption is learnt in: `words`, `characters` or `subwords`; null: words, or
            characters where most letters are of scripts without spaces (Chinese, Japanese, Thai).
        normalize: Bring captions to Unicode's NFC, where an accented letter is one character.
        vocabulary: A file with the vocabulary of another program: Hugging Face's `tokenizer.json`,
            a SentencePiece `.model`, or a `.txt` with a word a line; null: that of the training
            captions.
        batch_size: Images in a batch of one process; each comes with all its captions.
        captions_per_image: So many captions of each image in a training batch, drawn anew each
            epoch; None: all.
        num_workers: Processes that read features ahead.
        cache_dir: Folder for lists of what is missing; None for UNROLLED_CACHE or the user's cache
            folder.
        seed: Start of the pseudo-random numbers.
        spec: A checkpoint's spec: use its words and its number of features. None for the data's
            own.

    Examples:
        >>> import numpy as np
        >>> folder = Path("given")
        >>> folder.mkdir()
        >>> np.savez(folder / "features.npz", **{"1": np.zeros((36, 16), np.float32)})  # 36 regions
        >>> _ = (folder / "captions.csv").write_text("image,caption\n1.png,a red picture\n")
        >>> data = CaptionFeatures("given", min_count=1, val_fraction=0, test_fraction=0)
        >>> data.prepare_data()
        >>> data.setup("fit")
        >>> next(iter(data.train_dataloader())).image.shape
        torch.Size([1, 36, 16])
    """

    given_features: ClassVar = True

    def __init__(
        self,
        root: str | None = None,
        *,
        features: str | None = None,
        layout: Layout = "auto",
        columns: str | None = None,
        missing: Missing = "error",
        val_fraction: float = 0.05,
        test_fraction: float = 0.05,
        min_count: int = 5,
        units: Units | None = None,
        normalize: bool = True,
        vocabulary: str | None = None,
        batch_size: int = 32,
        captions_per_image: int | None = None,
        num_workers: int = 0,
        cache_dir: str | None = None,
        seed: int = 0,
        spec: dict[str, Any] | None = None,
    ) -> None:
        if root is None:
            raise UsageError("Captions come from a folder or a file: give --data.root.")
        super().__init__(
            root,
            layout=layout,
            columns=columns,
            missing=missing,
            val_fraction=val_fraction,
            test_fraction=test_fraction,
            image_size=0,
            min_count=min_count,
            units=units,
            normalize=normalize,
            vocabulary=vocabulary,
            batch_size=batch_size,
            captions_per_image=captions_per_image,
            num_workers=num_workers,
            cache_dir=cache_dir,
            seed=seed,
            spec=spec,
        )
        self.given = features
        self._size: int | None = None if spec is None else int(spec["feature_size"])

    def own_spec(self) -> dict[str, Any]:
        """Return the words and D, a `CaptionSpec`."""
        words = super().own_spec()  # reads the files, which say D
        self._parts  # noqa: B018
        return {**words, "feature_size": self._size}

    @cached_property
    def _source(self) -> FeatureSource:
        assert self.root is not None
        return open_source(find_source(path_of(self.root).absolute(), self.given))

    def _located(
        self, root: Path, folders: Sequence[Path], entries: Sequence[Entry], source: str
    ) -> tuple[Sequence[Any | None], dict[int, str]]:
        keys, wrong, told = match(self._source, entries, source)
        size, damaged, places = sizes(self._source, keys, self._size)
        if not places:
            raise DataError(f"No features in '{self._source.path}' can be used: {damaged}")
        self._size = size
        least, most = min(places), max(places)
        regions = f"{least:,}" if least == most else f"{least:,} to {most:,}"
        rank_zero_info(f"{told}: {size:,} in each of {regions} regions or places")
        if others := self._source.others:
            rank_zero_info(f"{len(others):,} other(s) there, as '{others[0]}', are left alone")
        return keys, wrong | damaged

    def _images(self, found: Sequence[Any]) -> FeatureImages:
        return FeatureImages(self._source, found, self._size or 0)
