/** lastseen tail: a feed as NDJSON on standard output; comes back by itself and goes on where it was. */
import type { Command } from 'commander';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { readClientConfig, type ClientConfig } from '../config.ts';
import { LastseenError } from '../log/errors.ts';
import { elementSpans, memberSpan } from '../log/json-text.ts';
import { backoffMs } from './backoff.ts';

interface TailOptions {
  readonly url?: string;
  readonly after?: string;
  readonly state?: string;
  readonly follow: boolean;
}

/** Silence after which the connection counts as dead: two heartbeats. */
const SILENCE_MS = 60_000;

export function addTail(program: Command): void {
  program
    .command('tail')
    .description('print the events of ACCESS_ID, one JSON object a line, and follow it')
    .argument('<access_id>')
    .option('--url <url>', 'server (default http://127.0.0.1:8080) [LASTSEEN_URL]')
    .option('--after <cursor>', 'a cursor, "start" or "now" (default "now", or what the state file holds)')
    .option('--state <file>', 'keep the cursor of the last printed event in this file, and go on from it')
    .option('--no-follow', 'end when everything there is has been printed')
    .addHelpText(
      'after',
      '\nThe token is read from LASTSEEN_TOKEN. A refused cursor ends the command with code 1.',
    )
    .action(async (accessId: string, options: TailOptions) => {
      await tail(accessId, options);
    });
}

async function tail(accessId: string, options: TailOptions): Promise<void> {
  const client = readClientConfig(process.env, options.url);
  let after =
    options.after ??
    (options.state === undefined ? undefined : readState(options.state)) ??
    (options.follow ? 'now' : 'start');
  // Who reads us may stop reading: that is an end, not a failure.
  process.stdout.on('error', () => process.exit(0));
  for (let attempt = 1; ; attempt += 1) {
    const end = await follow(client, accessId, after, options.follow, async (lines, cursor) => {
      if (lines !== '' && !process.stdout.write(lines))
        await new Promise((resolve) => process.stdout.once('drain', resolve));
      after = cursor;
      attempt = 0;
      if (options.state !== undefined) writeState(options.state, cursor);
    });
    if (end === 'done') return;
    if (process.stderr.isTTY) process.stderr.write(`lastseen: ${end}, coming back\n`);
    await sleep(backoffMs(attempt));
  }
}

/** One connection. Returns "done", or why it ended when another may go on. @throws what a retry cannot mend */
function follow(
  client: ClientConfig,
  accessId: string,
  after: string,
  shouldFollow: boolean,
  onEvents: (lines: string, cursor: string) => Promise<void>,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const headers = client.token === undefined ? {} : { Authorization: `Bearer ${client.token}` };
    const socket = new WebSocket(`${client.url.replace(/^http/, 'ws')}/subscribe_to_events`, {
      headers,
      perMessageDeflate: false,
    });
    let failure: LastseenError | undefined;
    let reason = 'the connection was lost';
    let isDone = false;
    let work: Promise<void> = Promise.resolve();
    let silence = setTimeout(() => {
      socket.terminate();
    }, SILENCE_MS);

    async function handle(text: string): Promise<void> {
      const frame = JSON.parse(text) as {
        type: string;
        cursor?: string;
        code?: string;
        detail?: string;
        events?: { cursor: string }[];
      };
      if (frame.type === 'subscribed' && frame.cursor !== undefined) await onEvents('', frame.cursor);
      else if (frame.type === 'events') {
        const last = frame.events?.at(-1);
        if (last !== undefined) await onEvents(eventLines(text), last.cursor);
      } else if (frame.type === 'live' && !shouldFollow) {
        isDone = true;
        socket.close();
      } else if (frame.type === 'error') {
        failure = new LastseenError(
          'ERR_STORE_UNAVAILABLE',
          `${frame.code ?? ''} ${frame.detail ?? ''}`.trim(),
        );
      }
    }

    socket.on('open', () => {
      socket.send(JSON.stringify({ access_id: accessId, after }));
    });
    socket.on('message', (data: Buffer) => {
      silence.refresh();
      // While the lines are being taken, the server is not asked for more.
      socket.pause();
      work = work
        .then(() => handle(data.toString('utf8')))
        .then(() => {
          socket.resume();
        }, reject);
    });
    socket.on('unexpected-response', (request, response) => {
      const status = response.statusCode ?? 0;
      request.destroy();
      reason = `the server answered ${String(status)}`;
      if (status !== 503 && status !== 429)
        failure = new LastseenError(
          'ERR_FORBIDDEN',
          `${reason}: ${status === 401 ? 'set LASTSEEN_TOKEN' : 'not served'}`,
        );
      socket.terminate();
    });
    socket.on('error', (error) => {
      if (failure === undefined && !reason.startsWith('the server answered'))
        reason = error.message || reason;
    });
    socket.on('close', (code) => {
      clearTimeout(silence);
      void work.then(() => {
        if (isDone) resolve('done');
        else if (failure !== undefined && (code >= 4500 || code === 1008 || code === 1006)) reject(failure);
        else resolve(reason);
      });
    });
    silence = silence.refresh();
  });
}

/** Each event's own text, so that no payload changes on its way. */
function eventLines(frame: string): string {
  const span = memberSpan(frame, 0, 'events');
  if (span === undefined) return '';
  const list = frame.slice(span.start, span.end);
  return elementSpans(list)
    .map(({ start, end }) => `${list.slice(start, end)}\n`)
    .join('');
}

function readState(file: string): string | undefined {
  if (!existsSync(file)) return undefined;
  const cursor = readFileSync(file, 'utf8').trim();
  return cursor === '' ? undefined : cursor;
}

/** Whole or not at all: a crash leaves the old cursor, and the events after it come again. */
function writeState(file: string, cursor: string): void {
  writeFileSync(`${file}.new`, `${cursor}\n`);
  renameSync(`${file}.new`, file);
}
