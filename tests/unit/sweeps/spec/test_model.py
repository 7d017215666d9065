"""The spec: presets, TOML, validation with one-line errors, fingerprint, difference."""

from pathlib import Path
from typing import Any

import pytest

from sweeps.distill.arms import CONTROLS
from sweeps.distill.presets import PRESETS, preset
from sweeps.errors import SpecError
from sweeps.spec.model import fingerprint, override, parse
from sweeps.spec.stored import check_name, difference, read, to_toml
from sweeps.spec.tables import FIRST, Group
from sweeps.stats.verdict import RULE
from tests.support.sweeps.presets import before

NAN = float("nan")
ROLE = preset("tiny").source.model_dump()  # of digits


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_printed_as_toml_reads_back_unchanged(name: str, tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text(to_toml(preset(name)))
    assert read(path) == preset(name)
    assert parse(preset(name).as_dict(), origin="database").fingerprint == preset(name).fingerprint


def test_every_part_of_a_spec_survives_toml(tmp_path: Path) -> None:
    changes = {"target2": ROLE, "target3": ROLE | {"dataset": 'my "digits".npz'}, "outer.teachers": 2}
    views = {"target.augment": "flip-crop", "target.views": 3}
    space = {"search.space": {"learning_rate": [0.001, 0.01], "batch_size": [16, 64]}}
    spec = override(preset("compare"), changes | views | space | {"note": "größer, 更大 und 🙂"})
    path = tmp_path / "my.toml"
    path.write_text(to_toml(spec), encoding="utf-8")
    assert read(path) == spec
    assert "[target3]" in path.read_text(encoding="utf-8")


def test_a_change_changes_the_fingerprint_and_is_listed_in_the_difference() -> None:
    quick = before("quick")
    other = override(quick, {"search.alpha": [0.1, 0.9], "seed": 7})
    assert other.fingerprint != quick.fingerprint
    assert difference(quick.as_dict(), other.as_dict()) == ["seed: 0 -> 7", "search.alpha: [0.0, 1.0] -> [0.1, 0.9]"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"search.temperature": [20, 1]}, ["search.temperature", "[20, 1]", "0 < low <= high"]),
        ({"search.temperature": [-1, 20]}, ["search.temperature", "[-1, 20]", "0 < low"]),
        ({"search.temperature": [NAN, 20]}, ["search.temperature", "NaN", "finite"]),
        ({"search.temperature": [1, float("inf")]}, ["search.temperature", "finite"]),
        ({"search.temperature": [1]}, ["search.temperature"]),
        ({"search.alpha": [0, 1.5]}, ["search.alpha", "[0, 1.5]", "high <= 1"]),
        ({"search.trials": 0}, ["search.trials", "got 0", "1 or more"]),
        ({"search.trials": 2.5}, ["search.trials", "2.5", "integer"]),
        ({"search.trails": 5}, ["unknown key", "search.trails", "trials, sampler, lag, temperature, alpha"]),
        ({"serch.trials": 5}, ["unknown key", "serch", "search"]),
        ({"search.trials.more": 5}, ["unknown key", "search.trials.more"]),
        ({"distillation": "dkd"}, ["'distillation'; did you mean training.distillation?", "search, confirm"]),
        ({"training.distilation": "dkd"}, ["did you mean training.distillation?", "batch_size"]),
        ({"images": 5}, ["did you mean source.images or target.images?"]),
        ({"search.zzz": 5}, ["unknown key 'search.zzz'; keys of this table: trials"]),
        ({"transfer.source_arms": ["bst"]}, ["transfer.source_arms", "bst", "scratch"]),
        ({"baselines.methods": ["resnet"]}, ["baselines.methods", "resnet", "mobilenet"]),
        ({"confirm.top": 21}, ["confirm.rounds", "21 points", "search.trials (10)"]),
        ({"confirm.rounds": [[2, 1], [3, 1]]}, ["confirm", "more points than the previous one; got [2, 3]"]),
        ({"confirm.rounds": []}, ["confirm.rounds", "at least 1 item"]),
        ({"search.sampler": "sobl"}, ["search.sampler", "qmc, tpe, gp, random or package.module:make"]),
        ({"target.dataset": "mnist"}, ["source.dataset and target.dataset must differ"]),
        ({"source.images": 10}, ["images (10)", "batch (64)"]),
        ({"training.learning_rate": 0}, ["training.learning_rate", "greater than 0"]),
        ({"transfer.margin": 0}, ["transfer.margin", "greater than 0"]),
        ({"transfer.margin": NAN}, ["transfer.margin", "finite"]),
        ({"transfer.looks": 0}, ["transfer.looks", "got 0", "1 or more"]),
        ({"transfer.looks": 4}, ["transfer.looks", "got 4", "3 or less"]),
        ({"transfer.target_arms": ["best", "misaligned"]}, ["transfer.target_arms", "misaligned", "class-mean"]),
        ({"transfer.source_arms": ["native"]}, ["transfer.source_arms", "native"]),
        ({"outer.teachers": 0}, ["outer.teachers", "got 0"]),
        ({"outer.seed": 2}, ["unknown key", "outer.seed", "teachers, searches, trials, rounds, seeds"]),
        ({"outer.rounds": [[9, 1]]}, ["outer.rounds begins with 9 points", "outer.trials (8)"]),
        ({"outer.trials": 2}, ["outer.rounds begins with 3 points", "outer.trials (2)"]),
        # A value not given for further searches is that of the first, so the error names the first.
        ({"outer.trials": 3, "outer.rounds": []}, ["confirm.rounds begins with 4 points", "outer.trials (3)"]),
        ({"outer.trials": 0, "outer.rounds": [[11, 1]]}, ["outer.rounds begins with 11", "search.trials (10)"]),
        ({"outer.rounds": [[2, 1], [3, 1]]}, ["outer", "more points than the previous one; got [2, 3]"]),
        ({"outer.rounds": [[3, 0]]}, ["outer.rounds", "got 0", "1 or more"]),
        ({"source.augment": "flip-crop"}, ["mnist", "a mirrored digit is not a digit"]),
        ({"target.augment": "flip"}, ["target.augment", "flip", "flip-crop"]),
        ({"target2.dataset": "digits"}, ["target2.teacher is missing"]),
        ({"target2.images": 1}, ["target2.dataset is missing"]),
        (
            {"target2": ROLE | {"dataset": "cifar10"}},
            ["source.dataset, target.dataset and target2.dataset", "differ"],
        ),
        ({"target2": ROLE | {"trials": 1}}, ["unknown key 'target2.trials'", "dataset, images"]),
        ({"target2": ROLE | {"augment": "flip-crop"}}, ["digits", "a mirrored digit is not a digit"]),
        ({"target3": ROLE}, ["target3 without target2"]),
        ({"target4": ROLE}, ["unknown key 'target4'", "target3"]),
        # Counts are bounded, and lists of names have no duplicates.
        ({"search.trials": 10**9}, ["search.trials", "got 1000000000", "100000 or less"]),
        ({"source.epochs": 1e20}, ["source.epochs", "got 1e+20", "integer"]),
        ({"target.views": 1001}, ["target.views", "got 1001", "1000 or less"]),
        ({"baselines.seconds": 10**8}, ["baselines.seconds", "10000000 or less"]),
        ({"lease.interval_s": 1e300}, ["lease.interval_s", "86400 or less"]),
        ({"seed": 10**30}, ["seed", "less than 9223372036854775808"]),
        ({"note": ["x" * 10_000]}, ["note", "xxx...", "string"]),
        (
            {"baselines.methods": ["mobilenet", "vgg16", "mobilenet"]},
            ["baselines.methods", "each of them once; mobilenet is there 2 times"],
        ),
        ({"baselines.autokeras_blocks": ["vanilla"] * 2}, ["autokeras_blocks", "vanilla is there 2 times"]),
        ({"transfer.target_arms": ["best", "best", "native"]}, ["transfer.target_arms", "best is there 2 times"]),
    ],
)
def test_a_wrong_value_gives_a_one_line_error_with_the_allowed_values(
    changes: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(SpecError) as error:
        override(before("quick"), changes)
    assert "\n" not in str(error.value)
    for word in [*words, "kd-sweeps spec"]:
        assert word in str(error.value)


def test_a_missing_file_and_broken_toml_give_an_error(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"cannot read the spec .*kd-sweeps spec quick >"):
        read(tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("seed = = 3")
    with pytest.raises(SpecError, match=r"is not TOML: .*line 1"):
        read(broken)
    broken.write_bytes(b"\xff\xfe")
    with pytest.raises(SpecError, match="is not TOML"):
        read(broken)
    for levels in (101, 960, 5_000):
        broken.write_text(f"seed = {'[' * levels}{']' * levels}")
        with pytest.raises(SpecError, match=r"is not TOML: it is nested more than 100 levels deep [^\n]+$"):
            read(broken)
    broken.write_text("seed = 3")
    with pytest.raises(SpecError, match="source is missing"):
        read(broken)


def test_an_unknown_preset_lists_those_that_exist() -> None:
    with pytest.raises(SpecError, match=r"no preset 'quik'; presets: tiny, quick, compare, full; did you mean quick\?"):
        preset("quik")


@pytest.mark.parametrize("name", ["", "a.b", "a/b", "a b", "ä", "x" * 65, "a\n", "-rf", "-"])
def test_a_name_with_other_characters_or_too_long_is_refused(name: str) -> None:
    with pytest.raises(SpecError, match="1 to 64 letters, digits"):
        check_name(name)


@pytest.mark.parametrize("name", ["a", "_", "Z-9", "0" * 64, "a-", "_-"])
def test_every_name_of_allowed_characters_is_accepted(name: str) -> None:
    assert check_name(name) == name


def test_roles_are_those_with_a_dataset() -> None:
    quick = before("quick")
    assert (quick.roles, quick.targets) == (("source", "target"), ("target",))
    wider = override(quick, {"target2": ROLE})
    assert (wider.roles, wider.targets) == (("source", "target", "target2"), ("target", "target2"))
    assert wider.role("target2").dataset == "digits"
    assert wider.fingerprint != quick.fingerprint


def test_further_groups_repeat_only_the_arms_of_their_regret() -> None:
    full = before("full")
    assert full.arms("source", Group(search=1)) == (), "the regret is measured on the target"
    assert full.arms("target2", Group(prepared=1)) == ("best", "scratch", "native")
    few = override(before("quick"), {"transfer.target_arms": ["native", "random", "best"]})
    assert few.arms("target", Group(search=1)) == ("native", "best")
    assert full.controls("source") == full.controls("target2") == CONTROLS
    assert before("quick").controls("target") == ()


def test_by_rule_3_every_search_trains_the_arms_of_the_advice() -> None:
    full, further = preset("full"), Group(search=1)
    strategies = ("best", "default-keras-io", "default-keras", "native", "scratch-own")
    assert full.arms("target", further) == full.arms("target2", Group(prepared=1)) == strategies
    assert full.arms("source", further) == (), "nothing is carried over to the source"
    few = override(preset("quick"), {"transfer.target_arms": ["native", "random", "best", "default-keras"]})
    assert few.arms("target", further) == ("native", "best", "default-keras")
    alone = override(preset("full"), {"target": None})
    assert alone.arms("source", further) == ("best", "default-keras-io", "default-keras", "scratch-own")
    tuned = override(preset("quick"), {"search.space": {"learning_rate": [0.001, 0.01]}})
    assert tuned.untreated_arm("target") == "scratch-own"
    assert tuned.arms("target", further) == ("best", "scratch-own", "native", "default-keras-io", "default-keras")


def test_by_rule_3_each_strategy_is_tested_at_its_own_level() -> None:
    quick = preset("quick")
    text = "which tests an untuned default at {} % and values from elsewhere at {} %"
    assert [quick.tested_at(look) for look in (1, 2, 3)] == [text.format(1.5, 0.06), *[text.format(0.5, 0.02)] * 2]
    second_target = quick.target.model_dump() | {"dataset": "fashion_mnist"} if quick.target else {}
    assert override(quick, {"target2": second_target}).tested_at(1) == text.format(0.75, 0.03), (
        "two targets share the level"
    )
    alone = override(quick, {"target": None, "transfer.looks": 1})
    assert alone.tested_at(1) == "which tests an untuned default at 2.5 %"
    assert override(quick, {"transfer.rule": 2}).tested_at(2) == "at the 1 % level"


def test_a_further_search_is_as_large_as_the_first_unless_the_spec_differs() -> None:
    spec = override(before("quick"), {"outer.trials": 0, "outer.rounds": [], "outer.seeds": 0})
    further = spec.for_group(Group(search=1))
    assert (further.search, further.confirm) == (spec.search, spec.confirm)
    assert further.transfer == spec.transfer.model_copy(update={"other_seeds": 0}), "scratch has as many seeds as best"
    assert spec.for_group(FIRST) == spec


def test_a_further_search_can_be_smaller_in_each_part_and_differs_in_nothing_else() -> None:
    spec = before("quick")
    further = spec.for_group(Group(search=4))
    assert (further.search.trials, further.confirm.rounds, further.transfer.seeds) == (8, ((3, 1),), 4)
    assert further.transfer.seeds_of("target", "scratch") == 4
    same = {"search.trials": 10, "confirm.rounds": [[4, 1], [2, 2]], "transfer.seeds": 8, "transfer.other_seeds": 6}
    assert override(further, same) == spec


@pytest.mark.parametrize("looks", [1, 2, 3])
def test_the_looks_share_five_percent_at_most(looks: int) -> None:
    transfer = override(before("quick"), {"transfer.looks": looks}).transfer
    assert [transfer.level(look) for look in range(1, looks + 1)] == [0.01] * looks
    old = override(before("quick"), {"transfer.looks": looks, "transfer.rule": 1}).transfer
    levels = [old.level(look) for look in range(1, looks + 1)]
    assert sum(levels) == pytest.approx(0.05)
    assert levels == sorted(levels, reverse=True)


def test_a_spec_stored_without_a_rule_has_rule_1_and_keeps_its_fingerprint() -> None:
    old = before("tiny").as_dict()
    assert old["transfer"].pop("rule") == 2
    stored = parse(old, origin="database")
    assert stored.transfer.rule == 1
    assert (stored.as_dict(), stored.fingerprint) == (old, fingerprint(old))
    larger = override(stored, {"transfer.seeds": 9})
    assert "rule" not in larger.as_dict()["transfer"]


def test_a_file_can_omit_the_rule_or_name_an_old_one(tmp_path: Path) -> None:
    path, text = tmp_path / "my.toml", to_toml(preset("tiny"))
    line = next(line for line in text.splitlines() if line.startswith("rule = "))
    path.write_text(text.replace(line, ""))
    assert read(path) == preset("tiny")
    old = before("tiny")
    path.write_text(to_toml(old))
    assert (read(path), read(path).fingerprint) == (old, old.fingerprint)
    path.write_text(text.replace(line, f"rule = {RULE + 1}"))
    with pytest.raises(SpecError, match=rf"transfer\.rule: got {RULE + 1}; allowed: .*{RULE}") as error:
        read(path)
    assert "\n" not in str(error.value)


def test_the_margin_of_a_new_sweep_is_a_share_unless_points_are_given(tmp_path: Path) -> None:
    path, values = tmp_path / "my.toml", preset("quick").as_dict()
    path.write_text(to_toml(preset("quick")))
    assert read(path).transfer.margin_share == 0.2
    for options, share, margin in (({}, 0.2, 1.0), ({"margin": 2.0}, 0.0, 2.0), ({"rule": 2}, 0.0, 1.0)):
        new = parse({**values, "transfer": {"seeds": 3, **options}}, new=True).transfer
        assert (new.margin_share, new.margin) == (share, margin)
    assert parse({**values, "transfer": {"seeds": 3}}).transfer.margin_share == 0.0, (
        "a stored spec without a share has none"
    )
    assert override(preset("quick"), {"transfer.margin": 2.0}).transfer.margin_share == 0.0
    both = override(preset("quick"), {"transfer.margin": 2.0, "transfer.margin_share": 0.1}).transfer
    assert (both.margin, both.margin_share) == (2.0, 0.1)
    assert "margin_share" not in override(preset("quick"), {"transfer.margin": 2.0}).as_dict()["transfer"]
    assert "margin_share" not in override(preset("quick"), {"transfer.rule": 2}).as_dict()["transfer"]
    with pytest.raises(SpecError, match=r"transfer\.margin_share: got 1; allowed: less than 1"):
        override(preset("quick"), {"transfer.margin_share": 1})


def test_the_raced_default_is_one_trained_with_the_loss_of_the_search() -> None:
    assert preset("quick").raced == "default-keras"
    assert override(preset("quick"), {"training.distillation": "dkd"}).raced == "default-paper"
    assert override(preset("quick"), {"training.distillation": "my_losses:loss"}).raced == ""
    assert before("quick").raced == ""
