"""The experiments on autoencoders and recurrence: what the data allow, and what the arms differ in."""

import torch

from plm_chapters.notebook import load_experiment

lags = load_experiment("04_recurrence_lags")
bottleneck = load_experiment("04b_bottleneck")
codes = load_experiment("04c_autoencoder")


def test_the_clue_stands_first_and_nowhere_else() -> None:
    ids_BT = lags.draw(9, 50, torch.Generator().manual_seed(0))
    assert (ids_BT[:, 0] < lags.CLUES).all()
    assert (ids_BT[:, 1:] >= lags.CLUES).all()


def test_the_two_lstms_differ_in_the_forget_bias_alone() -> None:
    weights = []
    for arm in ("LSTM, half open", "LSTM, open"):
        torch.manual_seed(0)
        weights.append(lags.Memory(lags.ARMS[arm]["cell"], lags.ARMS[arm]["forget_bias"]).state_dict())
    different = [name for name, one in weights[0].items() if not torch.equal(one, weights[1][name])]
    assert different == ["layer.bias_ih_l0"]
    change = weights[1][different[0]] - weights[0][different[0]]
    assert change.unique().tolist() == [0.0, 3.0]


def test_no_test_sentence_occurs_in_training() -> None:
    for length in bottleneck.lengths("sentences"):
        known = set(map(tuple, bottleneck.sentences("train")[length].tolist()))
        assert not known & set(map(tuple, bottleneck.sentences("test")[length].tolist()))


def test_the_squeezed_network_differs_from_the_wide_one_in_the_vector_alone() -> None:
    sizes = []
    for arm in ("state 64", "state 64, vector 16"):
        shape = bottleneck.RecurrentSeq2SeqConfig(vocab_size=9, embedding_size=32, **bottleneck.ARMS[arm])
        sizes.append({name: tuple(p.shape) for name, p in bottleneck.RecurrentSeq2Seq(shape).named_parameters()})
    different = {name for name, size in sizes[0].items() if sizes[1][name] != size}
    assert different == {"to_summary.weight", "to_summary.bias", "to_state.weight"}


def test_an_untrained_network_reverses_no_better_than_chance() -> None:
    torch.manual_seed(0)
    shape = bottleneck.RecurrentSeq2SeqConfig(vocab_size=bottleneck.SYMBOLS + 1, hidden_size=16)
    found = bottleneck.accuracies(bottleneck.RecurrentSeq2Seq(shape), "state 32", count=200)
    assert all(share < 0.25 for length, share in found.items() if int(length) > 3)


def test_windows_come_from_documents_of_their_own_and_a_code_of_no_use_gives_the_most_frequent_character() -> None:
    assert not set(codes.documents("train")) & (set(codes.documents("test")) | set(codes.documents("valid")))
    assert codes.windows("test").max() <= codes.COMMON
    assert 0.1 < codes.most_frequent() < 0.25


def test_the_character_between_two_others_is_that_of_the_counts() -> None:
    place = {character: number for number, character in enumerate(codes.alphabet())}
    text = "".join(codes.documents("train"))
    best = max(codes.alphabet(), key=lambda middle: text.count(f"t{middle}e"))
    assert codes.between()[place["t"], place["e"]] == place[best]


def test_noise_replaces_its_share_and_is_the_same_for_a_seed() -> None:
    ids_BT = codes.chosen("test", 500, 0)
    assert torch.equal(codes.noisy(ids_BT, 1), codes.noisy(ids_BT, 1))
    expected = codes.NOISE * codes.COMMON / (codes.COMMON + 1)
    assert abs(float((codes.noisy(ids_BT, 1) != ids_BT).float().mean()) - expected) < 0.03
