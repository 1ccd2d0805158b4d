import os
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial

import filelock
import numpy as np
import pytest
import torch
from conftest import REAL_DATA, full_disk

import adnlib
from adnlib import PRESETS, AdnError, DifferNet, evaluate, fit, load_dataset, training
from adnlib.engine import checkpoint, extraction, feature_sources
from adnlib.engine.checkpoint import Checkpoint, drop_checkpoint
from adnlib.engine.extraction import extract
from adnlib.engine.feature_sources import FrozenFeatures, JointFeatures, StemStore
from adnlib.evaluation import score
from adnlib.system.device import pick_device
from adnlib.system.stops import Terminated, stopped_by_sigterm
from adnlib.training import TrainingLoop, spread
from adnlib.views import quarter_turns

SMOKE = PRESETS["smoke"]


def model_of(attention=None, preset=SMOKE, train_attention=False, **options):
    return DifferNet(attention, preset=preset, train_attention=train_attention, **options)


def test_planted_defects_are_found(tiny):
    model = DifferNet(preset=replace(SMOKE, epochs=10, hidden=64))
    fit(model, tiny, progress=False)
    assert evaluate(model, tiny).auroc == 1


@pytest.mark.slow
@pytest.mark.parametrize("attention, trained", [(None, False), ("se", False), ("cbam", True)])
def test_same_seed_same_scores_to_the_last_bit(tiny, attention, trained):
    def scores(seed):
        model = model_of(attention, train_attention=trained, seed=seed)
        history = fit(model, tiny, seed=seed, progress=False)
        return evaluate(model, tiny).scores["score"].to_numpy(), history.epochs.drop(columns="seconds").to_numpy()

    first, second, other = scores(0), scores(0), scores(1)
    assert np.array_equal(first[0], second[0]) and np.array_equal(first[1], second[1])
    assert not np.array_equal(first[0], other[0])


def test_the_best_validation_epoch_is_kept(tiny):
    preset = replace(SMOKE, epochs=4, lr=0.05)  # too fast on purpose: the last epoch is not the best
    model = model_of(preset=preset, weights="random")
    history = fit(model, tiny, progress=False)
    values = history.epochs["validation_nll"]
    assert history.chosen_epoch == values.idxmin() + 1 < 4
    y = extract(model, tiny.validation.images(256), preset.views("test"))
    with torch.no_grad():
        again = adnlib.flow.nll(*model.transform(y.flatten(0, 1))).median()
    assert again.item() == pytest.approx(values.min(), rel=1e-5)


def test_the_test_set_decides_nothing(tiny):
    """Training without test images at all gives the same weights."""
    blind = replace(tiny, test=tiny.test[:0])
    first, second = model_of(), model_of()
    fit(first, tiny, progress=False), fit(second, blind, progress=False)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_frozen_attention_stays_and_trained_attention_moves(tiny):
    for trained in (False, True):
        model = model_of("se", train_attention=trained)
        before = [p.clone() for p in model.features.attention.parameters()]
        alexnet = [p.clone() for p in model.features.alexnet.parameters()]
        fit(model, tiny, progress=False)
        moved = [not torch.equal(a, b) for a, b in zip(before, model.features.attention.parameters(), strict=True)]
        assert any(moved) == trained
        assert all(torch.equal(a, b) for a, b in zip(alexnet, model.features.alexnet.parameters(), strict=True))


def test_the_guard_takes_back_what_shrinking_would_gain():
    """NLL of shrunk features falls by log of the factor; NLL - spread stays. A feature that is always zero is fine."""
    y = torch.randn(5, 2, 768, generator=torch.Generator().manual_seed(0))
    assert spread(y).item() - spread(0.1 * y).item() == pytest.approx(np.log(10), abs=1e-5)
    y[..., 3] = 0
    assert spread(y).isfinite()
    model = model_of()
    before = adnlib.flow.nll(*model.transform(y.flatten(0, 1))).mean()
    model.feature_std *= 0.1  # the same flow for features ten times smaller
    after = adnlib.flow.nll(*model.transform(0.1 * y.flatten(0, 1))).mean()
    assert (before - after).item() == pytest.approx(np.log(10), abs=1e-3)


