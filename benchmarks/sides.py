"""One side of a comparison, in a process of its own: a scan file in, its mask file out.

    python benchmarks/sides.py SIDE MODEL SCAN MASK

Loads the model, and then does the work once for each line that it reads, and answers with a line
of JSON. ``benchmarks/segmentation.py`` asks several in turns. MODEL is a checkpoint where torch
runs the network, else a folder that ``export`` wrote. MONAI and nnU-Net get this package's
network as it is, so that all sides compute the same; nnU-Net is told of its grid, its window of
intensities, its patch and its two overlapping classes by plans written here.
"""

import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from memory import memory_mib, reset_peak

Work = Callable[[Path, Path], None]


class Clock:
    """Seconds spent inside the network."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.windows = 0

    def around(self, call: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """The same call, timed."""

        def timed(windows: Any) -> Any:
            begun = time.perf_counter()
            answer = call(windows)
            self.seconds += time.perf_counter() - begun
            self.windows += len(windows)
            return answer

        return timed


def exported(form: str) -> Callable[[Path, Clock], Work]:
    """This package, with a runtime that needs no torch, and a precision: "openvino bf16"."""
    runtime, _, precision = form.partition(" ")

    def load(model: Path, clock: Clock) -> Work:
        from dyntransnet.runtimes.choice import load as load_model

        return _ours(*load_model(model, runtime, precision or "fp32"), clock)

    return load


def ours_in_torch(model: Path, clock: Clock) -> Work:
    """This package, with the network that the others run."""
    from dyntransnet.runtimes.torch_runtime import load as load_model

    return _ours(*load_model(model), clock)


def _ours(predict: Any, contract: Any, clock: Clock) -> Work:
    from dyntransnet.imaging.scan import read_scan, write_mask
    from dyntransnet.imaging.segment import segment

    timed = clock.around(predict)
    return lambda scan, mask: write_mask(segment(read_scan(scan), timed, contract), mask)


def monai(model: Path, clock: Clock) -> Work:
    """MONAI's dictionary transforms, its sliding window, and its way back."""
    import torch
    from monai.data import MetaTensor
    from monai.inferers import sliding_window_inference
    from monai.transforms import (
        Compose,
        EnsureChannelFirstd,
        Invertd,
        LoadImaged,
        Orientationd,
        SaveImage,
        ScaleIntensityRanged,
        Spacingd,
    )

    network, contract = _network(model)
    window, keys = contract.intensity, ["image"]
    prepare = Compose(
        [
            LoadImaged(keys),
            EnsureChannelFirstd(keys),
            Orientationd(keys, axcodes="RAS"),
            Spacingd(keys, pixdim=contract.spacing_mm, mode="bilinear"),
            ScaleIntensityRanged(keys, window.low_hu, window.high_hu, -1.0, 1.0, clip=True),
        ]
    )
    back = Invertd("scores", prepare, orig_keys="image", nearest_interp=False, to_tensor=True)
    predict, batch = clock.around(network), _batch_of(contract)

    @torch.inference_mode()
    def work(scan: Path, mask: Path) -> None:
        case = prepare({"image": scan})
        logits = sliding_window_inference(
            case["image"][None], contract.patch_size, batch, predict,
            overlap=contract.overlap, mode="gaussian", cval=-1.0,
        )[0]  # fmt: skip
        case["scores"] = torch.sigmoid(logits)
        liver, tumor = back(case)["scores"] >= contract.threshold
        labels = (liver | tumor).to(torch.uint8) + tumor
        stored = MetaTensor(labels[None], affine=case["image"].meta["original_affine"])
        stored.meta["original_affine"] = case["image"].meta["original_affine"]
        saver = SaveImage(
            output_dir=mask.parent, output_postfix="", output_ext=".nii.gz", separate_folder=False,
            output_dtype="uint8", resample=False, print_log=False,
        )  # fmt: skip
        saver(stored, filename=mask.with_name(mask.name.removesuffix(".nii.gz")))

    return work


