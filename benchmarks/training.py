"""A small training run whose checkpoints are data: a language model of a few million weights, with Adam.

Nothing is simulated: text is drawn from a Markov chain over words, a feed-forward model (embedding of eight
words, three hidden layers, softmax) learns to say the next word, and what is saved is what a training job
saves: weights and both moments of the optimizer as float32 `.npy`, and the weights as bfloat16 in a raw file.
Words that a batch lacks get no gradient, warm-up and cosine decay set the pace: all as in larger runs.

The run is seeded, but the last bits of a product of matrices depend on the library and the processor.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["Checkpoint", "save", "train"]

Array = NDArray[np.float32]
Arrays = dict[str, Array]

CONTEXT = 8  # words that the model sees
BATCH = 256
STEPS = 12  # between two checkpoints
PACE = 2e-3  # the learning rate at its highest


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run after some steps; `loss` is the last batch's, in nats a word."""

    step: int
    loss: float
    weights: Arrays
    first: Arrays
    second: Arrays


def train(count: int, scale: float, seed: int) -> Iterator[Checkpoint]:
    """Train and yield `count` checkpoints; at scale 1 each saves as about 90 MB. Arrays are reused."""
    rng = np.random.default_rng(seed)
    words, width = max(64, round(3000 * scale)), max(32, round(1024 * scale**0.5))
    text = _text(rng, words, length=400)
    weights = _start(rng, words, width)
    first = {name: np.zeros_like(array) for name, array in weights.items()}
    second = {name: np.zeros_like(array) for name, array in weights.items()}
    total = count * STEPS
    for step in range(1, total + 1):
        place = rng.integers(0, text.shape[1] - CONTEXT, BATCH)
        chain = rng.integers(0, text.shape[0], BATCH)
        seen = text[chain[:, None], place[:, None] + np.arange(CONTEXT)]
        loss, gradients = _learn(weights, seen, text[chain, place + CONTEXT])
        _adam(weights, gradients, first, second, step, total)
        if step % STEPS == 0:
            yield Checkpoint(step, loss, weights, first, second)


def save(state: Checkpoint, folder: Path) -> None:
    """Write a checkpoint as a training job does."""
    for group, arrays in (
        ("model", state.weights),
        ("adam/first", state.first),
        ("adam/second", state.second),
    ):
        (folder / group).mkdir(parents=True)
        for name, array in arrays.items():
            np.save(folder / group / f"{name}.npy", array)
    halves = [(array.view(np.uint32) >> 16).astype("<u2").tobytes() for array in state.weights.values()]
    (folder / "model.bf16").write_bytes(b"".join(halves))  # bfloat16 is the upper half of float32
    (folder / "state.json").write_text(json.dumps({"step": state.step, "loss": state.loss}))


def _text(rng: np.random.Generator, words: int, length: int) -> NDArray[np.int64]:
    """Return 512 chains of words: each word has eight likely successors, one in ten is any word (Zipf)."""
    rare = 1 / np.arange(1, words + 1)
    rare /= rare.sum()
    after = rng.choice(words, (words, 8), p=rare)
    usual = 1 / np.arange(1, 9)
    text = np.empty((512, length), np.int64)
    text[:, 0] = rng.choice(words, 512, p=rare)
    for place in range(1, length):
        likely = after[text[:, place - 1], rng.choice(8, 512, p=usual / usual.sum())]
        text[:, place] = np.where(rng.random(512) < 0.1, rng.choice(words, 512, p=rare), likely)
    return text


def _start(rng: np.random.Generator, words: int, width: int) -> Arrays:
    size = width // CONTEXT
    shapes = {"embedding": (words, size), "one": (size * CONTEXT, width), "two": (width, width)}
    shapes |= {"three": (width, width), "output": (width, words)}
    return {
        name: rng.standard_normal(shape, dtype=np.float32)
        * np.float32(0.1 if name == "embedding" else (2 / shape[0]) ** 0.5)
        for name, shape in shapes.items()
    }


def _learn(weights: Arrays, seen: NDArray[np.int64], said: NDArray[np.int64]) -> tuple[float, Arrays]:
    """Return the loss of a batch and its gradients, by hand: the model is five products long."""
    inputs = weights["embedding"][seen].reshape(len(seen), -1)
    one = np.maximum(inputs @ weights["one"], 0)
    two = np.maximum(one @ weights["two"], 0) + one
    three = np.maximum(two @ weights["three"], 0) + two
    logits = three @ weights["output"]
    logits -= logits.max(axis=1, keepdims=True)
    chances = np.exp(logits)
    chances /= chances.sum(axis=1, keepdims=True)
    rows = np.arange(len(said))
    loss = float(-np.log(chances[rows, said] + 1e-9).mean())
    chances[rows, said] -= 1
    back = chances / np.float32(len(said))
    gradients: Arrays = {"output": three.T @ back}
    back = back @ weights["output"].T
    inner = back * (three > two)
    gradients["three"] = two.T @ inner
    back += inner @ weights["three"].T
    inner = back * (two > one)
    gradients["two"] = one.T @ inner
    back += inner @ weights["two"].T
    back *= one > 0
    gradients["one"] = inputs.T @ back
    gradients["embedding"] = np.zeros_like(weights["embedding"])
    spread = (back @ weights["one"].T).reshape(*seen.shape, -1)
    np.add.at(gradients["embedding"], seen, spread)
    return loss, gradients


def _adam(weights: Arrays, gradients: Arrays, first: Arrays, second: Arrays, step: int, total: int) -> None:
    """Take one step of Adam (Kingma and Ba, 2015), in place."""
    warm = min(1.0, step / (total / 10))
    pace = np.float32(PACE * warm * 0.5 * (1 + np.cos(np.pi * step / total)))
    for name, gradient in gradients.items():
        first[name] += (gradient - first[name]) * np.float32(0.1)
        second[name] += (gradient * gradient - second[name]) * np.float32(0.001)
        mean = first[name] / np.float32(1 - 0.9**step)
        spread = second[name] / np.float32(1 - 0.999**step)
        weights[name] -= pace * mean / (np.sqrt(spread) + np.float32(1e-8))
