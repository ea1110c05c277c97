"""Small models of one shape for the tests, and the position schemes that all of them know."""

from plm_core.models.bert import Bert, BertConfig
from plm_core.models.gpt import Gpt, GptConfig
from plm_core.models.seq2seq import Seq2Seq, Seq2SeqConfig

POSITIONS = ("none", "learned", "sinusoidal", "rope", "alibi", "t5", "shaw", "transformer_xl")
SHAPE = {
    "vocab_size": 50,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 24,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "initializer_range": 0.2,  # large, so that attention is far from uniform
}


def gpt(**changes) -> Gpt:
    return Gpt(GptConfig(**SHAPE | changes))


def bert(**changes) -> Bert:
    return Bert(BertConfig(**SHAPE | changes))


def seq2seq(**changes) -> Seq2Seq:
    return Seq2Seq(Seq2SeqConfig(**SHAPE | changes))
