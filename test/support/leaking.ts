/** A test file that leaves behind what `LEAK` names. `leaks.test.ts` runs it; its name keeps it out of `npm test`. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { it } from 'node:test';
import { Worker } from 'node:worker_threads';
import { createDatabase } from './postgres.ts';
import { temporaryDirectory } from './temporary.ts';

const LEAKS: Readonly<Record<string, () => unknown>> = {
  nothing: async () => {
    const directory = temporaryDirectory();
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    server.close();
    directory.remove();
  },
  timer: () => setInterval(() => undefined, 1_000),
  'listening socket': () => once(createServer().listen(0, '127.0.0.1'), 'listening'),
  connection: async () => {
    const { port, hostname } = new URL(process.env['PEER'] ?? '');
    await once(connect(Number(port), hostname), 'connect');
  },
  thread: () => new Worker('setInterval(() => undefined, 1_000)', { eval: true }),
  'child process': () => {
    spawn('sleep', ['300'], { stdio: 'ignore' }).unref();
  },
  'temporary directory': () => temporaryDirectory(),
  database: () => createDatabase(),
};

const leak = LEAKS[process.env['LEAK'] ?? ''];

it('passes', async () => {
  await leak?.();
});
