"""Readers of guided-diffusion (.pt) and latent-diffusion (.ckpt) checkpoints, which run none of their code."""
