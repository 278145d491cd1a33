"""The zip files that torch.save writes since torch 1.6."""
