"""Files appear whole or not at all; a typo in a config file is answered with the nearest name."""

from pathlib import Path

import pytest
from msgspec import Struct

from marloft.errors import ConfigError
from marloft.files import (
    parse_json,
    read_plain_yaml,
    read_yaml,
    sha256_file,
    write_atomic,
    write_new,
)


class Inner(Struct, forbid_unknown_fields=True):
    learning_rate: float = 0.1


class Outer(Struct, forbid_unknown_fields=True):
    training: Inner
    many: dict[str, Inner] = {}
    maybe: Inner | None = None


def test_write_atomic_replaces(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    write_atomic(path, "one")
    write_atomic(path, "two")
    assert path.read_text() == "two"
    assert list(path.parent.iterdir()) == [path]


def test_write_new_refuses_to_replace(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_new(path, b"first")
    with pytest.raises(FileExistsError):
        write_new(path, b"second")
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_sha256_file_equals_the_published_digest(tmp_path: Path) -> None:
    """FIPS 180-2, appendix B.1: the digest of `abc`."""
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_file(path) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("training: {learning_rat: 1}", "unknown key 'learning_rat' at training. Did you mean"),
        ("training: {}\nmany: {a: {learn_rate: 1}}", "Did you mean 'learning_rate'?"),
        ("training: {}\nmaybe: {learn_rate: 1}", "Did you mean 'learning_rate'?"),
        ("trainin: {}", "Did you mean 'training'?"),
        ("training: {learning_rate: fast}", "training.learning_rate is 'fast', must be a number."),
        ("training: [", "line 2, column 1"),
        (
            "training: {}\nmany:\n  a: {}\n  b: {}\n  a: {}",
            "key 'a' stands in line 3 and again in line 5",
        ),
        (
            "training: {learning_rate: 1, learning_rate: 2}",
            "in line 1 and again in line 1; leave one",
        ),
        ("training: {learning_rate: x}\nmany: 3", "2 errors:\n  training.learning_rate is 'x'"),
        ("training: {zzz: 1}", "Allowed: learning_rate."),
    ],
)
def test_read_yaml_names_the_place_and_the_nearest_key(
    tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_yaml(path, Outer)
    assert said in str(caught.value)


def test_yaml_has_the_booleans_of_yaml_1_2(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("words: [no, yes, on, Off, y, truely]\nbooleans: [true, False]\n")
    found = read_plain_yaml(path)
    assert found["words"] == ["no", "yes", "on", "Off", "y", "truely"]
    assert found["booleans"] == [True, False]


def test_anchors_are_no_repeated_keys(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        "training: &t {learning_rate: 1}\nmaybe: *t\nmany: {a: {<<: *t, learning_rate: 2}, b: *t}\n"
    )
    assert read_yaml(path, Outer).many == {"a": Inner(2.0), "b": Inner(1.0)}


def test_anchor_that_leads_back_to_itself_ends(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("training: &t {learning_rate: 1, self: *t}\n")
    with pytest.raises(ConfigError, match="line 1 is more than 200 levels deep"):
        read_yaml(path, Outer)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: !!bool x", "not of the type that its tag (!!) says; leave the tag out"),
        ("a: !!timestamp x", "leave the tag out"),
        ("a: !!python/name:os.system", "could not determine a constructor for the tag"),
        ("a:\n  [b]: c", "line 2 has a list or a mapping for a key; keys are text."),
        (f"a: 0x{'f' * 200}", "line 1 holds an integer of 202 digits."),
        (f"a: {'{a: ' * 300}1{'}' * 300}", "line 1 is more than 200 levels deep"),
        ("[" * 100_000, "exceeded maximum nesting depth"),
        ("a: &a {b: *a, c: *a}", "is more than 200 levels deep"),
        ("a: \x80\xff".encode("latin-1"), "invalid"),
        (b"\xff\xfea", "UTF-16"),
    ],
)
def test_yaml_that_cannot_be_followed_is_refused(
    tmp_path: Path, text: str | bytes, said: str
) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as caught:
        read_plain_yaml(path)
    assert said in str(caught.value)


def test_anchors_that_multiply_are_counted(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    path = tmp_path / "config.yaml"
    path.write_text("\n".join(lines[:4]))
    assert len(read_plain_yaml(path)) == 4
    path.write_text("\n".join(lines))
    with pytest.raises(ConfigError, match="one of over 1,000,000 values"):
        read_plain_yaml(path)


@pytest.mark.parametrize("data", [b"", b"{", b'{"a": "\xff"}', b"[" * 100_000, b'"\\ud800"'])
def test_bytes_that_are_no_json_are_refused(data: bytes) -> None:
    with pytest.raises(ConfigError, match=r"^archive\.json: "):
        parse_json(data, object, "archive.json")
