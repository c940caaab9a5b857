"""LLaMA-Factory imports torchaudio, which has no CPU build for this torch; only sound needs it."""

import sysconfig
from pathlib import Path

stub = Path(sysconfig.get_paths()["purelib"], "torchaudio")
if not stub.exists():
    stub.mkdir()
    (stub / "__init__.py").write_text('"""Empty: only sound needs it."""\n')
