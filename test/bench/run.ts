/** `npm run bench`: measures the server beside bare baselines, in turns. `--help` has the options. */
import { readCommandLine } from '../support/command-line.ts';
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

const HELP = `npm run bench -- [options]

Measures the server beside bare baselines, in turns, and prints the figures.

  --only A,B       only these figures: ${Object.keys(FIGURES).slice(0, 5).join(', ')},
                   ${Object.keys(FIGURES).slice(5).join(', ')}
  --runs N         runs of each figure (default 5)
  --quick          small sizes
  --file-events N  measures large-file and structures too, on a file of N events
  --write          puts the figures into docs/performance.md
  --help           shows this
`;

const { options, fail } = readCommandLine(HELP, {
  options: {
    only: { type: 'string', default: '' },
    runs: { type: 'string', default: '5' },
    quick: { type: 'boolean', default: false },
    'file-events': { type: 'string', default: '0' },
    write: { type: 'boolean', default: false },
  },
});
if (options.write && options.quick) {
  fail('--write needs figures of the full size: leave --quick out');
}
const plan: Plan = {
  runs: whole('runs', options.runs, 1),
  isQuick: options.quick,
  fileEvents: whole('file-events', options['file-events'], 0),
};
const names = options.only === '' ? Object.keys(FIGURES) : options.only.split(',');
for (const name of names) {
  if (!(name in FIGURES)) {
    fail(`--only must name ${Object.keys(FIGURES).join(', ')}, got ${name}`);
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
  if (options.write) {
    writeSection(figure, plan, command);
  }
}

function whole(name: string, text: string, min: number): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < min) {
    fail(`--${name} must be an integer from ${min}, got ${text}`);
  }
  return value;
}
