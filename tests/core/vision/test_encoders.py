"""Backbones: frozen where they say so; encoders: an image's features are its own."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision import models
from unrolled.core import (
    FrameEncoder,
    ImageEncoder,
    SmallCNN,
    TorchvisionBackbone,
)

GRIDS = {
    "resnet18": 512,
    "mobilenet_v3_small": 576,
    "efficientnet_b0": 1280,
    "convnext_tiny": 768,
    "regnet_y_400mf": 440,
    "squeezenet1_1": 512,
    "swin_t": 768,
}


def images(count: int, height: int = 64, width: int = 64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(count)
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator)


# The others take seconds to make and go the same ways.
QUICK = ("resnet18", "mobilenet_v3_small", "squeezenet1_1", "swin_t")


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in GRIDS],
)
def test_the_last_grid_is_that_of_the_whole_model(name):
    torch.manual_seed(0)
    # In double precision: a random network makes much of the last digit of its pixels.
    backbone = TorchvisionBackbone(name).double().eval()
    torch.manual_seed(0)
    model = models.get_model(name, weights=None).double().eval()
    pixels = (
        images(2, 96, 128) / 255 - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    ) / torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    found = []
    # The classifier's first pooling reads the grid.
    pool = next(
        module
        for module in reversed(list(model.modules()))
        if isinstance(module, nn.AdaptiveAvgPool2d)
    )
    if name == "squeezenet1_1":  # classifies the grid's places first
        pool = model.classifier[0]
    pool.register_forward_pre_hook(lambda module, inputs: found.append(inputs[0]))
    with torch.no_grad():
        model(pixels.double())
    grid = backbone(images(2, 96, 128))
    assert grid.shape[1] == GRIDS[name] == backbone.output_size
    torch.testing.assert_close(grid, found[-1], rtol=1e-4, atol=1e-5)


def test_a_vision_transformer_is_refused_for_it_has_no_grid():
    with pytest.raises(
        ValueError, match="'vit_b_16' ends in a sequence and has no feature grid; take a convol"
    ):
        TorchvisionBackbone("vit_b_16")


def test_a_module_names_its_last_grid_and_errors_name_those_there_are():
    assert TorchvisionBackbone("resnet18", node="layer3")(images(1)).shape == (1, 256, 4, 4)
    with pytest.raises(
        ValueError, match=r"there is no node 'layer9' in 'resnet18'; grids are.*relu_1 512x7x8"
    ):
        TorchvisionBackbone("resnet18", node="layer9")
    with pytest.raises(ValueError, match="there is no feature grid at 'fc'"):
        TorchvisionBackbone("resnet18", node="fc")
    with pytest.raises(
        ValueError, match=r"no model 'resnet81' in torchvision\. Did you mean 'resnet18'"
    ):
        TorchvisionBackbone("resnet81")


class TestFrozen:
    def test_it_stays_as_it_is_also_in_training(self):
        encoder = ImageEncoder(lambda: TorchvisionBackbone("resnet18"), output_size=8)
        encoder.train()
        before = copy.deepcopy(encoder.backbone.state_dict())
        output = encoder(images(3)).output
        assert torch.equal(output, encoder(images(3)).output)
        output.square().sum().backward()
        assert all(parameter.grad is None for parameter in encoder.backbone.parameters())
        assert encoder.project.weight.grad is not None
        assert not any(module.training for module in encoder.backbone.modules())
        assert all(
            torch.equal(before[name], value)
            for name, value in encoder.backbone.state_dict().items()
        )

    def test_unfrozen_it_learns_and_its_batch_normalisation_does_not_move(self):
        encoder = ImageEncoder(lambda: TorchvisionBackbone("mobilenet_v3_small"))
        encoder.backbone.unfreeze()
        encoder.train()
        before = {name: value.clone() for name, value in encoder.backbone.named_buffers()}
        encoder(images(3)).output.square().sum().backward()
        assert all(parameter.grad is not None for parameter in encoder.parameters())
        assert all(
            torch.equal(before[name], value) for name, value in encoder.backbone.named_buffers()
        )
        assert any(module.training for module in encoder.backbone.modules())

    def test_from_scratch_batch_normalisation_learns_in_images_and_never_in_frames(self):
        def scratch() -> TorchvisionBackbone:
            return TorchvisionBackbone("resnet18", frozen=False)

        def moving(module: nn.Module) -> set[bool]:
            return {
                part.training for part in module.train().modules() if isinstance(part, _BatchNorm)
            }

        assert moving(ImageEncoder(scratch)) == {True}
        assert moving(FrameEncoder(scratch)) == {False}


class TestWeights:
    def test_a_file_gives_the_model_its_weights(self, tmp_path):
        torch.manual_seed(1)
        model = models.resnet18(num_classes=7)  # its classifier is of no use here
        torch.save(
            {"state_dict": {f"module.{k}": v for k, v in model.state_dict().items()}},
            tmp_path / "w.pt",
        )
        backbone = TorchvisionBackbone("resnet18", weights=str(tmp_path / "w.pt"))
        assert torch.equal(backbone.network.conv1.weight, model.conv1.weight)
        assert backbone.fingerprint() != TorchvisionBackbone("resnet18").fingerprint()
        assert backbone.fingerprint() == copy.deepcopy(backbone).fingerprint()

    def test_what_does_not_fit_is_listed(self, tmp_path):
        state = models.resnet18().state_dict()
        del state["conv1.weight"]
        state["layer1.0.conv1.weight"] = torch.zeros(2, 2)
        state["layer9.weight"] = torch.zeros(2)
        torch.save(state, tmp_path / "w.pt")
        with pytest.raises(
            ValueError,
            match=r"conv1.weight is missing; layer9.weight is unknown; "
            r"layer1.0.conv1.weight is \(2, 2\) and not",
        ):
            TorchvisionBackbone("resnet18", weights=str(tmp_path / "w.pt"))

    def test_a_checkpoint_brings_its_own(self):
        later = TorchvisionBackbone("squeezenet1_1", weights="no.pt", frozen=False, fetch=False)
        assert later.freeze_norm
        with pytest.raises(
            ValueError, match=r"no file 'no\.pt' with weights; or say default, none"
        ):
            TorchvisionBackbone("squeezenet1_1", weights="no.pt")

    def test_what_is_no_weights_is_not_read(self, tmp_path, monkeypatch):
        file = tmp_path / "w.pt"
        file.write_bytes(b"")
        with pytest.raises(ValueError, match="the weights of squeezenet1_1 can't be read"):
            TorchvisionBackbone("squeezenet1_1", weights=str(file))
        torch.save({"state_dict": 1}, file)
        with pytest.raises(ValueError, match="holds no state dict"):
            TorchvisionBackbone("squeezenet1_1", weights=str(file))
        with pytest.raises(
            ValueError, match=r"the weights of squeezenet1_1 can't be read: '.*': Is a directory"
        ):
            TorchvisionBackbone("squeezenet1_1", weights=str(tmp_path))
        monkeypatch.setenv("TORCH_HOME", str(tmp_path))
        monkeypatch.setattr("torch.hub.download_url_to_file", offline)
        with pytest.raises(
            ValueError, match=r"could not be downloaded \(no network\); give a file"
        ):
            TorchvisionBackbone("squeezenet1_1", weights="default")


def offline(*_, **__) -> None:
    raise OSError("no network")


class TestSmallCNN:
    def test_every_parameter_learns_and_rows_are_independent(self):
        torch.manual_seed(0)
        network = SmallCNN([8, 12]).double()
        assert network(images(3)).shape == (3, 12, 16, 16)
        torch.testing.assert_close(
            network(images(3))[1:2], network(images(3)[1:2]), rtol=1e-10, atol=1e-10
        )
        network(images(3)).square().sum().backward()
        assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())

    def test_it_knows_where_it_looks(self):
        torch.manual_seed(0)
        flat = torch.full((1, 3, 64, 64), 128, dtype=torch.uint8)
        inner = SmallCNN([8, 8])(flat)[0, :, 4:-4, 4:-4]
        assert inner.std((1, 2)).max() > 1e-3
        blind = SmallCNN([8, 8], coordinates=False)(flat)[0, :, 4:-4, 4:-4]
        assert blind.std((1, 2)).max() < 1e-5

    def test_its_size_is_checked(self):
        for channels in ([], [0]):
            with pytest.raises(ValueError, match="at least one stage"):
                SmallCNN(channels)
        with pytest.raises(
            ValueError, match=r"blocks is \[1\]; give a number for each of the 2 stages"
        ):
            SmallCNN([4, 8], blocks=[1])


def test_images_have_to_be_uint8():
    for backbone in (SmallCNN([4]), TorchvisionBackbone("squeezenet1_1")):
        with pytest.raises(
            ValueError, match=r"images is float32 \(1, 3, 64, 64\); it must be uint8"
        ):
            backbone(images(1) / 255)


def test_features_may_take_the_images_place():
    torch.manual_seed(0)
    encoder = ImageEncoder(lambda: SmallCNN([8, 12]), output_size=5)
    memory = encoder(images(2, 64, 32))
    assert encoder.grid(64, 32) == (16, 8)
    assert memory.output.shape == (2, 16 * 8, 5)
    features = encoder.features(images(2, 64, 32))
    assert torch.equal(encoder(features).output, memory.output)
    torch.testing.assert_close(encoder(features.half()).output, memory.output, rtol=1e-2, atol=1e-2)
    grid = encoder.backbone(images(2, 64, 32))
    assert torch.equal(features[1, 8 * 3 + 2], grid[1, :, 3, 2])


class TestFrameEncoder:
    @pytest.mark.parametrize(
        "backbone", [lambda: SmallCNN([8]), lambda: TorchvisionBackbone("resnet18")]
    )
    def test_chunks_change_nothing(self, backbone):
        torch.manual_seed(0)
        encoder = FrameEncoder(backbone, output_size=6, chunk=64).double()
        frames = images(7, 32, 48)
        whole = encoder(frames)
        assert whole.shape == (7, 6)
        for encoder.chunk in (1, 3, 7):
            torch.testing.assert_close(encoder(frames), whole, rtol=1e-10, atol=1e-10)
        assert encoder(frames[:0]).shape == (0, 6)

    def test_computing_again_gives_the_same_gradients(self):
        torch.manual_seed(0)
        encoder = FrameEncoder(lambda: SmallCNN([8]), chunk=3).double()
        gradients = []
        for encoder.recompute in (False, True):
            encoder.zero_grad()
            encoder(images(7, 32, 32)).square().sum().backward()
            gradients.append([parameter.grad.clone() for parameter in encoder.parameters()])
        torch.testing.assert_close(*gradients)

    def test_places_are_means_over_the_parts_of_the_grid(self):
        encoder = FrameEncoder(lambda: SmallCNN([4, 8]), places=2)
        frames = images(3, 32, 32)
        grid, output = encoder.backbone(frames), encoder(frames)
        assert output.shape == (3, encoder.output_size) == (3, 8 * 4)
        corner = grid[:, :, :4, 4:].mean((2, 3))  # above, to the right
        torch.testing.assert_close(output.view(3, 8, 2, 2)[:, :, 0, 1], corner)

    def test_a_chunk_has_a_frame(self):
        with pytest.raises(ValueError, match="chunk is 0"):
            FrameEncoder(lambda: SmallCNN([4]), chunk=0)
        with pytest.raises(ValueError, match="places is 0"):
            FrameEncoder(lambda: SmallCNN([4]), places=0)
