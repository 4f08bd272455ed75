import math

import onnxruntime as ort
import pytest
import torch
from monai.networks.nets.resnet import ResNet, ResNetBottleneck
from pydantic import ValidationError
from torch import nn

from dyntransnet.errors import ModelError, ParamsError
from dyntransnet.networks.hiformer import HiFormer, HiFormerArchitecture, hiformer
from dyntransnet.networks.hiformer.pyramid import Pyramid

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = {
    "cnn_dim": 8,
    "cnn_depths": (1, 1, 1),
    "embed_dim": 24,
    "depths": (2, 1, 2),
    "heads": (1, 2, 4),
    "window": 3,
    "drop_path": 0.0,
    "fusion_depths": (1, 1),
    "fusion_heads": (3, 6),
    "decoder_dim": 16,
    "head_dim": 8,
}
EDGES = (64, 96)


def small(**options) -> HiFormer:
    torch.manual_seed(0)
    return HiFormer(HiFormerArchitecture.model_validate(SMALL | options), EDGES)


def image(batch: int = 2, channels: int = 3, edges: tuple[int, int] = EDGES) -> torch.Tensor:
    return torch.randn(batch, channels, *edges, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def base() -> HiFormer:
    with torch.device("meta"):
        return HiFormer(HiFormerArchitecture(), (224, 224)).eval()


def test_base_has_the_parameters_of_hiformer_b(base):
    # as published, but for the head: nine classes there, two here, 1015 weights apart
    assert sum(p.numel() for p in base.parameters()) == pytest.approx(25.51e6, rel=1e-3)


def test_base_costs_what_hiformer_b_costs(base):
    products = []

    def count(module, _, result):
        weights = module.weight.numel()
        places = math.prod(result.shape) // module.weight.shape[0]
        products.append(weights * places)

    for module in base.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            module.register_forward_hook(count)
    base(torch.empty(1, 3, 224, 224, device="meta"))
    assert sum(products) == pytest.approx(8.6e9, rel=0.05)


def test_small_options_fit_a_processor():
    assert sum(p.numel() for p in small().parameters()) < 1e6


@pytest.mark.parametrize("edges", [EDGES, (16, 48), (80, 32), (96, 64)])
@pytest.mark.parametrize("options", [{}, {"context": 0, "classes": 3, "window": 7}], ids=str)
def test_logits_lie_on_the_grid_of_the_slice(edges, options):
    network = small(**options).eval()
    with torch.no_grad():
        logits = network(image(2, network.pyramid.stem[0].in_channels, edges))
    assert logits.shape == (2, options.get("classes", 2), *edges)


def test_gradient_reaches_every_parameter():
    network = small()
    (network(image()) * torch.randn(2, 1, *EDGES)).sum().backward()
    silent = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


def test_the_swap_reaches_no_voxel_in_the_order_of_the_authors():
    network = small(order="swap_last")
    network(image()).square().sum().backward()
    silent = {name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()}
    swaps = {f"fusion.swaps.{name}" for name, _ in network.fusion.swaps.named_parameters()}
    assert silent == swaps


def test_edge_that_is_no_multiple_is_rejected():
    with pytest.raises(ModelError, match=r"slice edges must be multiples of 16, got \(64, 72\)"):
        small()(image(edges=(64, 72)))


def test_patch_that_is_no_multiple_is_rejected():
    with pytest.raises(ParamsError, match=r"patch edges must be multiples of 16, got \(64, 72\)"):
        hiformer(patch_size=(64, 72, 5), **SMALL)


def test_heads_that_do_not_divide_are_rejected():
    with pytest.raises(ParamsError, match="must divide a level's 96 channels, got 5"):
        small(fusion_heads=(3, 5))


def test_unknown_option_is_rejected():
    with pytest.raises(ValidationError, match="backbone"):
        small(backbone="resnet34")


def test_a_slice_does_not_depend_on_the_others():
    network, batch = small().eval().double(), image(3).double()
    with torch.no_grad():
        torch.testing.assert_close(network(batch)[1:2], network(batch[1:2]))


def test_bfloat16_stays_close_to_float32():
    network = small().eval()
    with torch.no_grad():
        logits = network(image())
        with torch.autocast("cpu", torch.bfloat16):
            half = network(image())
    assert (half.float() - logits).abs().mean() < 0.03 * logits.std()


def test_training_steps_lower_the_loss():
    network = small()
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
    truth = (image()[:, :2] > 0).float()
    losses = []
    for _ in range(3):
        loss = nn.functional.binary_cross_entropy_with_logits(network(image()), truth)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[0] > losses[1] > losses[2]


def test_a_volume_is_labeled_slice_by_slice():
    torch.manual_seed(0)
    network = hiformer(patch_size=(*EDGES, 5), **SMALL).eval()
    volume = torch.randn(2, 1, *EDGES, 5)
    with torch.no_grad():
        logits = network(volume)
        middle = network.network(volume[:, 0, :, :, 1:4].movedim(-1, 1))
    assert logits.shape == (2, 2, *EDGES, 5)
    torch.testing.assert_close(logits[..., 2], middle, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:(torch|onnxscript|copyreg)")
@pytest.mark.filterwarnings("ignore::FutureWarning:(torch|onnxscript|copyreg)")
def test_onnx_runtime_agrees_with_torch(tmp_path):
    network, path = small().eval(), tmp_path / "model.onnx"
    edges = (48, 80)  # windows stick out, and positions are interpolated
    with torch.no_grad():
        torch.onnx.export(
            network,
            (image(2, edges=edges),),
            path,
            dynamo=True,
            opset_version=20,
            external_data=False,
            input_names=["image"],
            output_names=["logits"],
            dynamic_shapes={"image": {0: torch.export.Dim("batch", min=1, max=64)}},
        )
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    slices = image(3, edges=edges)
    (logits,) = session.run(["logits"], {"image": slices.numpy()})
    with torch.no_grad():
        expected = network(slices)
    assert (torch.from_numpy(logits) - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_the_convolutions_are_those_of_a_resnet():
    options = {"embed_dim": 8, "depths": (1, 1, 1), "heads": (1, 1, 1), "window": 4}
    pyramid = Pyramid(3, cnn_dim=8, cnn_depths=(2, 1, 3), drop_path=0.0, **options).eval()
    reference = ResNet(
        ResNetBottleneck,
        [2, 1, 3, 1],
        [8, 16, 32, 64],
        spatial_dims=2,
        n_input_channels=3,
        conv1_t_stride=2,
        feed_forward=False,
        bias_downsample=False,
    ).eval()
    ours = nn.ModuleList([pyramid.stem, pyramid.convolutions])
    for parameter in ours.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    theirs = [tensor for name, tensor in reference.state_dict().items() if "layer4" not in name]
    for mine, other in zip(ours.state_dict().values(), theirs, strict=True):
        other.copy_(mine)
    seen = []
    reference.layer3.register_forward_hook(lambda *call: seen.append(call[-1]))
    with torch.no_grad():
        reference(image())
        features = nn.Sequential(pyramid.stem, *pyramid.convolutions)(image())
    torch.testing.assert_close(features, seen[0])


def test_levels_halve_the_grid_and_double_the_channels():
    with torch.no_grad():
        levels = small().pyramid(image(1))
    assert [tuple(level.shape[1:]) for level in levels] == [(16, 24, 24), (8, 12, 48), (4, 6, 96)]
