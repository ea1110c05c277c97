"""The built site in a headless browser: offline, with its mathematics, figures, search and links."""

import functools
import http.server
import os
import shutil
import threading
from pathlib import Path
from urllib.parse import urldefrag, urljoin, urlparse

import pytest

from book.tool.site import build_site

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
    requests, errors = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    for path in pages:
        requests.clear()
        errors.clear()
        page.goto(address + path, wait_until="load")
        if page.locator(".math").count():
            page.wait_for_selector("mjx-container", timeout=60_000)
        told[path] = {
            "requests": list(requests),
            "errors": list(errors),
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


def test_the_console_stays_clean(visits):
    assert {path: visit["errors"] for path, visit in visits.items() if visit["errors"]} == {}


@pytest.fixture(scope="session")
def phone(browser):
    context = browser.new_context(viewport={"width": 390, "height": 844})
    yield context
    context.close()


def test_no_page_is_wider_than_a_phone(phone, address, pages):
    page, wide = phone.new_page(), {}
    for path in pages:
        page.goto(address + path, wait_until="load")
        if page.locator(".math").count():
            page.wait_for_selector("mjx-container", timeout=60_000)
        width = page.evaluate("document.documentElement.scrollWidth")
        if width > 390:
            wide[path] = width
    page.close()
    assert wide == {}


CONTRAST = """() => {
  const channel = v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = c => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]);
  const numbers = text => text.match(/[\\d.]+/g).map(Number);
  const read = text => [...numbers(text), 1].slice(0, 4);
  const over = (top, under) => top.slice(0, 3).map((v, i) => v * top[3] + under[i] * (1 - top[3]));
  const backdrop = element => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) {
      const c = read(getComputedStyle(e).backgroundColor);
      if (c[3] > 0) layers.push(c);
      if (c[3] === 1) break;
    }
    return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255]);
  };
  const poor = new Map();
  const walker = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement, box = e.getBoundingClientRect(), style = getComputedStyle(e);
    if (!walker.currentNode.data.trim() || !box.width || !box.height || style.visibility !== "visible") continue;
    if (e.closest("mjx-container, script, .headerlink, .visually-hidden, .tooltip")) continue;
    const under = backdrop(e), ink = over(read(style.color), under);
    const [high, low] = [light(ink), light(under)].sort((a, b) => b - a);
    const ratio = (high + 0.05) / (low + 0.05), size = parseFloat(style.fontSize);
    const needed = size >= 24 || (size >= 18.66 && parseInt(style.fontWeight) >= 700) ? 3 : 4.5;
    if (ratio < needed - 0.01) {
      poor.set(`${e.tagName}.${e.className} ${style.color} on ${under.map(Math.round)}`, ratio.toFixed(2));
    }
  }
  return [...poor].slice(0, 12);
}"""


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_text_stands_out_from_its_background(browser, address, pages, mode):
    """WCAG 2.1, AA: 4.5 for text, 3 for large text; for prose, code, tables, admonitions and links."""
    context = browser.new_context(color_scheme=mode)
    context.add_init_script(f"localStorage.setItem('mode', '{mode}'); localStorage.setItem('theme', '{mode}')")
    page, poor = context.new_page(), {}
    for path in pages:
        page.goto(address + path, wait_until="load")
        assert page.evaluate("document.documentElement.dataset.theme") == mode
        if found := page.evaluate(CONTRAST):
            poor[path] = found
    context.close()
    assert poor == {}


def test_the_button_copies_the_code_of_its_cell(browser, address, pages):
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(address + next(path for path in pages if path.startswith("chapters/")), wait_until="load")
    cell = page.locator(".cell_input:visible").nth(1)  # set-up, plot and check cells are folded
    cell.hover()
    cell.locator("button.copybtn").click()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.strip() == cell.locator("pre").inner_text().strip()
    context.close()


def test_figures_are_legible_in_a_column_of_600_pixels(browser, address, pages):
    """Legends have 10 points at 110 dots an inch (figures.mplstyle); the page must not shrink them below 9 pixels."""
    context = browser.new_context(viewport={"width": 632, "height": 900})
    page, small = context.new_page(), []
    for path in pages:
        page.goto(address + path, wait_until="load")
        sizes = page.eval_on_selector_all(
            "main .cell_output img", "all => all.map(i => [i.alt.slice(0, 60), i.naturalWidth, i.clientWidth])"
        )
        small += [(path, alt, natural) for alt, natural, shown in sizes if 10 * 110 / 72 * shown / natural < 9]
    context.close()
    assert small == []


def test_print_shows_the_text_alone(browser, address, pages):
    context = browser.new_context(viewport={"width": 794, "height": 1123})
    page = context.new_page()
    page.goto(address + next(path for path in pages if path.startswith("chapters/05")), wait_until="load")
    page.emulate_media(media="print")
    hidden = [".bd-sidebar-primary", ".bd-sidebar-secondary", ".bd-header", ".bd-header-article", ".bd-footer"]
    assert [name for name in hidden if page.locator(name).first.is_visible()] == []
    cut = page.eval_on_selector_all("main pre", "all => all.filter(e => e.scrollWidth > e.clientWidth + 1).length")
    assert cut == 0
    assert len(page.pdf(format="A4")) > 50_000
    context.close()