@pytest.mark.slow
def test_guarded_attention_shrinks_less(tiny):
    """Both learn; the gates of the guarded one stay larger, since dimming is not rewarded."""

    def size(how):
        model = model_of("se", replace(SMOKE, epochs=6, lr=0.01), how)
        fit(model, tiny, progress=False)
        return extract(model, tiny.train.images(256), SMOKE.views("train")).std(dim=(0, 1)).mean().item()

    assert size("guarded") > size(True)


def test_rescaling_gives_the_flow_unit_features(tiny):
    model = model_of()
    fit(model, tiny, epochs=1, progress=False)
    y = extract(model, tiny.train.images(256), SMOKE.views("train"))
    y = (y - model.feature_mean) / model.feature_std
    assert y.mean().item() == pytest.approx(0, abs=1e-4) and y.std().item() == pytest.approx(1, abs=1e-4)


def test_features_of_fixed_views_are_computed_once_and_fresh_ones_in_each_epoch(tiny, monkeypatch):
    calls, real = [], extraction.extract
    for module in (extraction, feature_sources):
        monkeypatch.setattr(module, "extract", lambda m, x, v, *at: calls.append(v) or real(m, x, v, *at))
    fit(model_of(preset=replace(SMOKE, rescale=False, epochs=3)), tiny, progress=False)
    assert len(calls) == 2  # training and validation features, once each
    calls.clear()
    fit(model_of(preset=replace(SMOKE, rescale=False, turns="random", view_pool=0, epochs=3)), tiny, progress=False)
    assert len(calls) == 4 and len(set(calls)) == 4


def test_each_image_is_shown_its_own_views_of_the_pool(tiny):
    preset = replace(SMOKE, turns="quarter", train_views=2, view_pool=8)
    model = model_of(preset=preset)
    loop = TrainingLoop(model, FrozenFeatures(model, tiny, False), len(tiny.train), seed=0, epochs=1)
    loop._begin_epoch()
    (rows, views), *_ = loop.batches
    assert views.shape == (len(rows), 2) and (views[:, 0] != views[:, 1]).all() and len(views.unique()) > 2
    y = loop.source.batch(rows, views)
    one = extract(model, tiny.train[int(rows[3])].read(256)[None], (preset.views("train")[views[3, 1]],))
    assert torch.allclose(y[3, 1], one[0, 0], atol=1e-5)


def test_own_views_are_the_same_for_frozen_and_trained_attention(tiny):
    preset = replace(SMOKE, own_views=True, turns="random", train_views=2, view_pool=3, brightness=0.2, shift=0.1)
    preset = replace(preset, precision="float32")  # in bfloat16, a sum depends on the size of the batch
    model, rows = model_of("se", preset=preset), torch.tensor([4, 0])
    frozen = FrozenFeatures(model, tiny, progress=False).batch(rows, torch.tensor([[2, 1], [2, 1]]))
    joint = JointFeatures(model, tiny, progress=False).batch(rows, torch.tensor([[2, 1], [2, 1]]))
    torch.testing.assert_close(frozen, joint, rtol=1e-4, atol=1e-5)
    views = preset.training_pool(len(tiny.train)).of(rows)
    images = torch.stack([tiny.train[int(row)].read(256) for row in rows])
    torch.testing.assert_close(frozen[:, 0], extract(model, views[2](images), quarter_turns(1))[:, 0])


def test_fresh_own_views_are_new_in_each_epoch_and_repeat(tiny):
    preset = replace(SMOKE, own_views=True, turns="random", view_pool=0, brightness=0.2)
    first, second = (fit(model_of(preset=preset), tiny, progress=False).epochs["train_nll"] for _ in range(2))
    assert list(first) == list(second)


