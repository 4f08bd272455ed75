"""A plan beside the champion, for Triton's tensorrt backend."""

import shutil
from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from dyntransnet.atomic import sha256_of
from dyntransnet.config import Params
from dyntransnet.contract import CONTRACT_FILE, ONNX_FILE, Contract
from dyntransnet.errors import EngineError, ModelError
from dyntransnet.repository import MAX_BATCH_SIZE
from dyntransnet.runtimes.plan_file import PLAN_FILE, RECORD_FILE, Gpu, PlanRecord
from dyntransnet.stages import publish

PARAMS = Params.load(Path(__file__).parents[2] / "params.yaml").publish
PLANNED = PARAMS.model_copy(update={"backend": "tensorrt"})


@pytest.fixture
def registered(bench):
    """Version 1 is champion, version 2 was refused."""
    bench.register((0.9, 0.7))
    bench.register((0.9, 0.5), name="worse", low=0.17)
    return bench


def published(bench, params=PARAMS, engine: Path | None = None) -> Path:
    publish.run(bench.root / "registered.json", bench.root / "repository", params, engine=engine)
    return bench.root / "repository/dyntransnet"


def engine_of(bench, **changes) -> Path:
    """An engine folder for version 1, as ``build-engine`` writes it."""
    folder = bench.root / "engine"
    folder.mkdir(exist_ok=True)
    (folder / PLAN_FILE).write_bytes(b"a plan of some length")
    values = {
        "target": "tensorrt",
        "toolkit_version": "10.16.1.11",
        "gpu": Gpu(name="NVIDIA L4", compute_capability=89, driver="580.12"),
        "compute_capabilities": (89,),
        "precision": "fp16",
        "batch": MAX_BATCH_SIZE,
        "version_compatible": False,
        "stripped": False,
        "onnx_sha256": bench.version(1).tags["model_sha256"],
        "graph_sha256": "2" * 64,
        "plan_sha256": sha256_of(folder / PLAN_FILE),
    }
    PlanRecord(**values | changes).save(folder)
    return folder


def test_a_plan_lies_where_triton_looks_for_it(registered):
    engine = engine_of(registered)
    folder = published(registered, PLANNED, engine)
    text, contract = (folder / "config.pbtxt").read_text(), Contract.load(folder / "1")
    config = text_format.Parse(text, model_config_pb2.ModelConfig())
    assert (config.backend, config.max_batch_size) == ("tensorrt", MAX_BATCH_SIZE)
    assert tuple(config.input[0].dims) == (1, *contract.patch_size)
    plan = folder / "1" / config.default_model_filename
    assert plan.read_bytes() == (engine / PLAN_FILE).read_bytes()
    assert PlanRecord.load(folder / "1") == PlanRecord.load(engine)


def test_a_plan_of_before_is_removed_when_another_backend_runs(registered):
    published(registered, PLANNED, engine_of(registered))
    folder = published(registered, PARAMS, engine_of(registered))
    names = {path.name for path in (folder / "1").iterdir()}
    assert names >= {CONTRACT_FILE, ONNX_FILE}
    assert not names & {PLAN_FILE, RECORD_FILE}


def test_without_a_plan_tensorrt_says_how_to_make_one(registered):
    rule = r"^publish\.backend tensorrt must be given a plan: dyntransnet build-engine makes one"
    with pytest.raises(EngineError, match=rule):
        published(registered, PLANNED)
    with pytest.raises(EngineError, match=r"none: must hold model\.plan and plan\.json"):
        published(registered, PLANNED, registered.root / "none")
    assert not (registered.root / "repository").exists()


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        (
            {"onnx_sha256": "3" * 64},
            r"must be built from the model of sha256 \w{64}, got a plan of 3",
        ),
        (
            {"target": "tensorrt-rtx", "gpu": None},
            r"must be built with --target tensorrt, got tens",
        ),
        ({"stripped": True, "graph_sha256": sha256_of(Path(__file__))}, r"must hold its weights"),
        ({"batch": 4}, r"model\.plan: must be built with --batch 8, got 4$"),
    ],
)
def test_a_plan_that_triton_cannot_serve_is_not_published(registered, changes, rule):
    engine = engine_of(registered, **changes)
    if changes.get("stripped"):
        shutil.copyfile(__file__, engine / "weights.onnx")
    with pytest.raises(EngineError, match=rule):
        published(registered, PLANNED, engine)
    assert not (registered.root / "repository").exists()


def test_a_truncated_plan_is_not_published(registered):
    engine = engine_of(registered)
    (engine / PLAN_FILE).write_bytes(b"a plan")
    with pytest.raises(ModelError, match=r"model\.plan: sha256 must be \w{64}, got \w{64}$"):
        published(registered, PLANNED, engine)


def test_the_plan_of_another_champion_is_not_published(registered):
    """Built for version 1, and then the alias was moved."""
    engine = engine_of(registered)
    registered.client.set_registered_model_alias("liver", "champion", "2")
    with pytest.raises(EngineError, match=r"model\.plan: must be built from the model of sha256"):
        published(registered, PLANNED, engine)
