#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Train the example models on Fashion-MNIST and write the example data.

Writes into this directory (or --out):

  calibration-images.idx3.gz, calibration-labels.idx1.gz
      300 training images, 30 of each class, for calibrating a quantizer;
  test-images.idx3.gz, test-labels.idx1.gz
      2,000 test images, 200 of each class, for measuring accuracy;
  fashion_resnet.onnx, fashion_mobilenet.onnx, fashion_vit.onnx
      three small float32 classifiers, input [batch, 1, 28, 28],
      output logits [batch, 10];
  models.json
      sizes, checksums, accuracies and training settings of the above.

Everything that is random is seeded (--seed): the choice of images, the initial
weights, the order of the batches and the augmentation.  The weights come out
identical on the same kind of machine with the same library versions and the
same --threads; elsewhere the different order of floating-point sums makes them
differ, and the accuracy by some tenths of a percent.  No model is selected by
its test accuracy: what is exported is the state after the last epoch.

Needs Python 3, NumPy and PyTorch.  If the `onnx` package is installed, it
checks the exported files too.
"""

import argparse
import gzip
import hashlib
import importlib.util
import json
import math
import pathlib
import struct
import time
import warnings

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

SCALE = 1.0 / 255.0
MEAN = 0.2860
STD = 0.3530
SIZE = 28
CLASSES = ["t-shirt/top", "trouser", "pullover", "dress", "coat",
           "sandal", "shirt", "sneaker", "bag", "ankle boot"]
CALIBRATION_IMAGES = 300
TEST_IMAGES = 2000
OPSET = 13


# ---------------------------------------------------------------- data files

def read_idx(path):
    """Read an unsigned-byte IDX file, gzip'd or not."""
    data = pathlib.Path(path).read_bytes()
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    zero, kind, rank = struct.unpack(">HBB", data[:4])
    if zero != 0 or kind != 0x08:
        raise ValueError(f"{path}: not an unsigned-byte IDX file")
    shape = struct.unpack(f">{rank}I", data[4:4 + 4 * rank])
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape)


def write_idx(path, array):
    """Write an unsigned-byte IDX file, gzip'd, the same bytes every time."""
    header = struct.pack(f">HBB{array.ndim}I", 0, 0x08, array.ndim, *array.shape)
    with open(path, "wb") as raw, \
            gzip.GzipFile("", "wb", compresslevel=9, fileobj=raw, mtime=0) as out:
        out.write(header + np.ascontiguousarray(array, np.uint8).tobytes())


def load_split(directory, prefix):
    """Return the images and labels of a split, "train" or "t10k"."""
    def find(stem):
        for name in (f"{stem}.gz", stem):
            if (directory / name).exists():
                return directory / name
        raise SystemExit(f"{directory}: no {stem} or {stem}.gz there; see --data")

    images = read_idx(find(f"{prefix}-images-idx3-ubyte"))
    labels = read_idx(find(f"{prefix}-labels-idx1-ubyte"))
    if images.shape[1:] != (SIZE, SIZE) or len(images) != len(labels):
        raise SystemExit(f"{directory}: {prefix} is not a Fashion-MNIST split")
    return images, labels


def balanced_choice(labels, count, seed):
    """Choose `count` indices, as many of each class, in a shuffled order."""
    rng = np.random.default_rng(seed)
    per_class = count // len(CLASSES)
    chosen = [rng.choice(np.flatnonzero(labels == c), per_class, replace=False)
              for c in range(len(CLASSES))]
    return rng.permutation(np.concatenate(chosen))


def write_data(out, train, test, seed):
    """Write the calibration and test subsets; describe them for models.json."""
    info = {}
    for name, (images, labels), count, split in (
            ("calibration", train, CALIBRATION_IMAGES, "train"),
            ("test", test, TEST_IMAGES, "test")):
        index = balanced_choice(labels, count, seed)
        image_file, label_file = f"{name}-images.idx3.gz", f"{name}-labels.idx1.gz"
        write_idx(out / image_file, images[index])
        write_idx(out / label_file, labels[index])
        info[name] = {
            "images": image_file, "images_sha256": sha256(out / image_file),
            "labels": label_file, "labels_sha256": sha256(out / label_file),
            "count": count, "split": split, "seed": seed,
        }
    return info


