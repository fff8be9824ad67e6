"""Settings: order of sources, and sentences for what is wrong."""

import tomllib
from pathlib import Path

import pytest

from braind import config as config_module
from braind.config import (
    Config,
    ConfigError,
    config_problems,
    config_sources,
    data_path,
    engines_path,
    load_config,
    nsd_path,
    weights_path,
)


@pytest.fixture(autouse=True)
def nobodys_settings(tmp_path, monkeypatch):
    monkeypatch.setattr(config_module, "user_config_path", lambda: tmp_path / "user" / "config.toml")


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "settings.toml"
        path.write_text(text)
        return path

    return write


def test_the_packaged_file_holds_every_default_and_nothing_else():
    packaged = tomllib.loads((Path(config_module.__file__).parent / "config.toml").read_text())
    assert {(setting.section, setting.key) for setting in config_sources()} == {
        (section, key) for section, keys in packaged.items() for key in keys
    }
    assert {section: set(keys) for section, keys in packaged.items()} == {
        section: set(hints) for section, hints in config_module.SECTIONS.items()
    }
    assert load_config().serve.ingest_port == packaged["serve"]["ingest_port"]


def test_a_flag_goes_before_a_variable_before_the_file_before_the_default(file, monkeypatch):
    path = file("[serve]\ningest_port = 1\ndecodes_port = 1\ncontrol_port = 1\n")
    monkeypatch.setenv("BRAIND_SERVE__INGEST_PORT", "2")
    monkeypatch.setenv("BRAIND_SERVE__DECODES_PORT", "2")
    flags = {"serve": {"ingest_port": 3, "decodes_port": None}}
    config = load_config(path, flags)
    assert (config.serve.ingest_port, config.serve.decodes_port, config.serve.control_port) == (3, 2, 1)
    sources = {setting.key: setting.source for setting in config_sources(path, flags)}
    assert sources["ingest_port"] == "flag"
    assert sources["decodes_port"] == "BRAIND_SERVE__DECODES_PORT"
    assert sources["control_port"] == str(path)
    assert sources["host"] == "default"


def test_the_users_own_file_is_read(tmp_path):
    path = tmp_path / "user" / "config.toml"
    path.parent.mkdir()
    path.write_text("[decode]\nseed = 7\n")
    assert load_config().decode.seed == 7


@pytest.mark.parametrize(
    ("name", "text", "section", "key", "value"),
    [
        ("BRAIND_SERVE__STORE_VOLUMES", "true", "serve", "store_volumes", True),
        ("BRAIND_DECODE__STRENGTH", "0.6", "decode", "strength", 0.6),
        ("BRAIND_FIT__Z_ROIS", "V1v, V1d", "fit", "z_rois", ["V1v", "V1d"]),
        ("BRAIND_PATHS__DATA", "5", "paths", "data", "5"),
    ],
)
def test_a_variables_text_becomes_the_settings_type(monkeypatch, name, text, section, key, value):
    monkeypatch.setenv(name, text)
    assert getattr(getattr(load_config(), section), key) == value


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "[serve]\ningst_port = 1",
            r"settings\.toml \[serve\]: no setting named 'ingst_port'; did you mean 'ingest_port'",
        ),
        ("[serv]\nhost = 'a'", "no section named 'serv'; did you mean 'serve'"),
        ("[x]\nhost = 'a'", "sections are paths, dataset, serve, decode, fit, monitor"),
        ("policy = 'all'", r"'policy' stands outside any section; put it under \[serve\]"),
        ("[serve]\ningest_port = 70000", "ingest_port must be a port from 0 to 65535 .*, got 70000"),
        ("[serve]\ningest_port = '5560'", "ingest_port must be a port from 0 to 65535 .*, got '5560'"),
        ("[serve]\ningest_port = true", "ingest_port must be a port"),
        ("[serve]\npolicy = 'newest'", "policy must be latest or all, got 'newest'"),
        ("[decode]\nstrength = 1.5", "strength must be a number from 0 to 1, got 1.5"),
        ("[decode]\nstrength = nan", "strength must be a number from 0 to 1, got nan"),
        ("[decode]\nmode = 'cz'", "mode must be z, c or zc"),
        ("[fit]\nz_rois = []", "z_rois must be a list of ROI labels, at least one"),
        ("[fit]\nz_rois = 'early'", "z_rois must be a list of ROI labels"),
        ("[serve]\nhost =\n", "not TOML: .*line 2"),
        ('[paths]\ndata = "C:\\Users\\me"\n', "not TOML: .*line 2.*; write a path with .* in single quotes"),
    ],
)
def test_what_is_wrong_is_said_with_where_and_what_to_do(file, text, sentence):
    with pytest.raises(ConfigError, match=sentence) as error:
        load_config(file(text))
    assert error.value.code == "config"


def test_a_wrong_variable_is_named(monkeypatch):
    monkeypatch.setenv("BRAIND_SERVE__INGEST_PORT", "many")
    with pytest.raises(ConfigError, match=r"BRAIND_SERVE__INGEST_PORT \[serve\]: ingest_port must be a port"):
        load_config()


def test_validate_lists_every_problem(file, monkeypatch):
    monkeypatch.setenv("BRAIND_DECODE__SEED", "-1")
    path = file("[serve]\nhosts = 'a'\npolicy = 'x'\n[decode]\nmode = 'y'\n")
    assert len(config_problems(path)) == 4
    with pytest.raises(ConfigError, match="3 more: `braind config validate`"):
        load_config(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.toml: cannot be read \(No such file"):
        load_config(tmp_path / "nowhere.toml")


def test_a_file_that_is_not_utf8_is_named(tmp_path):
    (tmp_path / "latin.toml").write_bytes(b"[serve]\nhost = '\xe9'\n")
    with pytest.raises(ConfigError, match="not UTF-8 text at byte 16"):
        load_config(tmp_path / "latin.toml")


def test_a_file_with_the_byte_order_mark_of_windows_is_read(tmp_path):
    path = tmp_path / "settings.toml"
    path.write_bytes(b'\xef\xbb\xbf[serve]\r\nhost = "::1"\r\n')
    assert load_config(path).serve.host == "::1"


def test_a_user_without_a_home_folder_gives_the_folders_or_gets_a_sentence(tmp_path, monkeypatch):
    import pwd

    def nobody(_):
        raise KeyError("uid not found")

    monkeypatch.undo()  # of nobodys_settings: the real place of the settings file is asked for
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "BRAIND_PATHS__ENGINES"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="no home folder: set HOME, or give a folder for braind's files with --data"):
        data_path(load_config())
    config = load_config(None, {"paths": {"data": str(tmp_path), "nsd": "~/nsd"}})
    assert engines_path(config) == tmp_path / "engines"
    with pytest.raises(ConfigError, match="no home folder: set HOME, or write ~/nsd without ~"):
        nsd_path(config)


def test_settings_cannot_be_changed_after_they_are_read():
    config = load_config()
    assert isinstance(config, Config)
    with pytest.raises(AttributeError):
        config.serve.host = "elsewhere"


def test_folders_follow_from_the_data_folder(tmp_path):
    config = load_config(overrides={"paths": {"data": str(tmp_path)}})
    assert data_path(config) == tmp_path
    assert nsd_path(config) == tmp_path / "nsd-simulated"
    assert weights_path(config, 2) == tmp_path / "weights" / "subj02.safetensors"
    assert weights_path(config, 2, "bold") == tmp_path / "weights" / "subj02.bold.safetensors"
    assert nsd_path(load_config(overrides={"paths": {"nsd": "~/nsd"}})) == Path.home() / "nsd"
