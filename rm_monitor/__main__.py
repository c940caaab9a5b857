"""``python -m rm_monitor``."""

from rm_monitor.cli import main

if __name__ == "__main__":
    main()