def sha256(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


def to_input(images):
    """Turn uint8 images [N, 28, 28] into the network's input [N, 1, 28, 28]."""
    pixels = torch.from_numpy(np.array(images, np.float32))
    return ((pixels * SCALE - MEAN) / STD).unsqueeze(1)


# -------------------------------------------------------------------- models

def conv_bn(inputs, outputs, kernel, stride=1, groups=1):
    return [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups,
                      bias=False),
            nn.BatchNorm2d(outputs)]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, projected where the shape changes."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.body = nn.Sequential(*conv_bn(inputs, outputs, 3, stride), nn.ReLU(),
                                  *conv_bn(outputs, outputs, 3))
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(*conv_bn(inputs, outputs, 1, stride))

    def forward(self, x):
        return F.relu(self.body(x) + self.shortcut(x))


class FashionResNet(nn.Module):
    """A residual network of five basic blocks."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(*conv_bn(1, 16, 3), nn.ReLU())
        self.blocks = nn.Sequential(
            BasicBlock(16, 16, 1),
            BasicBlock(16, 32, 2), BasicBlock(32, 32, 1),
            BasicBlock(32, 80, 2), BasicBlock(80, 80, 1))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(80, len(CLASSES))

    def forward(self, x):
        x = self.pool(self.blocks(self.stem(x)))
        return self.head(torch.flatten(x, 1))


class SqueezeExcite(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Conv2d(channels, channels // 4, 1)
        self.expand = nn.Conv2d(channels // 4, channels, 1)

    def forward(self, x):
        gate = self.expand(F.relu(self.reduce(self.pool(x))))
        return x * F.hardsigmoid(gate)


class InvertedResidual(nn.Module):
    """Expand, depthwise convolution, squeeze and excite, project."""

    def __init__(self, inputs, hidden, outputs, kernel, stride, excite, activation):
        super().__init__()
        layers = []
        if hidden != inputs:
            layers += [*conv_bn(inputs, hidden, 1), activation()]
        layers += [*conv_bn(hidden, hidden, kernel, stride, groups=hidden), activation()]
        if excite:
            layers.append(SqueezeExcite(hidden))
        layers += conv_bn(hidden, outputs, 1)
        self.body = nn.Sequential(*layers)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x):
        y = self.body(x)
        return x + y if self.residual else y


class FashionMobileNet(nn.Module):
    """MobileNetV3 in miniature."""

    def __init__(self):
        super().__init__()
        relu, hswish = nn.ReLU, nn.Hardswish
        self.stem = nn.Sequential(*conv_bn(1, 16, 3), hswish())
        self.blocks = nn.Sequential(
            #                in hidden out  k  s  excite activation
            InvertedResidual(16, 16, 24, 3, 2, True, relu),
            InvertedResidual(24, 72, 24, 3, 1, False, relu),
            InvertedResidual(24, 96, 40, 5, 2, True, hswish),
            InvertedResidual(40, 160, 40, 5, 1, True, hswish),
            InvertedResidual(40, 160, 40, 5, 1, True, hswish),
            InvertedResidual(40, 192, 48, 3, 1, True, hswish),
            InvertedResidual(48, 192, 48, 3, 1, True, hswish))
        self.last = nn.Sequential(*conv_bn(48, 192, 1), hswish())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Sequential(nn.Linear(192, 128), hswish(),
                                  nn.Linear(128, len(CLASSES)))

    def forward(self, x):
        x = self.pool(self.last(self.blocks(self.stem(x))))
        return self.head(torch.flatten(x, 1))


class Attention(nn.Module):
    def __init__(self, tokens, width, heads):
        super().__init__()
        self.tokens, self.width, self.heads = tokens, width, heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x):
        # The batch axis is the -1: the shapes stay constants in the exported graph.
        q, k, v = (t.reshape(-1, self.tokens, self.heads, self.width // self.heads)
                   for t in self.qkv(x).split(self.width, dim=2))
        q = q * (self.width // self.heads) ** -0.5
        weights = F.softmax(q.permute(0, 2, 1, 3) @ k.permute(0, 2, 3, 1), dim=-1)
        mixed = (weights @ v.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)
        return self.proj(mixed.reshape(-1, self.tokens, self.width))


class Encoder(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, tokens, width, heads, hidden):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(tokens, width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(),
                                 nn.Linear(hidden, width))

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class FashionViT(nn.Module):
    """A vision transformer over 5x5 overlapping patches of 8x8 pixels, mean-pooled."""

    def __init__(self, width=96, depth=4, heads=3, hidden=192, patch=8, stride=5):
        super().__init__()
        self.width, self.tokens = width, ((SIZE - patch) // stride + 1) ** 2
        self.patches = nn.Conv2d(1, width, patch, stride)
        self.position = nn.Parameter(0.02 * torch.randn(1, self.tokens, width))
        self.blocks = nn.Sequential(*(Encoder(self.tokens, width, heads, hidden)
                                      for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, len(CLASSES))

    def forward(self, x):
        x = self.patches(x).reshape(-1, self.width, self.tokens).permute(0, 2, 1)
        x = self.norm(self.blocks(x + self.position))
        return self.head(x.mean(1))


# name: (class, epochs, batch size, peak learning rate, weight decay)
MODELS = {
    "fashion_resnet": (FashionResNet, 9, 128, 4e-3, 0.05),
    "fashion_mobilenet": (FashionMobileNet, 5, 128, 4e-3, 0.05),
    "fashion_vit": (FashionViT, 9, 128, 2e-3, 0.05),
}


def count_macs(model):
    """Count the multiply-accumulates of the convolutions and matrix products."""
    total = 0

    def count(module, inputs, output):
        nonlocal total
        if isinstance(module, nn.Conv2d):
            total += output.numel() * module.weight[0].numel()
        elif isinstance(module, nn.Linear):
            total += output.numel() * module.in_features
        elif isinstance(module, Attention):
            total += 2 * module.tokens ** 2 * module.width

    hooks = [m.register_forward_hook(count) for m in model.modules()]
    model.eval()
    with torch.no_grad():
        model(torch.zeros(1, 1, SIZE, SIZE))
    for hook in hooks:
        hook.remove()
    return total


# ------------------------------------------------------------------ training

def augment(images, generator):
    """Flip half of the images and shift each by up to one pixel."""
    count = len(images)
    flip = torch.rand(count, generator=generator) < 0.5
    images = torch.where(flip[:, None, None, None], images.flip(3), images)
    padded = F.pad(images, (1, 1, 1, 1), value=-MEAN / STD)  # the black background
    dy, dx = torch.randint(0, 3, (2, count), generator=generator)
    rows = (dy[:, None] + torch.arange(SIZE))[:, :, None]
    columns = (dx[:, None] + torch.arange(SIZE))[:, None, :]
    return padded[torch.arange(count)[:, None, None], 0, rows, columns].unsqueeze(1)


def parameter_groups(model, decay):
    """Decay the weights, not the biases, norms and position embedding."""
    weights, others = [], []
    for name, parameter in model.named_parameters():
        plain = parameter.ndim < 2 or name == "position"
        (others if plain else weights).append(parameter)
    return [{"params": weights, "weight_decay": decay},
            {"params": others, "weight_decay": 0.0}]


def train(model, images, labels, epochs, batch, rate, decay, seed):
    """Train with AdamW and a one-cycle learning rate; return the seconds spent."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(parameter_groups(model, decay), lr=rate)
    steps = math.ceil(len(images) / batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=rate, epochs=epochs, steps_per_epoch=steps, pct_start=0.25)
    started = time.time()
    for epoch in range(epochs):
        model.train()
        total = 0.0
        for index in torch.randperm(len(images), generator=generator).split(batch):
            logits = model(augment(images[index], generator))
            loss = F.cross_entropy(logits, labels[index], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item() * len(index)
        print(f"  epoch {epoch + 1}/{epochs}  loss {total / len(images):.4f}  "
              f"{time.time() - started:.0f} s", flush=True)
    return time.time() - started


def accuracy(model, images, labels):
    model.eval()
    with torch.no_grad():
        right = sum((model(x).argmax(1) == y).sum().item()
                    for x, y in zip(images.split(500), labels.split(500)))
    return right / len(images)


def export(model, path):
    model = model.to(memory_format=torch.contiguous_format).eval()
    with warnings.catch_warnings():
        # PRESERVE exports for inference here (the model is in eval mode), but
        # unlike EVAL it leaves the batch norms for the quantizer to fold.  The
        # warning is about constant folding in a model that is to be trained on.
        warnings.filterwarnings("ignore", "It is recommended that constant folding")
        torch.onnx.export(
            model, torch.zeros(2, 1, SIZE, SIZE), str(path), opset_version=OPSET,
            input_names=["image"], output_names=["logits"],
            dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}},
            training=torch.onnx.TrainingMode.PRESERVE)
    if importlib.util.find_spec("onnx"):
        import onnx
        onnx.checker.check_model(onnx.load(str(path)), full_check=True)


