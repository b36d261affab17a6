"""Small corpora of every kind, written in no time: parallel text, captions, features, videos."""

from __future__ import annotations

import gzip
import json
import lzma
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from unrolled.data import ParallelData

# Parallel text


def write_pairs(
    folder: Path, part: str, pairs: Sequence[tuple[str, str]], suffix: str = ""
) -> None:
    """Write the German and the English side of pairs, compressed by the suffix."""
    opener = {"": open, ".gz": gzip.open, ".xz": lzma.open}[suffix]
    for side, language in enumerate(("de", "en")):
        with opener(folder / f"{part}.{language}{suffix}", "wt", encoding="utf-8") as file:
            file.writelines(f"{pair[side]}\n" for pair in pairs)


GERMAN = ["ein", "zwei", "Hund", "Katze", "läuft", "schläft", "und", "oder", "nicht", "Straße"]
ENGLISH = ["one", "two", "dog", "cat", "runs", "sleeps", "and", "or", "not", "street"]


def pairs_of(count: int, seed: int = 0) -> list[tuple[str, str]]:
    rng = np.random.default_rng(seed)
    chosen = [rng.integers(0, len(GERMAN), rng.integers(6, 14)) for _ in range(count)]
    return [
        (" ".join(GERMAN[i] for i in row) + ".", " ".join(ENGLISH[i] for i in row) + ".")
        for row in chosen
    ]


PAIRS = {"train": pairs_of(200), "val": pairs_of(20, 1), "test": pairs_of(30, 2)}


def parallel_data(folder, **settings) -> ParallelData:
    from unrolled.data import ParallelData

    given = {
        "root": str(folder),
        "source": "de",
        "target": "en",
        "vocabulary_size": 150,
        "batch_size": 8,
    }
    given["cache_dir"] = str(folder / "cache")
    return ParallelData(**(given | settings))


def read_pairs(data: ParallelData, part: str) -> list[tuple[str, str, str]]:
    """Return source, target and reference of every pair of a part, by its number."""
    from unrolled.data import Subwords

    source, target = data.vocabularies
    found = {}
    for batch in data.loader(part):
        for row, (number, reference) in enumerate(
            zip(batch.number.tolist(), batch.reference, strict=True)
        ):
            ids = [
                batch.source[row, : batch.source_lengths[row]],
                batch.target[row, : batch.target_lengths[row]],
            ]
            assert [int(side[-1]) for side in ids] == [Subwords.END] * 2
            assert not batch.source[row, batch.source_lengths[row] :].any()
            assert not batch.target[row, batch.target_lengths[row] :].any()
            found[number] = (
                source.decode(ids[0].tolist()),
                target.decode(ids[1].tolist()),
                reference,
            )
    return [found[number] for number in range(len(found))]


def with_reference(pairs) -> list[tuple[str, str, str]]:
    return [(source, target, target) for source, target in pairs]


# Images with captions

IMAGES = [f"{number}.jpg" for number in range(10)]


def draw_images(folder: Path, names: Sequence[str] = IMAGES) -> Path:
    """Make images of one grey each, which tells them apart."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        Image.new("RGB", (40, 30), (number * 20,) * 3).save(folder / name)
    return folder


def damage_image(path: Path) -> None:
    """Spoil the pixels, so that a quick look sees nothing."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, "PNG")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + bytes(200) + content[len(content) // 2 + 200 :])


def numbers_in(batch) -> list[int]:
    """Which of the drawn images a batch holds, by their grey."""
    return [round(float(picture.float().mean()) / 20) for picture in batch.image]


def captions_of(number: int) -> list[str]:
    return [f"A dog, number {number}.", f"This dog is {number}"]


def write_flickr8k(root: Path) -> None:
    draw_images(root / "Flicker8k_Dataset")
    lines = [
        f"{name}#{k}\t{text}"
        for n, name in enumerate(IMAGES)
        for k, text in enumerate(captions_of(n))
    ]
    (root / "Flickr8k.token.txt").write_text(
        "\n".join([*lines, "unlisted.jpg.1#0\tNo part has it ."]) + "\n"
    )
    (root / "Flickr8k.lemma.token.txt").write_text("0.jpg#0\tDog .\n")
    for part, names in (("train", IMAGES[:7]), ("dev", IMAGES[7:8]), ("test", IMAGES[8:])):
        (root / f"Flickr_8k.{part}Images.txt").write_text("".join(f"{name}\n" for name in names))


def write_csv(root: Path) -> None:
    draw_images(root / "images")
    lines = [f'{name},"{text}"' for n, name in enumerate(IMAGES) for text in captions_of(n)]
    (root / "captions.csv").write_text("\n".join(["image,caption", *lines]))


def write_karpathy(root: Path) -> None:
    draw_images(root / "val2014")
    splits = ["train"] * 5 + ["restval"] * 2 + ["val", "test", "test"]
    images = [
        {
            "filename": name,
            "filepath": "val2014",
            "split": split,
            "sentences": [{"raw": text} for text in captions_of(n)],
        }
        for n, (name, split) in enumerate(zip(IMAGES, splits, strict=True))
    ]
    (root / "dataset_coco.json").write_text(json.dumps({"images": images, "dataset": "coco"}))


