"""From a model folder to a plan: with a stand-in for TensorRT 10 and 11, and with RTX itself."""

import json
import subprocess
import sys

import numpy as np
import onnx
import pytest
from fake_tensorrt import API, L4, VERSIONS, fake_tensorrt
from nets import PATCH, Residual, exported

from dyntransnet.atomic import sha256_of
from dyntransnet.contract import CONTRACT_FILE, ONNX_FILE, Contract
from dyntransnet.engines import build
from dyntransnet.engines.builder import Options
from dyntransnet.errors import EngineError, ModelError, ParityError
from dyntransnet.runtimes.choice import load
from dyntransnet.runtimes.plan_file import PLAN_FILE, RECORD_FILE, WEIGHTS_FILE, PlanRecord
from models import flip_a_bit, save_model, threshold_model

GPU = Options(target="tensorrt", batch=3)
RTX = Options(target="tensorrt-rtx", batch=8, compute_capabilities=(89,))
IMAGE = np.random.default_rng(0).uniform(-1, 1, (5, 1, *PATCH)).astype(np.float32)

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:(torch|onnxscript|copyreg)"),
    pytest.mark.filterwarnings("ignore::FutureWarning:(torch|onnxscript|copyreg)"),
]


@pytest.fixture(scope="module")
def folder(one_thread, tmp_path_factory):
    """A model folder whose network has norms."""
    place = tmp_path_factory.mktemp("nets") / "model"
    exported(place, Residual(affine=True))
    return place


@pytest.fixture
def rtx():
    return pytest.importorskip(
        "tensorrt_rtx_bindings", reason="pip install 'dyntransnet[tensorrt-rtx]'"
    )


def built(folder, tmp_path, options=GPU, precision="fp16", cache=None):
    build.run(folder, tmp_path / "engine", precision=precision, options=options, cache=cache)
    return tmp_path / "engine"


def changed(options: Options, **changes) -> Options:
    return Options(**{**vars(options), **changes})


@pytest.mark.parametrize("version", VERSIONS)
def test_the_stand_in_has_no_name_that_tensorrt_has_not(version):
    fake = fake_tensorrt(version)
    for name, known in API[version]["classes"].items():
        if (kind := getattr(fake, name, None)) is not None:
            own = {each for each in vars(kind) if not each.startswith("_")}
            assert own <= set(known.split()), name


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_a_plan_gives_the_logits_of_its_model(folder, tmp_path, tensorrt, precision):
    engine = built(folder, tmp_path, precision=precision)
    expected = load(folder, "onnxruntime")[0](IMAGE)
    found = load(engine, "tensorrt")[0](IMAGE)
    limit = {"fp32": 2e-5, "fp16": 1e-2, "bf16": 1e-1}[precision]
    assert found.shape == expected.shape
    assert abs(found - expected).max() < limit * expected.std()


def test_the_record_says_what_the_plan_was_built_from_and_for(folder, tmp_path, tensorrt):
    engine = built(folder, tmp_path)
    assert sorted(path.name for path in engine.iterdir()) == sorted(
        [CONTRACT_FILE, ONNX_FILE, PLAN_FILE, RECORD_FILE]
    )
    record = json.loads((engine / RECORD_FILE).read_text())
    assert record.pop("graph_sha256") != sha256_of(folder / ONNX_FILE)
    assert record == {
        "version": 1,
        "target": "tensorrt",
        "toolkit_version": tensorrt.__version__,
        "gpu": L4.model_dump(),
        "compute_capabilities": [89],
        "precision": "fp16",
        "batch": 3,
        "version_compatible": False,
        "stripped": False,
        "onnx_sha256": sha256_of(folder / ONNX_FILE),
        "plan_sha256": sha256_of(engine / PLAN_FILE),
    }


def test_the_builder_is_told_shapes_types_and_no_tf32(folder, tmp_path, tensorrt):
    built(folder, tmp_path)
    network, config = tensorrt.built[-1]
    assert network._flags == 1 << tensorrt.NetworkDefinitionCreationFlag.STRONGLY_TYPED
    assert config._profiles[0]._range == ("image", (1, 1, *PATCH), (3, 1, *PATCH))
    assert config._set == set()


