import runpy

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import stats

from adnlib import AdnError
from adnlib.evaluation import verdict
from adnlib.experiments.evidence import MARKS, evidence_page, headline, in_readme
from adnlib.experiments.findings import (
    LEDGER,
    QUESTIONS,
    ablations,
    against_gates,
    committed_ledger,
    forest_tables,
    under_published_names,
)
from adnlib.experiments.grid import read_grid
from adnlib.experiments.ledger import PROTOCOLS, merged, without_paths
from adnlib.experiments.statistics import (
    between_presets,
    by_category,
    changes,
    detectable,
    differences,
    has_intervals,
    in_words,
    inflation,
    mean_interval,
    over_categories,
    over_seeds,
    protocols,
    sentences,
    simultaneous,
    summary,
)
from adnlib.system.files import sha256
from adnlib.system.folders import ROOT

GRIDS = sorted((ROOT / "grids").glob("evidence*.toml"))


def fake_ledger(effect: float, rng, categories=10, seeds=5, effect_sd=0.005, noise=0.01) -> pd.DataFrame:
    """Runs of a variant that is better than DifferNet by `effect` on average: categories differ in level and effect,
    runs by noise; each run also has a last and a best epoch."""
    rows = []
    for category in range(categories):
        level, own = rng.uniform(0.7, 0.95), rng.normal(effect, effect_sd)
        for seed in range(seeds):
            for variant, shift in (("DifferNet", 0.0), ("SE, frozen", own)):
                auroc = level + shift + rng.normal(0, noise)
                rows.append((variant, f"c{category}", seed, auroc, auroc - 0.001, auroc + abs(rng.normal(0.01, 0.003))))
    columns = ["variant", "category", "seed", "auroc", "auroc_last", "auroc_best_on_test"]
    return pd.DataFrame(rows, columns=columns).assign(dataset="d", preset="fast", weights="imagenet", status="done")


def verdicts(effect, ledgers=200, **options):
    rng = np.random.default_rng(0)
    return [over_categories(differences(fake_ledger(effect, rng, **options)))["verdict"][0] for _ in range(ledgers)]


@pytest.mark.slow
def test_an_effect_of_one_point_is_found_in_nine_of_ten_ledgers():
    assert np.mean([v == "better" for v in verdicts(0.01)]) >= 0.9
    assert np.mean([v == "worse" for v in verdicts(-0.01)]) >= 0.9


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"categories": 4}, {"categories": 1}, {"noise": 0.03}, {"categories": 20}])
def test_where_there_is_none_it_is_seldom_found(options):
    """One category has no effect of its own to vary: the interval is over its seeds."""
    if options.get("categories") == 1:
        options = options | {"effect_sd": 0.0}
    assert np.mean([v != "no difference shown" for v in verdicts(0.0, **options)]) <= 0.07


def test_pairs_are_of_one_seed_and_split():
    ledger = fake_ledger(0.02, np.random.default_rng(1), categories=2, seeds=3)
    pairs = differences(ledger)
    assert len(pairs) == 6 and set(pairs["variant"]) == {"SE, frozen"}
    plain, se = (
        ledger[(ledger["variant"] == v) & (ledger["category"] == "c1") & (ledger["seed"] == 2)]["auroc"].item()
        for v in ("DifferNet", "SE, frozen")
    )
    row = pairs[(pairs["category"] == "c1") & (pairs["seed"] == 2)]
    assert row["difference"].item() == pytest.approx(se - plain)
    assert len(differences(ledger.drop(ledger.index[:1]))) == 5  # a run without its partner is no pair


def test_the_interval_over_seeds_is_students():
    pairs = differences(fake_ledger(0.02, np.random.default_rng(1), categories=1))
    row = by_category(pairs).iloc[0]
    d = pairs["difference"]
    low, high = stats.t.interval(0.95, 4, d.mean(), stats.sem(d))
    assert (row["low"], row["high"], row["seeds"]) == (pytest.approx(low), pytest.approx(high), 5)
    assert over_categories(pairs)["low"][0] == row["low"]