@pytest.mark.parametrize("keep", [True, False])
def test_trained_attention_sees_the_features_of_the_whole_network(tiny, keep):
    model = model_of("se", train_attention=True)
    images = tiny.train.images(256)
    stems = StemStore(model, images, SMOKE.training_pool(len(images)), keep)
    assert (stems.stored is not None) == keep
    rows = torch.tensor([5, 2])
    y = stems.features(rows, 0)
    assert torch.allclose(y, extract(model, images[rows], SMOKE.views("train"))[:, 0], atol=1e-6)
    y.sum().backward()
    assert all(p.grad is not None for p in model.features.attention.parameters())


@pytest.fixture
def one_epoch_before(monkeypatch):
    """Gates that learn before the flow do so for one epoch."""
    monkeypatch.setattr(training, "learn_attention", partial(training.learn_attention, epochs=1))


def history_of(history):
    return history.epochs.drop(columns="seconds").to_numpy().tolist(), history.chosen_epoch


@pytest.mark.slow
@pytest.mark.parametrize(
    "attention, trained, preset",
    [
        (None, False, replace(SMOKE, epochs=4, batch_images=3, lr_decay=True)),
        ("cbam", True, replace(SMOKE, epochs=2, batch_images=5)),
        ("se", "guarded", replace(SMOKE, epochs=2, batch_images=5)),
        ("se", "cutpaste", replace(SMOKE, epochs=2, batch_images=5)),
        (None, False, replace(SMOKE, epochs=3, turns="random", view_pool=0, batch_images=4, rescale=False)),
    ],
)
def test_a_training_stopped_at_any_step_ends_as_one_that_was_not(
    tiny, tmp_path, monkeypatch, one_epoch_before, attention, trained, preset
):
    """Stopped after each of its steps in turn, also after a checkpoint that lies some steps back; the first time with
    the very model that was stopped, as in a notebook's cell that is run again, later with a new one."""
    stopped = model_of(attention, preset=preset, train_attention=trained)

    def run(checkpoint=None):
        model = model_of(attention, preset=preset, train_attention=trained)
        if checkpoint and stop_after < 3:
            model = stopped
        return model, fit(model, tiny, progress=False, checkpoint=checkpoint, checkpoint_s=0)

    model, history = run()
    steps, real = [0], TrainingLoop.step

    def stopping_step(self):
        if steps[0] == 0:
            raise KeyboardInterrupt
        steps[0] -= 1
        return real(self)

    monkeypatch.setattr(TrainingLoop, "step", stopping_step)
    for stop_after in (1, 2, 3, 10**6):  # 1 step, 2 more, 3 more, to the end
        steps[0] = stop_after
        try:
            resumed, resumed_history = run(tmp_path / "run")
            break
        except KeyboardInterrupt:
            continue
    assert history_of(history) == history_of(resumed_history)
    for (name, a), (_, b) in zip(model.state_dict().items(), resumed.state_dict().items(), strict=True):
        assert torch.equal(a, b), name
    assert np.array_equal(score(model, tiny.test), score(resumed, tiny.test))


KILLS = """
import multiprocessing, sys, time
from dataclasses import replace
from pathlib import Path
import numpy as np
from adnlib import PRESETS, DifferNet, fit, load_dataset
from adnlib.evaluation import score

def train(folder):
    data = load_dataset(sys.argv[1], "tiny")
    model = DifferNet(preset=replace(PRESETS["smoke"], epochs=60, batch_images=3))
    fit(model, data, progress=False, checkpoint=folder, checkpoint_s=0.01)
    np.save(folder.with_suffix(".npy"), score(model, data.test))

def exit_status(folder, kill_after=None):
    process = multiprocessing.get_context("fork").Process(target=train, args=(folder,))
    process.start()
    if kill_after is not None:
        state = folder / "state.pt"
        before = state.stat().st_mtime_ns if state.exists() else 0
        while process.is_alive() and not (state.exists() and state.stat().st_mtime_ns > before):
            time.sleep(0.005)
        time.sleep(kill_after)
        process.kill()
    process.join()
    return process.exitcode

whole, killed = Path(sys.argv[2], "whole"), Path(sys.argv[2], "killed")
assert exit_status(whole) == 0
assert [exit_status(killed, seconds) for seconds in (0.0, 0.05, 0.1)] == [-9] * 3
assert not killed.with_suffix(".npy").exists()
assert exit_status(killed) == 0
"""


