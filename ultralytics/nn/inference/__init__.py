"""A network prepared for inference: a copy with fused layers, on its device."""
