"""Glued values are the ones MyST-NB reads; source and style are the library's own."""

import json

import pytest
from IPython.utils.capture import capture_output

from plm_chapters import notebook
from plm_core import runtime


def displayed(call):
    import IPython

    IPython.InteractiveShell.instance()
    with capture_output() as captured:
        call()
    return captured.outputs


def test_glue_emits_what_myst_nb_emits():
    from myst_nb import glue as reference

    ours = displayed(lambda: notebook.glue("accuracy", 0.93456, ".2f"))[0]
    theirs = displayed(lambda: reference("accuracy", "0.93", display=False))[0]
    assert ours.data == theirs.data
    assert ours.metadata == theirs.metadata


def test_glue_without_a_format_is_the_plain_text():
    out = displayed(lambda: notebook.glue("heads", 8))[0]
    assert out.data == {"application/papermill.record/text/plain": "'8'"}


def test_show_source_prints_the_code_that_runs():
    out = displayed(lambda: notebook.show_source(runtime.setup))[0]
    text = out.data["text/plain"]
    assert "plm_core.runtime" in text
    assert "def setup(" in text


def test_figure_style_sets_the_palette():
    import matplotlib.pyplot as plt

    with plt.rc_context():
        notebook.use_figure_style()
        cycle = [entry["color"].lower().lstrip("#") for entry in plt.rcParams["axes.prop_cycle"]]
    assert cycle == [color.lower().lstrip("#") for color in notebook.PALETTE]


@pytest.fixture
def installed_results(tmp_path, monkeypatch):
    (tmp_path / "results").mkdir()
    monkeypatch.setattr(notebook.resources, "files", lambda name: tmp_path)
    return tmp_path / "results"


def test_results_fall_back_on_the_laptop_preset(installed_results):
    (installed_results / "05_x.laptop.json").write_text(json.dumps({"preset": "laptop"}))
    assert notebook.load_results("05_x", "gpu") == {"preset": "laptop"}
    (installed_results / "05_x.gpu.json").write_text(json.dumps({"preset": "gpu"}))
    assert notebook.load_results("05_x", "gpu") == {"preset": "gpu"}


def test_missing_results_name_the_command():
    with pytest.raises(FileNotFoundError, match="python -m book experiment 98"):
        notebook.load_results("98_none")


def test_missing_experiment_is_named():
    with pytest.raises(FileNotFoundError, match="98_none"):
        notebook.load_experiment("98_none")
