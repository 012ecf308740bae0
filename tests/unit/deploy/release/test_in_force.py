"""Whose routes are in force while the newest release's versions are loading."""

from marloft.contract.release import Key, Release
from marloft.deploy.gateway.discovery_files import file_version
from marloft.deploy.gateway.routes import render_routes
from marloft.deploy.release.in_force import InForce, choose, read_label, whole
from tests.unit.deploy.control.test_reconcile import pin, released, sha

OLD = released("1.0", number=6)
NEW = released("2.0", "1.0", number=7)


def admitted(*versions: str) -> dict[Key, str]:
    return {("ranker", version): sha(version) for version in versions}


def with_model(release: Release, name: str, default: bool = False) -> Release:
    """Add a model of one version, 1.0."""
    fields = {field: getattr(release, field) for field in Release.__struct_fields__}
    model = released("1.0").models["ranker"]
    fields["models"] = release.models | {name: model}
    return Release(**fields | {"default_model": name if default else release.default_model})


def test_a_release_serves_when_its_default_is_loaded() -> None:
    assert choose(NEW, whole(OLD), admitted("1.0")).models == {"ranker": OLD}
    assert choose(NEW, whole(OLD), admitted("1.0", "2.0")) == whole(NEW)
    assert choose(NEW, whole(OLD), admitted("2.0")) == whole(NEW)


def test_a_fresh_start_never_shows_an_older_release() -> None:
    assert choose(NEW, None, {}) == whole(NEW)
    assert choose(NEW, None, admitted("1.0")) == whole(NEW)
    assert choose(NEW, whole(NEW), admitted("1.0")) == whole(NEW)


def test_the_release_before_gives_way_when_its_own_default_is_gone() -> None:
    assert choose(NEW, whole(OLD), {}) == whole(NEW)


def test_a_split_waits_for_its_arms_while_the_release_before_serves() -> None:
    split = released("1.0", "2.0", number=8, split=True)
    assert choose(split, whole(OLD), admitted("1.0")).models == {"ranker": OLD}
    assert choose(split, whole(OLD), admitted("1.0", "2.0")) == whole(split)
    assert choose(split, None, admitted("1.0")) == whole(split)


def test_other_bytes_under_the_same_version_do_not_count_as_loaded() -> None:
    assert choose(NEW, whole(OLD), {("ranker", "2.0"): "else", **admitted("1.0")}).models == {
        "ranker": OLD
    }


def test_a_new_default_model_waits_for_its_default_version() -> None:
    front = with_model(NEW, "other", default=True)
    waiting = choose(front, whole(OLD), admitted("1.0", "2.0"))
    assert waiting.front == OLD
    assert waiting.models == {"ranker": front, "other": front}
    ready = admitted("1.0", "2.0") | {("other", "1.0"): sha("1.0")}
    assert choose(front, whole(OLD), ready) == whole(front)


def test_the_label_of_a_route_file_is_read_back() -> None:
    releases = {6: OLD, 7: with_model(NEW, "other")}
    mixed = InForce(front=releases[7], models={"ranker": OLD, "other": releases[7]})
    assert mixed.label == "7;ranker=6"
    assert read_label(mixed.label, releases.__getitem__) == mixed
    assert read_label(whole(OLD).label, releases.__getitem__) == whole(OLD)
    assert read_label("7;ranker=6#ab12cd34ef56", releases.__getitem__) == mixed
    assert read_label("7-stopping", releases.__getitem__) is None
    assert read_label("7-stopping#ab12cd34ef56", releases.__getitem__) is None
    assert read_label("", releases.__getitem__) is None
    assert mixed.numbers == {"other": 7, "ranker": 6}


def test_routes_of_a_mixture_name_the_release_of_each_model() -> None:
    mixed = InForce(front=NEW, models={"ranker": OLD})
    routes = render_routes(NEW, in_force=mixed)
    assert file_version(routes).partition("#")[0] == "7;ranker=6"
    assert b"release=6;version=1.0" in routes
    assert b"release=7" not in routes
    assert b"version=2.0" not in routes
    assert file_version(b"{") == ""


def test_versions_are_those_that_a_route_may_lead_to() -> None:
    standby = released("2.0", number=9, standby=("1.0",))
    assert whole(standby).versions() == {("ranker", "2.0"): pin("2.0")}
