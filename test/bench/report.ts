/** What was measured, as text for a terminal and as a section of docs/performance.md. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { cpus, release, totalmem, type } from 'node:os';
import type { Claim, Figure, Plan } from './figures.ts';
import { shownNumber, shownSpread, spread } from './stats.ts';

const FILE = new URL('../../docs/performance.md', import.meta.url);

const HEAD = `# Performance

\`npm run bench -- --write\` measures these figures and writes them here; without \`--write\` they are only printed. Each
section has bare baselines, measured in the same run and in turns with the server: median (least–most). Compare figures
inside one section only, because two sections may come from two machines. The load generator, the baselines and the server
share the cores. Figures that are missing here were not measured.
`;

export function figureText(figure: Figure): string {
  const width = Math.max(...figure.series.map(({ name }) => name.length));
  const lines = figure.series.map(
    ({ name, unit, values }) => `  ${name.padEnd(width)}  ${shownSpread(spread(values))} ${unit}`,
  );
  const claims = figure.claims.map(
    (claim) => `  ${verdict(claim)}: ${claim.what} = ${shownClaim(claim)}, ${targetOf(claim)}`,
  );
  return [figure.title, ...lines, ...claims, ''].join('\n');
}

/** Puts the section of this figure into the document, in the place of its older self. */
export function writeSection(figure: Figure, plan: Plan, command: string): void {
  const text = existsSync(FILE) ? readFileSync(FILE, 'utf8') : HEAD;
  const heading = `## ${figure.title}\n`;
  const sections = text.split(/^(?=## )/m);
  const section = `${heading}\n${body(figure, plan, command)}`;
  const at = sections.findIndex((each) => each.startsWith(heading));
  if (at === -1) {
    sections.push(section);
  } else {
    sections[at] = section;
  }
  sections[0] = HEAD;
  writeFileSync(FILE, `${sections.map((each) => each.trimEnd()).join('\n\n')}\n`);
}

function body(figure: Figure, plan: Plan, command: string): string {
  const series = figure.series.map(
    ({ name, unit, values }) => `| ${name} | ${shownSpread(spread(values))} | ${unit} |`,
  );
  const claims = figure.claims.map(
    (claim) => `| ${claim.what} | ${shownClaim(claim)} | ${targetOf(claim)} | ${verdict(claim)} |`,
  );
  return `${figure.note}

${machine()} \`${command}\`, ${plan.runs} runs.

${table(['', 'median (least–most)', ''], series)}
${claims.length === 0 ? '' : `\n${table(['target', 'measured', 'promised', ''], claims)}\n`}`;
}

function table(head: readonly string[], rows: readonly string[]): string {
  return [`| ${head.join(' | ')} |`, `|${head.map(() => '---').join('|')}|`, ...rows].join('\n');
}

function shownClaim({ values, unit }: Claim): string {
  return `${shownSpread(spread(values))}${unit === '' ? '' : ` ${unit}`}`;
}

function targetOf({ is, target, unit }: Claim): string {
  return `${is} ${shownNumber(target)}${unit === '' ? '' : ` ${unit}`}`;
}

function verdict({ values, is, target }: Claim): string {
  const { median } = spread(values);
  return (is === 'at least' ? median >= target : median <= target) ? 'reached' : 'missed';
}

function machine(): string {
  const require = createRequire(import.meta.url);
  const versionOf = (name: string): string =>
    (require(`${name}/package.json`) as { version: string }).version;
  const [cpu] = cpus();
  const gigabytes = Math.round(totalmem() / 1024 ** 3);
  return (
    `${new Date().toISOString().slice(0, 10)}, ${cpus().length} × ${cpu?.model.trim() ?? 'unknown'}, ` +
    `${gigabytes} GB, ${type()} ${release()}, Node ${process.versions.node}, ` +
    `better-sqlite3 ${versionOf('better-sqlite3')}, ws ${versionOf('ws')}.`
  );
}
