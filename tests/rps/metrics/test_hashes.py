"""Hashes of networks and of files of weights."""

import hashlib

import pytest
import torch
from torch import nn

from rps.metrics import network_hash
from rps.metrics.hashes import check_file


def test_the_hash_is_of_the_weights_and_of_nothing_else():
    torch.manual_seed(0)
    network, other = (
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)),
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)),
    )
    assert network_hash(network) != network_hash(other)
    other.load_state_dict(network.state_dict())
    assert network_hash(network) == network_hash(other.eval())
    with torch.no_grad():
        other[0].weight[0, 0, 0, 0] += 1e-3
    assert network_hash(network) != network_hash(other)
    assert network_hash(network) != network_hash(network.double())


def test_files_are_compared_with_the_hash_that_is_given_or_in_their_name(tmp_path):
    content = b"weights"
    digest = hashlib.sha256(content).hexdigest()
    for name, sha256 in (("a.pth", None), ("a.pth", digest), (f"a-{digest[:8]}.pth", None)):
        (tmp_path / name).write_bytes(content)
        check_file(tmp_path / name, "a network", sha256)
    (tmp_path / "a-01234567.pth").write_bytes(content)
    with pytest.raises(ValueError, match=f"SHA-256 begins with {digest[:8]}, not 01234567"):
        check_file(tmp_path / "a-01234567.pth", "a network")
    with pytest.raises(ValueError, match="not the expected file of weights"):
        check_file(tmp_path / "a.pth", "a network", "0" * 64)
