"""Files appear whole or not at all; a typo in a config file is answered with the nearest name."""

from pathlib import Path

import pytest
from msgspec import Struct

from marloft.errors import ConfigError
from marloft.files import (
    PRIVATE,
    parse_json,
    private_folder,
    read_plain_yaml,
    read_yaml,
    sha256_file,
    tighten,
    write_atomic,
    write_if_other,
    write_json,
    write_new,
)
from tests.file_modes import mode, open_to_others, umask


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


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_private_files_and_their_new_folders_are_closed_to_others(
    tmp_path: Path, mask: int
) -> None:
    with umask(mask):
        write_atomic(tmp_path / "a" / "b" / "atomic", b"", PRIVATE)
        write_json(tmp_path / "a" / "json", {}, PRIVATE)
        write_new(tmp_path / "c" / "new", b"", PRIVATE)
        private_folder(tmp_path / "d" / "e")
    assert mode(tmp_path / "a" / "b") == mode(tmp_path / "d" / "e") == 0o700
    assert mode(tmp_path / "a" / "b" / "atomic") == mode(tmp_path / "c" / "new") == 0o600
    assert [path for path in open_to_others(tmp_path) if path != tmp_path] == []


def test_what_users_ask_for_is_for_all(tmp_path: Path) -> None:
    with umask(0o022):
        write_atomic(tmp_path / "reports" / "report.html", "")
    assert (mode(tmp_path / "reports" / "report.html"), mode(tmp_path / "reports")) == (
        0o644,
        0o755,
    )


def test_folder_that_exists_keeps_its_mode(tmp_path: Path) -> None:
    folder = tmp_path / "volume"
    folder.mkdir()
    folder.chmod(0o775)
    write_atomic(folder / "file", b"", PRIVATE)
    assert mode(folder) == 0o775


def test_tighten_takes_from_others_what_they_could_read(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "log", tmp_path / "elsewhere"
    folder.mkdir(mode=0o755)
    for path in (folder / "segment", elsewhere):
        path.write_bytes(b"")
        path.chmod(0o644)
    (folder / "link").symlink_to(elsewhere)
    (folder / "program").write_bytes(b"")
    (folder / "program").chmod(0o755)
    tighten(folder)
    assert (mode(folder), mode(folder / "segment")) == (0o700, 0o600)
    assert mode(folder / "program") == 0o700
    assert mode(elsewhere) == 0o644


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


@pytest.mark.parametrize(
    "value",
    [
        "!!python/object/apply:os.system [exit 1]",
        "!!python/name:os.system",
        "!!javax.script.ScriptEngineManager [!!java.net.URLClassLoader [[]]]",
    ],
)
def test_tag_that_names_a_class_makes_no_object(tmp_path: Path, value: str) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(f"key: {value}\n")
    with pytest.raises(ConfigError, match="could not determine a constructor"):
        read_plain_yaml(path)


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
        ("a: \x80\xff".encode("latin-1"), "is not UTF-8"),
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


def test_same_content_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "a" / "file"
    write_if_other(path, "text")
    before = path.stat().st_ino
    write_if_other(path, b"text")
    assert path.stat().st_ino == before
    write_if_other(path, "other")
    assert path.read_text() == "other"
