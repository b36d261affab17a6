"""Samples arrive in the trackers that can show them, at the step that they are of."""

from __future__ import annotations

import numpy as np
import pytest
from lightning.pytorch.loggers import MLFlowLogger, WandbLogger
from unrolled.apps.tracking.loggers import log_configuration, log_sample

# the trackers warn of what others will remove
pytestmark = pytest.mark.filterwarnings("default")

PICTURE = np.zeros((4, 6, 3), np.uint8)
SETTINGS = {"data": {"path": "a.txt"}, "trainer": {"callbacks": [{"class_path": "a.B"}]}}


def test_wandb_shows_a_sample_at_its_step(tmp_path):
    pytest.importorskip("wandb", reason="no wandb")
    logger = WandbLogger(save_dir=tmp_path, offline=True)
    try:
        log_configuration(logger, SETTINGS)
        log_sample(logger, "a line", PICTURE, step=7)
        found = dict(logger.experiment.summary)
        assert found["trainer/global_step"] == 7
        assert found["val/sample"]["nrows"] == 1
        assert found["val/sample_picture"]["count"] == 1
        assert logger.experiment.config["data"] == {"path": "a.txt"}
    finally:
        logger.experiment.finish()


def test_mlflow_keeps_a_sample_under_its_step(tmp_path):
    pytest.importorskip("mlflow", reason="no mlflow")
    place = f"sqlite:///{tmp_path / 'runs.db'}"
    logger = MLFlowLogger(tracking_uri=place, artifact_location=str(tmp_path / "kept"))
    log_configuration(logger, SETTINGS)
    log_sample(logger, "a line", PICTURE, step=7)
    kept = tmp_path / "kept" / logger.run_id / "artifacts" / "samples"
    assert (kept / "7.txt").read_text() == "a line"
    assert (kept / "7.png").stat().st_size
    assert logger.experiment.get_run(logger.run_id).data.params["data/path"] == "a.txt"
