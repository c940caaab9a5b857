"""`import rm_monitor` and `rm-monitor --help` pay for no framework."""

import subprocess
import sys

import pytest

HEAVY = ["torch", "transformers", "accelerate", "wandb"]


def loaded_after(code):
    probe = f"{code}\nimport sys; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.fixture(scope="module")
def after_import():
    return loaded_after("import rm_monitor, rm_monitor.stats, rm_monitor.types")


@pytest.fixture(scope="module")
def after_help():
    code = (
        "from typer.testing import CliRunner; from rm_monitor.cli import app; "
        "CliRunner().invoke(app, ['--help'])"
    )
    return loaded_after(code)


@pytest.mark.parametrize("module", HEAVY)
def test_importing_the_package_leaves_heavy_modules_alone(module, after_import):
    assert module not in after_import


@pytest.mark.parametrize("module", HEAVY)
def test_asking_for_help_leaves_heavy_modules_alone(module, after_help):
    assert module not in after_help


def test_the_probe_would_notice():
    assert "json" in loaded_after("import json")


def test_every_public_name_can_be_had():
    import rm_monitor

    assert all(getattr(rm_monitor, name) is not None for name in rm_monitor.__all__)
    assert list(rm_monitor.__all__) == sorted(rm_monitor.__all__)
