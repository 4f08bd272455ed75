"""A registry, a test set, and models that are put to it."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from dyntransnet.config import RegisterParams
from dyntransnet.scoring import trial
from dyntransnet.stages import register
from dyntransnet.tracking import connect, training_run
from models import save_model, threshold_model

CASES = ["volume-0", "volume-1"]
PARAMS = RegisterParams(
    model="liver", alias="champion", min_dice_liver=0.6, min_dice_tumor=0.4, max_dice_drop=0.02
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
        dices: tuple[float | None, float | None],
        *,
        name: str = "model",
        low: float = 0.18,
        test_set: str = "",
        run_id: str = "",
        params: RegisterParams = PARAMS,
    ) -> dict:
        """Export a model, say how it scored, register it, and read the receipt."""
        place = self.root / name
        save_model(place / "onnx", threshold_model(low, 0.72))
        (place / "parity.json").write_text("{}")
        metrics = {
            part: {"dice": dice} for part, dice in zip(("liver", "tumor"), dices, strict=True)
        }
        (place / "metrics.json").write_text(json.dumps(metrics))
        known = {"cases": CASES, "sha256": test_set or self.test_set()}
        (place / "test_set.json").write_text(json.dumps(known))
        (place / "run.json").write_text(json.dumps({"run_id": run_id or self.train()}))
        register.run(
            place / "onnx",
            place,
            place / "parity.json",
            self.root / "cases",
            run=place / "run.json",
            out=self.root / "registered.json",
            params=params,
        )
        return json.loads((self.root / "registered.json").read_text())

    def train(self) -> str:
        with training_run("made", {}, {}, name="made", run_id=None) as run_id:
            return run_id

    def test_set(self) -> str:
        return trial.test_set_hash(self.root / "cases", CASES)

    def version(self, number: int) -> ModelVersion:
        return self.client.get_model_version(PARAMS.model, str(number))

    def champion(self) -> int:
        return int(self.client.get_model_version_by_alias(PARAMS.model, PARAMS.alias).version)
