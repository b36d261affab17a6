"""Backbones of timm: their grids, their own colours, and weights that are had or not."""

from __future__ import annotations

import sys

import pytest
import torch
from torch.testing import assert_close
from unrolled.core import ImageEncoder, TimmBackbone

timm = pytest.importorskip("timm")
IMAGES = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8)


@pytest.mark.parametrize(
    ("name", "index", "shape"),
    [
        ("resnet10t", -1, (512, 2, 3)),
        ("resnet10t", -2, (256, 4, 6)),
        ("convnext_atto", -1, (320, 2, 3)),
        ("mobilenetv3_small_050", -1, (288, 2, 3)),
    ],
)
def test_gives_a_grid_and_stays_as_it_is(name, index, shape):
    backbone = TimmBackbone(name, index=index)
    assert backbone.output_size == shape[0]
    first = backbone.train()(IMAGES)
    assert first.shape == (2, *shape)
    assert_close(backbone(IMAGES), first)
    assert not first.requires_grad
    backbone.unfreeze()
    assert backbone.train()(IMAGES).requires_grad
    assert_close(backbone(IMAGES[:1]), backbone(IMAGES)[:1])


def test_colours_are_the_weights_own():
    backbone = TimmBackbone("vit_tiny_patch16_224.augreg_in21k")
    assert backbone.mean.flatten().tolist() == [127.5] * 3
    model = timm.create_model("vit_tiny_patch16_224.augreg_in21k").eval()
    model.load_state_dict(backbone.network.state_dict(), strict=False)
    images = torch.randint(0, 256, (1, 3, 224, 224), dtype=torch.uint8)
    wanted = model.forward_intermediates(
        images / 127.5 - 1, indices=[-1], intermediates_only=True, output_fmt="NCHW"
    )[0]
    assert_close(backbone(images), wanted)
    with pytest.raises(ValueError, match=r"224 x 224 pixels only.*set image_size to 224"):
        backbone(IMAGES)


def test_weights_come_from_a_file(tmp_path):
    torch.save(timm.create_model("resnet10t", num_classes=7).state_dict(), tmp_path / "a.pt")
    one, two = (TimmBackbone("resnet10t", weights=str(tmp_path / "a.pt")) for _ in range(2))
    assert one.fingerprint() == two.fingerprint()
    assert one.fingerprint() != TimmBackbone("resnet10t").fingerprint()
    assert ImageEncoder(lambda: one)(IMAGES).output.shape == (2, 6, 512)
    assert TimmBackbone("resnet10t", weights="default", fetch=False).output_size == 512


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"name": "resnet10x"}, "there is no model 'resnet10x' in timm. Did you mean 'resnet"),
        ({"name": "resnet10t", "index": 9}, "no grid at index 9"),
        ({"name": "resnet10t", "weights": "gone.pt"}, "no file 'gone.pt'"),
        ({"name": "convnext_atto", "weights": "other.pt"}, "don't fit convnext_atto"),
        ({"name": "resnet10t", "weights": "bad.pt"}, "can't be read"),
    ],
)
def test_says_what_is_wrong(tmp_path, monkeypatch, settings, told):
    monkeypatch.chdir(tmp_path)
    torch.save({"a.weight": torch.zeros(3)}, "other.pt")
    (tmp_path / "bad.pt").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=told):
        TimmBackbone(**settings)


def test_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ImportError, match="pip install 'timm"):
        TimmBackbone("resnet18")