def test_a_stripped_plan_takes_its_weights_when_it_is_loaded(folder, tmp_path, tensorrt):
    engine = built(folder, tmp_path, changed(GPU, stripped=True))
    whole = built(folder, tmp_path / "whole")
    assert (engine / PLAN_FILE).stat().st_size < (whole / PLAN_FILE).stat().st_size
    expected = load(whole, "tensorrt")[0](IMAGE)
    np.testing.assert_array_equal(load(engine, "tensorrt")[0](IMAGE), expected)
    flip_a_bit(engine / WEIGHTS_FILE)
    with pytest.raises(ModelError, match=r"weights\.onnx: sha256 must be \w{64}, got \w{64}$"):
        load(engine, "tensorrt")


def test_a_version_compatible_plan_is_loaded(folder, tmp_path, tensorrt):
    engine = built(folder, tmp_path, changed(GPU, version_compatible=True))
    assert load(engine, "tensorrt")[0](IMAGE).shape == (5, 2, *PATCH)


def test_a_timing_cache_is_read_and_added_to(folder, tmp_path, tensorrt):
    cache = tmp_path / "timings"
    for expected in (b"timed\n", b"timed\ntimed\n"):
        built(folder, tmp_path, changed(GPU, timing_cache=cache))
        assert cache.read_bytes() == expected


def test_a_timing_cache_of_another_gpu_is_refused(folder, tmp_path, tensorrt):
    cache = tmp_path / "timings"
    cache.write_bytes(b"other GPU")
    with pytest.raises(EngineError, match=r"timings: must be a timing cache of this GPU and ver"):
        built(folder, tmp_path, changed(GPU, timing_cache=cache))
    assert not (tmp_path / "engine").exists()


def test_real_windows_are_taken_from_the_cache(folder, tmp_path, tensorrt, monkeypatch):
    case = tmp_path / "cache" / "case"
    case.mkdir(parents=True)
    rng = np.random.default_rng(5)
    arrays = {
        "image": rng.uniform(-1, 1, (9, 8, 14)).astype(np.float16),
        "label": np.ones((9, 8, 14), np.uint8),
        "liver": np.array([[4, 3, 6]], np.int16),
        "tumor": np.zeros((0, 3), np.int16),
        "air": np.float32(-1),
    }
    for name, array in arrays.items():
        np.save(case / f"{name}.npy", array)
    seen = []
    monkeypatch.setattr(build, "graph_of", lambda model, _, windows: seen.append(windows) or model)
    built(folder, tmp_path, cache=tmp_path / "cache")
    np.testing.assert_array_equal(seen[0][0, 0], arrays["image"][1:7, 1:5, 1:11])


def test_a_plan_of_nan_is_not_written(folder, tmp_path, tensorrt, monkeypatch):
    """A kernel that overflows, as engines with black masks have it."""

    class Runtime(tensorrt.Runtime):
        def deserialize_cuda_engine(self, plan):
            engine = super().deserialize_cuda_engine(plan)
            for tensor in engine._model.graph.initializer:
                if len(tensor.dims) == 5:
                    values = np.full(tensor.dims, np.inf, np.float16)
                    tensor.raw_data = values.tobytes()
            return engine

    monkeypatch.setattr(tensorrt, "Runtime", Runtime)
    with pytest.raises(ParityError, match=r"model\.plan: logits must be finite, got NaN or inf"):
        built(folder, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["bin"]


def test_a_graph_that_strays_is_not_built(folder, tmp_path, tensorrt, monkeypatch):
    def shifted(model, precision, windows):
        model = onnx.ModelProto.FromString(model.SerializeToString())
        for tensor in model.graph.initializer:
            if list(tensor.dims) == [2]:
                tensor.CopyFrom(onnx.numpy_helper.from_array(np.full(2, 9, "f"), tensor.name))
        return model

    monkeypatch.setattr(build, "graph_of", shifted)
    with pytest.raises(ParityError, match=r"in fp16: logits must lie within 0\.2 of the model's"):
        built(folder, tmp_path)
    assert tensorrt.built == []


def test_a_model_that_the_toolkit_refuses_is_named_with_its_reason(
    folder, tmp_path, tensorrt, monkeypatch
):
    class Refusing(tensorrt.Builder):
        def create_network(self, flags=0):
            return super().create_network(0)

    monkeypatch.setattr(tensorrt, "Builder", Refusing)
    rule = r"^tensorrt must build the model, got no strong types, or no profile$"
    with pytest.raises(EngineError, match=rule):
        built(folder, tmp_path)
    assert not (tmp_path / "engine").exists()


def test_a_changed_or_truncated_model_is_refused(folder, tmp_path, tensorrt):
    save_model(tmp_path / "cut", threshold_model(0.2, 0.7))
    path = tmp_path / "cut" / ONNX_FILE
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ModelError, match=r"cut/model\.onnx: sha256 must be \w{64}, got \w{64}$"):
        built(tmp_path / "cut", tmp_path)
    contract = Contract.load(tmp_path / "cut")
    contract.model_copy(update={"model_sha256": sha256_of(path)}).save(tmp_path / "cut")
    with pytest.raises(ModelError, match=r"cut/model\.onnx: must be a whole ONNX model, got \S"):
        built(tmp_path / "cut", tmp_path)