def make_model(name, args, train_set, test_set, subset):
    """Train, measure and export one model; describe it for models.json."""
    cls, epochs, batch, rate, decay = MODELS[name]
    epochs = args.epochs or epochs
    torch.manual_seed(args.seed)
    model = cls().to(memory_format=torch.channels_last)  # faster on CPUs
    parameters = sum(p.numel() for p in model.parameters())
    macs = count_macs(model)
    print(f"{name}: {parameters} parameters, {macs} MACs", flush=True)
    seconds = train(model, *train_set, epochs, batch, rate, decay, args.seed)
    path = args.out / f"{name}.onnx"
    export(model, path)
    info = {
        "file": path.name,
        "sha256": sha256(path),
        "bytes": path.stat().st_size,
        "parameters": parameters,
        "macs": macs,
        "top1_test_subset": accuracy(model, *subset),
        "top1_test_full": accuracy(model, *test_set),
        "preprocessing": {"scale": SCALE, "mean": [MEAN], "std": [STD]},
        "training": {"seed": args.seed, "epochs": epochs, "batch": batch,
                     "optimizer": "AdamW", "peak_learning_rate": rate,
                     "weight_decay": decay, "threads": args.threads,
                     "seconds": round(seconds)},
    }
    print(f"  top-1 {info['top1_test_full']:.4f} of 10,000, "
          f"{info['top1_test_subset']:.4f} of {TEST_IMAGES:,}; "
          f"{info['bytes']} bytes", flush=True)
    return info


