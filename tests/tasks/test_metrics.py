from __future__ import annotations

import torch
from unrolled.tasks.metrics import BitsPerCharacter


def test_bits_do_not_depend_on_the_batches():
    torch.manual_seed(0)
    nats = torch.rand(10_000)
    whole, parts = BitsPerCharacter(), BitsPerCharacter()
    whole.update(nats.sum(), 10_000)
    for chunk in nats.split(7):
        parts.update(chunk.sum(), len(chunk))
    expected = nats.double().mean() / torch.tensor(2.0).log().double()
    torch.testing.assert_close(parts.compute(), expected, rtol=1e-7, atol=0)
    torch.testing.assert_close(whole.compute(), expected, rtol=1e-6, atol=0)