def test_the_categories_of_one_renderer_count_as_one():
    ledger = fake_ledger(0.02, np.random.default_rng(1), categories=3, seeds=3)
    rendered = ledger["category"].isin(["c0", "c1"])
    ledger["dataset"] = ledger["dataset"].where(~rendered, "wild_parts")
    row, each = over_categories(differences(ledger)).iloc[0], by_category(differences(ledger)).set_index("category")
    c0, c1, c2 = each["difference"]
    assert row["difference"] == pytest.approx(((c0 + c1) / 2 + c2) / 2)
    assert (row["categories"], row["independent"], row["pairs of runs"]) == (3, 2, 9)
    assert "over 3 categories (2 independent) and 9 pairs of runs" in in_words(row)
    alone = differences(ledger[rendered])
    d = alone.groupby("seed")["difference"].mean()
    low, high = stats.t.interval(0.95, 2, d.mean(), stats.sem(d))
    row = over_categories(alone).iloc[0]
    assert (row["low"], row["high"], row["independent"]) == (pytest.approx(low), pytest.approx(high), 1)


def test_the_protocols_means_differ_by_their_difference():
    """Also with the two settings of a part, and with a variant that was not run on every category."""
    ledger = fake_ledger(0.02, np.random.default_rng(1), categories=4, seeds=3).assign(dataset="wild_parts")
    ledger = ledger.replace({"category": {"c0": "clamp_wild", "c1": "clamp_plain"}})
    ledger = ledger[(ledger["variant"] != "SE, frozen") | (ledger["category"] != "c3")]
    table = protocols(ledger)
    assert table["difference"].to_numpy() == pytest.approx((table["auroc"] - table["baseline"]).to_numpy())
    assert list(table["epoch"][:3]) == list(PROTOCOLS.values())
    honest = table[table["epoch"] == PROTOCOLS["auroc"]].set_index("variant")["difference"]
    over = over_categories(differences(ledger)).set_index("variant")["difference"]
    assert honest.to_dict() == pytest.approx(over.to_dict())


def test_the_order_of_a_ledgers_rows_changes_nothing():
    ledger = fake_ledger(0.01, np.random.default_rng(1))
    assert sentences(ledger) == sentences(ledger.sample(frac=1, random_state=1))


def test_runs_of_a_set_without_categories_count():
    ledger = fake_ledger(0.02, np.random.default_rng(1), categories=1, seeds=3).assign(category=None)
    row = over_categories(differences(ledger)).iloc[0]
    assert (row["categories"], row["pairs of runs"]) == (1, 3) and len(sentences(ledger)) == 1


def test_an_interval_needs_two_seeds_of_one_variant():
    ledger = fake_ledger(0.0, np.random.default_rng(1), categories=2, seeds=2)
    assert has_intervals(ledger) and not has_intervals(ledger[ledger["seed"] == 0])
    assert not has_intervals(ledger[ledger["variant"] == "DifferNet"])
    assert not has_intervals(ledger[ledger["variant"] != "DifferNet"])


def test_images_of_a_folder_stand_under_the_papers_name():
    rows = pd.DataFrame({"dataset": ["folder:data", "elpv"], "category": ["mvtec_bottle", "mono"]})
    assert under_published_names(rows).to_numpy().tolist() == [["mvtec_ad", "bottle"], ["elpv", "mono"]]


def test_a_module_stands_beside_the_gate_that_dims_as_much():
    ledger = two_presets()
    assert against_gates(ledger).empty
    gate = ledger[ledger["variant"] == "DifferNet"].assign(variant="constant gate 0.5")
    table = against_gates(pd.concat([ledger, gate]))
    assert list(table["variant"]) == ["SE, frozen", "SE, trained"] and set(table["gate"]) == {"constant gate 0.5"}
    assert list(table["verdict"]) == ["better", "worse"] and (table["pairs of runs"] == 50).all()


