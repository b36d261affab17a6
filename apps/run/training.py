"""`unrolled fit`, `validate`, `test` and `predict`: LightningCLI, with what it lacks."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.trainer.states import TrainerStatus
from lightning.pytorch.utilities.exceptions import SIGTERMException

from ...checkpoints import checkpoints_of
from ...class_paths import parameters
from ...core.vision.backbones import Backbone
from ...data.base import DataModule
from ...errors import DataError, SetupError, UnrolledError, UsageError, typed
from ...loading import CheckedTask, first_lines, instantiate
from ...tasks.base import Task
from ..shell.arguments import cause, lacking
from ..shell.shipped import find_config, own_yaml, read_yaml
from ..tracking.rates import LearningRate
from ..tracking.samples import Samples
from ..tracking.screens import app_of, say_what_begins, say_what_next
from . import compare
from .folder import folders
from .folder.disk import FULL, quiet_threads, reason_of, tidy, writing
from .folder.lock import RunLock
from .monitors import Monitors, refuse_unknown_names
from .parser import Instantiator, TrainingParser, made_trainer, refuse_too_small, without_weights
from .preemption import Preempted
from .processes.companions import ending_with
from .processes.meeting import meet
from .progress import Bar, LineProgress, hush_lightning, tell
from .request import Request
from .results import KeepResults, results_folder
from .resuming import ExactResume
from .sameness import Sameness
from .saving import AtomicCheckpointIO, CheckedCheckpointIO, Checkpoint, SaveConfig
from .stopping import StopEarly
from .tables import Board, MetricsTable
from .trust import refuse_twins, resolve, rules_of


class TrainingCLI(LightningCLI):
    """One command, from its configuration to its end.

    Args:
        request: What the command line asks for.

    Attributes:
        folder: The folder of the run, as soon as it has one.
        lock: The right to write there, on the first rank.
    """

    def __init__(self, request: Request) -> None:
        self.request = request
        self.folder: Path | None = None
        self.lock: RunLock | None = None
        self.stored: CheckedTask | None = None
        self.donor: CheckedTask | None = None

    def carry_out(self) -> None:
        """Parse the configuration, make what it describes, and run: Lightning's constructor."""
        request = self.request
        if request.init_from:
            self.donor = CheckedTask(request.init_from, trust=request.trust)
        self.rules = rules_of(request)
        # read whole: a resumed run must not depend on a file that it replaces
        if request.checkpoint:
            self.stored = CheckedTask(request.checkpoint, trust=request.trust, mmap=False)
        super().__init__(
            Task,
            DataModule,
            save_config_callback=SaveConfig if request.command == "fit" else None,
            parser_class=TrainingParser,
            parser_kwargs={
                request.command: {
                    "dump_header": folders.header(request.word),
                    "word": request.word if request.command == "fit" else "",
                }
            },
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            args=[
                request.command,
                *(word for config in request.configs for word in ("--config", config)),
                *request.flags,
            ],
        )

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]  # static there
        """Return the `Trainer`'s arguments that are no flags; one command starts faster."""
        skipped = {"model", "datamodule", "dataloaders", "train_dataloaders", "val_dataloaders"}
        return {self.request.command: {*skipped, "ckpt_path", "weights_only", "verbose"}}

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add trainer, data and, where it is not a checkpoint's, the model."""
        if self.request.command == "fit":
            super().add_core_arguments_to_parser(parser)
            return
        parser.add_lightning_class_args(self.trainer_class, "trainer")
        parser.add_lightning_class_args(self._datamodule_class, "data", subclass_mode=True)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Link the spec, and add what a run keeps."""
        if self.request.command == "fit":
            parser.link_arguments("data.spec", "model.init_args.spec", apply_on="instantiate")
            parser.add_lightning_class_args(Checkpoint, "checkpoint")
            parser.add_lightning_class_args(StopEarly, "early_stopping")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse, without Lightning's warning about the arguments of the process."""
        self.config = parser.parse_args(args)

    def _parse_ckpt_path(self) -> None:
        """Do nothing: Lightning would merge a checkpoint's hyper-parameters over the flags."""

    def _dump_config(self) -> None:
        """Keep the configuration as plain values, without a second check of all of them."""
        text = self.parser.dump(
            self.config, skip_link_targets=False, skip_none=False, skip_validation=True
        )
        self.config_dump = own_yaml(text)[self.request.command]

    def _add_instantiators(self) -> None:
        # An optimizer's factory keeps the parser and with it these; Lightning's keep the command
        # and its trainer too, which a copy of the model (weight averaging) would then copy along,
        # or fail to.
        self._dump_config()
        if self.request.command != "fit":
            add = _spec_of(self.stored)
            self.parser.add_instantiator(add, self._datamodule_class, subclasses=True)
            return
        dumped: Any = SimpleNamespace(config_dump=self.config_dump, _dump_config=lambda: None)
        for key, base in (("model", self._model_class), ("data", self._datamodule_class)):
            self.parser.add_instantiator(Instantiator(cli=dumped, key=key), base, subclasses=True)
        if self.stored:
            self.parser.add_instantiator(without_weights, Backbone, subclasses=True)

    def before_instantiate_classes(self) -> None:
        """Refuse what is no class of the right kind, and another model than the checkpoint's."""
        resolve(self.rules, self.config_dump)
        if self.request.command == "fit" and self.stored:
            compare.same_model(self.stored, self.config_dump["model"])
        elif self.request.command == "fit":
            chosen = read_yaml(find_config(self.request.word))
            for line in compare.left_out(chosen, self.config_dump):
                tell(line)

    def _set_seed(self) -> None:
        try:
            super()._set_seed()
        except ValueError as error:
            raise UsageError(f"--seed_everything: {error}.") from error

    def instantiate_classes(self) -> None:
        """Make data, model and trainer; what a constructor refuses is the configuration's fault."""
        if self.request.command == "fit" and not self.stored:
            _try_backbones(self.config_dump.get("model"), "--model")
        try:
            self.config_init = instantiate(self.parser, self.config)
        except ValueError as error:
            raise cause(error) from error
        self.datamodule = self._get(self.config_init, "data")
        if self.request.command != "fit" and self.stored:
            self.model = self.stored.build_task()
        else:
            self.model = self._get(self.config_init, "model")
        refuse_too_small(self._get(self.config, "trainer"))
        self.trainer = self.instantiate_trainer()

    def after_instantiate_classes(self) -> None:
        """Compare the spec of a resumed run, or take over the weights for a new one."""
        if self.request.command == "fit" and self.stored:
            compare.same_spec(self.stored, getattr(self.datamodule, "spec", None))
            self.model.vectors = {}  # the checkpoint brings what became of them
        if self.donor:
            tell(compare.take_weights(self.model, self.donor))
            self.donor = None
        if self.request.command == "fit":
            self.model.take_vectors()

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Make the trainer, with the run's folder as the place of everything that is written."""
        config = self._get(self.config_init, "trainer")
        callbacks = config.get("callbacks") or []
        callbacks = [*(callbacks if isinstance(callbacks, list) else [callbacks]), ExactResume()]
        if self.request.command == "fit":
            named = any(flag.startswith("--checkpoint.monitor") for flag in self.request.flags)
            callbacks = [Monitors(named=named), Sameness(self.config_dump), *callbacks]
        refuse_twins(callbacks)
        has_bar = any(isinstance(callback, ProgressBar) for callback in callbacks)
        if self.request.command == "test" and not config.get("fast_dev_run") and self.stored:
            place = results_folder(self.request.results, self.stored.path)
            if place:
                callbacks.append(KeepResults(place, self.stored, asked=self.request.results))
        if config.get("enable_progress_bar") is not False and not has_bar:
            callbacks.append(Bar() if sys.stdout.isatty() else LineProgress())
        if self.request.command == "fit":
            callbacks += [LearningRate(), Samples()]  # behind the progress: a sample is under it
        kwargs["callbacks"] = callbacks
        if self.stored:
            plugins = config.get("plugins") or []
            plugins = list(plugins) if isinstance(plugins, list) else [plugins]
            others = [plugin for plugin in plugins if not isinstance(plugin, AtomicCheckpointIO)]
            kwargs["plugins"] = [*others, CheckedCheckpointIO(self.stored)]
        if self.request.command == "fit" and not config.get("fast_dev_run"):
            self.folder = self._make_folder()
            kwargs["default_root_dir"] = str(self.folder)
            keeper = self._get(self.config_init, "checkpoint")
            keeper.dirpath, keeper.trust = str(self.folder / "checkpoints"), self.request.trust
            self.save_config_kwargs = {"folder": self.folder, "resumed": self.stored is not None}
            if config.get("logger") in (None, True):
                board = Board(str(self.folder), name="", version="", default_hp_metric=False)
                kwargs["logger"] = [board, MetricsTable(str(self.folder), name="", version="")]
        return made_trainer(super().instantiate_trainer, kwargs)

    def _make_folder(self) -> Path:
        request = self.request
        first = folders.rank() == 0
        with writing(request.run or request.root / request.task):
            if not request.run:
                run = folders.claim(request.root, request.task, request.name)
            elif first:
                request.run.mkdir(parents=True, exist_ok=True)
                folders.publish(run := request.run)
            else:
                run = request.run
        if first:
            self.lock = RunLock(run)
            with writing(run):
                if not request.run:
                    folders.refuse_full(run)  # by another that began at the same moment and ended
                tidy(run)
        return run.absolute()

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        kwargs = super()._prepare_subcommand_kwargs(subcommand)
        if self.stored:
            kwargs |= {"ckpt_path": str(self.stored.path), "weights_only": True}
        return kwargs

    def _run_subcommand(self, subcommand: str) -> None:
        kwargs = self._prepare_subcommand_kwargs(subcommand)
        if subcommand == "fit":
            refuse_unknown_names(self.trainer, self.model)
            say_what_begins(self.model, self.trainer, self.folder)
            step = self.stored.content.get("global_step") if self.stored else None
            if self.stored:
                tell(f"going on from {self.stored.path}, step {step}")
            elif self.request.run:
                tell("there is no checkpoint to resume yet: beginning the run")
            meet(self.trainer)
            self._carry_out(subcommand, kwargs)
            if step == self.trainer.global_step:
                tell(
                    f"the run had reached its end at step {step}: give a larger "
                    "--trainer.max_steps, --trainer.max_epochs or --trainer.max_time to train on"
                )
            if self.folder and self.trainer.is_global_zero:
                keeper = self._get(self.config_init, "checkpoint")
                say_what_next(self.model, keeper, self.folder, self.request.trust)
            return
        if subcommand == "predict":
            if type(self.datamodule).predict_dataloader is LightningDataModule.predict_dataloader:
                name, app = type(self.datamodule).__name__, app_of(self.model.model)
                remedy = (
                    f"`unrolled {app} CKPT ...` takes what you give it."
                    if app
                    else ("write its predict_dataloader, and the task's predict_step.")
                )
                raise UsageError(f"{name} has nothing to predict: {remedy}")
        else:
            kwargs["verbose"] = False
        result = self._carry_out(subcommand, kwargs)
        if self.trainer.is_global_zero and subcommand != "predict":
            scores = {name: value for part in result for name, value in part.items()}
            for name, value in sorted(scores.items()):
                print(f"{name}  {value:.4f}")

    def _carry_out(self, subcommand: str, kwargs: dict[str, Any]) -> Any:
        try:
            return getattr(self.trainer, subcommand)(**kwargs)
        except (UnrolledError, MisconfigurationException):
            raise
        except Exception as error:
            # Lightning keeps the checkpoint for as long as it takes states out of it.
            if not self.stored or not self.trainer._checkpoint_connector._loaded_checkpoint:
                raise
            raise DataError(
                f"'{self.stored.path}' holds states that don't fit this run: "
                f"{type(error).__name__}: {first_lines(error)}"
            ) from error


