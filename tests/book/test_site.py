"""The built site in a headless browser: offline, with its mathematics, figures, search and links."""

import functools
import http.server
import os
import shutil
import threading
from pathlib import Path
from urllib.parse import urldefrag, urljoin, urlparse

import pytest

from book.site import build_site

BROWSER = os.environ.get("PLM_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine: `make browser` installs one"),
]
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="session")
def site(root):
    return build_site(root)


@pytest.fixture(scope="session")
def address(site):
    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


@pytest.fixture(scope="session")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=BROWSER, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def pages(site):
    """The paths of all pages, without the search page and the index, which hold no text of ours."""
    found = sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html"))
    return [path for path in found if not path.startswith(("_static", "genindex", "search", "py-modindex", "index"))]


@pytest.fixture(scope="session")
def visits(browser, address, pages):
    """Every page opened once: what it asked for, its images and its links."""
    told = {}
    page = browser.new_page()
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    for path in pages:
        requests.clear()
        page.goto(address + path, wait_until="load")
        if page.locator(".math").count():
            page.wait_for_selector("mjx-container", timeout=60_000)
        told[path] = {
            "requests": list(requests),
            "images": page.eval_on_selector_all("main img", "all => all.map(i => [i.src.slice(0, 99), i.alt])"),
            "links": page.eval_on_selector_all("a[href]", "all => all.map(a => a.href)"),
            "ids": page.eval_on_selector_all("[id]", "all => all.map(e => e.id)"),
            "formulas": page.locator(".math").count(),
            "rendered": page.locator("mjx-container").count(),
        }
    page.close()
    return told


def test_no_request_leaves_the_host(visits, address):
    outside = {url for visit in visits.values() for url in visit["requests"] if not url.startswith((address, "data:"))}
    assert outside == set()


def test_mathematics_is_rendered(visits):
    assert sum(visit["formulas"] for visit in visits.values()) > 10
    assert all(visit["rendered"] >= 1 for visit in visits.values() if visit["formulas"])


def test_every_figure_has_alt_text(visits):
    images = [(path, source, alt) for path, visit in visits.items() for source, alt in visit["images"]]
    assert len(images) > 10
    assert [(path, source) for path, source, alt in images if not alt.strip()] == []


def test_every_internal_link_resolves(visits, address, site):
    broken = []
    for path, visit in visits.items():
        for link in visit["links"]:
            url, fragment = urldefrag(urljoin(address + path, link))
            if not url.startswith(address):
                continue
            target = urlparse(url).path.lstrip("/") or "index.html"
            missing = not (site / target).is_file()
            if missing or (fragment and target in visits and fragment not in visits[target]["ids"]):
                broken.append((path, link))
    assert broken == []


def test_colab_and_download_point_at_the_notebook(visits):
    chapters = [path for path in visits if path.startswith("chapters/") and path[9:10].isdigit()]
    assert chapters
    for path in chapters:
        notebook = Path(path).with_suffix(".ipynb").as_posix()
        colab = [link for link in visits[path]["links"] if "colab.research.google.com" in link]
        assert any(link.endswith(notebook) for link in colab), path
        assert any(link.endswith(Path(notebook).name) and "_sources" in link for link in visits[path]["links"]), path


def test_search_finds_a_term(browser, address):
    page = browser.new_page()
    page.goto(address + "search.html?q=attention", wait_until="load")
    found = page.wait_for_selector("#search-results a[href*='05_attention']", timeout=60_000)  # they come one by one
    assert found is not None
    page.close()
