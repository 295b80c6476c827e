from __future__ import annotations

from alembic.config import Config
from alembic.script import ScriptDirectory

from benchmark.service.database import MIGRATIONS


def test_the_migrations_are_one_line():
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    scripts = ScriptDirectory.from_config(config)
    assert len(scripts.get_heads()) == 1
    names = [script.revision for script in scripts.walk_revisions()]
    assert names == sorted(names, reverse=True)
