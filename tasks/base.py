"""What every task shares: optimizer, evaluation, exact losses, checkpoints of plain data."""

from __future__ import annotations

import inspect
import warnings
from abc import ABC
from collections.abc import Callable, ItemsView, Iterable, Iterator, Mapping, Sequence, ValuesView
from typing import Any, ClassVar, Literal, NoReturn, TypeAlias, cast

import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from lightning.pytorch.utilities.parsing import AttributeDict
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torchmetrics import Metric

from ..class_paths import parameters
from ..core.empty import attach
from ..core.recurrent import RecurrentCore
from ..errors import UsageError
from .learning import Doubts
from .model import Model
from .plain import name_of, to_plain
from .plateau import FollowMetric, plateau_settings
from .results import Results
from .samples import Sample
from .schedules import WarmupCosine, configured, run_length

Part: TypeAlias = Literal["val", "test"]
MetricFactory: TypeAlias = Callable[[], Metric]
"""Makes a metric: how a task receives one."""


class Metrics(nn.ModuleDict):
    """Metrics by name: a dict of modules that knows what they are."""

    def __getitem__(self, name: str) -> Metric:
        return cast(Metric, super().__getitem__(name))

    def __setitem__(self, name: str, metric: nn.Module) -> None:
        if hasattr(self, name) or not name.isidentifier():
            raise ValueError(
                f"metrics: the name {name!r} is taken, or not of letters, digits and _"
            )
        super().__setitem__(name, metric)

    def values(self) -> ValuesView[Metric]:
        """Return the metrics."""
        return cast(ValuesView[Metric], super().values())

    def items(self) -> ItemsView[str, Metric]:
        """Return the metrics and their names."""
        return cast(ItemsView[str, Metric], super().items())


