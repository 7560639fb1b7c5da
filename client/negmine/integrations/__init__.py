"""Drop-ins where trainers live: each module needs its framework, which is an extra of the same name.

- `negmine.integrations.sentence_transformers`: `mine_hard_negatives`, and `RemineCallback` for its trainer.
- `negmine.integrations.lightning`: `MiningCallback`.
"""
