/** lastseen tail: a feed as NDJSON on standard output; comes back by itself and goes on where it was. */
import type { Command } from 'commander';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { WebSocket } from 'ws';
import { ClientError, subscribe, type ClientEvent, type SocketConstructor } from '../client/index.ts';
import { readClientConfig } from '../config.ts';
import { LastseenError } from '../log/errors.ts';

interface TailOptions {
  readonly url?: string;
  readonly after?: string;
  readonly state?: string;
  readonly follow: boolean;
}

/** How long the place may be ahead of the file. */
const SAVE_MS = 100;

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
  const after =
    options.after ??
    (options.state === undefined ? undefined : readState(options.state)) ??
    (options.follow ? 'now' : 'start');
  // Who reads us may stop reading: that is an end, not a failure.
  process.stdout.on('error', () => process.exit(0));
  const stop = new AbortController();
  const place = keepPlace(options.state);
  const events = subscribe({
    url: client.url,
    accessId,
    after,
    ...(client.token === undefined ? {} : { token: client.token }),
    WebSocket: WebSocket as unknown as SocketConstructor,
    // An event stream does not say when it has caught up.
    transports: options.follow ? ['websocket', 'stream', 'poll'] : ['websocket', 'poll'],
    signal: stop.signal,
    store: {
      load: () => undefined,
      save: (_accessId, cursor) => {
        place.keep(cursor);
      },
    },
    onState: (state) => {
      if (state.name === 'live' && !options.follow) stop.abort();
      if (state.name === 'waiting' && process.stderr.isTTY)
        process.stderr.write(`lastseen: ${state.reason}, coming back\n`);
    },
  });
  try {
    for await (const event of events) {
      if (!process.stdout.write(`${lineOf(event)}\n`))
        await new Promise((resolve) => process.stdout.once('drain', resolve));
    }
  } catch (error) {
    throw error instanceof ClientError ? told(error) : error;
  } finally {
    place.write();
  }
}

/** An event as the wire has it, the payload letter for letter. */
function lineOf(event: ClientEvent): string {
  const id = event.id === null ? '' : `"id":${JSON.stringify(event.id)},`;
  return (
    `{"cursor":"${event.cursor}","access_id":${JSON.stringify(event.accessId)},` +
    `"version":${String(event.version)},"created_at":${String(event.createdAt)},` +
    `"recorded_at":${String(event.recordedAt)},${id}"payload":${event.rawPayload}}`
  );
}

function told(error: ClientError): LastseenError {
  const hint = error.status === 401 ? ' (set LASTSEEN_TOKEN)' : '';
  const code = error.serverCode ?? error.code;
  return new LastseenError('ERR_STORE_UNAVAILABLE', `${code}: ${error.message}${hint}`);
}

/** Writes the cursor a little later, so that a long catch-up is not one file an event; a crash repeats a few. */
function keepPlace(file: string | undefined): { keep(cursor: string): void; write(): void } {
  let last: string | undefined;
  let timer: NodeJS.Timeout | undefined;
  const write = (): void => {
    clearTimeout(timer);
    timer = undefined;
    if (file !== undefined && last !== undefined) writeState(file, last);
    last = undefined;
  };
  // Ctrl-C ends us: what was printed is kept first.
  if (file !== undefined)
    for (const signal of ['SIGINT', 'SIGTERM'] as const)
      process.once(signal, () => {
        write();
        process.kill(process.pid, signal);
      });
  return {
    keep(cursor) {
      last = cursor;
      timer ??= setTimeout(write, SAVE_MS);
    },
    write,
  };
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