def test_a_change_is_paired_with_the_first_row():
    rows = [("as it is", seed, value) for seed, value in enumerate((0.80, 0.84, 0.82))]
    rows += [("larger", seed, value) for seed, value in enumerate((0.83, 0.87, 0.84))] + [("other", 0, 0.7)]
    rows = pd.DataFrame(rows, columns=["change", "seed", "auroc"])
    untrained = pd.DataFrame({"change": ["no flow"], "seed": 0, "auroc": 0.9, "auroc_last": np.nan})
    table = changes(pd.concat([rows.assign(auroc_last=rows["auroc"]), untrained])).set_index("change")
    low, high = stats.t.interval(0.95, 2, 0.08 / 3, stats.sem([0.03, 0.03, 0.02]))
    expected = pytest.approx((2.54 / 3, 0.08 / 3, low, high))
    assert tuple(table.loc["larger", ["mean", "difference", "low", "high"]]) == expected
    assert table.loc["other", "difference"] == pytest.approx(-0.1) and np.isnan(table.loc["other", "low"])
    assert table.loc["no flow", "difference"] == pytest.approx(0.9 - 0.82)  # to the mean: it shares no seed
    assert table["seeds"].to_dict() == {"as it is": 3, "larger": 3, "other": 1, "no flow": 1}


def test_the_table_of_magnetic_tiles_has_every_row_of_its_benchmark():
    benchmark = runpy.run_path(str(ROOT / "benchmarks" / "mtd.py"))
    table = pd.read_csv(ROOT / "data" / "mtd.csv")
    seeds = table[~table["change"].str.startswith("Gaussian")].groupby("change", sort=False)["seed"].count()
    peers = [
        f"{title}, {backbone}" for backbone in ("alexnet", "efficientnet_lite0") for title in benchmark["DETECTORS"]
    ]
    assert list(seeds.index) == [*benchmark["CHANGES"], *peers]
    assert set(seeds[seeds < 3].index) == {benchmark["FLOW"], benchmark["ALL"], *peers}


def test_over_seeds():
    ledger = fake_ledger(0.0, np.random.default_rng(1), categories=2, seeds=3)
    table = over_seeds(ledger)
    first = ledger[(ledger["category"] == "c0") & (ledger["variant"] == "DifferNet")]["auroc"]
    assert table.iloc[0][["mean", "sd", "seeds"]].tolist() == [
        pytest.approx(first.mean()),
        pytest.approx(first.std()),
        3,
    ]


def test_one_seed_has_no_interval():
    table = over_categories(differences(fake_ledger(0.02, np.random.default_rng(1), categories=1, seeds=1)))
    said = in_words(table.iloc[0])
    assert "over one category and one pair of runs" in said and "nan" not in said
    assert said.endswith("Verdict: not known: one seed has no interval.")


@pytest.mark.parametrize("categories, level", [(5, 0.95), (12, 0.95), (12, simultaneous(4))])
def test_a_detectable_difference_is_shown_in_nine_of_ten_ledgers(categories, level):
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(2000, categories))
    true = float(np.mean([detectable(d, level) for d in noise]))
    shown = [mean_interval(d, level=level)[0] > 0 for d in noise[:300] + true]
    assert 0.82 < np.mean(shown) < 0.97
    assert np.isnan(detectable(np.array([0.1])))


def test_simultaneous_intervals_are_wider_and_all_right_together():
    assert simultaneous(1) == pytest.approx(0.95) and simultaneous(4) == pytest.approx(0.9875)
    rng, wrong = np.random.default_rng(0), 0
    for _ in range(1000):
        intervals = [mean_interval(rng.normal(size=10), level=simultaneous(4)) for _ in range(4)]
        wrong += any(not low <= 0 <= high for low, high in intervals)
    assert wrong / 1000 < 0.07


def test_inflation_is_what_the_best_epoch_adds():
    table = inflation(fake_ledger(0.0, np.random.default_rng(1)))
    assert (table["over_validation"] > 0).all()
    assert (table["over_last"] - table["over_validation"]).to_numpy() == pytest.approx(0.001)


def test_sentences():
    table = over_categories(differences(fake_ledger(0.05, np.random.default_rng(1))))
    said = in_words(table.iloc[0])
    assert said.startswith("SE, frozen: AUROC +") and " points against DifferNet, 95 % interval +" in said
    assert said.endswith(
        ", over 10 categories and 50 pairs of runs; single categories: 10 better, 0 worse. Verdict: better."
    )
    assert [verdict(*i) for i in ((0.1, 0.2), (-0.2, -0.1), (-0.1, 0.1), (0, 0))] == [
        "better",
        "worse",
        "no difference shown",
        "no difference shown",
    ]


