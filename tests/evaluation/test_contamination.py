"""Overlaps are those of a search through all places."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plm_core.evaluation.contamination import Overlap, overlaps, split_scores

DOCUMENTS = st.lists(st.lists(st.integers(0, 3), max_size=12), max_size=4)


@given(DOCUMENTS, DOCUMENTS, st.integers(1, 4))
def test_what_is_found_is_what_a_search_through_all_places_finds(test, training, n) -> None:
    found = overlaps(test, iter(training), n=n)
    for tokens, overlap in zip(test, found, strict=True):
        places = [
            place
            for place in range(len(tokens) - n + 1)
            if any(
                document[start : start + n] == tokens[place : place + n]
                for document in training
                for start in range(len(document) - n + 1)
            )
        ]
        covered = [any(place <= each < place + n for place in places) for each in range(len(tokens))]
        assert overlap.ngrams == max(0, len(tokens) - n + 1)
        assert overlap.found == len(places)
        assert overlap.covered == (sum(covered) / len(tokens) if tokens else 0)


def test_a_planted_example_is_found_and_a_fresh_one_is_not() -> None:
    training = [[f"w{number}" for number in range(1000)]]
    planted, fresh = training[0][500:530], [f"v{number}" for number in range(30)]
    found = overlaps([planted, fresh, planted[:12]], training)
    assert [each.share for each in found] == [1.0, 0.0, 0.0]
    assert found[2].ngrams == 0


def test_ngrams_do_not_reach_over_the_border_of_documents() -> None:
    assert overlaps([["a", "b"]], [["a"], ["b"]], n=2)[0].found == 0


def test_scores_of_clean_and_contaminated_examples() -> None:
    found = [Overlap(10, 0, 0.0), Overlap(10, 2, 0.3), Overlap(10, 9, 1.0), Overlap(0, 0, 0.0)]
    result = split_scores([1.0, 0.5, 1.0, 0.0], found, threshold=0.5)
    assert (result.clean, result.contaminated) == (0.5, 1.0)
    assert (result.clean_count, result.contaminated_count) == (3, 1)
    assert split_scores([1.0], found[:1]).contaminated is None


def test_what_cannot_be_searched_is_refused() -> None:
    with pytest.raises(ValueError, match="n must be"):
        overlaps([], [], n=0)
    with pytest.raises(ValueError, match="not as a string"):
        overlaps(["abc"], [], n=1)
    with pytest.raises(ValueError, match="1 scores"):
        split_scores([1.0], [])
