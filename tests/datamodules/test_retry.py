"""What is tried again, how often and after how long; and what is not."""

import asyncio
import time

import pytest

from datamodules.retry import Retry, describe, is_fault


class Answer(Exception):
    """As aiohttp has it: the status on the error."""

    def __init__(self, status):
        super().__init__(f"answered {status}")
        self.status = status


class HubAnswer(Exception):
    """As huggingface_hub has it: the status on the error's response."""

    def __init__(self, status):
        super().__init__(f"answered {status}")
        self.response = type("Response", (), {"status_code": status})()


def caused(error, cause):
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConnectionResetError("gone"), True),
        (TimeoutError(), True),
        (asyncio.TimeoutError(), True),
        (EOFError("cut"), True),
        (Answer(500), True),
        (HubAnswer(503), True),
        (HubAnswer(429), True),
        (caused(FileNotFoundError("a.parquet"), Answer(500)), True),  # what fsspec makes of a 500
        (caused(FileNotFoundError("a.parquet"), Answer(404)), False),
        (HubAnswer(401), False),
        (caused(ConnectionError("hub"), HubAnswer(403)), False),
        (FileNotFoundError("a.parquet"), False),
        (PermissionError("a.parquet"), False),
        (ValueError("a mistake"), False),
        (caused(ConnectionError("hub"), type("OfflineModeIsEnabled", (ConnectionError,), {})()), False),
    ],
)
def test_what_may_pass(error, expected):
    assert is_fault(error) == expected


def test_network_packages_and_torn_files():
    import aiohttp
    import pyarrow

    assert is_fault(aiohttp.ClientPayloadError("half")) and is_fault(pyarrow.ArrowInvalid("no footer"))


def failing(items, faults, log):
    """start(done) of a stream that has faults (position -> how often) before some positions."""

    def start(done):
        log.append(done)
        for i in range(done, len(items)):
            if faults.get(i, 0) > 0:
                faults[i] -= 1
                raise ConnectionError(f"before {i}")
            yield items[i]

    return start


def test_a_stream_goes_on_where_it_was():
    log = []
    stream = Retry(attempts=3, first=0).stream("here", failing("abcdef", {0: 1, 2: 2, 3: 2, 6: 1}, log))
    assert "".join(stream) == "abcdef"
    assert log == [0, 0, 2, 2, 3, 3]


def test_the_end_is_named_and_counted_from_the_last_progress():
    """Three attempts in a row; the faults before position 1 do not count."""
    stream = Retry(attempts=3, first=0).stream("http://x/a", failing("abc", {1: 2, 2: 9}, []))
    assert [next(stream), next(stream)] == ["a", "b"]
    with pytest.raises(
        OSError, match=r"http://x/a could not be read in 3 attempts, the last .*ConnectionError: before 2"
    ):
        next(stream)


def test_waits_double_up_to_the_longest(monkeypatch, caplog):
    waits = []
    monkeypatch.setattr(time, "sleep", waits.append)
    with pytest.raises(OSError, match="in 6 attempts"):
        list(Retry(attempts=6, first=1.5, longest=10).stream("here", failing("a", {0: 9}, [])))
    assert waits == [1.5, 3, 6, 10, 10]
    assert "here: ConnectionError: before 0; attempt 2 of 6 in 1.5 s" in caplog.text


def test_what_will_not_pass_is_raised_at_once():
    calls = []

    def missing():
        calls.append(1)
        raise FileNotFoundError("no such file")

    with pytest.raises(FileNotFoundError, match="no such file"):
        Retry(attempts=5, first=0).call("here", missing)
    assert len(calls) == 1


def test_the_innermost_error_is_told():
    assert describe(caused(FileNotFoundError("a"), Answer(500))) == "Answer: answered 500"
    assert describe(TimeoutError()) == "TimeoutError"


def test_impossible_numbers():
    with pytest.raises(ValueError, match="attempts must be >= 1"):
        Retry(attempts=0)
