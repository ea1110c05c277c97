"""Autoencoders: the linear one finds the principal components, the code is all that the decoder sees."""

import pytest
import torch

from plm_core.models.autoencoder import Autoencoder, SentenceAutoencoder, corrupt, principal_components, project
from plm_core.models.recurrent_seq2seq import RecurrentSeq2SeqConfig


def points(count: int = 200) -> torch.Tensor:
    scales = torch.tensor([5.0, 3.0, 1.0, 0.5, 0.2, 0.1])
    return (torch.randn(count, 6) * scales) @ torch.linalg.qr(torch.randn(6, 6)).Q + torch.arange(6)


def test_components_agree_with_scikit_learn() -> None:
    from sklearn.decomposition import PCA

    x = points().double()
    mean, components = principal_components(x, 3)
    theirs = PCA(3).fit(x.numpy())
    torch.testing.assert_close(mean, torch.tensor(theirs.mean_))
    signs = torch.sign((components * torch.tensor(theirs.components_)).sum(1, keepdim=True))
    torch.testing.assert_close(components * signs, torch.tensor(theirs.components_))
    torch.testing.assert_close(
        project(x, mean, components), torch.tensor(theirs.inverse_transform(theirs.transform(x.numpy())))
    )


def test_a_trained_linear_autoencoder_projects_onto_the_principal_components() -> None:
    x = points().double()
    mean, components = principal_components(x, 2)
    model = Autoencoder(6, 2).double()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=500, tolerance_grad=1e-10, tolerance_change=1e-14)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (model(x) - x).square().mean()
        loss.backward()
        return loss

    for _ in range(5):
        optimizer.step(closure)
    torch.testing.assert_close(model(x), project(x, mean, components), atol=1e-3, rtol=0)
    best = (project(x, mean, components) - x).square().mean()
    assert best <= closure() < best * (1 + 1e-6)


def test_a_deep_autoencoder_has_the_shapes_that_were_asked_for() -> None:
    model = Autoencoder(6, 2, hidden_sizes=(5, 4))
    widths = [layer.out_features for layer in [*model.encoder, *model.decoder] if hasattr(layer, "out_features")]
    assert widths == [5, 4, 2, 4, 5, 6]
    assert model.encode(torch.zeros(3, 6)).shape == (3, 2)
    assert model(torch.zeros(3, 6)).shape == (3, 6)


def test_corruption_replaces_the_stated_share_evenly_and_repeats_itself() -> None:
    ids = torch.zeros(200, 100, dtype=torch.long)
    noisy, replaced = corrupt(ids, 5, 0.3, torch.Generator().manual_seed(0))
    again, _ = corrupt(ids, 5, 0.3, torch.Generator().manual_seed(0))
    assert torch.equal(noisy, again)
    assert not noisy[~replaced].any()
    assert abs(replaced.float().mean() - 0.3) < 0.02
    shares = torch.bincount(noisy[replaced], minlength=5) / replaced.sum()
    assert (shares - 0.2).abs().max() < 0.03


def test_a_sentence_is_written_from_its_code_alone() -> None:
    model = SentenceAutoencoder(RecurrentSeq2SeqConfig(vocab_size=7, hidden_size=8, summary_size=3), start=6)
    ids, mask = torch.randint(6, (2, 5)), torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    code = model.encode(ids, attention_mask=mask)
    assert code.shape == (2, 3)
    torch.testing.assert_close(model.encode(ids[1:, :3]), code[1:])
    written = model.decode(code, max_new_tokens=5)
    assert torch.equal(written, model.network.generate(ids, start=6, max_new_tokens=5, attention_mask=mask))
    logits = model(ids, attention_mask=mask)
    assert logits.shape == (2, 5, 7)
    changed = ids.clone()
    changed[:, 4] = (changed[:, 4] + 1) % 6
    torch.testing.assert_close(model(changed, attention_mask=mask, source=ids)[:, :4], logits[:, :4])


def test_what_would_not_be_an_autoencoder_is_refused() -> None:
    with pytest.raises(ValueError, match="looks past the code"):
        SentenceAutoencoder(RecurrentSeq2SeqConfig(vocab_size=7, attention=True), start=6)
    with pytest.raises(ValueError, match="start is 7"):
        SentenceAutoencoder(RecurrentSeq2SeqConfig(vocab_size=7), start=7)
    with pytest.raises(ValueError, match="sizes must be positive"):
        Autoencoder(6, 0)
    with pytest.raises(ValueError, match="between 1 and 6"):
        principal_components(points(), 7)
