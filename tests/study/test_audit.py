"""The audit: every question is there, every figure has a unit and a source, and the three files say the same."""

import json
import re

import pytest
from typer.testing import CliRunner

import sim
from sim import catalog
from sim.cli import app
from sim.lifecycle.figures import COMPUTED
from sim.report.audit import HEADER, PAGE, PLAIN, TEXT, markdown, number, page, write_audit
from sim.study.audit import audit
from sim.study.audit_questions import QUESTIONS, STAGES
from sim.study.exercises import answers
from sim.study.thinning import thinned

SIZING = {"scale": 1.0, "peak_factor": 1.0, "target": 0.5}
SHORT = {"horizon": "30 min", "run_in": "10 min"}


@pytest.fixture(scope="module")
def found():
    scenario = sim.load("meridian-1", override=["small"], set=SHORT)
    return audit(catalog.load_lifecycle("meridian-1"), scenario, scale=1.0, sizing=SIZING)


def test_every_stage_has_its_questions(found):
    assert [answer.question.key for answer in found.answers] == [question.key for question in QUESTIONS]
    assert {question.stage for question in QUESTIONS} == set(STAGES)
    assert sum(question.kind == "numbers" for question in QUESTIONS) == 7
    for answer in found.answers:
        assert answer.figures, answer.question.key
        assert answer.question.says
        assert answer.question.cannot


def test_no_figure_without_unit_and_source(found):
    for answer in found.answers:
        for figure in answer.figures:
            assert figure.unit.strip(), figure
            assert re.search(rf"assumed|{COMPUTED}|arXiv|docs/|http|[A-Za-z]{{4}}", figure.source), figure
            assert figure.low is None or figure.low <= figure.value <= figure.high, figure


def test_no_row_of_the_document_is_without_unit_and_source(found):
    rows = [line for line in markdown(found).splitlines() if line.startswith("| ") and not line.startswith("| figure")]
    assert len(rows) == sum(len(answer.figures) for answer in found.answers)
    for row in rows:
        name, value, _, unit, source = re.split(r" (?<!\\)\| ?", row.removeprefix("| ").removesuffix("|"))[:5]
        assert all((name.strip(), value.strip(), unit.strip(), source.strip())), row


def test_the_figures_are_those_of_the_day_and_of_the_stages(found):
    figures = {(a.question.key, f.name): f for a in found.answers for f in a.figures}
    day = found.day.result
    assert figures["7a", "bill"].value == day["sim"]["cost"]["total_usd"]
    assert figures["7a", "free: p95 ttft"].value == day["sim"]["by_tier"]["free"]["p95_ttft_ms"]
    assert figures["6b", "harmless ones refused"].value == day["sim"]["safety"]["num_false_refusals"]
    assert figures["2a", "best tokens for this size (epoch)"].value == pytest.approx(1.29e12, rel=0.01)
    assert figures["2a", "tokens that the budget buys at this size"].value == pytest.approx(1.07e13, rel=0.01)
    attacks = found.stages["evaluation"]["red team: num_attacks"].value
    assert figures["6b", "rate of success that no success excludes"].value == pytest.approx(3.0 / attacks)


def test_the_loss_falls_as_tokens_are_seen(found):
    losses = [f.value for a in found.answers if a.question.key == "3b" for f in a.figures if f.name.startswith("loss")]
    assert losses == sorted(losses, reverse=True)
    assert len(losses) == 5


def test_the_files(found, tmp_path):
    write_audit(found, tmp_path)
    assert json.loads((tmp_path / PLAIN).read_text())["name"] == "meridian-1"
    html, text = (tmp_path / PAGE).read_text(), (tmp_path / TEXT).read_text()
    for question in QUESTIONS:
        assert f"{question.key}. " in html
        assert f"### {question.key}. {question.asked}" in text
    assert html.count('class="plot"') == 8
    assert "http://" not in re.sub(r"<script>.*?</script>", "", html, flags=re.DOTALL)
    assert " | ".join(HEADER) in text


def test_names_that_users_write_are_shown_as_text(found):
    spec = found.stages.spec.model_copy(update={"description": "<script>alert(1)</script>"})
    hostile = type(found)(
        "<b>x</b>", type(found.stages)(spec, found.stages.model, found.stages.stages), *list(vars(found).values())[2:]
    )
    html = page(hostile)
    assert "<script>alert" not in html
    assert "<b>x</b>" not in html


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1.2898e12, "1.29T"),
        (140.1, "140.1"),
        (0.4, "0.4"),
        (80, "80"),
        (10_240, "10,240"),
        (0.0, "0"),
        (4.5e24, "4.500e+24"),
    ],
)
def test_numbers_as_people_read_them(value, shown):
    assert number(value) == shown


def test_a_thinned_fleet_has_its_part_of_everything():
    whole = sim.load("meridian-1", override=["by-hand"])
    part = thinned(whole, 0.1)
    assert part.traffic.monthly_users == 1_000_000
    assert part.traffic.api.num_clients == 100
    assert {name: pool.replicas for name, pool in part.fleet.pools.items()} == {
        "main": 18, "api": 33, "guard": 1, "api-guard": 2,
    }  # fmt: skip
    assert [one.replicas for one in part.fleet.operations] == [5, 4, 4, 5]
    assert thinned(sim.load("meridian-1"), 0.1).fleet.pools["main"].autoscaler.min_replicas == 12


def test_what_is_wrong_is_said():
    runner = CliRunner()
    nobody = runner.invoke(app, ["audit", "quickstart"])
    assert nobody.exit_code == 2
    assert "quickstart" in nobody.stderr
    machine = runner.invoke(app, ["audit", "quickstart", "--lifecycle", "meridian-1"])
    assert machine.exit_code == 2
    assert "only people have a day" in machine.stderr


def test_answers_are_marked(tmp_path):
    file = tmp_path / "mine.yaml"
    right = {one.id: one.value for one in answers(("01.1", "01.2"))}
    file.write_text("".join(f"{id_}: {value}\n" for id_, value in right.items()))
    good = CliRunner().invoke(app, ["audit", "--answers", str(file)])
    assert good.exit_code == 0
    assert "2 of 2 right" in good.stderr
    file.write_text(f"01.1: {2 * right['01.1']}\n01.2: {right['01.2']}\n")
    bad = CliRunner().invoke(app, ["audit", "--answers", str(file), "--json"])
    assert bad.exit_code == 1
    assert json.loads(bad.stdout)["num_right"] == 1


def test_answers_that_cannot_be_read_are_named_with_their_lines(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("01.1: much\n99.9: 3\n")
    found = CliRunner().invoke(app, ["audit", "--answers", str(file)])
    assert found.exit_code == 2
    assert "mine.yaml:1" in found.stderr.replace("\n", "")
    assert "99.9" in found.stderr
    file.write_text("- 3\n")
    assert CliRunner().invoke(app, ["audit", "--answers", str(file)]).exit_code == 2
