"""Metrics of restorations: distortion, consistency, perceptual distances, and their uncertainty.

Per-image metrics are computed on images in [0, 1] as they are saved (`as_saved`).
"""

from rps.metrics.adapters import Pyiqa, TorchMetrics
from rps.metrics.arniqa import Arniqa
from rps.metrics.base import Candidate, Metric, MetricInfo
from rps.metrics.calibration import Coverage, RankSpread, SampleError, variance_ratio
from rps.metrics.dp import Difference, Images, difference
from rps.metrics.features import EmbeddedFeatures, FeatureNetwork, TimmFeatures
from rps.metrics.frechet import Gaussian, Statistics, frechet_distance
from rps.metrics.hashes import network_hash
from rps.metrics.images import as_saved, consistency, ms_ssim, psnr, residual_rms, rmse, ssim
from rps.metrics.inception import InceptionFeatures
from rps.metrics.intervals import Draws, Estimate, FrechetDraws, frechet_draws, means
from rps.metrics.kernel import kernel_distance, kernel_draws
from rps.metrics.lpips import Lpips
from rps.metrics.manifold import PrecisionRecall, precision_recall
from rps.metrics.plausibility import EstimatedNoise, NoiseRatio
from rps.metrics.seams import Seams, seams
from rps.metrics.standard import Consistency, MsSsim, Psnr, Residual, Rmse, Spread, Ssim, standard

__all__ = [
    "Arniqa",
    "Candidate",
    "Consistency",
    "Coverage",
    "Difference",
    "Draws",
    "EmbeddedFeatures",
    "Estimate",
    "EstimatedNoise",
    "FeatureNetwork",
    "FrechetDraws",
    "Gaussian",
    "Images",
    "InceptionFeatures",
    "Lpips",
    "Metric",
    "MetricInfo",
    "MsSsim",
    "NoiseRatio",
    "PrecisionRecall",
    "Psnr",
    "Pyiqa",
    "RankSpread",
    "Residual",
    "Rmse",
    "SampleError",
    "Seams",
    "Spread",
    "Ssim",
    "Statistics",
    "TimmFeatures",
    "TorchMetrics",
    "as_saved",
    "consistency",
    "difference",
    "frechet_distance",
    "frechet_draws",
    "kernel_distance",
    "kernel_draws",
    "means",
    "ms_ssim",
    "network_hash",
    "precision_recall",
    "psnr",
    "residual_rms",
    "rmse",
    "seams",
    "ssim",
    "standard",
    "variance_ratio",
]
