"""A registry, a test set, and models that are put to it."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from dyntransnet.config import MarginParams, RegisterParams
from dyntransnet.contract import FINGERPRINT_FILE
from dyntransnet.imaging.scan import read_mask
from dyntransnet.runtimes.openvino_writer import write_openvino
from dyntransnet.scoring import trial
from dyntransnet.scoring.metrics import score_case
from dyntransnet.scoring.overlap import Row
from dyntransnet.scoring.records import write_cases
from dyntransnet.stages import register
from dyntransnet.tracking import connect, training_run
from models import save_model, threshold_model

CASES = ["volume-0", "volume-1"]
PARAMS = RegisterParams(
    model="liver",
    alias="champion",
    min_dice_liver=0.6,
    min_dice_tumor=0.4,
    margin=MarginParams(liver=0.02, tumor=0.02),
    confidence=0.95,
    max_slowdown=1000.0,
)


@dataclass
class Bench:
    """Models are exported, scored by hand and registered here.

    The logits of a model are the image minus ``low`` and minus ``high``; what was
    labeled is liver from 0.18 on and tumor from 0.72 on.
    """

    root: Path
    client: MlflowClient = field(default_factory=connect)

    def register(
        self,
        dices: tuple[float, float],
        *,
        name: str = "model",
        low: float = 0.18,
        test_set: str = "",
        run_id: str = "",
        params: RegisterParams = PARAMS,
        openvino: tuple[str, ...] = (),
        fingerprint: str | None = None,
    ) -> dict:
        """Export a model, say how it scored, register it, and read the receipt."""
        place = self.root / name
        save_model(place / "onnx", threshold_model(low, 0.72))
        write_openvino(place / "onnx", openvino, np.zeros((1, 1, 16, 16, 16), np.float32))
        if fingerprint:
            (place / "onnx" / FINGERPRINT_FILE).write_text(fingerprint)
        (place / "parity.json").write_text("{}")
        write_cases({case: self.scores(case, dices) for case in CASES}, place / "cases.csv")
        known = {"cases": CASES, "sha256": test_set or self.test_set()}
        (place / "test_set.json").write_text(json.dumps(known))
        (place / "splits.json").write_text(json.dumps({"patients": {c: c for c in CASES}}))
        (place / "run.json").write_text(json.dumps({"run_id": run_id or self.train()}))
        register.run(
            place / "onnx",
            place,
            place / "parity.json",
            self.root / "cases",
            patients=place / "splits.json",
            run=place / "run.json",
            out=self.root / "registered.json",
            params=params,
        )
        return json.loads((self.root / "registered.json").read_text())

    def scores(self, case: str, dices: tuple[float, float]) -> dict[str, Row]:
        """The case's own volumes, with a Dice that was made up."""
        truth = read_mask(self.root / "cases" / case / trial.MASK_FILE)
        rows = score_case(truth, truth)
        return {name: {**rows[name], "dice": dice} for name, dice in zip(rows, dices, strict=True)}

    def train(self) -> str:
        with training_run("made", {}, {}, name="made", run_id=None) as run_id:
            return run_id

    def test_set(self) -> str:
        return trial.test_set_hash(self.root / "cases", CASES)

    def version(self, number: int) -> ModelVersion:
        return self.client.get_model_version(PARAMS.model, str(number))

    def champion(self) -> int:
        return int(self.client.get_model_version_by_alias(PARAMS.model, PARAMS.alias).version)