def test_a_ledger_that_cannot_be_compared():
    ledger = fake_ledger(0.0, np.random.default_rng(1), categories=1, seeds=1)
    with pytest.raises(AdnError, match="has no finished run of DifferNet: every comparison needs one"):
        differences(ledger[ledger["variant"] != "DifferNet"])
    with pytest.raises(AdnError, match="has no column 'auroc_last'"):
        differences(ledger.drop(columns="auroc_last"), "auroc_last")
    with pytest.raises(AdnError, match="protocol='best' is not known"):
        differences(ledger, "best")


def test_the_committed_ledger_is_what_its_grid_makes():
    """Every point of the two grids is there, done, once; no path of a machine."""
    ledger = committed_ledger()
    configs = [config for grid in GRIDS for config in read_grid(grid)]
    rows = [{"run": config.folder_name, "dataset": config.dataset} for config in configs]
    assert sorted(ledger["run"]) == sorted(without_paths(pd.DataFrame(rows))["run"])
    assert (ledger["status"] == "done").all()
    assert ledger[["auroc", "auroc_last", "auroc_best_on_test"]].notna().all(axis=None)
    assert not ledger["dataset"].str.contains("/").any()
    assert {row["variant"] for _, row in summary(ledger).iterrows()} == {*ledger["variant"]} - {"DifferNet"}


def test_a_ledger_to_share_has_no_path():
    ledger = pd.DataFrame(
        {
            "run": ["data_b2da9a-bottle-none-fast-seed0", "data_b2da9b-none-fast-seed0", "elpv-mono-none-fast-seed0"],
            "dataset": ["folder:/home/somebody/data", "folder:data/", "elpv"],
        }
    )
    shared = without_paths(ledger)
    assert list(shared["run"]) == ["data-bottle-none-fast-seed0", "data-none-fast-seed0", "elpv-mono-none-fast-seed0"]
    assert list(shared["dataset"]) == ["folder:data", "folder:data", "elpv"]


def two_presets():
    """One ledger in which SE gains two points with `fast` and loses two with `lean`."""
    parts = []
    for preset, effect in (("fast", 0.02), ("lean-2026-11", -0.02)):
        part = fake_ledger(effect, np.random.default_rng(0)).assign(preset=preset, seconds=36.0)
        variant = {"fast": "SE, frozen", "lean-2026-11": "SE, trained"}[preset]
        parts.append(part.replace({"variant": {"SE, frozen": variant}}))
    ledger = pd.concat(parts, ignore_index=True)
    return ledger.assign(run=[f"run{i:03d}" for i in range(len(ledger))])


def test_presets_are_not_mixed():
    table = summary(two_presets()).set_index("preset")
    assert table["verdict"].to_dict() == {"fast": "better", "lean-2026-11": "worse"}
    assert sentences(two_presets(), baseline="constant gate 0.5") == []
    said = sentences(two_presets())
    assert len(said) == 2 and said[0].endswith("better (preset fast).")
    assert said[1].endswith("worse (preset lean-2026-11).")


def test_the_figures_tables_have_a_row_for_each_set_and_one_for_all():
    tables = forest_tables(two_presets())
    assert list(tables) == ["SE, frozen", "SE, trained"]
    assert list(tables["SE, frozen"]["name"]) == [f"c{i}" for i in range(10)] + ["all"]
    assert tables["SE, frozen"]["difference"].iloc[-1] > 0 > tables["SE, trained"]["difference"].iloc[-1]


def every_answer() -> pd.DataFrame:
    """A ledger with two seeds of every row of QUESTIONS on two sets, and a third seed of some."""
    rows = list(dict.fromkeys(row for asked in QUESTIONS.values() for row in asked))
    rows += [(preset, "DifferNet") for preset in dict.fromkeys(preset for preset, _ in rows)]
    runs = [
        (preset, variant, category, seed, 0.8 + 0.01 * seed + 0.02 * (variant != "DifferNet") * (category == "b"))
        for preset, variant in rows
        for category in "ab"
        for seed in range(2 + (variant in ("DifferNet", "SE, frozen")))
    ]
    columns = ["preset", "variant", "category", "seed", "auroc"]
    return pd.DataFrame(runs, columns=columns).assign(dataset="d", weights="imagenet", status="done")


