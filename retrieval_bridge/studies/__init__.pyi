from .losses import compare_losses as compare_losses
