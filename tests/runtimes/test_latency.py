import time

import numpy as np
import pytest

from dyntransnet.errors import ModelError
from dyntransnet.runtimes import latency
from dyntransnet.runtimes.choice import load
from models import save_model, threshold_model

SLOW_S = 0.002


@pytest.fixture
def models(tmp_path, monkeypatch) -> tuple:
    """Two folders of one network; windows of the second take a little longer."""
    monkeypatch.setattr(latency, "FIELD_MM", (60.0, 70.0, 50.0))
    folders = tmp_path / "old", tmp_path / "new"
    for folder in folders:
        save_model(folder, threshold_model(0.2, 0.7))

    def loaded(folder, runtime):
        predict, contract = load(folder, runtime)

        def late(windows: np.ndarray) -> np.ndarray:
            time.sleep(SLOW_S * len(windows) if folder.name == "new" else 0)
            return predict(windows)

        return late, contract

    monkeypatch.setattr(latency, "load", loaded)
    return folders


def test_what_takes_longer_is_slower(models):
    before_s, after_s = latency.seconds_per_scan(models, "onnxruntime")
    assert before_s > 0
    assert after_s > before_s + SLOW_S
    assert latency.slowdown(*models) > 1 > latency.slowdown(*reversed(models))


def test_models_take_turns(models, monkeypatch):
    """What slows the machine down for a while slows both."""
    asked = []
    segment = latency.segment

    def noted(scan, predict, contract):
        asked.append(predict)
        return segment(scan, predict, contract)

    monkeypatch.setattr(latency, "segment", noted)
    latency.seconds_per_scan(models, "onnxruntime")
    first, second = asked[:2]
    assert first is not second
    assert asked == [first, second] * latency.ROUNDS


def test_a_model_that_cannot_be_loaded_is_named(models, tmp_path):
    with pytest.raises(ModelError, match="gone"):
        latency.slowdown(models[0], tmp_path / "gone")
