/** lastseen tail: prints a feed as NDJSON. It reconnects and resumes after the last printed event, or says why it cannot. */
import { type Command, Option } from 'commander';
import { WebSocket } from 'ws';
import { ClientError, type ClientEvent, type CursorStore, subscribe } from '../../client/index.ts';
import { type FileStore, fileStore } from '../../client/node.ts';
import { readClientConfig } from '../../config.ts';
import { LastseenError } from '../../errors.ts';
import { addUrlOption } from '../io/options.ts';

interface TailOptions {
  readonly url?: string;
  readonly after?: string;
  readonly state?: string;
  readonly follow: boolean;
}

export function addTail(program: Command): void {
  addUrlOption(
    program
      .command('tail')
      .description('print the events of ACCESS_ID, one JSON object per line, and follow new events')
      .argument('<access_id>', 'feed to print'),
  )
    .addOption(
      new Option('--after <cursor>', 'start after a cursor, at "start" or at "now"').default(
        undefined,
        'the cursor of the state file, or "now"',
      ),
    )
    .option(
      '--state <file>',
      'store the cursor of the last printed event, and its trail, in this file, and resume from it',
    )
    .option('--no-follow', 'exit after the events that exist now; without --after, print from the start')
    .addHelpText(
      'after',
      `
The token is read from LASTSEEN_TOKEN.
If the server refuses the cursor, the command says where it can continue, leaves the state file as it is, and exits with
code 1.`,
    )
    .action(async (accessId: string, options: TailOptions) => {
      await tail(accessId, options);
    });
}

async function tail(accessId: string, options: TailOptions): Promise<void> {
  const client = readClientConfig(process.env, options.url);
  const state = openState(options.state);
  const stop = new AbortController();
  const events = subscribe({
    url: client.url,
    accessId,
    after: options.after ?? (options.follow ? 'now' : 'start'),
    ...(client.token === undefined ? {} : { token: client.token }),
    WebSocket,
    // An event stream has no mark for the moment when it has caught up.
    transports: options.follow ? ['websocket', 'stream', 'poll'] : ['websocket', 'poll'],
    signal: stop.signal,
    ...(state === undefined ? {} : { store: options.after === undefined ? state : writeOnly(state) }),
    onState: (state) => {
      if (state.name === 'live' && !options.follow) {
        stop.abort();
      }
      if (state.name === 'waiting') {
        process.stderr.write(`lastseen: ${state.reason}; reconnecting\n`);
      }
    },
  });
  try {
    for await (const event of events) {
      if (!process.stdout.write(`${formatEvent(event)}\n`)) {
        await new Promise((resolve) => process.stdout.once('drain', resolve));
      }
    }
  } catch (error) {
    throw error instanceof ClientError ? toUserError(error, accessId) : error;
  } finally {
    state?.flush();
  }
}

/** An event as the wire has it, with the payload text unchanged. */
function formatEvent(event: ClientEvent): string {
  const id = event.id === null ? '' : `"id":${JSON.stringify(event.id)},`;
  return (
    `{"cursor":"${event.cursor}","access_id":${JSON.stringify(event.accessId)},` +
    `"version":${event.version},"created_at":${event.createdAt},` +
    `"recorded_at":${event.recordedAt},${id}"payload":${event.rawPayload}}`
  );
}

function toUserError(error: ClientError, accessId: string): LastseenError {
  const hint = error.status === 401 ? ' (set LASTSEEN_TOKEN)' : '';
  const code = error.serverCode ?? error.code;
  const lines = [`${code}: ${error.message}${hint}`, ...describeVerdict(error, accessId)];
  return new LastseenError('ERR_STORE_UNAVAILABLE', lines.join('\n'));
}

/** What a refused cursor means for the reader of the output, and with which options the command continues. */
function describeVerdict({ common, commonBy, floor, unproven }: ClientError, accessId: string): string[] {
  const lines: string[] = [];
  if (unproven !== undefined) {
    const { from, through } = unproven;
    const versions = from === through ? `version ${from}` : `the versions ${from} to ${through}`;
    lines.push(
      `Treat ${versions} of ${JSON.stringify(accessId)} as not having happened, if you have printed them.`,
    );
  }
  if (common !== undefined) {
    const place =
      commonBy === 'term' ? 'where the log lost events' : 'at the last place known to be in the log';
    lines.push(`To continue ${place}: --after ${common}`);
  }
  if (floor !== undefined) {
    lines.push(`To continue with the oldest event of the log: --after ${floor}`);
  }
  return lines;
}

/** The state file with --after: its cursor and trail are replaced and not read. */
function writeOnly({ save, trail }: FileStore): CursorStore {
  const load = (): undefined => undefined;
  return { load, save, ...(trail === undefined ? {} : { trail: { load, save: trail.save } }) };
}

/** The store of the state file, if there is one. Ctrl-C writes the cursor of the last printed event before the end. */
function openState(file: string | undefined): FileStore | undefined {
  if (file === undefined) {
    return undefined;
  }
  let place: FileStore;
  try {
    place = fileStore(file);
  } catch (error) {
    throw new LastseenError('ERR_REQUEST_INVALID', `--state: ${(error as Error).message}`);
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      place.flush();
      process.kill(process.pid, signal);
    });
  }
  return place;
}
