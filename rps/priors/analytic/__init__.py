"""Priors whose denoiser and posterior have closed forms."""
