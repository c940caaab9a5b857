"""The file that ms-swift imports by its path."""

from rm_monitor.integrations.swift import register

register()
