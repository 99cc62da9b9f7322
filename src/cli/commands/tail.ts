/** lastseen tail: prints a feed as NDJSON. It reconnects and resumes after the last printed event. */
import { type Command, Option } from 'commander';
import { WebSocket } from 'ws';
import { ClientError, type ClientEvent, subscribe, type UnprovenVersions } from '../../client/index.ts';
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
    .option('--state <file>', 'store the place after the last printed event in this file, and resume from it')
    .option('--no-follow', 'exit after the events that exist now; without --after, print from the start')
    .addHelpText(
      'after',
      '\nThe token is read from LASTSEEN_TOKEN. If the server refuses the cursor, the command exits with code 1.',
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
    store: {
      load: (name) => (options.after === undefined ? state?.load(name) : undefined),
      save: (name, cursor, place) => state?.save(name, cursor, place),
    },
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
    throw error instanceof ClientError ? toUserError(error) : error;
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

function toUserError(error: ClientError): LastseenError {
  const hint = error.status === 401 ? ' (set LASTSEEN_TOKEN)' : '';
  const code = error.serverCode ?? error.code;
  return new LastseenError('ERR_STORE_UNAVAILABLE', `${code}: ${error.message}${hint}${adviceOn(error)}`);
}

/** What the user can do about a refused cursor, and which printed events do not count. */
function adviceOn({ code, common, floor, unproven }: ClientError): string {
  const start = common ?? floor;
  if (code !== 'ERR_CURSOR_DIVERGED' || start === undefined) {
    return floor === undefined ? '' : `\nTo read from the oldest event that exists: --after ${floor}`;
  }
  return (
    `\n${unprovenText(unproven, common)} must count as not having happened.` +
    `\nTo continue from the ${common === undefined ? 'oldest event that exists' : 'last common event'}: --after ${start}`
  );
}

function unprovenText(unproven: UnprovenVersions | undefined, common: string | undefined): string {
  const { from, through } = unproven ?? {};
  if (from !== undefined && through !== undefined) {
    return from === through ? `Version ${from}` : `Versions ${from} to ${through}`;
  }
  if (from !== undefined) {
    return `Printed events from version ${from} on`;
  }
  return common === undefined ? 'The printed events' : 'Printed events after the last common event';
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
