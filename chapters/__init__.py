"""What the chapters need besides the library; installed as ``plm_chapters``."""
