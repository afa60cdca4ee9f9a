"""The values of a config that only choose what is restored: levels and samples. A run can be extended to others."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rps.records.files import level_name

Place = tuple[str, ...]
"""Keys from the top of a config: ("model", "init_args", "t0")."""
ABSENT = object()


@dataclass(frozen=True)
class Choices:
    """Where a config chooses, as its classes say.

    levels: the place of the list of levels, then those of settings that may have one value per level; see
    rps.traversals.Traversal.level_arguments. samples: places of a selection, see rps.protocol.RunData.selection.
    """

    levels: Sequence[Place] = ()
    samples: Sequence[Place] = ()

    def common(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Two configs without the samples that they choose, and at the levels that both have."""
        both = copy.deepcopy((dict(old), dict(new)))
        if lists := self._levels(old, new):
            shared = [level for level in lists[0] if level in lists[1]]
            for place in self.levels[1:]:
                for config, values in zip(both, _by_level(place, both, lists), strict=False):
                    _put(config, place, {level_name(level): values[level] for level in shared})
            for config in both:
                _put(config, self.levels[0], ABSENT)
        for config in both:
            for place in self.samples:
                _put(config, place, ABSENT)
        return both

    def united(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
        """The new config with the levels of both, and its choice of samples; if this differs from the old one in the
        largest number of samples alone, the larger number."""
        result = copy.deepcopy(dict(new))
        if lists := self._levels(old, new):
            every = [*lists[0], *(level for level in lists[1] if level not in lists[0])]
            for place in self.levels[1:]:
                if values := _by_level(place, (old, new), lists):
                    _put(result, place, [{**values[0], **values[1]}[level] for level in every])
            _put(result, self.levels[0], every)
        if self.samples and all(_get(old, place) == _get(new, place) for place in self.samples[1:]):
            limits = [_get(config, self.samples[0]) for config in (old, new)]
            if None in limits:
                _put(result, self.samples[0], None)
            elif all(isinstance(limit, int) for limit in limits):
                _put(result, self.samples[0], max(limits))
        return result

    def _levels(self, *configs: Mapping[str, Any]) -> list[list[Any]]:
        """The list of levels of each config; empty unless all have one."""
        lists = [_get(config, self.levels[0]) for config in configs] if self.levels else []
        return lists if all(isinstance(levels, list) for levels in lists) else []


NONE = Choices()
"""Those of a config whose classes name none."""


def _by_level(place: Place, configs: Sequence[Mapping[str, Any]], lists: Sequence[list[Any]]) -> list[dict[Any, Any]]:
    """Level -> value of a setting in each config; empty if no config has one value per level, or not for all."""
    values = [_get(config, place) for config in configs]
    if not any(isinstance(value, list) for value in values):
        return []
    values = [v if isinstance(v, list) else [v] * len(levels) for v, levels in zip(values, lists, strict=True)]
    fit = all(len(v) == len(levels) and None not in v for v, levels in zip(values, lists, strict=True))
    return [dict(zip(levels, v, strict=True)) for v, levels in zip(values, lists, strict=True)] if fit else []


def arguments(node: Any) -> dict[str, Any]:
    """The init_args of a class in a config; empty where a class is named by a text or is missing."""
    return dict((node.get("init_args") if isinstance(node, Mapping) else None) or {})


def _get(config: Mapping[str, Any], place: Place) -> Any:
    value: Any = config
    for key in place:
        value = value.get(key, ABSENT) if isinstance(value, Mapping) else ABSENT
    return value


def _put(config: dict[str, Any], place: Place, value: Any) -> None:
    """Sets the value of a place, or removes it (ABSENT), where the mappings around it exist."""
    around = _get(config, place[:-1])
    if not isinstance(around, dict):
        return
    if value is ABSENT:
        around.pop(place[-1], None)
    else:
        around[place[-1]] = value
