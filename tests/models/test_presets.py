"""Presets: limits of every setting, changed presets, and each rule's constants."""

from math import sqrt

import pytest

from braind.config import load_config
from braind.models.presets import (
    EMBEDDED_PRESETS,
    PRESETS,
    Preset,
    PresetError,
    compiled_steps,
    even_schedule,
    named_presets,
    preset_with,
    published_schedule,
    schedule,
    text_schedule,
)
from braind.models.weights.fingerprint import EMBEDDED_LDM_PATH

# Stable Diffusion's scaled linear schedule
BETAS = [(sqrt(0.00085) + (sqrt(0.012) - sqrt(0.00085)) * n / 999) ** 2 for n in range(1000)]
ALPHAS = []
for beta in BETAS:
    ALPHAS.append((ALPHAS[-1] if ALPHAS else 1.0) * (1 - beta))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_calls": 0}, "n_calls 0; at least one denoiser call"),
        ({"n_calls": -3}, "n_calls -3"),
        ({"start": 1000}, "start 1000; give a timestep from n_calls"),
        ({"start": 3, "n_calls": 4}, r"start 3; give a timestep from n_calls \(4\) to 999"),
        ({"start": 0, "n_calls": 1}, "start 0"),
        ({"guidance_scale": 0.0}, "guidance_scale 0.0; give a number above 0, or guidance = none"),
        ({"guidance_scale": -1.0, "guidance": "first"}, "guidance_scale -1.0"),
        ({"guidance_scale": float("nan")}, "guidance_scale nan"),
        ({"guidance_scale": float("inf")}, "guidance_scale inf"),
    ],
)
def test_a_preset_that_makes_no_schedule_is_refused_by_name(settings, words):
    with pytest.raises(PresetError, match=f"preset mine: {words}"):
        Preset(**{"name": "mine", "start": 700, "n_calls": 4, **settings})


@pytest.mark.parametrize(("start", "n_calls"), [(1, 1), (999, 999), (999, 1), (4, 4)])
def test_the_limits_themselves_are_presets(start, n_calls):
    timesteps = schedule(Preset("edge", start, n_calls)).timesteps
    assert len(timesteps) == n_calls
    assert timesteps[0] == start
    assert all(later < earlier for earlier, later in zip(timesteps, timesteps[1:], strict=False))
    assert timesteps[-1] > 0


def test_a_preset_without_guidance_needs_no_scale():
    assert Preset("plain", 700, 4, guidance="none", guidance_scale=0).guidance_scale == 0


def test_an_unknown_preset_is_refused_with_all_that_exist():
    own = Preset("mine", 500, 2)
    with pytest.raises(PresetError, match=r"no preset named 'life-4'; there are takagi, .*live-1, mine"):
        preset_with("life-4", presets={**PRESETS, "mine": own})


@pytest.mark.parametrize("strength", [-0.1, 1.01, float("nan")])
def test_a_strength_outside_0_to_1_is_refused(strength):
    with pytest.raises(PresetError, match="share of the noise schedule"):
        preset_with("live-4", strength=strength)


def test_a_strength_that_leaves_no_room_for_the_calls_is_refused():
    with pytest.raises(PresetError, match="start 2; give a timestep from n_calls"):
        preset_with("live-4", strength=0.002)


def test_a_strength_that_rounds_to_no_noise_is_refused_and_not_taken_for_the_presets_own():
    with pytest.raises(PresetError, match="start 0"):
        preset_with("live-4", strength=0.0004)


def test_the_embedded_models_presets_are_its_own_and_other_models_presets_are_not():
    embedded, named = load_config(), load_config(overrides={"paths": {"ldm": str(EMBEDDED_LDM_PATH)}})
    assert named_presets(embedded) == named_presets(named) == {**PRESETS, **EMBEDDED_PRESETS}
    assert named_presets(load_config(overrides={"paths": {"ldm": "/models/stable-diffusion"}})) == PRESETS
    assert named_presets(embedded)["takagi"] == PRESETS["takagi"]


def test_a_users_preset_goes_before_ours(tmp_path):
    settings = tmp_path / "config.toml"
    settings.write_text("[presets.live-4]\nstart = 600\nn_calls = 3\n")
    assert named_presets(load_config(settings))["live-4"] == Preset("live-4", 600, 3)


def test_a_changed_preset_keeps_what_was_not_changed():
    changed = preset_with("live-2", n_calls=6)
    assert (changed.start, changed.n_calls, changed.guidance_scale) == (799, 6, 5.0)
    assert changed.name == "live-2 (changed)"
    # few-step denoisers are trained for one schedule
    assert (PRESETS["live-2"].few_step, changed.few_step) == (True, False)


