/** The reference of the command line beside the program. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { it } from 'node:test';
import { CLI_PAGE, cliTables, withCliTables } from '../support/reference-tables.ts';

it('docs/reference/cli.md has a section for each command, with every option, its meaning and its default', () => {
  const page = readFileSync(CLI_PAGE, 'utf8');
  // `npm run docs:tables` writes the tables into the page.
  assert.equal(page, withCliTables(page));
  for (const line of cliTables().split('\n')) {
    assert.ok(page.includes(line), `the page lacks ${line}`);
  }
});

it('a command that is missing, and one that is too much, are found', () => {
  assert.throws(() => withCliTables('# Command line\n'), /lacks a section: lastseen serve, lastseen migrate/);
  assert.throws(
    () => withCliTables(`# Command line\n\n${cliTables()}\n## lastseen dance\n`),
    /no such command: lastseen dance/,
  );
});