@pytest.mark.process
@pytest.mark.skipif(os.name != "posix", reason="kill -9 and fork are POSIX's")
def test_a_killed_process_goes_on(tiny_folder, tmp_path):
    """kill -9 at three moments, then the same training again: its scores are those of an undisturbed one. All of them
    are forks of one process, so that torch is imported once."""
    subprocess.run([sys.executable, "-c", KILLS, f"folder:{tiny_folder}", tmp_path], check=True)
    assert np.array_equal(np.load(tmp_path / "whole.npy"), np.load(tmp_path / "killed.npy"))


def test_a_stopped_training_leaves_the_model_as_it_was(tiny, one_epoch_before):
    def watch(model, epoch):
        raise KeyboardInterrupt

    for how in (True, "cutpaste"):
        model = model_of("se", train_attention=how)
        before = {name: x.clone() for name, x in model.state_dict().items()}
        with pytest.raises(KeyboardInterrupt):
            fit(model, tiny, progress=False, watch=watch)
        assert all(torch.equal(x, before[name]) for name, x in model.state_dict().items())


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
@pytest.mark.parametrize("number, error", [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
def test_a_signal_writes_a_checkpoint_from_which_the_training_resumes(tiny, tmp_path, monkeypatch, number, error):
    """Within the first minute, in the first batch of the second epoch: nothing of it is trained twice."""
    preset, batches = replace(SMOKE, batch_images=4), -(-len(tiny.train) // 4)
    whole, stopped = model_of(preset=preset), model_of(preset=preset)
    fit(whole, tiny, progress=False)
    steps, real = [], TrainingLoop.step

    def step(self):
        steps.append((self.epoch, self.batch))
        if len(steps) == batches + 1:
            signal.raise_signal(number)
        return real(self)

    monkeypatch.setattr(TrainingLoop, "step", step)
    ignored = signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background would ignore Ctrl-C
    try:
        with pytest.raises(error), stopped_by_sigterm():
            fit(stopped, tiny, progress=False, checkpoint=tmp_path)
    finally:
        signal.signal(signal.SIGINT, ignored)
    fit(stopped, tiny, progress=False, checkpoint=tmp_path)
    assert len(steps) == len(set(steps)) == 2 * batches
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), stopped.parameters(), strict=True))


def test_gates_that_were_learned_before_a_stop_are_not_learned_again(tiny, tmp_path, monkeypatch, one_epoch_before):
    calls, real = [], training.learn_attention
    monkeypatch.setattr(training, "learn_attention", lambda *args, **kw: calls.append(1) or real(*args, **kw))
    for _ in range(2):
        fit(model_of("se", train_attention="cutpaste"), tiny, progress=False, checkpoint=tmp_path)
    assert len(calls) == 1


def test_what_a_watch_measures_is_kept(tiny, tmp_path):
    """Also NumPy's numbers, which a state on disk does not take."""
    rows = [
        fit(model_of(), tiny, progress=False, checkpoint=tmp_path, watch=lambda model, epoch: {"x": np.float64(0.5)})
        for _ in range(2)
    ]
    assert [history.epochs["x"].tolist() for history in rows] == [[0.5, 0.5]] * 2


def test_guarded_attention_takes_a_last_batch_of_one_image(tiny):
    assert len(tiny.train) % 3 == 1 and SMOKE.train_views == 1
    model = model_of("se", replace(SMOKE, batch_images=3), "guarded")
    assert np.isfinite(fit(model, tiny, progress=False).epochs["train_nll"]).all()


