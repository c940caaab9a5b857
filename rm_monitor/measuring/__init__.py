"""The first half of an evaluation: `answering` asks the policy, `panel` judges, `measurer` does both."""
