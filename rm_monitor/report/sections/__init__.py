"""The page's sections, one file each: a run goes in, HTML comes out; nothing at all where data is missing."""
