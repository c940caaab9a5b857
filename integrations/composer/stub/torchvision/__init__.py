"""Names without meaning: it has no build for the torch of this test, and only pictures need it.

Composer imports it everywhere, to subclass and to compare types with.
"""

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

__version__ = "0.28.0"  # transformers asks


class _Members(type):
    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return name  # of an enumeration


class _Nothing(ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        made = _Members(name, (), {})
        setattr(self, name, made)
        return made


for _name in (
    "io",
    "transforms",
    "transforms.v2",
    "transforms.v2.functional",
    "transforms.functional",
    "datasets",
    "models",
    "models.resnet",
    "ops",
    "utils",
):
    _module = _Nothing(f"torchvision.{_name}")
    _module.__path__, _module.__spec__ = [], ModuleSpec(f"torchvision.{_name}", None, is_package=True)
    sys.modules[_module.__name__] = _module
    if "." not in _name:
        globals()[_name] = _module
    else:
        _above, _, _below = _name.rpartition(".")
        setattr(sys.modules[f"torchvision.{_above}"], _below, _module)
