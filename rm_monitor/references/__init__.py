"""What completions are compared with: `given` by the user, or the policy's `own` first answers."""