def test_without_a_gpu_tensorrt_says_where_to_build(folder, tmp_path, tensorrt, nvidia_smi):
    nvidia_smi(None)
    with pytest.raises(EngineError, match=r"^tensorrt: must be run on a machine with an NVIDIA"):
        built(folder, tmp_path)


def test_tensorrt_builds_for_the_gpu_it_is_on_alone(folder, tmp_path, tensorrt):
    with pytest.raises(EngineError, match=r"^--compute-capability must be left to --target ten"):
        built(folder, tmp_path, changed(GPU, compute_capabilities=(86,)))


@pytest.mark.parametrize(
    ("target", "module"),
    [("tensorrt", "tensorrt"), ("tensorrt-rtx", "tensorrt_rtx_bindings")],
)
def test_a_toolkit_that_is_not_installed_is_named(folder, tmp_path, monkeypatch, target, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        EngineError, match=rf"^{target} must be installed \(.*pip install .+\), got"
    ):
        built(folder, tmp_path, changed(GPU, target=target))


def test_an_old_tensorrt_is_refused(folder, tmp_path, tensorrt):
    tensorrt.__version__ = "8.6.1"
    with pytest.raises(
        EngineError, match=r"^tensorrt must be of version 10 or later, got 8\.6\.1$"
    ):
        built(folder, tmp_path)


def test_building_needs_no_toolkit_to_be_imported():
    code = (
        "import sys, dyntransnet.cli, dyntransnet.engines.build, dyntransnet.stages.publish\n"
        "print([name for name in sys.modules if 'tensorrt' in name and 'dyn' not in name])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_tensorrt_for_rtx_builds_without_a_gpu(folder, tmp_path, rtx, capsys, precision):
    engine = built(folder, tmp_path, RTX, precision)
    record = PlanRecord.load(engine)
    record.check_files(engine, Contract.load(folder))
    assert (record.gpu, record.compute_capabilities) == (None, (89,))
    assert record.toolkit_version == rtx.__version__
    assert (engine / PLAN_FILE).stat().st_size > 10_000
    assert "compute capability 89, which has not been run" in capsys.readouterr().out


def test_rtx_builds_for_several_gpus_at_once(folder, tmp_path, rtx):
    both = built(folder, tmp_path, changed(RTX, compute_capabilities=(86, 120)))
    assert PlanRecord.load(both).compute_capabilities == (86, 120)


@pytest.mark.parametrize("capabilities", [(), (90,), (89, 90)])
def test_rtx_must_know_the_gpu(folder, tmp_path, rtx, nvidia_smi, capabilities):
    nvidia_smi(None)
    with pytest.raises(EngineError, match=r"^--compute-capability must be among 75, 80, .*, got"):
        built(folder, tmp_path, changed(RTX, compute_capabilities=capabilities))


def test_rtx_builds_for_the_gpu_that_is_here_where_none_is_named(folder, tmp_path, rtx, nvidia_smi):
    engine = built(folder, tmp_path, changed(RTX, compute_capabilities=()))
    assert PlanRecord.load(engine).compute_capabilities == (89,)


@pytest.mark.parametrize("option", ["stripped", "version_compatible"])
def test_rtx_has_no_use_for_options_of_tensorrt(folder, tmp_path, rtx, option):
    with pytest.raises(EngineError, match=r"must be left to --target tensorrt, got one for"):
        built(folder, tmp_path, changed(RTX, **{option: True}))


def test_rtx_names_what_it_cannot_parse(tmp_path, rtx):
    model = threshold_model(0.2, 0.7, patch_size=PATCH)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([True]), "all"))
    model.graph.node.insert(
        0, onnx.helper.make_node("Compress", ["image", "all"], ["same"], axis=1)
    )
    model.graph.node[1].input[0] = "same"
    save_model(tmp_path / "model", model, patch_size=PATCH)
    rule = r"^tensorrt-rtx must parse the model, got [^\n]*Compress[^\n]*$"
    with pytest.raises(EngineError, match=rule):
        built(tmp_path / "model", tmp_path, RTX, "fp32")
    assert not (tmp_path / "engine").exists()
