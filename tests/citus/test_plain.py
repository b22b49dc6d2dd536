"""migrate --citus where there is no Citus: said, and nothing is changed."""
from hirundo import Postgres


def test_missing_extension_is_said():
    with Postgres() as pg:
        done = pg.command("migrate", "--citus", check=False)
        assert done.returncode == 1 and done.stdout.startswith("the database is at ")
        assert "the extension citus is not in this database: create it on every node" in done.stderr
        assert pg.query("select rolname from pg_roles where rolname ~ '^hirundo_(owner|collector|analyst)$' and rolcanlogin") == []
        assert "nothing to do" in pg.migrate()
