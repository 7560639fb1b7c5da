"""Settings: where they come from, what wins, and what is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from negmine_server.settings import CONFIG_VARIABLE, ENV_PREFIX, Settings, SettingsError, load


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONFIG_VARIABLE, "")  # put back afterwards, whatever --config sets
    monkeypatch.delenv(CONFIG_VARIABLE)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "server.toml"
    file.write_text('k_max = 10\nanchors_max = 20\npool_max = 500\ndata_dir = "of-file"\n')
    return file


def test_defaults_stand_where_nothing_is_said() -> None:
    assert load([]) == Settings()


def test_flags_win_over_the_environment_and_that_over_the_file(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENV_PREFIX + "ANCHORS_MAX", "21")
    monkeypatch.setenv(ENV_PREFIX + "POOL_MAX", "501")
    made = load([f"--config={config}", "--pool-max=502"])
    assert (made.k_max, made.anchors_max, made.pool_max, made.data_dir) == (10, 21, 502, Path("of-file"))


def test_the_file_may_be_named_by_the_environment(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONFIG_VARIABLE, str(config))
    assert load(["--k-max", "11"]).k_max == 11
    assert load(["--config", str(config)]).k_max == 10


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nonsense = 1\n", ["nonsense", "1"]),
        ("k_max = 0\n", ["k_max", "0"]),
        ('k_max = "many"\n', ["k_max", "many"]),
        ("recall_target = 1.5\n", ["recall_target", "1.5"]),
        ("k_max = \n", ["server.toml"]),
    ],
)
def test_a_wrong_key_is_named(tmp_path: Path, text: str, said: list[str]) -> None:
    file = tmp_path / "server.toml"
    file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load([f"--config={file}"])
    for words in said:
        assert words in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nothing\.toml"):
        load([f"--config={tmp_path / 'nothing.toml'}"])


def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENV_PREFIX + "K_MAXX", "5")
    with pytest.raises(SettingsError, match=ENV_PREFIX + "K_MAXX"):
        load([])
    monkeypatch.delenv(ENV_PREFIX + "K_MAXX")
    monkeypatch.setenv(ENV_PREFIX + "K_MAX", "-5")
    with pytest.raises(SettingsError, match=r"k_max = '-5'"):
        load([])


def test_an_unknown_flag_ends_with_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises((SystemExit, SettingsError)) as caught:
        load(["--k-maxx=5"])
    assert "k-maxx" in capsys.readouterr().err + str(caught.value)


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_says_what_it_is(name: str) -> None:
    field = Settings.model_fields[name]
    assert field.description
    if field.annotation in (int, float):
        assert field.metadata, "a number without a bound"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tls-key", "k"], "tls_key needs tls_certificate"),
        (["--tls-certificate", "c"], "tls_certificate needs tls_key"),
        (["--devices", "0"], "devices needs device = cuda"),
        (["--devices", "0,x"], "devices = '0,x': expected numbers with commas between"),
        (["--devices", "0,"], "devices = '0,': expected numbers"),
        (["--device", "tpu"], "device = 'tpu'"),
        (["--listen", "foo"], "listen = 'foo': expected HOST:PORT"),
        (["--metrics-listen", ":70000"], "metrics_listen = ':70000': expected HOST:PORT"),
    ],
)
def test_half_a_setting_is_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load(arguments)
