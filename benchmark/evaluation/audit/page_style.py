"""How an audit's page looks, light and dark; colours of curves are those that readers of any kind of sight tell apart."""

from __future__ import annotations

STYLE = """
.faceveil { --ink: #1b1f24; --paper: #ffffff; --soft: #f3f5f7; --rule: #c9d0d7; --quiet: #57606a;
  --leak: #a4280a; --fine: #0b6b50; --unsure: #7a5200;
  --line-1: #0072b2; --line-2: #b85c00; --line-3: #00795a; --line-4: #a83279; --line-5: #5a5a5a;
  --line-6: #6a4fc4; --line-7: #8a1c1c; --line-8: #6b6a00;
  color: var(--ink); background: var(--paper); font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; }
@media (prefers-color-scheme: dark) { .faceveil {
  --ink: #e6e9ec; --paper: #14181c; --soft: #1f252b; --rule: #3b444d; --quiet: #a3adb7;
  --leak: #ff9d80; --fine: #5fd3ae; --unsure: #e8bf62;
  --line-1: #56b4e9; --line-2: #ffa94d; --line-3: #3ddbab; --line-4: #f090c8; --line-5: #b9b9b9;
  --line-6: #b9a6ff; --line-7: #ff8b7a; --line-8: #d6d250; } }
.faceveil h1 { font-size: 1.5rem; margin: 0 0 .2rem; overflow-wrap: anywhere; }
.faceveil h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
.faceveil p { margin: .4rem 0; max-width: 46rem; }
.faceveil .quiet { color: var(--quiet); }
.faceveil .verdict { border-left: 5px solid var(--rule); background: var(--soft); padding: .6rem .9rem; margin: .6rem 0; }
.faceveil .verdict b { display: block; }
.faceveil .leak { border-color: var(--leak); } .faceveil .leak b { color: var(--leak); }
.faceveil .nothing_found { border-color: var(--fine); } .faceveil .nothing_found b { color: var(--fine); }
.faceveil .invalid { border-color: var(--unsure); } .faceveil .invalid b { color: var(--unsure); }
.faceveil .scroll { overflow-x: auto; }
.faceveil table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
.faceveil th, .faceveil td { text-align: left; vertical-align: top; padding: .28rem .9rem .28rem 0;
  border-bottom: 1px solid var(--rule); }
.faceveil td.number, .faceveil td.quiet { white-space: nowrap; }
.faceveil td { min-width: 4.5rem; } .faceveil td.name { min-width: 11rem; }
.faceveil figure { margin: .5rem 0; }
.faceveil svg { width: 100%; max-width: 560px; height: auto; display: block; }
.faceveil svg text { fill: var(--quiet); font-size: 12px; }
.faceveil .grid { stroke: var(--rule); stroke-width: .7; }
.faceveil .chance { stroke: var(--quiet); stroke-dasharray: 3 4; fill: none; }
.faceveil .curve { fill: none; stroke-width: 2.2; }
.faceveil ul.legend { list-style: none; padding: 0; margin: .3rem 0; }
.faceveil ul.legend svg { display: inline-block; width: 34px; height: 10px; margin-right: .5rem; vertical-align: middle; }
.faceveil code { font-size: .92em; overflow-wrap: break-word; }
"""
PAGE_STYLE = (
    ":root { color-scheme: light dark; } body { margin: 0; padding: 1.6rem; background: #fff; } "
    "@media (prefers-color-scheme: dark) { body { background: #14181c; } } .faceveil { margin: 0 auto; }"
)