def _spec_of(checkpoint: CheckedTask | None) -> Callable[..., LightningDataModule]:
    """Return what makes a data module for a trained model.

    The model's spec never goes through the parser, which makes an object of any class in it.
    """

    def make(
        cls: type[LightningDataModule], *, applied_instantiation_links: Any, **arguments: Any
    ) -> Any:
        if checkpoint is not None and "spec" in parameters(cls)[0]:
            arguments["spec"] = checkpoint.spec
        return cls(**arguments)

    return make


def _try_backbones(config: Any, flag: str) -> None:
    """Make the backbones that get weights: what they lack is told before any picture is read."""
    if not isinstance(config, dict) or not isinstance(config.get("class_path"), str):
        return
    module, _, name = config["class_path"].rpartition(".")
    cls, given = getattr(sys.modules.get(module), name, None), config.get("init_args") or {}
    wanted = given.get("weights", "none") not in ("none", None)
    if wanted and isinstance(cls, type) and issubclass(cls, Backbone):
        try:
            with torch.random.fork_rng(devices=[]):
                cls(**given)
        except ValueError as error:
            raise UsageError(
                f"{error}.\nIts flag is {flag}.weights FILE, a file with a state dict."
            ) from error
    for key, value in given.items():
        _try_backbones(value, f"{flag}.{key}")


