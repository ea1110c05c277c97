"""The Chinese corpora and the dictionary: their formats in small made files, from the cache and from a server."""

import hashlib
from dataclasses import replace

import pytest

from plm_core.data import chinese, registry
from plm_core.data.corpus_text import corpus_blocks
from plm_core.data.download import fetch_corpus
from plm_core.data.examples import Translation

CATALOGUE = r"""# A comment
#, fuzzy
msgid ""
msgstr ""
"Language: zh_CN\n"

#: ../../tutorial/errors.rst:6
msgid ""
"The :keyword:`!try` statement works as follows. See :ref:`the tutorial "
"<tut-errors>` and ``sys.exit()``::"
msgstr ""
":keyword:`!try` 语句的工作原理如下，请参阅 :ref:`教程 <tut-errors>` 和 ``sys.exit()``::"

#: ../../tutorial/errors.rst:9
#, fuzzy
msgid "An unsure translation of a paragraph."
msgstr "一个还不能确定的段落的翻译在这里"

msgid "Not translated yet."
msgstr ""

msgid "Errors"
msgstr "错误"

#~ msgid "gone"
#~ msgstr "已经删去的这一段文字不再使用了"
"""
TREEBANK = """# text = 小猫坐着。
1\t小猫\t_
2\t坐着\t_
2.1\t空\t_
3\t。\t_

# text = 好的
1-2\t好的\t_
1\t好\t_
2\t的\t_

"""


@pytest.fixture
def put(cache, monkeypatch):
    """Make one small file the whole of a corpus."""

    def putting(variable, name, text):
        entry = getattr(chinese, variable)
        file = next(file for file in entry.files if file.name == name)
        content = text.encode()
        file = replace(file, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
        monkeypatch.setattr(chinese, variable, replace(entry, files=(file,)))
        folder = cache / entry.name
        folder.mkdir(parents=True)
        (folder / name).write_bytes(content)

    return putting


def test_a_page_holds_its_translated_paragraphs_without_marks(put):
    put("PYTHON_DOCS_ZH", "tutorial-errors.po", CATALOGUE)
    assert chinese.parallel_documentation() == {
        "tutorial-errors": [
            Translation(
                "The try statement works as follows. See the tutorial and sys.exit():",
                "try 语句的工作原理如下，请参阅 教程 和 sys.exit():",
            )
        ]
    }
    assert chinese.documentation_text("train") == []
    assert chinese.documentation_text("validation") == ["try 语句的工作原理如下，请参阅 教程 和 sys.exit():"]


def test_the_catalogue_leaves_out_what_is_fuzzy_obsolete_or_untranslated():
    assert [target for _, target in chinese.read_catalogue(CATALOGUE)][1:] == ["错误"]
    with pytest.raises(ValueError, match="broken line"):
        chinese.read_catalogue('msgid "open\nmsgstr ""\n')


def test_marks_of_restructuredtext_go_and_their_text_stays():
    marked = "Use *all* of **these**: `PEP 8 <https://peps.python.org>`__, :class:`~a.B`, see [#f1]_ and 2 * 3 * 4."
    assert chinese.plain_text(marked) == "Use all of these: PEP 8, a.B, see and 2 * 3 * 4."


def test_a_treebank_gives_the_words_that_are_written(put):
    put("UD_CHINESE_GSD", "zh_gsdsimp-ud-dev.conllu", TREEBANK)
    assert chinese.segmented_sentences("train") == [["小猫", "坐着", "。"], ["好", "的"]]


def test_a_dictionary_gives_the_frequency_of_each_word(put):
    put("JIEBA_DICTIONARY", "dict.txt.small", "\u7684 3188252 uj\n\u7814\u7a76 35029 vn\n")
    assert chinese.dictionary() == {"\u7684": 3188252, "\u7814\u7a76": 35029}


@pytest.fixture
def serve(server, monkeypatch):
    """Put one small file of a corpus on a server, at the end of the path that the registry pins."""

    def serving(variable, name, text):
        entry = getattr(registry, variable)
        file = next(file for file in entry.files if file.name == name)
        content = text.encode()
        path = file.url.removeprefix("https://raw.githubusercontent.com/")
        server.files[path] = content
        file = replace(file, url=server.address + path, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
        entry = replace(entry, files=(file,))
        monkeypatch.setattr(chinese, variable, entry)
        return entry, path

    return serving


@pytest.mark.parametrize(
    ("variable", "file", "content", "part", "text"),
    [
        ("PYTHON_DOCS_ZH", "tutorial-errors.po", CATALOGUE, "validation", "try \u8bed\u53e5"),
        ("UD_CHINESE_GSD", "zh_gsdsimp-ud-dev.conllu", TREEBANK, "train", "\u5c0f\u732b\u5750\u7740\u3002\n"),
    ],
)
def test_a_corpus_is_fetched_from_its_address_once(serve, server, cache, variable, file, content, part, text):
    entry, _ = serve(variable, file, content)
    for _ in range(2):
        assert "".join(corpus_blocks(entry.name, part)).startswith(text)
    assert fetch_corpus(entry, progress=False) == [cache / entry.name / file]
    assert server.requested_ranges == [None]


def test_a_page_that_has_changed_at_its_address_is_refused(serve, server):
    _, path = serve("PYTHON_DOCS_ZH", "tutorial-errors.po", CATALOGUE)
    server.files[path] = CATALOGUE.replace("sys", "abc").encode()
    with pytest.raises(ValueError, match="checksum mismatch"):
        chinese.documentation_text("validation")


def test_the_dictionary_is_pinned_like_a_corpus():
    [file] = registry.JIEBA_DICTIONARY.files
    assert len(file.sha256) == 64
    assert any(len(part) == 40 for part in file.url.split("/"))
    assert registry.JIEBA_DICTIONARY.licence == "MIT"
