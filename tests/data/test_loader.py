"""The loader by itself, and under Lightning: cut anywhere, it goes on with the next batch, once."""

from __future__ import annotations

import warnings

import pytest
import torch
from covering import ALL_OR_SOME
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from unrolled.data import DataModule, ResumableLoader, Sampler

BATCHES, EPOCHS = 5, 3


class Numbers(Sampler):
    """A sampler whose items name epoch and batch."""

    count = BATCHES

    def num_batches(self, epoch: int = 0) -> int:
        return self.count

    def batches(self, epoch: int, start: int = 0):
        return ((epoch, number) for number in range(start, self.count))


class Echo:
    """A data set that returns the item as a tensor."""

    def __getitem__(self, item):
        return torch.tensor(item)


def loader(workers: int = 0, **arguments) -> ResumableLoader:
    return ResumableLoader(Echo(), Numbers(), num_workers=workers, **arguments)


def read(one: ResumableLoader) -> list[tuple[int, int]]:
    return [tuple(batch.tolist()) for batch in one]


WHOLE = [[(epoch, number) for number in range(BATCHES)] for epoch in range(EPOCHS)]
FLAT = [pair for epoch in WHOLE for pair in epoch]


@pytest.mark.parametrize("workers", [0, 2])
def test_resume_at_every_position(workers):
    for done in range(BATCHES + 1):
        first = loader(workers)
        iterator = iter(first)
        seen = [tuple(next(iterator).tolist()) for _ in range(done)]
        state = first.state_dict()
        assert state == {"epoch": done // BATCHES, "done": done % BATCHES, "num_batches": BATCHES}
        second = loader(workers)
        second.load_state_dict(state)
        assert len(second) == BATCHES
        assert second.state_dict() == state
        seen += read(second) + read(second)
        assert seen == FLAT[: len(seen)]
        assert len(seen) >= 2 * BATCHES


@pytest.mark.parametrize("workers", [0, 2])
def test_epochs_follow_each_other_also_when_cut_short(workers):
    one = loader(workers)
    assert [read(one), read(one)] == WHOLE[:2]
    iterator = iter(one)  # as Lightning does with limit_train_batches
    assert next(iterator).tolist() == [2, 0]
    assert read(one) == [(3, number) for number in range(BATCHES)]


def test_an_iterator_that_was_never_used_changes_nothing():
    one = loader()
    iter(one)
    assert read(one) == WHOLE[0]
    one.load_state_dict({"epoch": 1, "done": 2, "num_batches": BATCHES})
    iter(one)
    assert read(one) == WHOLE[1][2:]


@pytest.mark.parametrize(("limit", "last"), [(2, 2), (0.5, 2), (1.0, 5), (1, 1), (99, 5)])
def test_a_limited_epoch_ends_at_its_limit(limit, last):
    one = loader(limit=limit)
    iterator = iter(one)
    for done in range(last):
        assert one.state_dict()["done"] == done
        next(iterator)
    assert one.state_dict() == {"epoch": 1, "done": 0, "num_batches": BATCHES}


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    read(loader())
    assert torch.equal(before, torch.get_rng_state())


def test_another_number_of_batches_is_said():
    one = loader()
    with pytest.warns(UserWarning, match="10 batches an epoch and there are 5 now"):
        one.load_state_dict({"epoch": 1, "done": 4, "num_batches": 10})
    assert read(one) == WHOLE[1][2:]


class Module(LightningModule):
    """Remembers the batches it saw."""

    def __init__(self, estimate: bool) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.estimate = estimate
        self.seen: list[tuple[int, int]] = []

    def training_step(self, batch):
        self.seen.append(tuple(batch.tolist()))
        return self.layer(torch.ones(1, 1)).sum()

    def validation_step(self, batch):
        pass

    def configure_optimizers(self):
        if self.estimate:
            assert self.trainer.estimated_stepping_batches > 0
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Data(DataModule):
    def own_spec(self):
        return {}

    def contents(self, part):
        return Echo(), Numbers


def fit(folder, workers, *, estimate=False, ckpt_path=None, **arguments) -> list[tuple[int, int]]:
    module = Module(estimate)
    checkpoint = ModelCheckpoint(folder, filename="{step}", every_n_train_steps=1, save_top_k=-1)
    epochs = ModelCheckpoint(
        folder, filename="end-{epoch}", save_on_train_epoch_end=True, save_top_k=-1
    )
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=EPOCHS,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[checkpoint, epochs],
        **arguments,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(module, datamodule=Data(num_workers=workers), ckpt_path=ckpt_path)
    return module.seen


@ALL_OR_SOME
@pytest.mark.parametrize(
    ("first", "workers", "estimate", "limit"),
    [
        (0, 0, False, 1.0),
        (1, 2, False, 1.0),
        (2, 0, True, 1.0),
        (0, 0, False, 3),
        (1, 0, False, 0.6),
    ],
)
def test_lightning_resumes_at_every_step_and_at_the_end_of_epochs(
    tmp_path, first, workers, estimate, limit, every
):
    whole = fit(tmp_path / "whole", workers, estimate=estimate, limit_train_batches=limit)
    per_epoch = BATCHES if limit == 1.0 else 3
    assert whole == [pair for epoch in WHOLE for pair in epoch[:per_epoch]]
    cuts = [
        (tmp_path / "whole" / f"step={step}.ckpt", step) for step in range(1, EPOCHS * per_epoch)
    ]
    cuts += [
        (tmp_path / "whole" / f"end-epoch={epoch}.ckpt", (epoch + 1) * per_epoch)
        for epoch in range(EPOCHS - 1)
    ]
    # with all or every third, which are others in each of the first three cases
    for path, step in cuts if every else cuts[first::3]:
        rest = fit(
            tmp_path / "rest", workers, estimate=estimate, limit_train_batches=limit, ckpt_path=path
        )
        assert whole[:step] + rest == whole, path.name


def test_lightning_reloads_and_overfits(tmp_path):
    whole = fit(tmp_path / "reload", 0, reload_dataloaders_every_n_epochs=1)
    assert whole == FLAT
    assert len(fit(tmp_path / "overfit", 0, overfit_batches=2)) == 2 * EPOCHS


def test_evaluation_leaves_the_position_alone():
    data = Data()
    data.trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)
    data.trainer.state.fn = "validate"
    data.load_state_dict({"loader": {"epoch": 1, "done": 2, "num_batches": BATCHES}})
    assert read(data.train_dataloader()) == WHOLE[0]
