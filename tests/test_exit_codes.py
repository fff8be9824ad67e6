"""Exit statuses of every command's errors, and the one sentence that says what to do: through the real front door."""

import errno
import json
import shutil
import socket

import pytest
from click.testing import CliRunner

from braind.cli import main
from braind.errors import BraindError, ExitCode


@pytest.fixture
def braind(tmp_path, monkeypatch):
    """Run a command line in this process, with settings of its own."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("BRAIND_SERVE__CONTROL_PORT", "1")

    def run(*arguments):
        return CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="braind")

    return run


def refused(answer, code, *words):
    """Check a status and its one sentence; nothing is printed for a pipe."""
    assert answer.exit_code == code, answer.output
    assert answer.stdout == ""
    for part in words:
        assert part in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fit", "--lagged"], "--lagged: reads an NSD folder's BOLD runs; give it with --kind bold"),
        (["evaluate", "--plot", "bold.png"], "--plot: shows scores after onset, of BOLD"),
        (["evaluate", "--kind", "bold", "--plot", "bold.pdf"], "bold.pdf: neither .png nor .svg"),
        (["evaluate", "--networks", "/no/such/folder"], "/no/such/folder: no such folder; give one, or hub"),
        (["evaluate", "--protocol", "mine"], "'mine' is not one of 'mindeye', 'brain-diffuser', 'takagi'"),
        (["evaluate", "--max-trials", "0"], "0 is not in the range x>=1"),
        (["encode", "--surface-left", "lh.gii"], "give both --surface-left and --surface-right, or neither"),
        (["encode", "--calls", "2"], "2 is not in the range x>=3"),
        (["decode", "--mode", "zz"], "'zz' is not one of 'z', 'c', 'zc'"),
        (["simulate", "--subjects", "3"], "3 is not in the range"),
        (["simulate", "--bold-sessions", "17"], "17 is not in the range"),
        (["replay", "--speed", "0"], "0.0 is not in the range x>0"),
        (["send"], "give either a NIfTI file or --watch FOLDER"),
        (["send", "missing.nii.gz"], "'missing.nii.gz' does not exist"),
        (["nsd", "check", "folder", "--subject", "9"], "9 is not in the range 1<=x<=8"),
        (["use", "missing.safetensors"], "'missing.safetensors' does not exist"),
        (["fit", "--session", "missing.sqlite3"], "'missing.sqlite3' does not exist"),
        (["serve", "--policy", "newest"], "'newest' is not one of 'latest', 'all'"),
        (["nothing"], "No such command 'nothing'"),
    ],
)
def test_wrong_options_are_2_with_what_is_right(braind, arguments, words):
    refused(braind(*arguments), ExitCode.USAGE, words)


def test_no_control_code_of_a_name_reaches_the_terminal(braind):
    answer = braind("sessions", "show", "a\x1b[31m\x07\r")
    refused(answer, 2, "no such session")
    assert answer.stderr.removesuffix("\n").isprintable()


def test_a_file_whose_name_can_be_no_runs_name_needs_a_name_for_its_run(braind, tmp_path):
    path = tmp_path / "my run.nii.gz"
    path.touch()
    refused(braind("send", path), 2, "run 'my run': a name has 1 to 200 letters", "give it another with --run")


@pytest.mark.parametrize("command", ["fit", "decode", "evaluate", "encode", "replay", "report", "serve", "engines"])
def test_a_settings_file_with_a_wrong_name_is_2(braind, tmp_path, command):
    path = tmp_path / "mine.toml"
    path.write_text("[decode]\nsede = 7\n")
    refused(braind(command, "--config", path), ExitCode.USAGE, "mine.toml", "did you mean 'seed'?")


@pytest.mark.parametrize("command", ["status", "monitor"])
def test_a_settings_file_that_is_missing_is_2(braind, tmp_path, command):
    refused(braind(command, "--config", tmp_path / "no.toml"), ExitCode.USAGE, "no.toml")


def test_a_preset_that_does_not_exist_is_2_before_anything_is_read(braind, small_data):
    refused(braind("engines", "--data", small_data, "--preset", "life-4"), ExitCode.USAGE, "no preset named 'life-4'")


def test_a_preset_of_ones_own_that_makes_no_schedule_is_2(braind, small_data, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('[presets.mine]\nstart = 2\nn_calls = 4\n\n[decode]\npreset = "mine"\n')
    answer = braind("engines", "--data", small_data, "--config", path)
    refused(answer, ExitCode.USAGE, "preset mine: start 2; give a timestep from n_calls (4) to 999")


def test_a_model_folder_without_a_model_is_2(braind, small_data, tmp_path):
    (tmp_path / "model").mkdir()
    answer = braind("engines", "--data", small_data, "--ldm", tmp_path / "model")
    refused(answer, ExitCode.USAGE, "model_index.json is missing: give a diffusers folder")


@pytest.mark.parametrize("name", ["NUL", "com1.nii", "monday.", "monday ", "../x"])
@pytest.mark.parametrize("command", [("send", __file__), ("bridge", "murfi")], ids=lambda command: command[0])
def test_a_session_whose_name_can_be_no_file_on_windows_is_refused_before_anything_is_sent(braind, command, name):
    refused(braind(*command, "--session", name), ExitCode.USAGE, f"session {name!r}: ")


def test_an_engine_that_is_asked_for_by_a_wrong_name_is_2(braind):
    refused(braind("decode", "--engine", "tensorflow"), ExitCode.USAGE, "'auto', 'torch', 'onnx'")


@pytest.mark.parametrize("command", ["fit", "encode", "decode", "evaluate"])
def test_a_folder_that_is_no_dataset_is_named(braind, tmp_path, command):
    (tmp_path / "nsd").mkdir()
    answer = braind(command, "--data", tmp_path / "data", "--nsd", tmp_path / "nsd")
    refused(answer, ExitCode.USAGE, f"braind: {tmp_path / 'nsd'} is not a Natural Scenes Dataset")
    assert answer.stderr.count("\n") == 1


def test_a_folder_to_simulate_into_that_is_taken_is_2_and_left_as_it_was(braind, tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/mine.txt").write_text("mine")
    answer = braind("simulate", "--out", tmp_path / "taken")
    assert answer.exit_code == ExitCode.USAGE
    assert "taken is there already: choose a folder that is empty" in answer.stderr
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["mine.txt"]


def test_a_folder_that_is_no_dataset_is_no_check_of_one(braind, tmp_path):
    (tmp_path / "nsd").mkdir()
    refused(braind("nsd", "check", tmp_path / "nsd"), ExitCode.USAGE, "it has no folder nsddata")


def test_a_check_of_a_dataset_says_for_every_command_what_it_lacks(braind, small_data):
    answer = braind("nsd", "check", small_data / "nsd-simulated")
    assert answer.exit_code == ExitCode.OK
    assert "simulated: nobody was scanned" in answer.stdout
    assert "fit" in answer.stdout
    as_json = braind("nsd", "check", small_data / "nsd-simulated", "--json")
    (subject,) = json.loads(as_json.stdout)
    assert subject["subject"] == 1
    assert subject["lacking"]["fit"] == []


def test_a_dataset_that_lacks_a_file_is_1_and_names_it(braind, small_data, tmp_path):
    shutil.copytree(small_data / "nsd-simulated", tmp_path / "nsd")
    (mask,) = (tmp_path / "nsd").glob("nsddata/ppdata/subj01/*/brainmask.nii.gz")
    mask.unlink()
    answer = braind("encode", "--data", tmp_path / "data", "--nsd", tmp_path / "nsd", "-o", tmp_path / "out")
    assert answer.exit_code == ExitCode.FAILED
    assert "brainmask.nii.gz is missing" in answer.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["decode", "--trials", "foo"], "trials 'foo': give all, numbers and ranges"),
        (["decode", "--trials", "0:99"], "trials '0:99': there are 11, numbered 0 to 10"),
        (["decode", "--nsd", "/nope"], "/nope is not a Natural Scenes Dataset"),
        (["decode", "--bids", "/nope"], "/nope: say which task is meant, with --task"),
        (["decode", "--bids", "/nope", "--task", "x"], "/nope is not a BIDS data set"),
        (["decode", "--labels", "trial_type"], "--labels trial_type names a column of a BIDS folder's events"),
        (["decode", "--betas", "betas_none"], "betas_none/betas_session01.hdf5 (or .nii.gz) is missing"),
        (["fit", "--sessions", "3-1"], "sessions '3-1': give numbers from 1 and ranges"),
        (["fit", "--sessions", "9"], "has no session 9; it has 1"),
        (["fit", "--test-runs", "99"], "has no run 99; it has 1-12"),
        (["fit", "--z-rois", "nothing"], "no region 'nothing' in streams"),
        (["fit", "--z-rois", "/nope.nii.gz"], "mask /nope.nii.gz is missing"),
        (["evaluate", "--subject", "9"], "this tree has subjects [1]"),
        (["evaluate", "--subject", "pil03"], "subject 'pil03': give a number from 1"),
        (["nsd", "check", "/nope"], "/nope is not a Natural Scenes Dataset"),
    ],
)
def test_an_option_that_names_what_is_not_there_is_2(braind, small_data, arguments, words):
    data = [] if arguments[0] == "nsd" else ["--data", small_data]
    refused(braind(*arguments, *data), ExitCode.USAGE, words)


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["decode"], "-o"),
        (["encode"], "-o"),
        (["report"], "-o"),
        (["simulate"], "--out"),
        (["simulate"], "--bids"),
        (["demo"], "--out"),
        (["evaluate", "--kind", "bold"], "--plot"),
        (["sessions", "export", "ses"], "-o"),
        (["decode"], "--data"),
        (["serve"], "--data"),
    ],
)
def test_an_output_below_a_file_is_2_before_anything_is_read(braind, tmp_path, arguments, option):
    (tmp_path / "file").touch()
    refused(braind(*arguments, option, tmp_path / "file" / "out.png"), ExitCode.USAGE, f"{tmp_path / 'file'} is no fol")


def test_a_file_system_that_refuses_is_a_sentence(braind, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("BRAIND_PATHS__DATA", str(tmp_path / "file" / "data"))
    answer = braind("decode")
    refused(answer, ExitCode.FAILED, f"braind: {tmp_path / 'file'}", "Not a directory; give another path")
    assert answer.stderr.count("\n") == 1


def test_a_disk_that_is_full_is_a_sentence_even_without_the_name_of_a_file(monkeypatch):
    def fail():
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(main.commands["simulate"], "callback", fail)
    monkeypatch.setattr(main.commands["simulate"], "params", [])
    answer = CliRunner().invoke(main, ["simulate"])
    assert (answer.exit_code, answer.stderr) == (ExitCode.FAILED, "braind: No space left on device\n")


@pytest.mark.parametrize(
    ("code", "command", "status"),
    [
        ("ldm", "decode", 2), ("preset", "decode", 2), ("captioner", "calibrate", 2), ("engine", "evaluate", 2),
        ("events", "send", 2), ("surface", "encode", 2), ("data", "fit", 1), ("weights", "decode", 1),
        ("weights", "serve", 2), ("data", "serve", 2), ("roi", "fit", 1), ("error", "fit", 1),
    ],
)  # fmt: skip
def test_an_error_is_usage_where_nothing_was_begun_and_failed_otherwise(monkeypatch, code, command, status):
    def fail(*_, **__):
        raise BraindError("it is broken: mend it", code=code)

    monkeypatch.setattr(main.commands[command], "callback", fail)
    monkeypatch.setattr(main.commands[command], "params", [])
    answer = CliRunner().invoke(main, [command])
    assert (answer.exit_code, answer.stderr) == (status, "braind: it is broken: mend it\n")


def test_ctrl_c_is_130_and_says_so(monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    monkeypatch.setattr(main.commands["simulate"], "callback", interrupt)
    monkeypatch.setattr(main.commands["simulate"], "params", [])
    answer = CliRunner().invoke(main, ["simulate"])
    assert (answer.exit_code, answer.stderr) == (ExitCode.INTERRUPTED, "braind: interrupted\n")


def test_an_interrupted_simulation_is_130_and_leaves_no_half_tree(braind, tmp_path, monkeypatch):
    written = []

    def interrupt(root, experiment):
        written.extend(root.rglob("*"))
        raise KeyboardInterrupt

    monkeypatch.setattr("braind.models.demo.subject.nsd_tree.write_pictures", interrupt)
    answer = braind("simulate", "--out", tmp_path / "here" / "out", "--subjects", 1)
    assert answer.exit_code == ExitCode.INTERRUPTED
    assert answer.stderr.endswith("braind: interrupted\n")
    assert written
    assert list((tmp_path / "here").iterdir()) == []


def test_a_daemon_that_cannot_bind_its_port_is_2_and_names_it(braind, small_data):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        answer = braind("serve", "--data", small_data, "--ingest-port", port)
    assert answer.exit_code == ExitCode.USAGE
    assert "Traceback" not in answer.stderr


def test_serving_bold_without_weights_names_the_fit_that_makes_them(braind, small_data):
    answer = braind("serve", "--data", small_data, "--kind", "bold")
    refused(answer, ExitCode.USAGE, "subj01.bold.safetensors is missing; make it with `braind fit --kind bold --subj")


@pytest.mark.parametrize("name", sorted(main.commands))
def test_every_command_has_a_help_with_one_line_of_what_it_does(braind, name):
    answer = braind(name, "--help")
    assert answer.exit_code == ExitCode.OK
    assert main.commands[name].get_short_help_str(200).strip()
    assert answer.stdout.startswith(f"Usage: braind {name}")
