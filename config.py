"""Settings: the allowed values and the source of each value. Defaults are only in the packaged config.toml.

Sources, from the strongest: a flag, an environment variable (`BRAIND_SERVE__INGEST_PORT`), a file (`--config`, else the
user's own), the default.
"""

import os
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_type_hints

import msgspec
import platformdirs

from .choices import (
    CDecoder,
    Durability,
    EngineName,
    GpuDtype,
    Guidance,
    Kind,
    LatentDecoder,
    LatentPath,
    Mode,
    Pictures,
    Policy,
    Rule,
    ThemeName,
    ZScore,
)
from .errors import BraindError

PACKAGED_PATH = Path(__file__).parent / "config.toml"
ENVIRONMENT_PREFIX = "BRAIND_"

Port = Annotated[int, msgspec.Meta(ge=0, le=65535, description="a port from 0 to 65535 (0: any free one)")]
Share = Annotated[float, msgspec.Meta(ge=0, le=1, description="a number from 0 to 1")]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1, description="a whole number from 0 on")]
Labels = Annotated[list[str], msgspec.Meta(min_length=1, description="a list of ROI labels, at least one")]
Text = Annotated[str, msgspec.Meta(description="text")]
MonitorKeys = dict[str, str | dict[str, str]]
"""Keys by ids. An id without quotes has a dot, by which TOML makes a table of it."""
Name = Annotated[str, msgspec.Meta(min_length=1, description="text that is not empty")]


class ConfigError(BraindError):
    """A setting does not exist or cannot have its value, or a settings file cannot be read."""

    code = "config"


class PathsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    data: Text
    nsd: Text
    bids: Text
    raw: Text
    ldm: Text
    lora: Text
    tiny_decoder: Text
    engines: Text
    key: Text


class DatasetConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    betas: Text
    sessions: Text
    task: Text
    space: Text
    acq: Text
    res: Text
    echo: Text
    labels: Text
    test_runs: Text


class ServeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    host: Name
    ingest_port: Port
    decodes_port: Port
    control_port: Port
    policy: Annotated[Policy, msgspec.Meta(description="latest or all")]
    store_volumes: Annotated[bool, msgspec.Meta(description="true or false")]
    durability: Annotated[Durability, msgspec.Meta(description="full or normal")]
    keys: Annotated[Literal["off", "required"], msgspec.Meta(description="off or required")]
    metrics: Annotated[bool, msgspec.Meta(description="true or false")]
    metrics_port: Port


class DecodeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    preset: Name
    refine: Text
    engine: Annotated[EngineName, msgspec.Meta(description="auto, torch or onnx")]
    provider: Annotated[
        Literal["", "cpu", "cuda", "tensorrt"], msgspec.Meta(description="cpu, cuda, tensorrt or empty")
    ]
    may_fall_back: Annotated[bool, msgspec.Meta(description="true or false")]
    gpu_dtype: Annotated[GpuDtype, msgspec.Meta(description="bfloat16, float16 or float32")]
    keep_warm_ms: Annotated[int, msgspec.Meta(ge=0, le=1000, description="a whole number from 0 to 1000")]
    mode: Annotated[Mode, msgspec.Meta(description="z, c or zc")]
    c_decoder: Annotated[CDecoder, msgspec.Meta(description="linear or expected")]
    strength: Share
    guidance_scale: Annotated[float, msgspec.Meta(ge=0, le=100, description="a number from 0 to 100")]
    num_inference_steps: Annotated[int, msgspec.Meta(ge=0, le=1000, description="a whole number from 0 to 1000")]
    seed: Count
    threads: Count


class PresetConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A preset of the user's own; models/presets.py describes the fields."""

    start: int
    n_calls: int
    rule: Rule = "ddim"
    guidance: Guidance = "full"
    guidance_scale: float = 5.0
    latent_path: LatentPath = "direct"
    decoder: LatentDecoder = "full"
    few_step: bool = False


class FitConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    z_rois: Labels
    c_rois: Labels
    profile: Annotated[Literal["live", "takagi"], msgspec.Meta(description="live or takagi")]
    z_score: Annotated[ZScore, msgspec.Meta(description="none, full or causal")]
    folds: Annotated[int, msgspec.Meta(ge=2, le=1000, description="a whole number from 2 to 1000")]
    max_discarded_variance: Share


class MonitorConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pictures: Annotated[Pictures, msgspec.Meta(description="auto, kitty, sixel, half or off")]
    theme: Annotated[ThemeName, msgspec.Meta(description="control-room or dark-room")]
    keys: Annotated[MonitorKeys, msgspec.Meta(description='a table of keys by ids, such as "monitor.pause" = "P"')]


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Every setting by section. config.toml describes the settings."""

    paths: PathsConfig
    dataset: DatasetConfig
    serve: ServeConfig
    decode: DecodeConfig
    fit: FitConfig
    monitor: MonitorConfig
    presets: dict[str, PresetConfig] = {}


SECTIONS: dict[str, dict[str, Any]] = {
    section: get_type_hints(settings, include_extras=True)
    for section, settings in get_type_hints(Config).items()
    if section != "presets"
}


class Setting(NamedTuple):
    """A setting's value and the value's source: `default`, a file's path, a variable's name, or `flag`."""

    section: str
    key: str
    value: Any
    source: str


def load_config(path: Path | None = None, overrides: Mapping[str, Mapping[str, Any]] | None = None) -> Config:
    """Return the settings in force: each from its strongest source.

    Parameters
    ----------
    path : a TOML file; with None the user's own file, if there is one
    overrides : flags as {section: {key: value}}; the value None means that the flag was not given

    Raises
    ------
    ConfigError
        The sentence has the first problem: its file or variable, its section and key, and the remedy.
    """
    settings, problems = _resolve(path, overrides)
    if problems:
        others = f" ({len(problems) - 1} more: `braind config validate` lists them)" if len(problems) > 1 else ""
        raise ConfigError(problems[0] + others)
    values: dict[str, dict[str, Any]] = {section: {} for section in (*SECTIONS, "presets")}
    for setting in settings:
        values[setting.section][setting.key] = setting.value
    return msgspec.convert(values, Config)


def config_sources(path: Path | None = None, overrides: Mapping[str, Mapping[str, Any]] | None = None) -> list[Setting]:
    """Return every setting with the source of its value, in the order of config.toml. Raises as `load_config` does."""
    load_config(path, overrides)
    return _resolve(path, overrides)[0]


def config_problems(path: Path | None = None) -> list[str]:
    """Return a sentence for every problem in the file and the environment."""
    try:
        return _resolve(path, None)[1]
    except ConfigError as error:
        return [str(error)]


def user_config_path() -> Path:
    """Return the path of the user's own settings file, which need not exist. Raises ConfigError as `expanded` does."""
    with _home("give settings with --config"):
        return platformdirs.user_config_path("braind", appauthor=False) / "config.toml"


def expanded(path: str | Path) -> Path:
    """Return a path of the settings with ~ replaced by the home folder.

    Raises
    ------
    ConfigError
        The system knows no home folder: HOME is not set, and the user has no entry in the password file.
    """
    with _home(f"write {path} without ~"):
        return Path(path).expanduser()


@contextmanager
def _home(remedy: str) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # of pathlib and of platformdirs
        raise ConfigError(f"this user has no home folder: set HOME, or {remedy}") from error


# ── folders and files that follow from the settings ─────────────────────────────────────────────────────────────────


def data_path(config: Config) -> Path:
    """Return the folder of simulated data, weights and journals."""
    if config.paths.data:
        return expanded(config.paths.data)
    with _home("give a folder for braind's files with --data"):
        return platformdirs.user_data_path("braind", appauthor=False)


def nsd_path(config: Config) -> Path:
    """Return the Natural Scenes Dataset folder; the default is the simulated one."""
    return expanded(config.paths.nsd) if config.paths.nsd else data_path(config) / "nsd-simulated"


def weights_path(config: Config, subject: int, kind: Kind = "beta") -> Path:
    """Return the file of a subject's compiled weights for volumes of a kind."""
    name = _weights_name(config, subject) + (".bold" if kind == "bold" else "")
    return data_path(config) / "weights" / f"{name}.safetensors"


def lagged_path(config: Config, subject: int) -> Path:
    """Return the file of a subject's lagged ridge, the baseline of the weights for BOLD."""
    return data_path(config) / "weights" / f"{_weights_name(config, subject)}.lagged.safetensors"


def candidates_path(config: Config, subject: int) -> Path:
    """Return the file of the candidate pictures for a subject's retrieval."""
    return data_path(config) / "weights" / f"{_weights_name(config, subject)}.candidates.safetensors"


def candidates_beside(path: Path) -> Path:
    """Return the file of the candidate pictures beside a file of weights."""
    return path.with_name(f"{path.name.removesuffix('.safetensors').removesuffix('.bold')}.candidates.safetensors")


def betas_path(config: Config) -> Path:
    """Return the folder of responses trial by trial, a cache that may be deleted."""
    return data_path(config) / "betas"


def engines_path(config: Config) -> Path:
    """Return the folder of exported networks and measured engine times, a cache that may be deleted.

    Without a home folder, the cache lies in the data folder.
    """
    if config.paths.engines:
        return expanded(config.paths.engines)
    try:
        with _home("give paths.engines"):
            return platformdirs.user_cache_path("braind", appauthor=False) / "engines"
    except ConfigError:
        return data_path(config) / "engines"


def journals_path(config: Config) -> Path:
    """Return the folder of the sessions' journals."""
    return data_path(config) / "journals"


