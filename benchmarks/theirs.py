"""The other side of a training contest: Hugging Face's ``Trainer`` and collator, as documented or tuned."""

from __future__ import annotations

import os
from typing import Any

from torch import Tensor

from benchmarks.contest import Orders
from benchmarks.job import Job, TokenCount, gradient_norm, load_batches
from benchmarks.text import texts, their_pairs
from plm_core.data.tokenizers import Tokenizer

TUNED = {
    "optim": "adamw_torch_fused",
    "train_sampling_strategy": "group_by_length",
    "logging_nan_inf_filter": False,
}
"""What a careful user would set, besides the attention kernel, which is fused by default."""


def train_as_documented(orders: Orders, job: Job) -> None:
    """Defaults, as in the documentation of language modelling."""
    train(orders, job, {})


def train_tuned(orders: Orders, job: Job) -> None:
    """Rows of similar length in a batch, fused attention and AdamW, no look at each loss."""
    train(orders, job, TUNED)


def train(orders: Orders, job: Job, settings: dict[str, Any]) -> None:
    """Build data and model, then train as many steps as each order says."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    is_masked = job.task == "mlm+nsp"
    tokenizer = transformers.AutoTokenizer.from_pretrained(job.model_folder)
    items = dataset(job)
    collate = transformers.DataCollatorForLanguageModeling(tokenizer, mlm=is_masked, mlm_probability=0.15)
    kind = transformers.BertForPreTraining if is_masked else transformers.GPT2LMHeadModel
    orders.memory_baseline()
    model = kind.from_pretrained(job.model_folder, attn_implementation="sdpa").to(job.device)
    losses, norms = check_values(model, job)
    arguments = transformers.TrainingArguments(
        output_dir=str(job.folder / "their_output"),
        per_device_train_batch_size=job.batch_size,
        max_steps=10**6,
        learning_rate=1e-4,
        lr_scheduler_type="constant",
        weight_decay=0.01,
        max_grad_norm=1.0,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=job.device == "cpu",
        bf16=job.precision == "bf16",
        fp16=job.precision == "fp16",
        torch_compile=job.compile,
        seed=job.seed,
        **settings,
    )

    class Turns(transformers.TrainerCallback):
        """Stops at the end of each turn until the next order comes."""

        steps_left = 0

        def wait(self, control: Any) -> None:
            self.steps_left = orders.next()
            control.should_training_stop = self.steps_left == 0

        def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            self.wait(control)

        def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            self.steps_left -= 1
            if self.steps_left == 0:
                orders.done(tokens.take())
                self.wait(control)

    tokens = TokenCount(model)
    orders.built(losses=losses, gradient_norms=norms)
    transformers.Trainer(
        model=model, args=arguments, train_dataset=items, data_collator=collate, callbacks=[Turns()]
    ).train()
    orders.end()


def dataset(job: Job) -> list[dict[str, Any]]:
    """The examples; torch's data loader takes any sequence."""
    tokenizer = Tokenizer.load(job.model_folder)
    if job.task == "mlm+nsp":
        return their_pairs(job.folder, tokenizer)
    rows = texts(job.folder, tokenizer, length=job.length)
    if job.blocks:
        ids = [token for row in rows for token in row]
        rows = [ids[start : start + job.length] for start in range(0, len(ids) - job.length + 1, job.length)]
    return [{"input_ids": row} for row in rows]


def check_values(model: Any, job: Job) -> tuple[list[float], list[float]]:
    """Loss and gradient norm on the stored batches, without dropout."""
    losses, norms = [], []
    for batch in load_batches(job):
        loss = model.eval()(**their_batch(batch, job)).loss
        loss.backward()
        losses.append(loss.item())
        norms.append(gradient_norm(model))
    return losses, norms


def their_batch(batch: dict[str, Tensor], job: Job) -> dict[str, Tensor]:
    """A stored batch under their names; a causal model gets its ids as labels and shifts them itself."""
    moved = {name: tensor.to(job.device) for name, tensor in batch.items()}
    if job.task == "mlm+nsp":
        return {
            "input_ids": moved["input_ids"],
            "attention_mask": moved["attention_mask"].long(),
            "token_type_ids": moved["token_type_ids"],
            "labels": moved["labels"],
            "next_sentence_label": moved["pair_labels"],
        }
    mask = moved["attention_mask"]
    labels = moved["input_ids"].masked_fill(~mask, -100)
    return {"input_ids": moved["input_ids"], "attention_mask": mask.long(), "labels": labels}
