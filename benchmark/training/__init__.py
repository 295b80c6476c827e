"""A backbone under a defence, from spec to submission folder, and shadow backbones."""