class Task(LightningModule, ABC):
    """What trains a model: its loss, its metrics, its optimizer.

    A subclass makes `model`, adds its metrics to `metrics`, and says what `training_step` and
    `evaluate` do. `validate` and `test` are the same but for `part`; what the metrics say is logged
    as `val/NAME` or `test/NAME`.

    Args:
        optimizer: Makes the optimizer from the parameters.
        lr_scheduler: Makes the schedule from the optimizer; it is stepped after every optimizer
            step, `ReduceLROnPlateau` after every validation.
        compile_core: Compile the recurrent cores with `torch.compile` when training starts.
        metrics: Makes more metrics, by name; the task says what their `update` is given.
        vectors: Files of word vectors that the embeddings begin with, by the model's vocabularies.

    Attributes:
        model: The network, which `unrolled.load` returns when it is trained.
        metrics: What is counted of validation and test, by name.
        more_metrics: The names of those that the constructor was given.
        shown: Names of the scores that the progress bar shows.
        kept: What a test has kept of each item so far, for `results`; None: it keeps nothing.
    """

    model: Model
    shown: ClassVar[Sequence[str]] = ("loss",)

    def __init__(
        self,
        *,
        optimizer: OptimizerCallable = lambda parameters: torch.optim.AdamW(parameters, lr=1e-3),
        lr_scheduler: LRSchedulerCallable | None = None,
        compile_core: bool = False,
        metrics: Mapping[str, MetricFactory] | None = None,
        vectors: Mapping[str, str | None] | None = None,
    ) -> None:
        super().__init__()
        self.make_optimizer = optimizer
        self.make_schedule = lr_scheduler
        self.compile_core = compile_core
        self.lost_hyperparameters: list[str] = []
        self.kept: list[Any] | None = None
        self.vectors = {part: file for part, file in (vectors or {}).items() if file}
        self.metrics = Metrics()
        self._doubts = Doubts()
        self.more_metrics = tuple(metrics or ())
        for name, make in (metrics or {}).items():
            self.metrics[name] = make()

    def setup(self, stage: str) -> None:
        """Take double precision at once: Lightning does so only after it has loaded the weights."""
        if self.trainer.precision == "64-true":
            self.double()
        if stage == "fit":
            self.take_vectors()

    def take_vectors(self) -> None:
        """Let the embeddings begin with the word vectors that were asked for, once, and say so."""
        if not self.vectors:
            return
        from .vectors import use_vectors

        for part, file in self.vectors.items():
            rank_zero_info(use_vectors(self.model, file, part))
        self.vectors = {}

    def learnt(self) -> Iterable[nn.Parameter] | list[dict[str, Any]]:
        """Return what the optimizer changes: parameters, or groups with settings of their own."""
        return self.parameters()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return the optimizer and, where there is one, its schedule: by steps, or by a metric."""
        optimizer = configured("optimizer", self.make_optimizer, self.learnt())
        if self.make_schedule is None:
            return optimizer
        schedule = configured("lr_scheduler", self.make_schedule, optimizer)
        if isinstance(schedule, ReduceLROnPlateau):
            return plateau_settings(optimizer, schedule)
        # The schedule's length is set in on_train_start: asking the trainer for it here would build
        # the loaders too early and lose their place in a resumed run.
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def configure_callbacks(self) -> list[Callback]:
        """Return what lets a learning rate follow a metric."""
        return [FollowMetric()]

    def instead_of(self, name: str) -> str:
        """Return the metric to watch in the place of one that can't tell better from worse.

        Args:
            name: The metric's. One in its place is better where it is larger, if this one is.
        """
        return name

    def on_fit_start(self) -> None:
        """Say at the start what a checkpoint will lack, and compile."""
        if self.lost_hyperparameters:
            rank_zero_warn(
                f"{', '.join(self.lost_hyperparameters)}: made by a function, which a checkpoint "
                "can't hold, so what needs it can't be made again from one: give "
                "functools.partial(LSTM, hidden_size=256) instead"
            )
        if self.compile_core:
            for core in self.cores():
                core.compile()

    def on_train_start(self) -> None:
        """Tell the schedule how long the run is."""
        schedule = self.lr_schedulers()
        if isinstance(schedule, WarmupCosine):
            schedule.set_run_length(run_length(self.trainer))

    def evaluate(self, batch: Any, part: Part) -> None:
        """Add a batch to the metrics.

        Args:
            batch: The batch.
            part: What it is a batch of.
        """
        raise NotImplementedError(f"{type(self).__name__} has no evaluate(batch, part)")

    def count(self, prediction: Any, truth: Any) -> None:
        """Give the metrics of the configuration what they compare.

        Args:
            prediction: What the model says.
            truth: What is right.
        """
        for name in self.more_metrics:
            self.metrics[name].update(prediction, truth)

    def scores(self) -> dict[str, Tensor]:
        """Return what the metrics say: each by its name, one that says several things by theirs."""
        found: dict[str, Any] = {}
        for name, metric in self.metrics.items():
            with warnings.catch_warnings():
                # nothing was counted: the trial validation may see no whole video
                warnings.filterwarnings("ignore", message="The ``compute`` method of metric")
                value = metric.compute()
            found |= value if isinstance(value, dict) else {name: value}
        return {
            name: torch.as_tensor(value, dtype=torch.float32, device=self.device)
            for name, value in found.items()
        }

    def logged(self) -> set[str] | None:
        """Return the names of what training and validation log.

        Returns:
            The names; None for a task that is not of this suite: it may log anything.
        """
        if type(self).__module__.partition(".")[0] != __name__.partition(".")[0]:
            return None
        try:
            names = self.scores()
        except Exception:  # a metric of the user's own that needs something to count
            return None
        self.begin_scores()
        return {"train/loss", *(f"val/{name}" for name in names)}

    def sample(self, batch: Any) -> Sample | None:
        """Return an example of what the model says, to be shown at a validation; None: nothing.

        It draws no random numbers but its own, and has no part in training.

        Args:
            batch: The validation's first.
        """
        return None

    def begin_scores(self) -> None:
        """Begin to count."""
        for metric in self.metrics.values():
            metric.reset()

    def log_scores(self, part: Part) -> None:
        """Log the scores of a whole part.

        Args:
            part: The part.
        """
        for name, value in self.scores().items():  # already the same in every process
            self.log(f"{part}/{name}", value, prog_bar=name in self.shown, sync_dist=True)

    def results(self, kept: Sequence[Any], inputs: Sequence[Any]) -> Results:
        """Return what a test leaves besides its scores.

        Args:
            kept: What all processes have kept, in any order; possibly something twice.
            inputs: What the data call each item of the part, by its number; empty: nothing.
        """
        return {}

    def signatures(self) -> dict[str, str]:
        """Return what has to be said with the scores of a test, by the scores' names."""
        return {}

    def doubts(self) -> Iterable[tuple[str, str]]:
        """Return what is doubtful about what was counted: its kind, and a sentence for people."""
        return ()

    def on_validation_epoch_start(self) -> None:
        """Begin to count."""
        self.begin_scores()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Count a batch."""
        self.evaluate(batch, "val")

    def on_validation_epoch_end(self) -> None:
        """Log what was counted."""
        self.log_scores("val")
        self._tell_doubts()

    def on_test_epoch_start(self) -> None:
        """Begin to count."""
        self.begin_scores()

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Count a batch."""
        self.evaluate(batch, "test")

    def on_test_epoch_end(self) -> None:
        """Log what was counted."""
        self.log_scores("test")
        self._tell_doubts()

    def _tell_doubts(self) -> None:
        """Warn of training that learns nothing, once it can be expected to have learnt."""
        trainer = self.trainer
        if trainer.sanity_checking or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        ended = (
            trainer.max_epochs is not None and trainer.current_epoch + 1 >= trainer.max_epochs > 0
        )
        steps = 0 <= trainer.max_steps <= trainer.global_step
        self._doubts.tell(self.doubts(), last=trainer.state.fn != "fit" or ended or steps)

    @property
    def symbol_rows(self) -> dict[str, str]:
        """The model's `symbol_rows`, by the tensors' names in the task's state dict."""
        return {f"model.{name}": key for name, key in self.model.symbol_rows.items()}

    def cores(self) -> Iterator[RecurrentCore]:
        """Yield the task's cores, not those inside of others."""
        waiting = list(self.children())
        while waiting:
            module = waiting.pop(0)
            if isinstance(module, RecurrentCore):
                yield module
            else:
                waiting = [*module.children(), *waiting]

    def zero(self) -> Tensor:
        """Return a zero that every parameter has a part in: the loss of a batch of nothing.

        Under ddp the processes wait for every gradient of each other.
        """
        return attach(torch.zeros((), device=self.device), self.parameters())

    def global_mean(self, total: Tensor, count: Tensor) -> Tensor:
        """Return the mean over all processes' items; Lightning may average its gradients over them.

        Args:
            total: This process's sum, with its gradient.
            count: This process's number of items; wherever it is, nothing waits for it.

        Returns:
            total * processes / (all processes' count). In one process, total / count. Zero where
            there are no items.
        """
        if self._trainer is None or self.trainer.world_size == 1:
            return total / count.to(total.device, non_blocking=True).clamp(min=1)
        everyone = self.trainer.strategy.reduce(count.to(total.device, copy=True), reduce_op="sum")
        return total * (self.trainer.world_size / everyone.clamp(min=1))

    def save_hyperparameters(self, *args: Any, **kwargs: Any) -> None:
        """Keep the constructor's arguments as plain data, which `weights_only=True` loads.

        What can't be had as plain data is left out, and named when training starts; a default is
        found again in the signature.

        Args:
            args: As Lightning's, whose method this is otherwise.
            kwargs: As Lightning's.
        """
        caller = inspect.currentframe()
        super().save_hyperparameters(
            *args, **{"frame": caller.f_back if caller else None, **kwargs}
        )
        signature = inspect.signature(type(self).__init__).parameters
        plain: dict[str, Any] = {"_class_path": name_of(type(self))}
        for name, value in self.hparams.items():
            if name.startswith("_"):  # LightningCLI's own
                continue
            try:
                plain[name] = to_plain(value)
            except TypeError:
                if name not in signature or value is not signature[name].default:
                    self.lost_hyperparameters.append(name)
        self._hparams = AttributeDict(plain)
        self._hparams_initial = AttributeDict(plain)

    @classmethod
    def load_from_checkpoint(cls, *_: Any, **__: Any) -> NoReturn:
        """Refuse: Lightning would make what a checkpoint names without a look at the names.

        Raises:
            UsageError: Always; it says what to call.
        """
        raise UsageError(
            f"{cls.__name__}.load_from_checkpoint is not safe with strangers' files: use "
            "unrolled.load(path), which checks what a checkpoint names."
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say who made the checkpoint, and of which hyper-parameters the model is made."""
        from .. import __version__

        known = parameters(type(self.model))[0]
        checkpoint["unrolled"] = {
            "version": __version__,
            "task": self.hparams["_class_path"],
            "model": name_of(type(self.model)),
            "arguments": [name for name in self.hparams if name in known],
            "lost": self.lost_hyperparameters,
        }