@pytest.mark.parametrize("epochs", [0, -1])
def test_no_epochs(tiny, epochs):
    with pytest.raises(AdnError, match=f"epochs={epochs} trains nothing: choose 1 or more"):
        fit(model_of(), tiny, progress=False, epochs=epochs)


def test_a_state_that_another_process_goes_on_with_stays(tmp_path):
    (tmp_path / "state.pt").write_bytes(b"")
    with filelock.FileLock(tmp_path / "lock"):
        drop_checkpoint(tmp_path)
        assert (tmp_path / "state.pt").exists()
    drop_checkpoint(tmp_path)
    assert not tmp_path.exists()


def test_a_second_process_in_the_same_folder_is_refused(tiny, tmp_path):
    lock = filelock.FileLock(tmp_path / "lock")
    with lock, pytest.raises(AdnError, match=f"Another process is training in {tmp_path}: wait for it to finish"):
        fit(model_of(), tiny, progress=False, checkpoint=tmp_path)
    fit(model_of(), tiny, progress=False, checkpoint=tmp_path)  # and the lock is free afterwards
    assert not lock.is_locked


def test_a_state_of_another_training_is_left_aside(tiny, tmp_path):
    fit(model_of(seed=1), tiny, seed=1, progress=False, checkpoint=tmp_path)
    model, other = model_of(), model_of()
    fit(model, tiny, progress=False, checkpoint=tmp_path)
    fit(other, tiny, progress=False)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


def test_a_damaged_state_is_named(tiny, tmp_path):
    fit(model_of(), tiny, progress=False, checkpoint=tmp_path)
    content = (tmp_path / "state.pt").read_bytes()
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    for damaged in (b"half", content[:-100], flipped):
        (tmp_path / "state.pt").write_bytes(damaged)
        with pytest.raises(AdnError, match="state.pt is damaged: delete the file to start again"):
            fit(model_of(), tiny, progress=False, checkpoint=tmp_path)


def test_a_full_disk_leaves_the_last_state(tiny, tmp_path):
    fit(model_of(), tiny, progress=False, checkpoint=tmp_path)
    before = (tmp_path / "state.pt").read_bytes()
    with pytest.raises(AdnError, match="The disk is full while writing to"), full_disk(20_000):
        fit(model_of(seed=1), tiny, progress=False, checkpoint=tmp_path, checkpoint_s=0)
    assert (tmp_path / "state.pt").read_bytes() == before
    assert {p.name for p in tmp_path.iterdir()} == {"state.pt", "lock"}


def test_a_large_state_is_written_less_often(monkeypatch):
    saved = Checkpoint(None, every_s=60.0)
    clock, written, saved.written_at = [0.0], [], 0.0
    monkeypatch.setattr(checkpoint.time, "perf_counter", lambda: clock[0])
    saved.write = lambda state: written.append(clock[0])
    for saved.write_seconds, clock[0] in ((1.0, 59.0), (1.0, 61.0), (20.0, 62.0), (20.0, 181.0)):
        saved.write_if_due(dict)
    assert written == [61.0, 181.0]


def test_only_a_gradient_longer_than_max_norm_is_shortened(tiny, monkeypatch):
    def trained(max_norm):
        lengths, real = [], torch.optim.Adam.step

        def step(self):
            gradients = [p.grad.flatten() for group in self.param_groups for p in group["params"]]
            lengths.append(torch.cat(gradients).norm().item())
            return real(self)

        monkeypatch.setattr(torch.optim.Adam, "step", step)
        model = model_of(preset=replace(SMOKE, max_norm=max_norm))
        fit(model, tiny, progress=False)
        monkeypatch.undo()
        return lengths, list(model.flow.parameters())

    lengths, free = trained(None)
    middle = sum(lengths) / len(lengths)
    assert max(trained(middle)[0]) == pytest.approx(middle, rel=1e-3) and middle < 0.9 * max(lengths)
    _, loose = trained(2 * max(lengths))
    assert all(torch.equal(a, b) for a, b in zip(free, loose, strict=True))  # one that is short enough stays as it is


