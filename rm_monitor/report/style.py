"""Colours and sizes; every text colour is at least 4.8:1 on its ground."""

__all__ = ["CARD", "PAGE", "SVG"]

SVG = (
    ".band{fill:#0063b1;opacity:.17}.line{fill:none;stroke:#0063b1;stroke-width:1.8}.whisker,.same{stroke:#0063b1;stroke-width:1.5}"
    ".reading{fill:#fff;stroke:#0063b1;stroke-width:1.5}.tied,circle.same{fill:#0063b1;stroke:#0063b1}.partial{fill:#fff;stroke:#767676}"
    ".star{font-size:18px;fill:#111}.degraded,.worse{fill:#c4271b;stroke:#c4271b;font-size:14px}.warned{fill:#9a6700;font-size:14px}.gap{fill:#767676;font-size:14px}"
    ".half{stroke:#767676}.grid{stroke:#e4e4e4}.tick{fill:#555;font-size:12px;font-family:system-ui,sans-serif}"
)
CARD = f"<style>{SVG}body{{margin:0;font:14px/1.5 system-ui,sans-serif;color:#111;background:#fff}}p{{margin:.2em 0}}svg{{max-width:960px}}</style>"
PAGE = (
    SVG
    + ":root{color-scheme:light dark}body{margin:0 auto;max-width:60rem;padding:1rem;font:16px/1.5 system-ui,sans-serif;color:#1a1a1a;background:#fff}"
    "h1{font-size:1.4rem;margin:.4em 0;padding-left:.6rem;border-left:.5rem solid #0063b1}h1.degraded{border-color:#c4271b}h1.warned{border-color:#9a6700}"
    "h1{fill:currentColor;stroke:none}h2{font-size:1.1rem;margin-top:2rem}.muted{color:#555}svg{width:100%;height:auto;display:block}"
    "table{border-collapse:collapse;font-size:.9rem}td,th{padding:.2rem .7rem;text-align:right;border-bottom:1px solid #ddd}td:first-child,th:first-child{text-align:left}"
    ".scroll{overflow-x:auto}details{border-bottom:1px solid #ddd;padding:.3rem 0;content-visibility:auto}summary{cursor:pointer}"
    ".pair{display:grid;grid-template-columns:1fr 1fr;gap:1rem}.answer{white-space:pre-wrap;overflow-wrap:anywhere;unicode-bidi:isolate;max-height:24rem;overflow:auto;"
    "background:#f5f5f5;padding:.5rem;contain:content}@media(max-width:40rem){.pair{grid-template-columns:1fr}}"
    "@media(prefers-color-scheme:dark){body{color:#e8e8e8;background:#14181d}.muted{color:#a8a8a8}.answer{background:#1f252c}td,th,details{border-color:#3a414a}"
    ".band{fill:#62b1ff}.line,.whisker,.same{stroke:#62b1ff}.reading,.partial{fill:#14181d;stroke:#62b1ff}.tied,circle.same{fill:#62b1ff;stroke:#62b1ff}.star{fill:#e8e8e8}"
    ".degraded,.worse{fill:#ff7b6b;stroke:#ff7b6b}.warned{fill:#e3b341}.grid{stroke:#2a3038}.tick{fill:#a8a8a8}}"
)