@pytest.mark.parametrize(
    ("change", "keeps_grid"), [({"guidance_scale": 7.0}, True), ({"n_calls": 10}, False), ({"strength": 0.5}, False)]
)
def test_the_published_grid_is_left_only_where_the_schedule_changes(change, keeps_grid):
    assert preset_with("takagi", **change).published_grid == keeps_grid


def test_takagis_timesteps_are_the_published_ones():
    published = schedule(PRESETS["takagi"])
    assert (published.noise, published.timesteps[:2], published.timesteps[-1]) == (801, (781, 761), 1)
    assert len(published.timesteps) == 40
    whole = text_schedule(PRESETS["takagi"])
    assert (whole.noise, whole.timesteps[0], len(whole.timesteps)) == (999, 981, 50)
    assert published_schedule(50, 50) == whole


@pytest.mark.parametrize("name", [name for name, preset in PRESETS.items() if not preset.published_grid])
def test_pictures_from_noise_alone_have_the_same_density_of_calls(name):
    preset = PRESETS[name]
    whole = text_schedule(preset)
    assert whole.noise == 999
    assert len(whole.timesteps) == max(preset.n_calls, round(preset.n_calls * 1000 / preset.start))


def steps_of(rule, n_calls=4):
    timesteps = even_schedule(799, n_calls).timesteps
    return timesteps, compiled_steps(rule, timesteps, ALPHAS, ALPHAS[0])


def test_ddims_step_is_song_et_al_s_equation_12():
    timesteps, steps = steps_of("ddim")
    for n, step in enumerate(steps):
        ahead = ALPHAS[timesteps[n + 1]] if n + 1 < len(steps) else ALPHAS[0]
        latents, noise = 0.7, -0.3
        clean = (latents - sqrt(1 - ALPHAS[timesteps[n]]) * noise) / sqrt(ALPHAS[timesteps[n]])
        wanted = sqrt(ahead) * clean + sqrt(1 - ahead) * noise
        assert step.latents_weight * latents + step.noise_weight * noise == pytest.approx(wanted, abs=1e-12)
        assert (step.previous_weight, step.fresh_weight) == (0, 0)


@pytest.mark.parametrize("rule", ["ddim", "dpm++", "lcm", "tcd"])
def test_latents_whose_noise_is_predicted_right_come_back_clean(rule):
    timesteps, steps = steps_of(rule, 8)
    clean, noise = 0.8, 1.3
    latents, before = sqrt(ALPHAS[timesteps[0]]) * clean + sqrt(1 - ALPHAS[timesteps[0]]) * noise, clean
    for step in steps:
        # a denoiser that knows the clean latents
        predicted = (latents - step.alpha * clean) / step.sigma
        latents = step.latents_weight * latents + step.noise_weight * predicted + step.previous_weight * before
    assert latents == pytest.approx(clean, abs=0.05)


@pytest.mark.parametrize("rule", ["ddim", "dpm++"])
def test_a_right_prediction_leads_to_the_noised_latents_of_every_next_timestep(rule):
    timesteps, steps = steps_of(rule, 8)
    clean, noise = 0.8, 1.3
    for n, step in enumerate(steps[:-1]):
        latents, ahead = step.alpha * clean + step.sigma * noise, ALPHAS[timesteps[n + 1]]
        found = step.latents_weight * latents + step.noise_weight * noise + step.previous_weight * clean
        assert found == pytest.approx(sqrt(ahead) * clean + sqrt(1 - ahead) * noise, abs=1e-9)


@pytest.mark.parametrize(("rule", "is_random"), [("ddim", False), ("dpm++", False), ("lcm", True), ("tcd", True)])
def test_only_stochastic_rules_take_fresh_noise_and_never_at_the_last_call(rule, is_random):
    _, steps = steps_of(rule)
    assert all((step.fresh_weight > 0) == is_random for step in steps[:-1])
    assert steps[-1].fresh_weight == 0


def test_only_dpms_middle_calls_read_the_call_before():
    _, steps = steps_of("dpm++")
    assert [step.previous_weight != 0 for step in steps] == [False, True, True, False]
    for rule in ("ddim", "lcm", "tcd"):
        assert not any(step.previous_weight for step in steps_of(rule)[1])


@pytest.mark.parametrize("rule", ["ddim", "dpm++", "lcm", "tcd"])
def test_a_single_call_is_a_schedule_of_every_rule(rule):
    (step,) = compiled_steps(rule, (999,), ALPHAS, ALPHAS[0])
    assert step.timestep == 999
    assert (step.previous_weight, step.fresh_weight) == (0, 0)
    assert step.alpha**2 + step.sigma**2 == pytest.approx(1)
