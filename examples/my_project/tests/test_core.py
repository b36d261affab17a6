"""The core keeps its contract."""

import torch
from my_project.core import Leaky
from torch.testing import assert_close
from unrolled.core import reference


def test_leaky_is_its_definition():
    core = Leaky(3, 4).double()
    x = torch.randn(5, 7, 3, dtype=torch.float64)
    masks = {"lengths": torch.tensor([3, 7, 0, 5, 1]), "reset": torch.rand(5, 7) < 0.2}
    assert_close(core(x, **masks), reference(core, x, **masks))


def test_leaky_goes_on_from_its_state():
    core, x = Leaky(3, 4), torch.randn(5, 7, 3)
    whole, last = core(x)
    first, state = core(x[:, :4])
    second, end = core(x[:, 4:], state)
    assert_close(torch.cat((first, second), 1), whole)
    assert_close(end, last)
