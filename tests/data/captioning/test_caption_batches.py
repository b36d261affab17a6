"""What is drawn, resumed and kept: pictures, captions, features."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from corpora import IMAGES, damage_image, draw_images, write_csv
from lightning.pytorch import LightningModule, Trainer
from PIL import Image
from unrolled.data import CaptionData, ScenesData
from unrolled.data.samplers import Items
from unrolled.errors import DataError, UsageError


def draw_noise(root) -> None:
    """As `write_csv`, with pictures whose every part is another."""
    write_csv(root)
    for number, name in enumerate(IMAGES):
        noise = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(noise).save(root / "images" / name, quality=100)


def everything(batch) -> list:
    return [
        batch.image.tolist(),
        batch.caption.tolist(),
        batch.image_of.tolist(),
        batch.number.tolist(),
    ]


# Order, draws and resume


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("cache_images", [False, True])
def test_resumes_exactly_with_everything_drawn(tmp_path, data, workers, cache_images):
    write_csv(tmp_path)
    drawn = {
        "captions_per_image": 1,
        "random_flip": True,
        "min_crop": 0.5,
        "batch_size": 3,
        "seed": 5,
    }
    settings = {**drawn, "num_workers": workers, "cache_images": cache_images}
    loader = data(**settings).train_dataloader()
    states, whole = [], []
    for _ in range(2):
        for batch in loader:
            whole.append(everything(batch))
            states.append(loader.state_dict())
    assert whole[:3] != whole[3:]
    assert all(len(batch[1]) == len(batch[3]) for batch in whole)
    for done in (1, 3, 4):
        again = data(**settings).train_dataloader()
        again.load_state_dict(states[done - 1])
        rest = [everything(batch) for _ in range(2 - done // 3) for batch in again]
        assert whole[done:] == rest


def test_evaluation_draws_nothing(tmp_path, data):
    write_csv(tmp_path)
    settings = {"captions_per_image": 1, "random_flip": True, "min_crop": 0.5, "val_fraction": 0.5}
    loader = data(**settings).val_dataloader()
    once, again = ([everything(batch) for batch in loader] for _ in range(2))
    assert once == again
    assert sum(len(batch[1]) for batch in once) == 2 * 5


def test_a_process_without_images_has_an_empty_batch(tmp_path, data):
    write_csv(tmp_path)
    batch = data().val_dataloader().dataset[Items((), 0)]
    assert batch.image.shape == (0, 3, 8, 8)
    assert batch.caption.shape == (0, 1)
    assert batch.lengths.shape == batch.number.shape == batch.image_of.shape == (0,)


# Caches


class Module(LightningModule):
    """A frozen "backbone" that keeps one number a picture."""

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.weight = weight
        self.calls = 0
        self.seen: list[torch.Tensor] = []
        self.numbers: list[int] = []

    def encode(self, pictures: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.weight * pictures.float().mean((1, 2, 3)).reshape(-1, 1, 1).expand(-1, 2, 3)

    def setup(self, stage: str) -> None:
        self.trainer.datamodule.use_features(self.encode, lambda: f"weight {self.weight}")

    def training_step(self, batch) -> torch.Tensor:
        self.seen.append(batch.image)
        self.numbers += batch.number.tolist()
        return self.layer(torch.ones(1, 1)).sum()

    def validation_step(self, batch) -> None:
        """Not run, but asked for."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(module: Module, data: CaptionData | ScenesData) -> Module:
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    trainer.fit(module, datamodule=data)
    return module


def test_features_are_made_once_and_again_for_other_weights(tmp_path, data):
    write_csv(tmp_path)
    alone = {"val_fraction": 0, "test_fraction": 0, "cache_features": True}
    first = fit(Module(), data(**alone))
    assert first.calls == 1
    features = torch.cat(first.seen)
    assert features.shape == (10, 2, 3)
    assert features.dtype == torch.float16
    assert [round(float(row.mean()) / 20) for row in features] == first.numbers
    again = fit(Module(), data(**alone, batch_size=10, seed=1))
    assert again.calls == 0
    assert sorted(again.numbers) == list(range(10))
    other = fit(Module(0.5), data(**alone))
    assert other.calls == 1
    assert torch.allclose(torch.cat(other.seen), features / 2, atol=0.1)
    draw_images(tmp_path / "images", [*IMAGES[:-1], "new.jpg"])  # images have changed
    assert fit(Module(), data(**alone)).calls == 1
    assert fit(Module(), data(**alone, image_size=16)).calls == 1


