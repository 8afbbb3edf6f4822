"""Train a small network on handwritten digits.

By default the digits are scikit-learn's 1,797 scanned ones, 8 x 8 pixels, which are
part of that package; `--data mnist` downloads MNIST through ml_datasets.
"""
import argparse
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable, Dict, List, Tuple

import numpy

from thinc.api import (
    Adam,
    Model,
    Relu,
    Softmax,
    chain,
    evaluate_model_on_arrays,
    fix_random_seed,
    get_current_ops,
    get_shuffled_batches,
    require_gpu,
    to_categorical,
)
from thinc.types import Floats1d, Floats2d

Images = Tuple[Floats2d, Floats2d]


def load_digits() -> Tuple[Images, Images]:
    """Scikit-learn's digits as ((train_X, train_Y), (dev_X, dev_Y)), shuffled, 20% for dev.

    X: (n, 64) pixels from 0 to 1; Y: (n, 10), one column per digit.
    """
    from sklearn.datasets import load_digits as load_scikit_digits

    data = load_scikit_digits()
    order = numpy.random.RandomState(0).permutation(len(data.target))
    X = (data.data[order] / 16.0).astype("float32")
    Y = to_categorical(data.target[order].astype("int32"), n_classes=10)
    n_dev = len(X) // 5
    return (X[n_dev:], Y[n_dev:]), (X[:n_dev], Y[:n_dev])


def load_mnist() -> Tuple[Images, Images]:
    """MNIST, 28 x 28 pixels, downloaded by ml_datasets (pip install ml_datasets)."""
    try:
        import ml_datasets
    except ImportError:
        sys.exit("--data mnist needs the ml_datasets package: pip install ml_datasets")
    try:
        return ml_datasets.mnist()
    except OSError as e:
        sys.exit(f"MNIST could not be downloaded ({e}). --data digits needs no network.")


DATA: Dict[str, Callable[[], Tuple[Images, Images]]] = {"digits": load_digits, "mnist": load_mnist}


def create_model(nH: int = 128, dropout: float = 0.2) -> Model[Floats2d, Floats2d]:
    """Two hidden Relu layers and a Softmax; the input and output widths are inferred."""
    return chain(
        Relu(nO=nH, dropout=dropout),
        Relu(nO=nH, dropout=dropout),
        Softmax(),
    )


def train_epoch(
    model: Model[Floats2d, Floats2d],
    optimizer: Adam,
    data: Images,
    batch_size: int,
    report: Callable[[int], None],
) -> float:
    """One pass over the data in random order. Returns the loss: squared errors, summed."""
    loss = 0.0
    for X, Y in get_shuffled_batches(*data, batch_size):
        guesses, backprop = model.begin_update(X, input_gradient=False)
        d_guesses = (guesses - Y) / guesses.shape[0]
        backprop(d_guesses)
        model.finish_update(optimizer)
        loss += float(((guesses - Y) ** 2).sum())
        report(len(X))
    return loss


def picture(images: Floats2d, guesses: Floats1d, truths: Floats1d) -> str:
    """Digits as text, side by side, with the predicted and the true class below each."""
    shades = " .:-=+*#%@"
    side = int(round(images.shape[1] ** 0.5))
    step = max(1, side // 10)  # MNIST is sampled down to fit a terminal
    rows: List[str] = []
    for y in range(0, side, step):
        cells = []
        for image in images.reshape((-1, side, side)):
            pixels = image[y, ::step]
            cells.append("".join(2 * shades[int(p * (len(shades) - 1))] for p in pixels))
        rows.append("   ".join(cells))
    width = len(range(0, side, step)) * 2
    labels = [f"guess {g}, true {t}".ljust(width) for g, t in zip(guesses, truths, strict=True)]
    return "\n".join(rows) + "\n" + "   ".join(labels)


def progress_bar(total: int, show: bool):
    """tqdm's bar if it is installed and wanted, else one that shows nothing."""

    class Silent:
        def update(self, n: int) -> None:
            pass

        def close(self) -> None:
            pass

    if not show:
        return Silent()
    try:
        from tqdm import tqdm
    except ImportError:
        return Silent()
    return tqdm(total=total, leave=False, unit="samples")


def main(argv=None) -> float:
    """Runs the program; returns the final accuracy on the dev data."""
    parser = argparse.ArgumentParser(prog="bin/demo", description=__doc__)
    parser.add_argument("--data", choices=sorted(DATA), default="digits")
    parser.add_argument("--epochs", type=int, default=20, help="passes over the data")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--width", type=int, default=128, help="width of the hidden layers")
    parser.add_argument("--dropout", type=float, default=0.2)
    parser.add_argument("--learn-rate", type=float, default=0.001)
    parser.add_argument("--gpu", action="store_true", help="train on the GPU (needs CuPy)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-progress", action="store_true", help="no progress bar")
    args = parser.parse_args(argv)
    if args.epochs < 1:
        parser.error("--epochs must be at least 1")
    if args.gpu:
        try:
            require_gpu()
        except ValueError as e:
            sys.exit(f"--gpu: {e}")
    fix_random_seed(args.seed)

    train, dev = DATA[args.data]()
    ops = get_current_ops()
    train = (ops.asarray2f(train[0]), ops.asarray2f(train[1]))
    dev = (ops.asarray2f(dev[0]), ops.asarray2f(dev[1]))
    model = create_model(args.width, args.dropout)
    model.initialize(X=train[0][:5], Y=train[1][:5])
    optimizer = Adam(args.learn_rate)
    print(f"{len(train[0])} images to train on, {len(dev[0])} to test on")
    print(f"{'epoch':>5} {'loss':>10} {'accuracy':>9} {'samples/s':>10}")
    accuracy = 0.0
    for epoch in range(1, args.epochs + 1):
        bar = progress_bar(len(train[0]), sys.stderr.isatty() and not args.no_progress)
        start = time.perf_counter()
        loss = train_epoch(model, optimizer, train, args.batch_size, bar.update)
        seconds = time.perf_counter() - start
        bar.close()
        accuracy = evaluate_model_on_arrays(model, *dev, batch_size=args.batch_size)
        print(f"{epoch:>5} {loss:>10.2f} {accuracy:>9.3f} {len(train[0]) / seconds:>10,.0f}")

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digits.model"
        model.to_disk(path)
        reloaded = create_model(args.width, args.dropout).from_disk(path)
        print(f"\nSaved and loaded again: {path.stat().st_size:,} bytes")
    assert (ops.to_numpy(reloaded.predict(dev[0])) == ops.to_numpy(model.predict(dev[0]))).all()
    some = random.Random(args.seed).sample(range(len(dev[0])), 5)
    images = ops.to_numpy(dev[0])[some]
    guesses = ops.to_numpy(reloaded.predict(dev[0][some])).argmax(axis=1)
    print(picture(images, guesses, ops.to_numpy(dev[1])[some].argmax(axis=1)))
    print(f"\nFinal accuracy: {accuracy:.3f}")
    return accuracy


if __name__ == "__main__":
    main()