def test_the_plain_differnets_of_two_presets_are_compared_by_seed():
    ledger = every_answer()
    higher = ledger["auroc"] + 0.03 * (ledger["preset"] == "unscaled-2026-11")
    _, unscaled, lean = between_presets(ledger.assign(auroc=higher), "fast-2026-11")
    assert unscaled.startswith("DifferNet, preset unscaled-2026-11: AUROC +3.00 points against fast-2026-11, ")
    assert lean.startswith("DifferNet, preset lean-2026-11: AUROC +0.00 points against fast-2026-11, ")
    assert "over 2 categories and 6 pairs of runs" in unscaled
    assert between_presets(ledger[ledger["preset"] != "fast"]) == []  # without a run of the default


def test_the_rows_of_an_ablation_rest_on_the_same_sets_and_seeds():
    ledger = every_answer()
    tables = ablations(ledger)
    assert list(tables) == list(QUESTIONS)
    for question, table in tables.items():
        assert len(table) == len(QUESTIONS[question]) == table["name"].nunique()
        assert (table["pairs of runs"] == 4).all() and (table["categories"] == 2).all()  # a third seed has no partner
        assert table["difference"].to_numpy() == pytest.approx(0.01)  # 0 on a, 0.02 on b
    unscaled = ledger["preset"] == "unscaled-2026-11"
    lost = (unscaled & (ledger["variant"] == "CBAM, frozen") & (ledger["category"] == "b")).to_numpy()
    others = ablations(ledger[~lost])
    (question,) = (question for question in QUESTIONS if "(unscaled)" in question)
    rescaled = others.pop(question)
    assert (rescaled["categories"] == 1).all() and rescaled["difference"].to_numpy() == pytest.approx(0)
    assert all((table["categories"] == 2).all() for table in others.values())
    assert list(ablations(ledger[~unscaled])) == [other for other in QUESTIONS if other != question]


def test_every_row_of_an_ablation_is_a_run_of_the_projects_grid():
    """A name that no run bears would leave its question out for ever."""
    grid = [config for path in GRIDS for config in read_grid(path)]
    made = {(config.preset, config.variant) for config in grid}
    assert {row for asked in QUESTIONS.values() for row in asked} <= made


def test_merged_ledgers_have_each_run_once_and_the_newer_one():
    ledger = two_presets()
    newer = ledger.iloc[:3].assign(auroc=0.5)
    both = merged(newer, ledger)
    assert len(both) == len(ledger) and (both["auroc"] == 0.5).sum() == 3
    failed = newer.assign(status="failed", seed=99)
    assert len(merged(failed, ledger)) == len(ledger)


def test_the_page_has_sentences_on_the_figures_modules_and_a_row_for_every_variant():
    ledger = two_presets()
    other = ledger.replace({"variant": {"SE, trained": "SE, guarded"}})
    for runs, count in ((ledger, 2), (other, 1)):
        lines = evidence_page(runs).splitlines()
        assert sum(line.startswith("- SE") for line in lines) == count
        assert len(headline(runs)) == 1 + count
    rows = [line.split(" | ") for line in lines if line.startswith("| lean")]
    assert [row[1] for row in rows] == ["SE, guarded"] and rows[0][-1] == "worse |"
    points = f"{100 * summary(other).set_index('preset').loc['lean-2026-11', 'difference']:+.1f}"
    assert rows[0][2] == points
    text = in_readme("before" + "".join(MARKS) + "after", ledger)
    assert text.startswith(f"before{MARKS[0]}\n- ") and "\n- **Frozen** attention (preset `fast`): SE " in text


def test_categories_with_one_seed_are_not_counted_as_better_or_worse():
    ledger = two_presets()
    once = ledger[ledger["seed"] == 0]
    assert "; one seed)" in headline(once)[0] and "better, " in headline(ledger)[0]
    assert not any("single categories" in line for line in sentences(once))


def test_readme_page_and_figure_are_those_of_the_ledger():
    """`adn evidence` brings them up to date."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert in_readme(text, committed_ledger()) == text
    assert (ROOT / "data" / "evidence.md").read_text(encoding="utf-8") == evidence_page(committed_ledger())
    with Image.open(ROOT / "data" / "evidence.png") as picture:
        assert picture.info["Ledger"] == sha256(LEDGER)
