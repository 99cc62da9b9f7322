/**
 * npm run bench: measures the server beside bare baselines, in turns, and writes docs/performance.md.
 *
 *   --runs N          runs of each figure (default 5)
 *   --quick           small sizes; the document is not written
 *   --only a,b        of ingest, latency, fan-out, catch-up, memory, large-file, structures, postgres, query
 *   --file-events N   large-file and structures, on a file of N events
 */
import { parseArgs } from 'node:util';
import {
  catchUp,
  fanOut,
  type Figure,
  ingest,
  largeFile,
  latency,
  memory,
  type Plan,
  structures,
} from './figures.ts';
import { postgres } from './postgres-figure.ts';
import { query } from './query-figure.ts';
import { figureText, writeSection } from './report.ts';
import { removeTemporary } from './server.ts';

const FIGURES: Readonly<Record<string, (plan: Plan) => Promise<Figure>>> = {
  ingest,
  latency,
  'fan-out': fanOut,
  'catch-up': catchUp,
  memory,
  'large-file': largeFile,
  structures,
  postgres,
  query,
};

const { values: options } = parseArgs({
  options: {
    runs: { type: 'string', default: '5' },
    quick: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
    'file-events': { type: 'string', default: '0' },
  },
});
const plan: Plan = {
  runs: whole('runs', options.runs, 1),
  isQuick: options.quick,
  fileEvents: whole('file-events', options['file-events'], 0),
};
const names = options.only === '' ? Object.keys(FIGURES) : options.only.split(',');
for (const name of names) {
  if (!(name in FIGURES)) {
    throw new Error(`--only: ${name} is none of ${Object.keys(FIGURES).join(', ')}`);
  }
}

process.on('SIGINT', () => process.exit(130));
process.on('exit', () => {
  removeTemporary();
});
const command = ['npm run bench --', ...process.argv.slice(2)].join(' ').replace(/ --$/, '');
for (const name of names) {
  if ((name === 'large-file' || name === 'structures') && plan.fileEvents === 0) {
    continue;
  }
  const figure = await FIGURES[name]?.(plan);
  if (figure === undefined) {
    continue;
  }
  process.stdout.write(`${figureText(figure)}\n`);
  if (!plan.isQuick) {
    writeSection(figure, plan, command);
  }
}

function whole(name: string, text: string, min: number): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < min) {
    throw new Error(`--${name}: must be an integer from ${min}, got ${text}`);
  }
  return value;
}
