"""ServeGen's clients: the original layout, a table of windows, and what is wrong with them."""

import gzip
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.errors import TraceError
from sim.traffic.traces import read_trace
from sim.traffic.traces.clients import HEADER, WINDOW, Client, read_clients, write_clients

positive = st.floats(1e-6, 1e6)
windows = st.lists(st.tuples(positive, positive, st.booleans(), positive, positive), max_size=5).map(
    lambda rows: np.array([(600.0 * at, *row) for at, row in enumerate(rows)], dtype=WINDOW)
)


@settings(deadline=None, max_examples=40)
@given(drawn=st.lists(windows, max_size=4), weights=st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_what_is_written_is_read_again(tmp_path_factory, drawn, weights):
    folder = tmp_path_factory.mktemp("clients")
    values = np.arange(1.0, len(weights) + 1) * 3
    probabilities = np.array(weights) / sum(weights)
    lengths = {0.0: {"input_tokens": (values, probabilities), "reason_ratio": (values / 100, probabilities)}}
    clients = [Client(number, rows, lengths if number % 2 else {}) for number, rows in enumerate(drawn, 3)]
    assert write_clients(folder, clients) == len(clients)
    if not clients:
        with pytest.raises(TraceError, match="describes no clients"):
            list(read_clients(folder))
        return
    found = list(read_clients(folder))
    assert [client.number for client in found] == [client.number for client in clients]
    for one, other in zip(found, clients, strict=True):
        assert np.array_equal(one.windows, other.windows)
        assert one.lengths.keys() == other.lengths.keys()
        for t_s, fields in one.lengths.items():
            for name, (xs, ps) in fields.items():
                assert np.array_equal(xs, other.lengths[t_s][name][0])
                assert np.array_equal(ps, other.lengths[t_s][name][1])


def test_the_original_layout_is_read(tmp_path):
    (tmp_path / "chunk-12-trace.csv").write_text(
        "0,1.5,0.8,Gamma,2.0,0.3\n600,0,0,,0,0\n1200,2.5,1.2,Weibull,0.7,0.4\n"
    )
    said = {"0": {"input_tokens": "{10: 0.25, 300: 0.75}", "output_tokens": "{5: 1.0}"}, "600": {"input_tokens": "{}"}}
    (tmp_path / "chunk-12-dataset.json").write_text(json.dumps(said))
    (tmp_path / "chunk-2-trace.csv").write_text("0,1,1,Gamma,1,1\n")
    two, twelve = read_clients(tmp_path)
    assert (two.number, twelve.number) == (2, 12)
    assert two.lengths == {}
    assert twelve.windows["t_s"].tolist() == [0.0, 1200.0]
    assert twelve.windows["weibull"].tolist() == [False, True]
    assert list(twelve.lengths) == [0.0]
    values, probabilities = twelve.lengths[0.0]["input_tokens"]
    assert (values.tolist(), probabilities.tolist()) == ([10.0, 300.0], [0.25, 0.75])
    with pytest.raises(TraceError, match="describes clients, not requests: it cannot be replayed"):
        list(read_trace(tmp_path))


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("600,1,1,Gamma,1", "expected 6 values, got 5; is the row cut off?"),
        ("600,1,1,Pareto,1,1", 'the arrival pattern must be Gamma or Weibull, got "Pareto"'),
        ("600,-1,1,Gamma,1,1", "expected numbers from 0 on, got 600,-1,1,Gamma,1,1"),
        ("600,x,1,Gamma,1,1", "could not convert string to float"),
        ("0,1,1,Gamma,1,1", "windows must be in order of time, got 0 s after 0 s"),
        ("600,nan,1,Gamma,1,1", "expected numbers from 0 on"),
    ],
)
def test_a_wrong_window_is_named_by_its_line(tmp_path, row, says):
    path = tmp_path / "chunk-1-trace.csv"
    path.write_text(f"0,1,1,Gamma,1,1\n{row}\n1200,1,1,Gamma,1,1\n")
    with pytest.raises(TraceError) as caught:
        list(read_clients(tmp_path))
    (said,) = str(caught.value).splitlines()
    assert said.startswith(f"{path}:2  ")
    assert says in said


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is no ServeGen data set"),
        ('{"0": {"input_tokens": "{1: 0.5}"}}', "probabilities of input_tokens add up to 0.5, not 1"),
        ('{"0": {"input_tokens": "{-1: 1.0}"}}', "input_tokens has values or probabilities out of range"),
        ('{"0": {"input_tokens": "open(1)"}}', "is no ServeGen data set"),
        ("[]", "is no ServeGen data set"),
    ],
)
def test_wrong_lengths_are_refused(tmp_path, text, says):
    (tmp_path / "chunk-1-trace.csv").write_text("0,1,1,Gamma,1,1\n")
    (tmp_path / "chunk-1-dataset.json").write_text(text)
    with pytest.raises(TraceError, match=says):
        list(read_clients(tmp_path))


def test_a_table_of_windows_is_read(tmp_path):
    path = tmp_path / "windows.csv.gz"
    path.write_bytes(gzip.compress(f"{HEADER}\n7,0,1,2,Gamma,1,1\n7,600,1,2,Weibull,1,1\n3,0,1,2,Gamma,1,1\n".encode()))
    assert [(client.number, len(client.windows)) for client in read_clients(path)] == [(7, 2), (3, 1)]
    with pytest.raises(TraceError, match="describes clients, not requests"):
        list(read_trace(path))
    path.write_text(f"{HEADER}\n7,0,1,2,Gamma,1,1\n3,0,1,2,Gamma,1,1\n7,600,1,2,Gamma,1,1\n")
    with pytest.raises(TraceError, match=r":4  client 7 comes again; sort the table by client"):
        list(read_clients(path))
    path.write_text("a,b\n1,2\n")
    with pytest.raises(TraceError, match=r":1  expected the header client,t_s"):
        list(read_clients(path))


@pytest.mark.parametrize("name", ["language_m-large", "reason_deepseek-r1", "multimodal_mm-image"])
def test_public_windows_add_up_to_the_aggregate(shared, name):
    folder = shared / "data" / "traces" / "servegen"
    total = {}
    for client in read_clients(folder / f"{name}_client_windows.csv.gz"):
        for t_s, rate in client.windows[["t_s", "rate_per_s"]].tolist():
            total[t_s] = total.get(t_s, 0.0) + rate
    given = np.loadtxt(folder / f"{name}_aggregate_rate_10min.csv", delimiter=",", skiprows=1)
    found = np.array([total.get(t_s, 0.0) for t_s in given[:, 0].tolist()])
    # Rates were rounded to 4 or 5 digits.
    np.testing.assert_allclose(found, given[:, 1], rtol=1e-3, atol=1e-3)