def test_a_diverging_loss_stops_with_a_sentence_and_the_best_weights(tiny, monkeypatch):
    model = model_of(preset=replace(SMOKE, lr=10, epochs=5))
    before = {name: x.clone() for name, x in model.state_dict().items()}
    diverged = r"Training diverged in epoch \d \(loss .*\): lower lr in the preset; the model is unchanged"
    with pytest.raises(AdnError, match=diverged):
        fit(model, tiny, progress=False)
    assert all(torch.equal(x, before[name]) for name, x in model.state_dict().items())
    best = model_of(preset=replace(SMOKE, epochs=2))
    fit(best, tiny, progress=False)
    model = model_of(preset=replace(SMOKE, epochs=4))
    monkeypatch.setattr(TrainingLoop, "_lr", lambda self: 1e-3 if self.epoch < 2 else 1e30)
    monkeypatch.setattr(training, "DIVERGED", 1e3)
    with pytest.raises(AdnError, match="the model holds the weights of epoch 2, the best so far"):
        fit(model, replace(tiny, train=tiny.train[:9]), progress=False)


def test_a_loss_that_starts_high_and_falls_has_not_diverged(tiny, monkeypatch):
    def trained():
        model = model_of(preset=replace(SMOKE, epochs=4))
        return fit(model, tiny, progress=False).epochs, list(model.flow.parameters())

    losses, free = trained()
    first = losses["validation_nll"].iloc[0]
    assert losses["train_nll"].iloc[0] > first > losses["validation_nll"].min()
    monkeypatch.setattr(training, "DIVERGED", first)  # the start and the first epoch are above it, the end is not
    assert all(torch.equal(a, b) for a, b in zip(free, trained()[1], strict=True))
    monkeypatch.setattr(training, "DIVERGED", losses["validation_nll"].min())
    with pytest.raises(AdnError, match="No epoch reached a validation loss below .* lower lr"):
        trained()


def test_the_validation_loss_decides_what_has_diverged_not_one_batch(tiny, monkeypatch):
    model = model_of()
    kept = TrainingLoop(model, FrozenFeatures(model, tiny, progress=False), len(tiny.train), seed=0, epochs=1)
    monkeypatch.setattr(training, "DIVERGED", -50)
    kept.best = -100  # as if an epoch had been sound, and this batch and this epoch were not
    while not kept.step():
        pass
    with pytest.raises(AdnError, match="diverged in epoch 1"):
        kept.end_epoch()


def test_devices():
    assert pick_device("cpu").type == "cpu"
    with pytest.raises(AdnError, match="device='tpu' is not known"):
        pick_device("tpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, so asking for one is no error")
def test_no_gpu():
    with pytest.raises(AdnError, match="device='cuda' but torch sees no GPU"):
        pick_device("cuda")


@pytest.mark.slow
def test_elpv_mono_reaches_what_the_readme_promises():
    dataset = load_dataset("elpv", "mono")
    dataset = replace(dataset, test=dataset.test[::3])  # their features take most of the time
    model = DifferNet()
    fit(model, dataset, progress=False)
    assert evaluate(model, dataset).auroc >= 0.90


@pytest.mark.slow
@pytest.mark.skipif(
    not (REAL_DATA / "mvtec_bottle").is_dir(),
    reason="MVTec AD's bottle is not handed out here: set ADN_REAL_DATA to a folder that holds mvtec_bottle",
)
def test_mvtec_bottle():
    dataset = load_dataset(f"folder:{REAL_DATA}", "mvtec_bottle")
    assert dataset.counts["test anomalous"] == 63
    model = DifferNet()
    fit(model, dataset, progress=False)
    assert evaluate(model, dataset).auroc >= 0.98