def coco(numbers: range, texts: bool = True) -> str:
    annotations = [
        {"image_id": n, "id": 9 * n, "caption": text} for n in numbers for text in captions_of(n)
    ]
    images = [{"id": n, "file_name": IMAGES[n], "height": 30, "width": 40} for n in numbers]
    return json.dumps(
        {"images": images, "annotations": annotations if texts else [], "type": "captions"}
    )


def write_coco(root: Path) -> None:
    draw_images(root / "train2017", IMAGES[:7])
    draw_images(root / "val2017")
    (root / "annotations").mkdir()
    (root / "annotations" / "captions_train2017.json").write_text(coco(range(7)))
    (root / "annotations" / "captions_val2017.json").write_text(coco(range(7, 10)))


def write_coco_one(root: Path) -> None:
    draw_images(root / "images")
    (root / "captions.json").write_text(coco(range(10)))


def write_jsonl(root: Path) -> None:
    draw_images(root)
    rows = [
        json.dumps({"file_name": name, "captions": captions_of(n)}) for n, name in enumerate(IMAGES)
    ]
    (root / "metadata.jsonl").write_text("\n".join(rows) + "\n\n")


CAPTION_LAYOUTS: dict[str, Callable[[Path], None]] = {
    "flickr8k": write_flickr8k,
    "csv": write_csv,
    "karpathy": write_karpathy,
    "coco": write_coco,
    "coco_one": write_coco_one,
    "jsonl": write_jsonl,
}


def save_captions(
    root: Path,
    columns: Mapping[str, Sequence] | None = None,
    parts: Mapping[str, range] | None = None,
) -> Path:
    """Save images with captions as a data set of the `datasets` library, in parts if asked to."""
    import datasets

    draw_images(root / "images")
    columns = columns or {"caption": [captions_of(number) for number in range(10)]}
    files = [str(root / "images" / name) for name in IMAGES]
    rows = datasets.Dataset.from_dict({"image": files, **columns})
    rows = rows.cast_column("image", datasets.Image())
    if parts is not None:
        rows = datasets.DatasetDict({part: rows.select(numbers) for part, numbers in parts.items()})
    rows.save_to_disk(str(root / "saved"))
    return root / "saved"


# Labelled videos

CLASSES = ["rest", "cut", "mix"]
ACTIONS = ["none", "cut", "mix"]


def write_ms_tcn(
    root: Path,
    videos: Mapping[str, tuple[np.ndarray, Sequence[int]]],
    *,
    test: Collection[str],
    classes: Sequence[str] = CLASSES,
    time_first: bool = False,
) -> Path:
    """Write features (T, D) and the numbers of their labels in the layout of MS-TCN."""
    for folder in ("features", "groundTruth", "splits"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "mapping.txt").write_text(
        "".join(f"{number} {name}\n" for number, name in enumerate(classes))
    )
    for name, (features, labels) in videos.items():
        np.save(root / "features" / f"{name}.npy", features if time_first else features.T)
        (root / "groundTruth" / f"{name}.txt").write_text(
            "".join(f"{classes[label]}\n" for label in labels)
        )
    for part in ("train", "test"):
        names = [name for name in videos if (name in test) == (part == "test")]
        (root / "splits" / f"{part}.split1.bundle").write_text(
            "".join(f"{name}.txt\n" for name in names)
        )
    return root


def learnable_videos(
    count: int,
    *,
    segments: int,
    longest: int,
    features: int,
    noise: float,
    classes: Sequence[str] = CLASSES,
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Draw videos `v0`, `v1` and so on, whose features say the class of each frame, roughly."""
    draw = np.random.default_rng(0)
    videos = {}
    for number in range(count):
        labels = np.repeat(
            draw.integers(len(classes), size=segments),
            draw.integers(2, longest + 1, size=segments),
        )
        seen = np.eye(features)[labels] + noise * draw.normal(size=(len(labels), features))
        videos[f"v{number}"] = seen.astype(np.float32), labels
    return videos


def lights(frames: int, seed: int = 0) -> np.ndarray:
    """Draw pictures (T, 16, 24, 3) of one light each."""
    light = np.random.default_rng(seed).integers(30, 220, frames).astype(np.uint8)
    return np.broadcast_to(light[:, None, None, None], (frames, 16, 24, 3)).copy()


def add_video(path: Path, frames: int = 12, seed: int = 0, *, labels: bool = True) -> np.ndarray:
    """Write a video, and its labels beside it unless asked not to; return them."""
    from unrolled.data.video.clips.module import write_video
    from unrolled.data.video.labels import write_segments

    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, lights(frames, seed))
    numbers = np.sort(np.random.default_rng(seed).integers(0, len(ACTIONS), frames))
    if labels:
        write_segments(path.with_suffix(".csv"), numbers, ACTIONS)
    return numbers


def add_folder(path: Path, frames: int = 5, seed: int = 0) -> None:
    """Write a video as a folder of pictures."""
    path.mkdir(parents=True)
    for number, picture in enumerate(lights(frames, seed)):
        Image.fromarray(picture).save(path / f"{number}.png")