def nnunet(model: Path, clock: Clock) -> Work:
    """nnU-Net's own reading, resampling, predictor and export, without mirroring."""
    import torch
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    network, contract = _network(model)

    class Turned(torch.nn.Module):
        """nnU-Net's arrays are (z, y, x) of a scan that it does not turn: here from LPS."""

        def __init__(self) -> None:
            super().__init__()
            self.within = network

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return predict(x.permute(0, 1, 4, 3, 2).flip(2, 3)).flip(2, 3).permute(0, 1, 4, 3, 2)

    predict = clock.around(network)
    dataset = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "liver": [1, 2], "tumor": 2},
        "regions_class_order": [1, 2],
        "numTraining": 1,
        "file_ending": ".nii.gz",
    }
    plans = PlansManager(_plans(contract))
    predictor = nnUNetPredictor(
        tile_step_size=1 - contract.overlap, use_mirroring=False, device=torch.device("cpu"),
        perform_everything_on_device=False, verbose=False, allow_tqdm=False,
    )  # fmt: skip
    wrapped = Turned()
    predictor.manual_initialization(
        wrapped, plans, plans.get_configuration("3d_fullres"), [wrapped.state_dict()], dataset,
        "nnUNetTrainer", None,
    )  # fmt: skip

    def work(scan: Path, mask: Path) -> None:
        image, properties = SimpleITKIO().read_images([str(scan)])
        predictor.predict_single_npy_array(
            image, properties, output_file_truncated=str(mask).removesuffix(".nii.gz")
        )

    return work


def _network(model: Path) -> tuple[Any, Any]:
    from dyntransnet.contract import Contract
    from dyntransnet.runtimes.torch_runtime import load_network

    contract = Contract.load(model)
    return load_network(model, contract), contract


def _batch_of(contract: Any) -> int:
    """As many windows in a call as this package has."""
    from dyntransnet.imaging.tiling import Tiling

    return Tiling(2, contract.patch_size, contract.overlap, -1.0).windows_in_a_call


def _plans(contract: Any) -> dict[str, Any]:
    """What nnU-Net would have planned, had it planned this network's grid."""
    window = contract.intensity
    middle, half = (window.low_hu + window.high_hu) / 2, (window.high_hu - window.low_hu) / 2
    shares = {"percentile_00_5": window.low_hu, "percentile_99_5": window.high_hu}
    to_data = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
    to_scores = {**to_data, "order": 1}
    configuration = {
        "data_identifier": "bench",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": list(reversed(contract.patch_size)),
        "spacing": list(reversed(contract.spacing_mm)),
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": to_data,
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_seg_kwargs": {**to_data, "is_seg": True, "order": 1},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": to_scores,
        "batch_dice": False,
        "architecture": {"network_class_name": "", "arch_kwargs": {}, "_kw_requires_import": []},
    }
    return {
        "dataset_name": "Dataset001_Bench",
        "plans_name": "bench",
        "image_reader_writer": "SimpleITKIO",
        "label_manager": "LabelManager",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {"3d_fullres": configuration},
        "foreground_intensity_properties_per_channel": {
            "0": {"mean": middle, "std": half, **shares}
        },
    }


SIDES: dict[str, Callable[[Path, Clock], Work]] = {
    "torch": ours_in_torch,
    "monai": monai,
    "nnunet": nnunet,
}


def main() -> None:
    """Answer each line of stdin with a line of JSON."""
    warnings.simplefilter("ignore")
    side, model, scan, mask = sys.argv[1], *map(Path, sys.argv[2:])
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever the tools print
    clock = Clock()
    work = (SIDES.get(side) or exported(side))(model, clock)
    loaded = memory_mib("VmRSS")
    for _ in sys.stdin:
        clock.seconds, clock.windows = 0.0, 0
        reset_peak()
        begun, used = time.perf_counter(), time.process_time()
        work(scan, mask)
        found = {
            "seconds": time.perf_counter() - begun,
            "processor_s": time.process_time() - used,
            "network_s": clock.seconds,
            "windows": clock.windows,
            "peak_mib": memory_mib("VmHWM"),
            "loaded_mib": loaded,
        }
        print(json.dumps(found), file=answers, flush=True)


if __name__ == "__main__":
    main()
