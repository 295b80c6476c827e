from __future__ import annotations

import torch

from attacks.generators.config import GanConfig
from attacks.generators.warmup import Encoder, warmup_loss


def test_bound_is_error_and_divergence_in_nats_a_pixel():
    config = GanConfig(resolution=8, z_dim=4, w_dim=4, mapping_layers=1, channel_base=64, channel_max=8)
    torch.manual_seed(0)
    generator, encoder = config.generator(), Encoder(8, 4, 64, 8)
    images = torch.rand(6, 3, 8, 8) * 2 - 1
    torch.manual_seed(1)
    loss, error = warmup_loss(generator, encoder, images, weight=3.0)
    torch.manual_seed(1)
    mean, log_variance = encoder(images)
    posterior = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    z = mean + torch.randn_like(mean) * posterior.scale
    divergence = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0, 1)).sum(1).mean()
    expected = (generator(z, noise="none") - images).square().mean()
    torch.testing.assert_close(error, expected)
    torch.testing.assert_close(loss, 0.5 * (expected + 1e-6).log() + 3 * divergence / 192)
    torch.testing.assert_close(mean.mean(0), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(mean.var(0, unbiased=False), torch.ones(4), atol=1e-2, rtol=0)
