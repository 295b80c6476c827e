"""Networks: backbones, heads, normalisation, output transforms, import of public checkpoints."""
