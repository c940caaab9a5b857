"""Prints the path that ms-swift's ``--external_plugins`` takes."""

from rm_monitor.integrations.swift import PLUGIN

if __name__ == "__main__":
    print(PLUGIN)
