"""Diagrams are well-formed SVG that takes the colours of the page and can be read aloud."""

from xml.etree import ElementTree

import pytest

from plm_chapters.diagrams import Diagram

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def diagram():
    diagram = Diagram(300, 120, alt="Ids <become> vectors & more.")
    ids, vectors = diagram.box(10, 10, 80, 40, "ids < 5"), diagram.box(200, 10, 90, 40, "x_{1}\nD & T", color=0)
    diagram.arrow(ids.right, vectors.left, "W_{e}", via=[(150, 30)])
    diagram.grid(10, 70, [[0.5, "a"], [1, 2]], colors=[[1, None], [None, None]], cell=(40, 20))
    return diagram


def test_a_diagram_is_well_formed_and_has_a_title_for_screen_readers(diagram):
    root = ElementTree.fromstring(diagram._repr_html_())
    assert root.tag == SVG + "svg"
    assert root.find(SVG + "title").text == "Ids <become> vectors & more."
    assert root.get("aria-labelledby") == root.find(SVG + "title").get("id")
    texts = ["".join(each.itertext()) for each in root.iter(SVG + "text")]
    assert [text.strip("\u200b") for text in texts] == ["ids < 5", "x1", "D & T", "We", "0.50", "a", "1", "2"]


def test_text_has_the_colour_of_the_page(diagram):
    root = ElementTree.fromstring(diagram.svg())
    assert {each.get("fill") for each in root.iter(SVG + "text")} == {"currentColor"}


def test_boxes_know_the_middles_of_their_sides():
    box = Diagram(100, 100, alt="A box.").box(10, 20, 30, 40)
    assert (box.left, box.right, box.top, box.bottom) == ((10, 40), (40, 40), (25, 20), (25, 60))


def test_a_diagram_without_a_description_is_refused():
    with pytest.raises(ValueError, match="alt"):
        Diagram(10, 10, alt=" ")
