"""Data whose first start fails, for the test of studies."""

from functools import partial

from datamodules import Embedded


class Late(Embedded):
    """The first images of the embedded set, the last of which cannot be read.  fails: why there are none at all."""

    fails = ""

    def setup(self, stage: str) -> None:
        if self.fails:
            raise ValueError(self.fails)
        super().setup(stage)

    def samples(self):
        found = list(super().samples())[: self.limit]
        return [*found[:-1], (found[-1][0], partial(open, "nothing"), found[-1][2])]
