"""Networks prepared for inference: copies with fused layers on their device."""
