"""Reads notebooks, plays them, and finds what their text claims."""

import json
import os
import re
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
FIGURE = re.compile(r"(-?\d[\d,]*(?:\.\d+)?)<!--(\w+)-->")
"""A figure in the text, and the claim that it states: 21.5<!--mha_8k_gb-->."""
PLOTLY = "application/vnd.plotly.v1+json"


def read(name):
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def tagged(notebook, tag):
    return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", ())]


def stated(notebook):
    """Figures as they are written, by claim."""
    found = {}
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for figure, claim in FIGURE.findall(cell.source):
                found.setdefault(claim, []).append(figure)
    return found


def rounded_as(value, written):
    """A value with as many decimals as a figure is written with."""
    decimals = len(written.partition(".")[2])
    return f"{value:,.{decimals}f}"


def play(name, folder):
    """Run a notebook in a kernel of its own, in an empty folder; returns it with outputs, and its claims."""
    notebook = read(name)
    notebook.cells.append(nbformat.v4.new_code_cell(TELL))
    environment = {"PLOTLY_RENDERER": "plotly_mimetype", "PYTHONPATH": str(FOLDER.parent), "IPYTHONDIR": str(folder)}
    client = NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(folder)}})
    client.execute(env=os.environ | environment)
    (output,) = notebook.cells.pop().outputs
    return notebook, json.loads(output.text)


TELL = "import json\nprint(json.dumps({name: [float(number) for number in claim] for name, claim in claims.items()}))"


def figures(notebook):
    """What a played notebook has drawn, as plotly's JSON."""
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return [output.data[PLOTLY] for output in outputs if PLOTLY in output.get("data", {})]
