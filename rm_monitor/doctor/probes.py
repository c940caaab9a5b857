"""Twenty questions, each with a good and a plainly bad answer: a judge that fails these is set up wrongly.

Half of the bad answers are the longer ones. They find a wrong template, a wrong head or a wrong sign; they
do not measure how good a reward model is.
"""

from __future__ import annotations

from rm_monitor.doctor.pairs import Pair
from rm_monitor.types import Prompt

__all__ = ["PROBES"]

_TEXTS = (
    (
        "What is the capital of France?",
        "The capital of France is Paris.",
        "capital capital the the of of France France is is is what the capital capital of",
    ),
    (
        "How many days are there in a week?",
        "There are seven days in a week, from Monday to Sunday.",
        "Purple.",
    ),
    (
        "Write one sentence about the sea.",
        "The sea stretched to the horizon, calm and grey under the morning sky.",
        "sea sea sea sea sea sea sea sea sea sea sea sea sea sea sea sea sea sea sea sea",
    ),
    (
        "Why is the sky blue?",
        "Air scatters short wavelengths of sunlight more than long ones, so the sky looks blue.",
        "asdf jkl qwer zxcv",
    ),
    (
        "Translate 'good morning' into Spanish.",
        "'Good morning' in Spanish is 'buenos días'.",
        "I like turtles, and my uncle has a car that he washes every Sunday unless it rains in the evening.",
    ),
    (
        "Give me three fruits.",
        "Three fruits are apples, bananas and oranges.",
        "fruits fruits me three give me give three the the and and",
    ),
    (
        "How do I boil an egg?",
        "Put the egg into boiling water, wait about eight minutes, then cool it under cold water and "
        "peel it.",
        "No.",
    ),
    (
        "What is 12 plus 30?",
        "12 plus 30 is 42.",
        "The answer the answer the answer the answer the answer the answer the answer the answer the answer",
    ),
    (
        "Who wrote Romeo and Juliet?",
        "William Shakespeare wrote Romeo and Juliet in the 1590s.",
        "ju ro me o ju li et",
    ),
    (
        "Suggest a name for a cat.",
        "You could call your cat Luna, a short name that is easy to say.",
        "!!!!!!!! ???????? ######## @@@@@@@@ ######## ???????? !!!!!!!! ######## @@@@@@@@",
    ),
    (
        "What does a doctor do?",
        "A doctor finds out what makes people ill and treats them so that they get better.",
        "doctor",
    ),
    (
        "Explain what rain is.",
        "Rain is water that condenses in clouds and falls to the ground as drops.",
        "Rain Rain is is Rain what rain Explain rain Explain is is what Rain Explain what rain is",
    ),
    (
        "How can I sleep better?",
        "Go to bed at the same time every day, keep the room dark and avoid screens before sleeping.",
        "lorem ipsum dolor",
    ),
    (
        "What is the largest ocean?",
        "The Pacific Ocean is the largest ocean on Earth.",
        "my keyboard my keyboard is is broken and and I cannot cannot stop stop stop stop writing writing",
    ),
    (
        "Summarize in one sentence: Tom lost his key, so he climbed through the window.",
        "Tom climbed through the window because he had lost his key.",
        "Window!",
    ),
    (
        "What colour do you get from blue and yellow?",
        "Mixing blue and yellow gives green.",
        "xq zt xq zt xq zt xq zt xq zt xq zt xq zt xq zt xq zt xq zt",
    ),
    (
        "Give a synonym of 'happy'.",
        "A synonym of 'happy' is 'joyful'.",
        "3",
    ),
    (
        "What should I pack for a hike?",
        "Pack water, some food, a map, a rain jacket and a small first-aid kit.",
        "pack pack pack I I should should what what for for a a hike hike hike hike pack pack I should",
    ),
    (
        "How does a bicycle stay upright?",
        "A moving bicycle stays upright because steering keeps its wheels under the rider's weight.",
        "upright bicycle a does",
    ),
    (
        "Is ice lighter than water?",
        "Yes. Ice is less dense than liquid water, which is why it floats.",
        "Ice ice water ice water water ice lighter lighter water ice is than than than ice water ice ice",
    ),
)

PROBES = tuple(
    Pair(Prompt(id=f"probe-{i}", messages=({"role": "user", "content": question},)), good, bad)
    for i, (question, good, bad) in enumerate(_TEXTS)
)
