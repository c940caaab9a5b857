"""The curve as a picture and as a page: inline SVG, complete without JavaScript, no network."""
