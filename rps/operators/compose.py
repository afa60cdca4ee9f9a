"""Composition of operators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from rps.operators.base import LinearOperator, Operator
from rps.randomness import Streams


class Compose(Operator):
    """A(x) = A_k(.. A_2(A_1(x))): the operators in the order in which they are applied.

    If all operators are linear, `bind` returns a LinearOperator, whose pseudo-inverse comes from conjugate gradients.
    Otherwise pinv inverts one operator after another, which gives a rough start.

    Args:
        operators: A_1, A_2, .. A_k. The measurements of all but the last must have three dimensions, like an image.
    """

    operators: Sequence[Operator]

    def __init__(self, operators: Sequence[Operator]) -> None:
        super().__init__()
        if not operators:
            raise ValueError("Compose needs at least one operator, got none")
        self.operators = cast(Sequence[Operator], nn.ModuleList(operators))
        self.alike = all(operator.alike for operator in operators)

    def bind(self, shape: tuple[int, int, int], streams: Streams) -> Any:
        bound: list[Operator] = []
        at: tuple[int, ...] = tuple(shape)
        for place, operator in enumerate(self.operators):
            if len(at) != 3:
                raise ValueError(
                    f"{type(bound[-1]).__name__} gives measurements of shape {at}, but {type(operator).__name__} "
                    "after it needs an image; make it the last operator of Compose"
                )
            bound.append(operator.bind(at, streams.at(place)))
            one = bound[-1].rows(slice(0, 1)) if len(streams) else operator.bind(at, Streams(0, [""]))
            with torch.no_grad():
                at = tuple(one(torch.zeros(1, *at, device=streams.keys.device)).shape[1:])
        made = LinearCompose(bound) if all(isinstance(each, LinearOperator) for each in bound) else Compose(bound)
        return made.bound(image_shape=tuple(shape), rounding_std=bound[-1].rounding_std)

    def stored(self, y: Tensor) -> Tensor:
        return self.operators[-1].stored(y)

    def image_shape_of(self, picture: tuple[int, int, int]) -> tuple[int, int, int]:
        for operator in reversed(self.operators):
            picture = operator.image_shape_of(picture)
        return picture

    def rows(self, index: Tensor | slice) -> Any:
        return self.bound(operators=nn.ModuleList([operator.rows(index) for operator in self.operators]))

    def bound_rows(self) -> int | None:
        return next((rows for each in self.operators if (rows := each.bound_rows()) is not None), None)

    def forward(self, x: Tensor) -> Tensor:
        for operator in self.operators:
            x = operator(x)
        return x

    def pinv(self, y: Tensor, rcond: float = 0.0) -> Tensor:
        for operator in reversed(self.operators):
            y = operator.pinv(y, rcond)
        return y


class LinearCompose(Compose, LinearOperator):
    """The composition of linear operators: A^T = A_1^T A_2^T .. A_k^T."""

    def adjoint(self, y: Tensor) -> Tensor:
        self._shape()
        for operator in reversed(cast(Sequence[LinearOperator], self.operators)):
            y = operator.adjoint(y)
        return y

    def pinv(self, y: Tensor, rcond: float = 0.0) -> Tensor:
        return LinearOperator.pinv(self, y, rcond)
