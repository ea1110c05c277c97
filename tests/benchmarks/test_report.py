"""The page of results says what the stored results say."""

from benchmarks.report import report


def test_the_page_is_up_to_date() -> None:
    report(check=True)
