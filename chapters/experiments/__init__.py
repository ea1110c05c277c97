"""The chapters' experiments, installed as ``plm_chapters.experiments``: one script each, results beside them."""