def update_json(path, data, models):
    """Write models.json, keeping what it says of models not trained this time."""
    known = {}
    if path.exists():
        known = {m["name"]: m for m in json.loads(path.read_text())["models"]}
    known.update((name, {"name": name, **info}) for name, info in models.items())
    document = {
        "dataset": "Fashion-MNIST",
        "classes": CLASSES,
        "input": {"name": "image", "shape": ["batch", 1, SIZE, SIZE]},
        "output": {"name": "logits", "shape": ["batch", len(CLASSES)]},
        "opset": OPSET,
        "torch": str(torch.__version__),
        "data": data,
        "models": [known[name] for name in MODELS if name in known],
    }
    path.write_text(json.dumps(document, indent=2) + "\n")


def parse_arguments():
    parser = argparse.ArgumentParser(
        description="Train the example models on Fashion-MNIST.")
    parser.add_argument("--data", type=pathlib.Path, metavar="DIR",
                        default="/usr/share/datasets/fashion-mnist",
                        help="where the Fashion-MNIST files are (default: %(default)s)")
    parser.add_argument("--out", type=pathlib.Path, metavar="DIR",
                        default=pathlib.Path(__file__).resolve().parent,
                        help="where to write (default: beside this script)")
    parser.add_argument("--models", nargs="*", choices=list(MODELS), metavar="NAME",
                        default=list(MODELS),
                        help="which of " + ", ".join(MODELS) + " to train (default: "
                             "all; with no name: only write the data files)")
    parser.add_argument("--epochs", type=int, help="instead of each model's own number")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=2, help="default: %(default)s")
    return parser.parse_args()


def main():
    args = parse_arguments()
    torch.set_num_threads(args.threads)
    torch.use_deterministic_algorithms(True)
    args.out.mkdir(parents=True, exist_ok=True)

    train_split, test_split = load_split(args.data, "train"), load_split(args.data, "t10k")
    data = write_data(args.out, train_split, test_split, args.seed)
    written = (read_idx(args.out / data["test"]["images"]),
               read_idx(args.out / data["test"]["labels"]))
    train_set, test_set, subset = (
        (to_input(images), torch.from_numpy(labels.astype(np.int64)))
        for images, labels in (train_split, test_split, written))

    models = {}
    update_json(args.out / "models.json", data, models)
    for name in args.models:
        models[name] = make_model(name, args, train_set, test_set, subset)
        update_json(args.out / "models.json", data, models)


if __name__ == "__main__":
    main()
