"""What libraries say on the way."""

import logging

from rps.cli.quiet import HUB, Once


def test_repetitions_of_the_hubs_client_are_one_line(capsys, monkeypatch, caplog):
    """The client of huggingface_hub itself, asking a port on which nobody listens, without its waits."""
    import time

    import pytest
    from huggingface_hub import constants
    from huggingface_hub.utils import _http

    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    hub = logging.getLogger(HUB)
    quiet = Once()
    hub.addFilter(quiet)
    try:
        with pytest.raises(Exception, match="refused"):
            _http.http_backoff("HEAD", "http://127.0.0.1:9/model/config.json", max_retries=3)
        hub.warning("something else")
    finally:
        hub.removeFilter(quiet)
    err = capsys.readouterr().err
    assert err.count("the Hugging Face hub does not answer; retrying") == 1
    assert "thrown while requesting" not in err + caplog.text and "Retrying in" not in err + caplog.text
    assert "something else" in err + caplog.text
