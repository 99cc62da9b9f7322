/** The tables of the reference say what the code says, and every link between documents leads somewhere. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, it } from 'node:test';
import { POSTGRES_FUNCTIONS, SQLITE_FUNCTIONS } from '../../src/analysis/functions.ts';
import { readConfig, SETTINGS } from '../../src/config.ts';
import { ERROR_CODES, LastseenError, meaningOf } from '../../src/errors.ts';
import { CLOSE_CODES, closeReasonOf } from '../../src/http/close-codes.ts';
import type { Setting } from '../../src/settings.ts';
import { codesIn, readPage, rowsOf } from '../support/tables.ts';

const ROOT = join(import.meta.dirname, '../..');

describe('docs/reference/settings.md', () => {
  const rows = rowsOf(readPage('docs/reference/settings.md')).filter(([name]) => name?.startsWith('`'));
  const settings = new Map(Object.entries<Setting>(SETTINGS));
  const nameOf = ([name = '']: string[]): string => codesIn(name)[0] ?? '';

  it('has one row for each setting, and says of each what the code says', () => {
    assert.deepEqual(rows.map(nameOf).sort(), [...settings.keys()].sort());
    for (const row of rows) {
      assert.equal(row[3], settings.get(nameOf(row))?.text, nameOf(row));
    }
  });

  it('shows the default of each setting', () => {
    for (const row of rows) {
      const [, shown = ''] = row;
      const schema = settings.get(nameOf(row))?.schema;
      const fallback = schema?.parse(undefined);
      if (shown === 'not set') {
        assert.equal(fallback, undefined, nameOf(row));
      } else {
        assert.deepEqual(schema?.parse(shown === 'empty' ? '' : codesIn(shown)[0]), fallback, nameOf(row));
      }
    }
  });

  it('names the allowed values: each word is accepted, and so are the ends of each range but nothing beyond', () => {
    const accepts = (name: string, value: string | number): boolean =>
      settings.get(name)?.schema.safeParse(String(value)).success === true;
    let words = 0;
    let ranges = 0;
    for (const row of rows) {
      const name = nameOf(row);
      const [, , allowed = ''] = row;
      if (/^`\w+`(, `\w+`)*$/.test(allowed)) {
        words += 1;
        assert.ok(!accepts(name, 'something-else'), name);
        for (const word of codesIn(allowed)) {
          assert.ok(accepts(name, word), `${name}=${word}`);
        }
      }
      const range = /^([\d,]+) (?:to ([\d,]+)|or more)$/.exec(allowed);
      if (range !== null) {
        ranges += 1;
        const [least = 0, most] = range
          .slice(1)
          .filter((text: string | undefined) => text !== undefined)
          .map((text) => Number(text.replaceAll(',', '')));
        assert.ok(accepts(name, least) && !accepts(name, least - 1), `${name}: from ${least}`);
        assert.ok(
          most === undefined || (accepts(name, most) && !accepts(name, most + 1)),
          `${name}: to ${most}`,
        );
      }
    }
    assert.equal(words, 5);
    assert.equal(ranges, 25);
  });

  it('gives examples of retention that are accepted', () => {
    const allowed = rows.find((row) => nameOf(row) === 'LASTSEEN_RETENTION')?.[2] ?? '';
    const units = codesIn(allowed).filter((code) => code.length === 1);
    assert.equal(units.length, 5);
    for (const rule of ['30d', '1000/access_id', '30d,1000/access_id', ...units.map((unit) => `7${unit}`)]) {
      assert.doesNotThrow(() => readConfig({ LASTSEEN_RETENTION: rule }), rule);
    }
  });
});

describe('docs/reference/errors.md', () => {
  const text = readPage('docs/reference/errors.md');
  const rows = new Map(
    rowsOf(text).flatMap((row) => {
      const code = /^\[`(ERR_\w+)`\]/.exec(row[0] ?? '')?.[1];
      return code === undefined ? [] : [[code, row] as const];
    }),
  );

  it('has one row and one section for each code', () => {
    const sections = [...text.matchAll(/^## (ERR_\w+)$/gm)].map(([, code]) => code);
    assert.deepEqual([...rows.keys()].sort(), [...ERROR_CODES].sort());
    assert.deepEqual(sections.sort(), [...ERROR_CODES].sort());
  });

  it('shows the status, the close code and the pause of each code', () => {
    for (const code of ERROR_CODES) {
      const { status, retryAfterSeconds } = meaningOf(code);
      const reason = closeReasonOf(new LastseenError(code, ''));
      assert.deepEqual(
        rows.get(code)?.slice(1),
        [
          String(status),
          reason === undefined ? '–' : String(CLOSE_CODES[reason][0]),
          retryAfterSeconds === undefined ? '–' : `${retryAfterSeconds} s`,
        ],
        code,
      );
    }
  });

  it('agrees with the table of the wire reference', () => {
    const inProtocol = new Map<string, string>();
    for (const row of rowsOf(readPage('docs/protocol.md'))) {
      row.forEach((cell, index) => {
        const code = /^`(ERR_\w+)`$/.exec(cell)?.[1];
        if (code !== undefined) {
          inProtocol.set(code, row[index + 1] ?? '');
        }
      });
    }
    assert.deepEqual(
      [...inProtocol].sort(),
      ERROR_CODES.map((code) => [code, String(meaningOf(code).status)]).sort(),
    );
  });

  it('the wire reference names every close code and its reason', () => {
    const shown = new Map(
      rowsOf(readPage('docs/protocol.md'))
        .filter(([code = '', reason = '']) => /^\d{4}$/.test(code) && reason.startsWith('`'))
        .map(([code, reason = '']) => [code, codesIn(reason)[0]]),
    );
    assert.deepEqual(
      [...shown].sort(),
      Object.values(CLOSE_CODES)
        .map(([code, reason]) => [String(code), reason])
        .sort(),
    );
  });
});

it('docs/reference/sql.md: the functions that are listed are those that a query may call', () => {
  const cells = new Map(
    rowsOf(readPage('docs/reference/sql.md')).map(([engine = '', functions = '']) => [engine, functions]),
  );
  const listed = (engine: string): string[] => codesIn(cells.get(engine) ?? '');
  const wordsOf = (names: ReadonlySet<string>): string[] => [...names].filter((name) => /^\w+$/.test(name));
  assert.deepEqual([...listed('both'), ...listed('SQLite')].sort(), wordsOf(SQLITE_FUNCTIONS).sort());
  assert.deepEqual([...listed('both'), ...listed('PostgreSQL')].sort(), wordsOf(POSTGRES_FUNCTIONS).sort());
});

describe('links between documents', () => {
  const DOCUMENTS = [
    ...readdirSync(ROOT).filter((name) => name.endsWith('.md')),
    ...readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.md'))
      .map((name) => join('docs', name)),
  ];

  /** The anchors that GitHub gives to the headings of a document. */
  function anchorsOf(name: string): Set<string> {
    const anchors = new Set<string>();
    for (const [, heading = ''] of readPage(name)
      .replace(/^```[\s\S]*?^```$/gm, '')
      .matchAll(/^#{1,6} (.+)$/gm)) {
      const base = heading
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-');
      let anchor = base;
      for (let count = 1; anchors.has(anchor); count += 1) {
        anchor = `${base}-${count}`;
      }
      anchors.add(anchor);
    }
    return anchors;
  }

  it('lead to a file that exists and to a heading in it', () => {
    const faults: string[] = [];
    let count = 0;
    for (const name of DOCUMENTS) {
      const text = readPage(name).replace(/^```[\s\S]*?^```$/gm, '');
      for (const [, target = ''] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
        if (/^https?:/.test(target)) {
          continue;
        }
        count += 1;
        const [path = '', anchor] = target.split('#');
        const file = path === '' ? name : relative(ROOT, resolve(ROOT, dirname(name), path));
        if (!existsSync(join(ROOT, file)) || !statSync(join(ROOT, file)).isFile()) {
          faults.push(`${name}: ${target}: there is no such file`);
        } else if (anchor !== undefined && !anchorsOf(file).has(anchor)) {
          faults.push(`${name}: ${target}: there is no such heading`);
        }
      }
    }
    assert.deepEqual(faults, []);
    assert.ok(count > 100, `only ${count} links were found`);
  });

  it('every document can be reached from the README', () => {
    const reached = new Set(['README.md']);
    for (const name of reached) {
      for (const [, target = ''] of readPage(name).matchAll(/\]\(([^)\s#]+\.md)/g)) {
        reached.add(relative(ROOT, resolve(ROOT, dirname(name), target)));
      }
    }
    assert.deepEqual(
      DOCUMENTS.filter((name) => !reached.has(name)),
      [],
    );
  });
});
