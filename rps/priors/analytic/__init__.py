"""Priors whose denoiser and posterior are closed formulas."""
