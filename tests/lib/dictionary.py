"""docs/dictionary.md: every table, view, function, type and setting that analysts meet, from its COMMENT in the database.

    tests/lib/dictionary.py > docs/dictionary.md       on a database of this version that the PG* environment names
"""
import json
import re
import subprocess
import sys

HEAD = """\
# Data dictionary

Made from the COMMENTs in the database by `tests/lib/dictionary.py`; a test holds it to them. How to ask, with outputs and caveats: [sql.md](sql.md)
and [cookbook.md](cookbook.md). Everything is in schema `hirundo`.
"""
# what an analyst may read or call; parts of others are left out
RELATIONS = """
select c.relname, case when c.relkind = 'v' then 'view' else 'table' end as kind, obj_description(c.oid, 'pg_class') as comment,
  (select json_agg(json_build_array(a.attname, format_type(a.atttypid, a.atttypmod), coalesce(col_description(c.oid, a.attnum), '')) order by a.attnum)
   from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
     and has_column_privilege('hirundo_analyst', c.oid, a.attnum, 'select')) as columns
from pg_class c
where c.relnamespace = 'hirundo'::regnamespace and c.relkind in ('r', 'p', 'v') and not c.relispartition
  and has_any_column_privilege('hirundo_analyst', c.oid, 'select')
order by c.relname collate "C" """
FUNCTIONS = """
select p.proname, pg_get_function_arguments(p.oid) as arguments,
  coalesce((select 'rows of ' || string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', ' order by a.attnum)
            from pg_type t join pg_attribute a on a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
            where t.oid = p.prorettype and t.typtype = 'c'), pg_get_function_result(p.oid)) as result, obj_description(p.oid, 'pg_proc') as comment
from pg_proc p
where p.pronamespace = 'hirundo'::regnamespace and has_function_privilege('hirundo_analyst', p.oid, 'execute')
  and p.prolang = (select l.oid from pg_language l where l.lanname = 'plpgsql') and obj_description(p.oid, 'pg_proc') !~ '^(Part|Internal) '
order by p.proname collate "C", pg_get_function_identity_arguments(p.oid) collate "C" """
SETTINGS = 'select s.name, s.meaning from hirundo.setting s order by s.name collate "C"'


def rows(query):
    done = subprocess.run(['psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-c', f"select coalesce(json_agg(x), '[]') from ({query}) x"], check=True,
                          capture_output=True, text=True)
    return [list(row.values()) for row in json.loads(done.stdout)]


def text(comment):
    """A comment as Markdown: its example as code, nothing of it taken for markup."""
    words, example, rest = re.match(r'(.*?)(?:Example: (select .*?)((?: gives .*)?\.))?$', comment or '', re.S).groups()
    words = re.sub(r'([<*])', r'\\\1', words)
    return f'{words}Example: `{example}`{rest}' if example else words


def dictionary():
    out = [HEAD, '## Functions\n']
    for name, arguments, result, comment in rows(FUNCTIONS):
        out += [f'### {name}({arguments.replace("hirundo.", "")})\n', f'{text(comment)}\n', f'Returns `{result}`.\n']
    out.append('## Tables and views\n')
    for name, kind, comment, columns in rows(RELATIONS):
        out += [f'### {name} ({kind})\n', f'{text(comment)}\n']
        out += [f'- `{column}` {kind_of}' + (f': {text(what)}' if what else '') for column, kind_of, what in columns] + ['']
    out.append('## Settings\n')
    out += [f'- `{name}`: {text(meaning)}' for name, meaning in rows(SETTINGS)]
    return '\n'.join(out) + '\n'


if __name__ == '__main__':
    sys.stdout.write(dictionary())
