"""The chapters' experiments, installed as ``plm_core.experiments``: one script each, results beside them."""
