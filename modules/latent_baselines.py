"""The latent methods that LMAP-RPS is compared with, each alone as a LightningModule."""

from __future__ import annotations

from typing import Any

from modules.step_number import PosteriorSampling
from rps import samplers


class LatentDps(PosteriorSampling):
    """Latent DPS (arXiv 2209.14687, in latent space as arXiv 2605.28711 has it), from pure noise to the image.

    Args:
        sampler: its step size, see rps.samplers.LatentDps. The others: see PosteriorSampling.
    """

    def __init__(self, *args: Any, sampler: samplers.LatentDps = samplers.LatentDps(), **kwargs: Any) -> None:  # noqa: B008
        super().__init__(*args, sampler=sampler, **kwargs)


class Psld(PosteriorSampling):
    """PSLD (arXiv 2307.00619), from pure noise to the image. Needs a linear operator.

    Args:
        sampler: its step size and gluing weight, see rps.samplers.Psld. The others: see PosteriorSampling.
    """

    def __init__(self, *args: Any, sampler: samplers.Psld = samplers.Psld(), **kwargs: Any) -> None:  # noqa: B008
        super().__init__(*args, sampler=sampler, **kwargs)


class Ldir(PosteriorSampling):
    """LDIR (as arXiv 2605.28711 describes it), from pure noise to the image.

    Args:
        sampler: its step size, see rps.samplers.Ldir. The others: see PosteriorSampling.
    """

    def __init__(self, *args: Any, sampler: samplers.Ldir = samplers.Ldir(), **kwargs: Any) -> None:  # noqa: B008
        super().__init__(*args, sampler=sampler, **kwargs)


class Dcdp(PosteriorSampling):
    """DCDP (arXiv 2403.06054) in latent space, from pure noise to the image.

    Args:
        sampler: its inner steps and their rate, see rps.samplers.Dcdp. The others: see PosteriorSampling.
    """

    def __init__(self, *args: Any, sampler: samplers.Dcdp = samplers.Dcdp(), **kwargs: Any) -> None:  # noqa: B008
        super().__init__(*args, sampler=sampler, **kwargs)


class ReSample(PosteriorSampling):
    """ReSample (arXiv 2307.08123), from pure noise to the image.

    Args:
        sampler: its period and fits, see rps.samplers.ReSample. The others: see PosteriorSampling.
    """

    def __init__(self, *args: Any, sampler: samplers.ReSample = samplers.ReSample(), **kwargs: Any) -> None:  # noqa: B008
        super().__init__(*args, sampler=sampler, **kwargs)


class Stsl(PosteriorSampling):
    """STSL (arXiv 2312.00852), from pure noise to the image.

    Args:
        sampler: its step size and trace weight, see rps.samplers.Stsl. The others: see PosteriorSampling.
    """

    def __init__(self, *args: Any, sampler: samplers.Stsl = samplers.Stsl(), **kwargs: Any) -> None:  # noqa: B008
        super().__init__(*args, sampler=sampler, **kwargs)


class LatentDmap(PosteriorSampling):
    """DMAP (arXiv 2501.18913) in latent space, from pure noise to the image.

    Args:
        sampler: its step size, radius and ascents, see rps.samplers.LatentDmap. The others: see PosteriorSampling.
    """

    def __init__(self, *args: Any, sampler: samplers.LatentDmap = samplers.LatentDmap(), **kwargs: Any) -> None:  # noqa: B008
        super().__init__(*args, sampler=sampler, **kwargs)


class LatentDaps(PosteriorSampling):
    """DAPS (arXiv 2407.01521) in latent space, from pure noise to the image.

    Args:
        sampler: its levels and Langevin steps, see rps.samplers.LatentDaps. The others: see PosteriorSampling.
    """

    def __init__(self, *args: Any, sampler: samplers.LatentDaps = samplers.LatentDaps(), **kwargs: Any) -> None:  # noqa: B008
        super().__init__(*args, sampler=sampler, **kwargs)


class Sitcom(PosteriorSampling):
    """SITCOM (arXiv 2410.04479) in latent space, from pure noise to the image.

    Args:
        sampler: its inner steps and their rate, see rps.samplers.Sitcom. The others: see PosteriorSampling.
    """

    def __init__(self, *args: Any, sampler: samplers.Sitcom = samplers.Sitcom(), **kwargs: Any) -> None:  # noqa: B008
        super().__init__(*args, sampler=sampler, **kwargs)
