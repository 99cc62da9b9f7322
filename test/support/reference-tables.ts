/** Tables of the reference that are made from the code. `npm run docs:tables` writes them into the pages. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command, Option } from 'commander';
import { optionFacts } from '../../src/cli/io/options.ts';
import { buildProgram } from '../../src/cli/program.ts';

export const CLI_PAGE = join(import.meta.dirname, '../../docs/reference/cli.md');

const program = await buildProgram();

/** A section `## lastseen COMMAND` with a table of options for each command, in the order of `lastseen --help`. */
export function cliTables(): string {
  return leaves(program)
    .map(({ name, command }) => `## ${name}\n\n${optionTable(command)}\n`)
    .join('\n');
}

/** The page with the tables of the code in place of its own. @throws Error naming a section that is missing or too much */
export function withCliTables(page: string): string {
  const [intro = '', ...sections] = split(page);
  const tables = new Map(split(cliTables()).map((section) => [heading(section), tableOf(section)]));
  const documented = new Set(sections.map(heading));
  const missing = [...tables.keys()].filter((name) => name !== '' && !documented.has(name));
  if (missing.length > 0) {
    throw new Error(`the page lacks a section: ${missing.join(', ')}`);
  }
  return [
    intro,
    ...sections.map((section) => {
      const table = tables.get(heading(section));
      if (table === undefined) {
        throw new Error(`the program has no such command: ${heading(section)}`);
      }
      return section.replace(TABLE, () => table);
    }),
  ].join('');
}

const TABLE = /^\| option \|.*\n(?:\|.*\n)+/m;

function split(page: string): string[] {
  return page.split(/^(?=## lastseen )/m);
}

function heading(section: string): string {
  return /^## (lastseen .*)$/m.exec(section)?.[1] ?? '';
}

function tableOf(section: string): string {
  return TABLE.exec(section)?.[0] ?? '';
}

interface NamedCommand {
  readonly name: string;
  readonly command: Command;
}

/** The commands that do something: those without commands of their own. */
function leaves(command: Command, parents = ''): NamedCommand[] {
  const name = `${parents}${command.name()}`;
  return command.commands.length === 0
    ? [{ name, command }]
    : command.commands.flatMap((child) => leaves(child, `${name} `));
}

function optionTable(command: Command): string {
  const rows = command.options.map(optionRow);
  return ['| option | meaning | default |', '|---|---|---|', ...rows].join('\n');
}

function optionRow(option: Option): string {
  const { choices, fallback } = optionFacts(option);
  const meaning = [
    option.description.replace(/ \[([A-Z_]+)\]$/, ' (`$1`)'),
    ...(choices === undefined ? [] : [choices.map(code).join(', ')]),
  ].join(': ');
  const required = option.mandatory ? 'required' : '';
  return `| ${[code(option.flags), meaning, fallback === undefined ? required : defaultCell(fallback)]
    .map((cell) => cell.replaceAll('|', '\\|'))
    .join(' | ')} |`;
}

/** A value as code, words as words. */
function defaultCell(fallback: string): string {
  return fallback.includes(' ') || fallback === 'none' ? fallback : code(fallback);
}

function code(text: string): string {
  return `\`${text}\``;
}

if (import.meta.main && process.argv[2] === '--write') {
  writeFileSync(CLI_PAGE, withCliTables(readFileSync(CLI_PAGE, 'utf8')));
}
