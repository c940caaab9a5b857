"""Build an environment for each host and run its tests there: `python integrations/hosts.py [NAME ...]`.

An environment is pinned by `integrations/<host>/requirements.txt`, built once by uv into `.hosts/<host>`, and
built again when that file changes. Packages that only serve GPUs, pictures or sound are left out
(`overrides.txt`). Each host of `lives.py` then lives one life (`test_hosts.py`), and what was found goes into
the table of README.md.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
HERE = ROOT / "integrations"
sys.path.insert(0, str(ROOT))

from integrations.lives import HOSTS, table  # noqa: E402  found when the root is on the path

PLACE = Path(os.environ.get("RM_MONITOR_HOSTS", ROOT / ".hosts"))
QUICK = ("lightning", "accelerate", "trackers")  # two minutes together, once they are built
COMMON = ("pytest>=8", "pytest-timeout", "datasets", "peft")


def main(names: list[str]) -> int:
    """Exit code: how many hosts failed."""
    if names == ["--floors"]:
        return floors()
    known = sorted(path.parent.name for path in HERE.glob("*/requirements.txt"))
    names = [n for name in names or known for n in (QUICK if name == "quick" else (name,))]
    if unknown := set(names) - set(known):
        print(f"no such hosts: {sorted(unknown)}; there are {known}")
        return 2
    failed = []
    for name in names:
        began = time.monotonic()
        ok = build(name) and run(name)
        print(f"{name}: {'passed' if ok else 'FAILED'} in {time.monotonic() - began:.0f} s", flush=True)
        failed += [] if ok else [name]
    table(PLACE / "results")
    print((HERE / "README.md").read_text().partition("<!-- table -->")[2].partition("<!-- end -->")[0])
    passed = f"{len(names) - len(failed)} of {len(names)} environments passed"
    print(passed + (f"; failed: {failed}" if failed else ""))
    return len(failed)


def floors() -> int:
    """Exit code of the tests nearest to other packages, with the oldest versions that are allowed.

    Torch is the pinned one: the oldest has no CPU build in the registry.
    """
    where = PLACE / "floors"
    subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(where)], check=True)
    found = [f"--find-links={place}" for place in os.environ.get("PIP_FIND_LINKS", "").split()]
    install = [str(uv()), "pip", "install", "-q", "--python", str(where / "bin" / "python"), *found]
    install += ["--override", str(overrides())]
    subprocess.run([*install, "--resolution", "lowest-direct", "-e", str(ROOT)], check=True)
    frozen = [*install[:2], "freeze", *install[4:6], "--exclude-editable"]
    text = subprocess.run(frozen, check=True, capture_output=True, text=True).stdout
    names = ("accelerate", "numpy", "scipy", "transformers", "typer", "wandb")
    held = [line for line in text.splitlines() if line.partition("==")[0] in names]
    subprocess.run([*install, *held, *COMMON, "hypothesis"], check=True)
    print(f"floors: {', '.join(held)}", flush=True)
    tests = [str(ROOT / "tests" / f"test_{name}.py") for name in ("cli", "wandb", "sinks", "callback")]
    command = [str(where / "bin" / "python"), "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    return subprocess.run(
        command, check=False, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
    ).returncode


def build(name: str) -> bool:
    """Make the environment, unless it is there as the file says."""
    wanted = HERE / name / "requirements.txt"
    where, python = PLACE / name, PLACE / name / "bin" / "python"
    stubs = (path for path in sorted((HERE / name).glob("stub/**/*")) if path.is_file())
    names = (wanted, HERE / "overrides.txt", ROOT / "pyproject.toml", *stubs)
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in names)).hexdigest()
    mark = where / "built"
    if mark.is_file() and mark.read_text() == digest:
        return True
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(where)], check=True)
    found = [f"--find-links={place}" for place in os.environ.get("PIP_FIND_LINKS", "").split()]
    command = [str(uv()), "pip", "install", "-q", "--python", str(python), *found]
    command += ["--override", str(overrides()), "-e", str(ROOT), *COMMON, "-r", str(wanted)]
    done = subprocess.run(command, check=False).returncode
    extra = HERE / name / "no-deps.txt"  # packages whose requirements nobody here needs
    if done == 0 and extra.is_file():
        command = [str(uv()), "pip", "install", "-q", "--python", str(python), "--no-deps", "-r", str(extra)]
        done = subprocess.run(command, check=False).returncode
    if done == 0:
        for stub in (HERE / name).glob("stub/*"):  # packages that are imported and not used
            ask = [str(python), "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"]
            place = Path(subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip())
            shutil.copytree(stub, place / stub.name, dirs_exist_ok=True)
        mark.write_text(digest)
    return done == 0


def overrides() -> Path:
    """`overrides.txt`, with the CPU build of torch where one lies in PIP_FIND_LINKS."""
    text = (HERE / "overrides.txt").read_text()
    (torch,) = (line for line in text.splitlines() if line.startswith("torch=="))
    version = torch.removeprefix("torch==")
    places = os.environ.get("PIP_FIND_LINKS", "").split()
    if any(True for place in places for _ in Path(place).glob(f"torch-{version}+cpu-*.whl")):
        text = text.replace(torch, f"{torch}+cpu")
    PLACE.mkdir(parents=True, exist_ok=True)
    (PLACE / "overrides.txt").write_text(text)
    return PLACE / "overrides.txt"


def run(name: str) -> bool:
    """The environment's own tests, and the life of each host in it."""
    lives = [host for host, about in HOSTS.items() if about.environment == name]
    asked = [[str(HERE / name)]] if list((HERE / name).glob("test_*.py")) else []
    asked += [["--host", host, str(HERE / "test_hosts.py")] for host in lives]
    command = [str(PLACE / name / "bin" / "python"), "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    path = f"{PLACE / name / 'bin'}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "RM_MONITOR_HOSTS": str(PLACE)}
    codes = [
        subprocess.run([*command, "--timeout=1800", *words], check=False, cwd=ROOT, env=env).returncode
        for words in asked
    ]
    return not any(codes)


def uv() -> Path:
    """uv, in an environment of its own."""
    where = PLACE / "uv"
    if not (where / "bin" / "uv").exists():
        subprocess.run([sys.executable, "-m", "venv", str(where)], check=True)
        subprocess.run([str(where / "bin" / "pip"), "install", "-q", "uv==0.13.9"], check=True)
    return where / "bin" / "uv"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