def _weights_name(config: Config, subject: int) -> str:
    if not config.paths.bids:
        return f"subj{subject:02d}"
    # Weights of a BIDS data set's subject 1 must not overwrite the weights of NSD's subject 1.
    parts = [Path(config.paths.bids).resolve().name, f"sub-{subject:02d}", f"task-{config.dataset.task}"]
    chosen = {entity: getattr(config.dataset, entity) for entity in ("space", "acq", "res", "echo")}
    return "_".join(parts + [f"{entity}-{label}" for entity, label in chosen.items() if label])


# ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Given(NamedTuple):
    """A value from one source; `is_text` marks an environment variable's value, which must be converted."""

    section: str
    key: str
    value: Any
    source: str
    is_text: bool = False


def _resolve(path: Path | None, overrides: Mapping[str, Mapping[str, Any]] | None) -> tuple[list[Setting], list[str]]:
    settings: dict[tuple[str, str], Setting] = {}
    problems: list[str] = []
    for given in _all_given(path, overrides):
        problem = _unknown(given)
        if problem is None:
            try:
                value = _convert(given)
                settings[given.section, given.key] = Setting(given.section, given.key, value, given.source)
            except msgspec.ValidationError as error:
                problem = _wrong_value(given, error)
        if problem is not None:
            problems.append(problem)
    return list(settings.values()), problems


def _all_given(path: Path | None, overrides: Mapping[str, Mapping[str, Any]] | None) -> Iterator[_Given]:
    yield from _given(_read_toml(PACKAGED_PATH), "default")
    file_path = path if path is not None else _own_settings()
    if file_path is not None:
        yield from _given(_read_toml(file_path), str(file_path))
    for name, text in os.environ.items():
        if name.startswith(ENVIRONMENT_PREFIX) and "__" in name:
            section, key = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__", 1)
            yield _Given(section, key, text, name, is_text=True)
    for section, values in (overrides or {}).items():
        yield from _given({section: {key: value for key, value in values.items() if value is not None}}, "flag")


def _own_settings() -> Path | None:
    """Return the user's own settings file; None without the file, or without a home folder to hold it."""
    try:
        path = user_config_path()
    except ConfigError:
        return None
    return path if os.path.lexists(path) else None


def _given(tables: Mapping[str, Any], source: str) -> Iterator[_Given]:
    for section, values in tables.items():
        if isinstance(values, Mapping):
            for key, value in values.items():
                yield _Given(section, key, value, source)
        else:
            yield _Given("", section, values, source)


def _read_toml(path: Path) -> dict[str, Any]:
    text = ""
    try:
        # Editors of Windows put a byte order mark first, which is not TOML.
        text = path.read_text(encoding="utf-8-sig")
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # In double quotes `\` begins an escape, so that C:\Users is none.
        quotes = "; write a path with \\ in single quotes" if "\\" in text else ""
        raise ConfigError(f"{path}: not TOML: {error}; correct that line{quotes}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text at byte {error.start}; save it as UTF-8") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); give another file with --config") from error


def _unknown(given: _Given) -> str | None:
    if given.section == "presets":
        return None
    if given.section not in SECTIONS:
        if not given.section:
            owners = [section for section, keys in SECTIONS.items() if given.key in keys]
            advice = f"put it under [{owners[0]}]" if owners else _nearest(given.key, SECTIONS, "sections are")
            return f"{given.source}: '{given.key}' stands outside any section; {advice}"
        return (
            f"{given.source}: no section named '{given.section}'; {_nearest(given.section, SECTIONS, 'sections are')}"
        )
    if given.key not in SECTIONS[given.section]:
        advice = _nearest(given.key, SECTIONS[given.section], "settings there are")
        return f"{given.source} [{given.section}]: no setting named '{given.key}'; {advice}"
    return None


def _nearest(name: str, known: Mapping[str, Any], otherwise: str) -> str:
    from difflib import get_close_matches

    matches = get_close_matches(name, known, n=1)
    return f"did you mean '{matches[0]}'?" if matches else f"{otherwise} {', '.join(known)}"


def _convert(given: _Given) -> Any:
    if given.section == "presets":
        return msgspec.convert(given.value, PresetConfig)
    hint = SECTIONS[given.section][given.key]
    value = given.value
    if given.is_text and hint is Labels:
        value = [label.strip() for label in value.split(",") if label.strip()]
    return msgspec.convert(value, hint, strict=not given.is_text)


def _wrong_value(given: _Given, error: msgspec.ValidationError) -> str:
    if given.section == "presets":
        return f"{given.source} [presets.{given.key}]: {error}"
    wanted = SECTIONS[given.section][given.key].__metadata__[-1].description
    return f"{given.source} [{given.section}]: {given.key} must be {wanted}, got {given.value!r}"