def corners(pictures: torch.Tensor) -> torch.Tensor:
    """A "backbone" whose features tell views of a picture apart: (N, 3, 8, 8) to (N, 2, 3)."""
    return pictures[..., :1, :2].squeeze(2).mT.float()


def test_kept_views_are_drawn_anew_and_resumed_exactly(tmp_path, data):
    draw_noise(tmp_path)
    kept = {"cache_features": True, "cache_views": 3, "min_crop": 0.5, "random_flip": True}
    looked = 0

    def encode(pictures: torch.Tensor) -> torch.Tensor:
        nonlocal looked
        looked += len(pictures)
        return corners(pictures)

    def made(**settings) -> CaptionData:
        module = data(**{"val_fraction": 0.2, "test_fraction": 0, **kept, **settings})
        module.use_features(encode, lambda: "corners")
        return module

    once = made(seed=5)
    loader = once.train_dataloader()
    assert looked == 3 * 8
    states, whole = [], []
    found: dict[int, set[str]] = {}
    for _ in range(20):
        for batch in loader:
            whole.append(everything(batch))
            states.append(loader.state_dict())
            for number, features in zip(batch.number.tolist(), batch.image, strict=True):
                found.setdefault(number, set()).add(str(features.tolist()))
    views = [once.features("train", view) for view in range(3)]
    assert found == {number: {str(one[number].tolist()) for one in views} for number in range(8)}
    assert max(map(len, found.values())) == 3
    for number in range(8):
        picture = once.pictures("train").read(number)
        assert str(corners(picture[None])[0].tolist()) == str(views[0][number].tolist())
    again = made(seed=5).train_dataloader()
    again.load_state_dict(states[6])
    assert whole[7:] == [everything(batch) for _ in range(20 - 3) for batch in again]
    assert looked == 3 * 8
    made(seed=6, cache_views=2).train_dataloader()  # other views, the same whole pictures
    assert looked == 4 * 8
    made(seed=6, cache_views=2, min_crop=0.7).train_dataloader()
    assert looked == 5 * 8
    [first] = once.val_dataloader()
    assert looked == 5 * 8 + 2
    pictures = torch.stack([once.pictures("val").read(number) for number in first.number.tolist()])
    assert torch.equal(first.image.float(), corners(pictures))


def test_features_of_a_damaged_image_are_left_out(tmp_path, data):
    write_csv(tmp_path)
    damage_image(tmp_path / "images" / "3.jpg")
    alone = {"val_fraction": 0, "test_fraction": 0, "cache_features": True}
    with pytest.raises(DataError, match=r"3.jpg' is damaged"):
        fit(Module(), data(**alone))
    with pytest.warns(UserWarning, match="Left out"):
        module = fit(Module(), data(**alone, missing="skip"))
    assert len(torch.cat(module.seen)) == len(module.numbers) == 9
    # what was kept lacks it, and must not hide it
    with pytest.raises(DataError, match=r"3.jpg' is damaged"):
        fit(Module(), data(**alone))


def test_scenes_have_features_too(tmp_path):
    settings = {"test_size": 0, "cache_features": True, "cache_dir": str(tmp_path)}
    module = fit(Module(), ScenesData(100, 0, **settings))
    assert module.calls == 2
    assert torch.cat(module.seen).shape == (100, 2, 3)


def test_features_need_a_frozen_backbone(tmp_path, data):
    write_csv(tmp_path)
    with pytest.raises(
        UsageError, match=r"this model has none, .*leave unfreeze_epoch out, or set"
    ):
        data(cache_features=True).train_dataloader()


def test_kept_pictures_are_the_same_and_travel(tmp_path, data, monkeypatch):
    write_csv(tmp_path)
    fresh = [everything(batch) for batch in data().train_dataloader()]
    kept = [everything(batch) for batch in data(cache_images=True).train_dataloader()]
    assert fresh == kept
    monkeypatch.setattr(
        "unrolled.data.captioning.pictures.open_image", lambda *_: pytest.fail("was decoded again")
    )
    module = data(cache_images=True)
    assert [everything(batch) for batch in module.train_dataloader()] == kept
    travelled = pickle.loads(pickle.dumps(module.pictures("train")))
    assert torch.equal(travelled.read(0), module.pictures("train").read(0))
    assert len(pickle.dumps(module.pictures("train"))) < 3000