def run(request: Request, *, debug: bool = False) -> int:
    """Carry out a command and return its exit code.

    Args:
        request: What the command line asks for.
        debug: Show what Lightning says.

    Raises:
        UnrolledError: What went wrong, with its exit code.
    """
    if not debug:
        hush_lightning()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorBoard lets TensorFlow talk
    cli = TrainingCLI(request)
    folders.lead()
    try:
        with quiet_threads(), ending_with(folders.launcher()):
            cli.carry_out()
    except (MisconfigurationException, ValueError) as error:
        if isinstance(error, ValueError) and "`val_check_interval`" not in str(error):
            raise
        raise UsageError(str(error)) from error
    except Preempted:
        if folders.launcher() is not None:
            return 0  # Lightning would kill the first rank, which speaks for all, while it ends
        raise
    except torch.cuda.OutOfMemoryError as error:
        raise SetupError("The GPU's memory is full: try a smaller --data.batch_size.") from error
    except ImportError as error:
        raise lacking(error) from error
    except OSError as error:
        if error.errno not in FULL:
            raise
        place = error.filename or "a file of the run, of the cache or of its output"
        raise SetupError(f"{place}: {reason_of(error)}.") from error
    except SystemExit as stop:
        trainer = getattr(cli, "trainer", None)
        if trainer is None or trainer.state.status != TrainerStatus.INTERRUPTED:
            return int(stop.code or 0)
        again = ""
        if cli.folder and checkpoints_of(cli.folder):
            again = f"; go on with: unrolled fit --resume {typed(folders.short(cli.folder))}"
        asked = isinstance(stop, SIGTERMException)  # before the first step, so not by `Preemption`
        tell(f"{'asked to stop (SIGTERM)' if asked else 'interrupted'}{again}")
        return Preempted.exit_code if asked else 130
    finally:
        folders.forget()
        if cli.lock:
            cli.lock.release()
        if cli.folder:
            with suppress(OSError):  # a folder that holds something stays
                cli.folder.rmdir()
    return 0
