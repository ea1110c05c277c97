"""The Chinese corpora: their formats in small made files."""

import hashlib
from dataclasses import replace

import pytest

from plm_core.data import chinese
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
