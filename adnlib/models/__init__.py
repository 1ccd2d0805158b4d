"""Other backbones, ImageNet weights and normalisation."""
