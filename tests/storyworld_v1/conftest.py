import pytest

from plm_core.storyworld_v1 import StoryWorld

KINDS_OF_WORLD = [("small", "en"), ("small", "zh"), ("full", "en"), ("full", "zh")]


@pytest.fixture(scope="session", params=KINDS_OF_WORLD, ids="-".join)
def world(request):
    """Every size in every language."""
    return StoryWorld(*request.param)


@pytest.fixture(scope="session", params=["en", "zh"])
def small(request):
    return StoryWorld("small", request.param)
