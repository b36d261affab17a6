"""Photographs with captions, in the formats that the field uses."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import regex
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from ...errors import DataError, UsageError, some
from ..cache import cache_folder
from ..formats.folders import path_of, refuse_address
from ..formats.letters import composed, plain
from ..formats.listing import listing
from ..splits import PARTS, Part, carve, shares
from .base import CaptioningData, ImageName, Units
from .dataset import Augmentation, PictureStore
from .entries import Entry
from .files import Layout, read_captions
from .finding import ImageFinder
from .pictures import ImageFiles, Images, Missing, OpenedPictures, RandomView, faults, kept
from .rows import CaptionRows, DatasetImages

_NO_WORD = regex.compile(r"[^\w\s'’&%$#@+/-]|(?<!\w)['’/-]+|['’/-]+(?!\w)")


class _Collected(NamedTuple):
    images: Images
    references: list[tuple[str, ...]]
    names: list[ImageName]


class CaptionData(CaptioningData):
    r"""Images with captions: Flickr8k, COCO, Karpathy's splits, CSV, JSON lines, `datasets`.

    Captions are learnt in lower case and without punctuation, as they are scored; scores use them
    as they were written. Where the files say which image is for training, validation and test, that
    is kept; else images are drawn by a hash of their name, so that the parts are the same on every
    machine.

    Args:
        root: A folder with a caption file and images, or one caption file; see `layout`.
        dataset: Instead of a folder, a data set of the `datasets` library: its name, or a folder it
            was saved to.
        dataset_config: Name of the data set's configuration, where it has several.
        image_column: Name of the data set's column with the images.
        caption_column: Name of the data set's column with a caption or a list of them; several with
            commas in between.
        layout: What kind of caption file to look for: flickr8k, csv, karpathy, coco, json, jsonl;
            auto: the one that is there.
        columns: Which column of a table, or key of an object, is which, where they are called
            otherwise: `image=file,caption=2`, by names or by numbers from 1.
        image_dir: Folder of the images, where it isn't in `root` under a usual name.
        missing: What to do about images that are named but missing, damaged or no images: `error`,
            or `skip` them and say which.
        val_fraction: Share of the images for validation, where the files don't say; 0 for none.
        test_fraction: Share of the images for the test, where the files don't say; 0 for none.
        image_size: Side of the square pictures, in pixels: the image's middle, scaled.
        min_count: Words that are rarer in the training
            captions are unknown.
        units: What a caption is learnt in: `words`, `characters` or `subwords`; null: words, or
            characters where most letters are of scripts without spaces (Chinese, Japanese, Thai).
        normalize: Bring captions to Unicode's NFC, where an accented letter is one character.
        vocabulary: A file with the vocabulary of another program: Hugging Face's `tokenizer.json`,
            a SentencePiece `.model`, or a `.txt` with a word a line; null: that of the training
            captions.
        random_flip: Mirror every other training picture. Captions that say left and right are wrong
            then.
        min_crop: Train on squares of this share of the side at least, somewhere in the picture; 1
            for the whole.
        batch_size: Images in a batch of one process; each comes with all its captions.
        captions_per_image: So many captions of each image in a training batch, drawn anew each
            epoch; None: all.
        num_workers: Processes that decode images ahead.
        cache_images: Keep the decoded pictures; 150 kB each at 224 pixels.
        cache_features: Keep what a frozen backbone makes of the pictures, in half precision, and
            train on that.
        cache_views: Of so many views of each training picture, when random_flip or min_crop make
            some: the first is the whole picture, and an epoch draws one of each picture.
        cache_dir: Folder for what is kept; None for UNROLLED_CACHE or the user's cache folder.
        seed: Start of the pseudo-random numbers.
        spec: A checkpoint's spec: use its words and its picture size. None for the data's own.

    Examples:
        >>> from PIL import Image
        >>> folder = Path("photos")
        >>> folder.mkdir()
        >>> Image.new("RGB", (80, 60), "red").save(folder / "1.png")
        >>> lines = "image,caption\n1.png,a red picture\n1.png,all is red\n"
        >>> _ = (folder / "captions.csv").write_text(lines)
        >>> whole = dict(val_fraction=0, test_fraction=0)  # all of it is for training
        >>> data = CaptionData("photos", image_size=32, min_count=1, **whole)
        >>> data.prepare_data()
        >>> data.setup("fit")
        >>> batch = next(iter(data.train_dataloader()))
        >>> batch.image.shape, batch.references
        (torch.Size([1, 3, 32, 32]), (('a red picture', 'all is red'),))
    """

    def __init__(
        self,
        root: str | None = None,
        *,
        dataset: str | None = None,
        dataset_config: str | None = None,
        image_column: str = "image",
        caption_column: str = "caption",
        layout: Layout = "auto",
        columns: str | None = None,
        image_dir: str | None = None,
        missing: Missing = "error",
        val_fraction: float = 0.05,
        test_fraction: float = 0.05,
        image_size: int = 224,
        min_count: int = 5,
        units: Units | None = None,
        normalize: bool = True,
        vocabulary: str | None = None,
        random_flip: bool = False,
        min_crop: float = 1.0,
        batch_size: int = 32,
        captions_per_image: int | None = None,
        num_workers: int = 0,
        cache_images: bool = False,
        cache_features: bool = False,
        cache_views: int = 1,
        cache_dir: str | None = None,
        seed: int = 0,
        spec: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            image_size=image_size,
            min_count=min_count,
            batch_size=batch_size,
            captions_per_image=captions_per_image,
            num_workers=num_workers,
            seed=seed,
            cache_dir=cache_dir,
            cache_features=cache_features,
            cache_views=cache_views,
            units=units,
            normalize=normalize,
            vocabulary=vocabulary,
            spec=spec,
        )
        if (root is None) == (dataset is None):
            raise UsageError(
                "Captions come from a folder or a data set: give either --data.root or "
                "--data.dataset."
            )
        self.shares = shares(val_fraction, test_fraction)
        if not 0 < min_crop <= 1:
            raise UsageError(f"min_crop is {min_crop}; it has to be above 0 and at most 1.")
        views = random_flip or min_crop < 1
        if cache_features and views and cache_views == 1:
            raise UsageError(
                "cache_features keeps the features of the pictures as they are: random_flip and "
                "min_crop would do nothing. Keep several views of each picture, --data.cache_views "
                "4, or leave the one or the other out."
            )
        if cache_views > 1 and not (cache_features and views):
            raise UsageError(
                f"cache_views is {cache_views}: views are kept with cache_features, and made by "
                "random_flip or min_crop. Give both, or leave cache_views out."
            )
        self.root = root
        self.dataset = dataset
        self.dataset_config = dataset_config
        self.image_column = image_column
        self.caption_column = caption_column
        self.layout: Layout = layout
        self.columns = columns
        self.image_dir = image_dir
        self.missing: Missing = missing
        self.random_flip = random_flip
        self.min_crop = min_crop
        self.cache_images = cache_images

    def references(self, part: Part) -> list[tuple[str, ...]]:
        """Return the captions of each image of a part, as they were written."""
        return self._parts[part].references

    def inputs(self, part: Part) -> Sequence[ImageName]:
        """Return the images' names, with the data set's numbers where all of them have one."""
        return self._parts[part].names

    def images(self, part: Part) -> Images:
        """Return where the images of a part come from."""
        return self._parts[part].images

    def pictures(self, part: Part) -> PictureStore:
        """Return the pictures of a part."""
        images = self.images(part)
        pictures = OpenedPictures(images, self.image_size, missing=self.missing)
        if not self.cache_images:
            return pictures
        return kept(
            pictures, len(images), self.image_size, cache_folder(self.cache_dir, kind="captions")
        )

    def learnt(self, caption: str) -> str:
        """Return a caption without punctuation.

        Args:
            caption: As it was written.
        """
        return " ".join(_NO_WORD.sub(" ", plain(caption, nfc=self.normalize)).split())

    def augmentation(self) -> Augmentation | None:
        """Return what changes the training pictures, None for nothing."""
        if not self.random_flip and self.min_crop == 1:
            return None
        return RandomView(flip=self.random_flip, min_crop=self.min_crop)

    def remedy(self, part: Part) -> str:
        """Return what to do about an empty part, as a sentence."""
        if part != "train" and self.shares[part]:
            return f"The captions say which images each part has, and {part} has none."
        return super().remedy(part)

    def prepare_data(self) -> None:
        """Look at the images, so that the other processes find it done."""
        self._parts  # noqa: B018 # reads and checks everything

    @cached_property
    def _parts(self) -> dict[Part, _Collected]:
        parts = (
            self._from_files(self.root)
            if self.root is not None
            else self._from_dataset(str(self.dataset))
        )
        name = self.root if self.root is not None else f"data set '{self.dataset}'"
        if not any(collected.references for collected in parts.values()):
            raise DataError(f"{name} has no image with a caption.")
        counts = ", ".join(f"{len(parts[part].references):,} {part}" for part in parts)
        rank_zero_info(f"Images with captions in {name}: {counts}")
        texts = (text for part in parts.values() for found in part.references for text in found)
        if self.normalize and (odd := sum(not composed(text) for text in texts)):
            rank_zero_info(
                f"{odd:,} captions are brought to Unicode's NFC; --data.normalize false leaves "
                "them as they are."
            )
        return parts

    def _from_files(self, given: str) -> dict[Part, _Collected]:
        refuse_address(given)
        root = path_of(given).absolute()
        source, folders, entries, told = read_captions(root, self.layout, self.columns)
        for sentence in told:
            rank_zero_info(sentence)
        paths, wrong = self._located(root, folders, entries, source)
        self._report(
            source,
            [f"'{entries[number].image}': {wrong[number]}" for number in sorted(wrong)],
            len(entries),
        )
        self._report_silent(source, [entry.image for entry in entries if not entry.captions])
        parts = parts_of(entries, self.shares)
        ids = [entry.id for entry in entries]
        numbered = None not in ids and len(set(ids)) == len(ids)
        collected: dict[Part, tuple[list[Any], list[tuple[str, ...]], list[ImageName]]] = {
            part: ([], [], []) for part in PARTS
        }
        for number, (entry, path, part) in enumerate(zip(entries, paths, parts, strict=True)):
            if path is not None and number not in wrong and entry.captions:
                collected[part][0].append(path)
                collected[part][1].append(entry.captions)
                names = collected[part][2]
                number_of = entry.id if numbered and entry.id is not None else len(names)
                names.append(ImageName(number_of, entry.image))
        return {
            part: _Collected(self._images(files), texts, names)
            for part, (files, texts, names) in collected.items()
        }

    def _located(
        self, root: Path, folders: Sequence[Path], entries: Sequence[Entry], source: str
    ) -> tuple[Sequence[Any | None], dict[int, str]]:
        """Return where each image is, None where it is nowhere, and what is wrong with some."""
        finder = ImageFinder(root, folders, self.image_dir)
        paths, wrong = finder.all_of([entry.image for entry in entries], source)
        if others := finder.others(path for path in paths if path is not None):
            rank_zero_info(
                f"{len(others):,} image(s) beside those that {source} names are left alone: "
                f"{some(others, 3)}"
            )
        there = [number for number, path in enumerate(paths) if path is not None]
        found = faults([path for path in paths if path is not None], self._kept)
        return paths, wrong | {there[number]: what for number, what in found.items()}

    def _images(self, found: Sequence[Any]) -> Images:
        """Return what opens images, from what `_located` said of them."""
        return ImageFiles(found)

    @property
    def _kept(self) -> Path:
        return cache_folder(self.cache_dir, kind="captions")

    def _report(self, source: str, wrong: Sequence[str], total: int) -> None:
        if not wrong:
            return
        message = f"{len(wrong):,} of the {total:,} images that {source} names can't be used"
        listed = listing(wrong, self._kept)
        if self.missing == "error":
            raise DataError(
                f"{message}; mend them, or leave them out with --data.missing skip:\n{listed}"
            )
        rank_zero_warn(f"{message} and are left out:\n{listed}")

    def _report_silent(self, source: str, names: Sequence[str]) -> None:
        if names:
            rank_zero_warn(
                f"{len(names):,} image(s) in {source} have no caption and are left out:\n"
                f"{listing(names, self._kept)}"
            )

    def _from_dataset(self, name: str) -> dict[Part, _Collected]:
        rows = CaptionRows(
            name,
            config=self.dataset_config,
            image_column=self.image_column,
            caption_columns=self.caption_column,
        )
        parts: dict[Part, _Collected] = {}
        for given, taken in rows.parts.items():
            entries = [
                Entry(str(number), texts, given)
                for number, texts in enumerate(rows.captions(taken))
            ]
            self._report_silent(
                rows.name, [f"row {entry.image}" for entry in entries if not entry.captions]
            )
            for part in PARTS if given is None else (given,):
                where = parts_of(entries, self.shares)
                numbers = [
                    n for n, entry in enumerate(entries) if entry.captions and where[n] == part
                ]
                parts[part] = _Collected(
                    DatasetImages(taken, self.image_column, numbers, name=rows.name),
                    [entries[number].captions for number in numbers],
                    [ImageName(number, None) for number in numbers],
                )
        return {part: parts.get(part, _Collected(self._images([]), [], [])) for part in PARTS}


def parts_of(entries: Sequence[Entry], shares: Mapping[Part, Decimal]) -> list[Part]:
    """Return the part of each image: what its entry says, else by a hash of its name.

    Args:
        entries: The images.
        shares: The parts' shares of those without one; where it is not 0, validation and test get
            one image at least.
    """

    def place(number: int) -> bytes:
        name = entries[number].image.encode("utf-8", "surrogatepass")
        return hashlib.sha256(name).digest()

    free = [number for number, entry in enumerate(entries) if entry.part is None]
    counts: dict[Part, int] = {
        part: max(int(len(free) * shares[part]), 1) if shares[part] else 0
        for part in ("test", "val")
    }
    parts: list[Part] = [entry.part or "train" for entry in entries]
    for part, numbers in carve(sorted(free, key=place), counts, range(len(free))).items():
        for number in numbers:
            parts[number] = part
    return parts
