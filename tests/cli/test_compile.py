"""``tokenfleet compile``."""

import json

import pytest

SMALL = ("llama-3.1-8b", "h100-sxm-80gb")


def test_every_row_of_the_card_has_a_source(tokenfleet):
    compiled = tokenfleet("compile", *SMALL, "--json")
    assert (compiled.exit_code, compiled.stderr) == (0, "")
    card = json.loads(compiled.stdout)["card"]
    assert card
    assert all(row["name"] and row["source"] for row in card)


def test_the_table_shows_every_row_of_the_card(tokenfleet):
    card = json.loads(tokenfleet("compile", *SMALL, "--json").stdout)["card"]
    table = tokenfleet("compile", *SMALL)
    assert table.exit_code == 0
    assert all(row["name"] in table.stdout for row in card)


@pytest.mark.parametrize(
    ("options", "holds"),
    [
        (("--kv", "fp8"), lambda plain, now: now["kv_bytes_per_token"] == plain["kv_bytes_per_token"] / 2),
        (("--weights", "fp8"), lambda plain, now: now["weights_bytes_per_gpu"] < plain["weights_bytes_per_gpu"]),
        (("--tp", "2"), lambda plain, now: now["num_gpus"] == 2 * plain["num_gpus"]),
    ],
)
def test_an_option_changes_what_it_names(tokenfleet, options, holds):
    plain, changed = (json.loads(tokenfleet("compile", *SMALL, "--json", *more).stdout) for more in ((), options))
    assert holds(plain, changed)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("llama-3.1-8", "h100-sxm-80gb"), "Did you mean llama-3.1-8b?"),
        (("llama-3.1-8b", "h100-sxm"), "h100-sxm-80gb"),
        ((*SMALL, "--weights", "fp13"), "fp13"),
        ((*SMALL, "--tp", "3"), "3"),
        (("llama-3.1-70b", "h100-sxm-80gb"), "tensor_parallel_size"),
    ],
)
def test_what_cannot_be_is_a_mistake_of_the_user(tokenfleet, arguments, said):
    refused = tokenfleet("compile", *arguments)
    assert refused.exit_code == 2
    assert refused.stdout == ""
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr
