"""Checkpoints of guided-diffusion (.pt) and latent diffusion (.ckpt), read without running code."""
