"""Runs with everything a page can show, made of numbers and words: no model, no file."""

import numpy as np

from rm_monitor import messages
from rm_monitor.curve import rewards, text_metrics
from rm_monitor.curve import tables as curve_tables
from rm_monitor.curve.curve import Curve
from rm_monitor.report.view import RunView
from rm_monitor.types import Best, Completion, EvalPoint, Prompt, ReferenceSet, Table
from rm_monitor.verdict.alarm import judge

TAGS = ("code", "chat", "safety", "summaries", "writing", "maths", "reasoning", "translation")
WORDS = "the plan is clear and each step ends where the next one starts because a reader checks".split()  # noqa: SIM905

# What a model, a data set or a file name may hold; none of it may do anything on the page.
HOSTILE = (
    "</script><script>document.title='PWNED'</script>",
    "<img src=x onerror=document.title='PWNED'>",
    "<svg onload=document.title='PWNED'>",
    "]]> --> <!-- <![CDATA[",
    "\u202egnp.exe\u202c right to left",
    "<a href=\"javascript:document.title='PWNED'\">click</a>",
    "nul\x00 and \x1b[31mred\x1b[0m and \x07 bell",
    "lone \ud800 surrogate \udfff",
    "&lt;b&gt; &amp;amp; &#x3c;script&#x3e;",
    "A" * 4_000,
    "",
    "   \n\t  ",
    "z\u0335\u0321\u0322a\u0334\u0315l\u0336\u0357g\u0337\u0341o\u0338\u0300",
    "{{constructor.constructor('alert(1)')()}} ${alert(1)} #{7*7} <%= 7 %>",
    "line\u2028separator\u2029and \u200bzero\u200dwidth\ufeff",
    "<style>*{display:none}</style><link rel=stylesheet href=//evil.example/x.css>",
    '<base href="https://evil.example/"><meta http-equiv="refresh" content="0;url=https://evil.example">',
    "<iframe srcdoc='<script>parent.document.title=1</script>'></iframe>",
    "<form action=//evil.example><button formaction=javascript:alert(1)>x</button></form>",
    "\" onmouseover=\"document.title='PWNED'\" x=\"' onfocus='x",
    "漢字 العربية עברית 🙂👩‍👩‍👧 \U000e0041tag",
)


def prompts(n):
    return tuple(
        Prompt(
            id=f"p{i}",
            messages=({"role": "user", "content": f"Question {i}: {' '.join(WORDS[i % 7 : i % 7 + 9])}?"},),
            tags=(TAGS[i % len(TAGS)],),
        )
        for i in range(n)
    )


def example(
    t=40,
    n=256,
    *,
    name="dpo-beta0.1",
    seed=0,
    gold=True,
    hostile=False,
    failed=(23,),
    partial=(29,),
    old=0,
    fall=True,
):
    """A run that climbs, turns at two fifths and falls, most of all on code.

    Args:
        t: Evaluations, 50 steps apart.
        n: Prompts.
        failed: Evaluations without a number.
        partial: Evaluations with too few scored prompts.
        old: Evaluations of an earlier segment.
        fall: Whether it falls at all.
    """
    rng = np.random.default_rng(seed)
    asked = prompts(n)
    easy = rng.normal(0.0, 1.2, n)
    reference = rng.normal(0.0, 1.0, n)
    is_code = np.array(["code" in p.tags for p in asked])
    curve, tables = [], {}
    peak = max(1, 2 * t // 5)
    for k in range(t):
        up = 1.1 * min(k, peak) / peak
        down = 1.2 * max(0, k - peak) / max(1, t - peak) if fall else 0.0
        quality = up - down
        reward = quality - 1.5 * down * is_code + easy + rng.normal(0.0, 0.9, n)
        segment = "old" if k < old else "new"
        step = 50 * k
        if k in failed:
            curve.append(
                EvalPoint(
                    step=step,
                    status="failed",
                    reason="OutOfMemoryError: CUDA <b>out</b> of memory",
                    segment=segment,
                )
            )
            continue
        if k in partial:
            reward[: n // 4] = np.nan
        table = _table(asked, reward, reference, rng, k, gold=gold, hostile=hostile)
        tables[step] = table
        point = curve_tables.point(
            step,
            table,
            prompts=asked,
            metric="win_prob",
            expected=reference,
            segment=segment,
            attempt=int(k > t // 2),
            measured={"seconds": 40.0},
        )
        curve.append(point)
    verdict = judge(curve, metric="win_prob", horizon=t)
    best = verdict.best
    kept = (
        None
        if best is None
        else Best(
            step=best.step,
            value=best.value,
            checkpoint="out/_rm_monitor/best",
            p_best=best.p_best,
            tied=best.tied,
        )
    )
    judged = [p.step for p in curve if p.values]
    sides = {s for s in (best.step if best else None, judged[-1] if judged else None) if s in tables}
    from dataclasses import replace

    return RunView(
        name=name,
        metric="win_prob",
        curve=Curve(curve),
        verdict=replace(verdict, reason=messages.reason(verdict)),
        best=kept,
        prompts=asked,
        references=ReferenceSet(
            name="chosen", completions=tuple(Completion(prompt_id=p.id, text=_text(rng, 60)) for p in asked)
        ),
        tables={s: tables[s] for s in sides},
        facts={
            "prompts": f"{n} from ultrafeedback.jsonl (ab12cd34)",
            "reward model": "Skywork-Reward-V2-Qwen3-0.6B, gold",
        },
    )


def _table(asked, reward, reference, rng, k, *, gold, hostile):
    values = rewards.compare(reward[:, None], reference, scale="logit")
    texts = [_text(rng, 60 + k) for _ in asked]
    if hostile:
        texts = [HOSTILE[(i + k) % len(HOSTILE)] for i in range(len(asked))]
    completions = tuple(
        (
            Completion(
                prompt_id=p.id,
                text=text,
                finish_reason="length" if rng.random() < 0.01 + k / 400 else "stop",
                n_tokens=150 + 5 * k + int(rng.integers(0, 60)),
                entropy=1.2,
                top10_mass=0.9,
            ),
        )
        for p, text in zip(asked, texts)
    )
    values = {"reward": reward[:, None], **values, **text_metrics.of_texts(completions)}
    if gold:
        second = reward - 0.6 * max(0, k - 12) / 28 + rng.normal(0, 0.8, len(asked))
        for name, x in rewards.compare(second[:, None], reference, scale="logit").items():
            values[f"gold/{name}"] = x
        values["gold/reward"] = second[:, None]
        values["attribute/helpfulness"] = reward[:, None] * 0.5 + 3
        values["win_prob/sft"] = rewards.compare(reward[:, None], reference - 0.5, scale="logit")["win_prob"]
    return Table(prompt_ids=tuple(p.id for p in asked), completions=completions, values=values)


def _text(rng, words_):
    return " ".join(WORDS[i] for i in rng.integers(0, len(WORDS), words_)) + "."


def empty(name="run"):
    verdict = judge([], metric="win_prob")
    return RunView(name=name, metric="win_prob", curve=Curve(), verdict=verdict, best=None)
