"""FID's Inception: a wrong file, and with the published weights (RPS_FID_WEIGHTS) the figures of torch-fidelity."""

import importlib.util
import os

import pytest

from rps.metrics import InceptionFeatures
from tools.check_torch_fidelity import SHA256, features, our_figures, pictures, their_figures, their_network

FIGURES = {"FID": 176.30706632, "KID": -0.01149755, "precision": 1.0, "recall": 1.0}
"""Of torch-fidelity 0.4.0, from `tools/check_torch_fidelity.py --count 4`."""


def test_a_file_of_another_hash_is_one_sentence(tmp_path):
    (tmp_path / "inception.pt").write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"not the expected file of weights: .*download it again"):
        InceptionFeatures(str(tmp_path / "inception.pt"), sha256=SHA256)


@pytest.mark.skipif("RPS_FID_WEIGHTS" not in os.environ, reason="RPS_FID_WEIGHTS names no file of weights")
def test_fid_kid_precision_and_recall_are_those_of_torch_fidelity():
    """To 1e-4: against its own code where it is installed, and otherwise against what it found."""
    weights = os.environ["RPS_FID_WEIGHTS"]
    clean, blurred = pictures(4)
    network = InceptionFeatures(weights, sha256=SHA256)
    found = our_figures(features(network, blurred, False), features(network, clean, False))
    assert found == pytest.approx(FIGURES, rel=1e-4)
    if importlib.util.find_spec("torch_fidelity"):
        theirs = their_network(weights)
        assert found == pytest.approx(
            their_figures(features(theirs, blurred, True), features(theirs, clean, True)), rel=1e-4
        )
