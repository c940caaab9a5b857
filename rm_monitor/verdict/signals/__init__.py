"""What is seen beside the headline: `diagnostics` asks all of them at each evaluation.

`same_model` and `training_reward`: is the judge what training optimises; `overoptimisation`: do two judges
drift apart; `length_control`: is it length alone; `contamination`: are prompts in the training set.
"""
