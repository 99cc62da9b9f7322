/** lastseen push: sends a file or standard input, a JSON array or NDJSON, in batches. It is safe to repeat. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { type Command, Option } from 'commander';
import { createPublisher, type NewEvent, type PushResult } from '../../client/index.ts';
import { readClientConfig } from '../../config.ts';
import { LastseenError, quote } from '../../errors.ts';
import { elementSpans, memberSpan } from '../../json-text.ts';
import { systemRuntime } from '../../system-runtime.ts';
import { addUrlOption } from '../io/options.ts';
import { createProgress } from '../io/progress.ts';

/** An event fails when the server has not accepted it for this long. */
const GIVE_UP_MS = 120_000;

/** What became of an event that was not pushed. */
const FAILURES = {
  'not-appended': 'failed',
  'not-known': 'may or may not have been appended (push the same input again to find out)',
} as const;

interface PushOptions {
  readonly url?: string;
  readonly batch: string;
  readonly source?: string;
}

export function addPush(program: Command): void {
  addUrlOption(
    program
      .command('push')
      .description('push events from FILE or standard input: a JSON array, or one JSON object per line')
      .argument('[file]', 'file to read; "-" or omitted: standard input'),
  )
    .option('--batch <events>', 'events per request, at most 10000', '500')
    .addOption(
      new Option('--source <name>', 'name of the input, part of the ids that the command makes').default(
        undefined,
        'the file',
      ),
    )
    .addHelpText(
      'after',
      `
The token is read from LASTSEEN_TOKEN.
The command makes an id for each event without one, from the text of the event, the text of all events before it in the
input, and the name of the input. If you push the same input again, the server appends nothing twice.
The command stops at the first event that the server refuses.`,
    )
    .action(async (file: string | undefined, options: PushOptions) => {
      await push(file === '-' ? undefined : file, options);
    });
}

async function push(file: string | undefined, options: PushOptions): Promise<void> {
  const client = readClientConfig(process.env, options.url);
  const size = Number(options.batch);
  if (!Number.isInteger(size) || size < 1 || size > 10_000) {
    throw new LastseenError(
      'ERR_REQUEST_INVALID',
      `--batch must be an integer from 1 to 10000, got ${options.batch}`,
    );
  }
  const assignId = createIdAssigner(options.source ?? file ?? '');
  const publisher = createPublisher({
    url: client.url,
    ...(client.token === undefined ? {} : { token: client.token }),
    maxBatchEvents: size,
    giveUpAfterMs: GIVE_UP_MS,
  });
  const progress = createProgress('pushed', systemRuntime.clock);
  const failures: { readonly number: number; readonly result: PushResult & { readonly ok: false } }[] = [];
  let read = 0;
  let taken = 0;
  let appended = 0;
  for await (const text of readEventTexts(file)) {
    const number = (read += 1);
    const answer = publisher.push(parseEvent(assignId(text))).then(([result]) => {
      if (result === undefined) {
        return;
      }
      if (!result.ok) {
        failures.push({ number, result });
        return;
      }
      taken += 1;
      if (!result.duplicate) {
        appended += 1;
      }
      progress.show(taken);
    });
    if (failures.length > 0) {
      break;
    }
    // The command reads at most two batches ahead of the server.
    if (publisher.bufferedEvents >= 2 * size) {
      await answer;
    }
  }
  await publisher.close();
  progress.end();
  const [failure] = failures;
  if (failure !== undefined) {
    const { number, result } = failure;
    const { error, outcome } = result;
    const status = error.status === undefined ? '' : `${error.status} `;
    const cause = error.cause instanceof Error ? ` (${error.cause.message})` : '';
    throw new LastseenError(
      'ERR_STORE_UNAVAILABLE',
      `event ${number} ${FAILURES[outcome]}: ${status}${error.message}${cause} (${taken} events were pushed)`,
    );
  }
  process.stdout.write(`${taken} events pushed, ${appended} new\n`);
}

/** An event of the input as the SDK takes it. The payload text stays unchanged. */
function parseEvent(text: string): NewEvent {
  const value = JSON.parse(text) as unknown;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new LastseenError('ERR_EVENT_INVALID', `an event must be an object, got ${quote(value)}`);
  }
  const { accessid, access_id: accessId, created_at: createdAt, id } = value as Record<string, unknown>;
  const payload = memberSpan(text, text.indexOf('{'), 'payload');
  if (payload === undefined) {
    throw new LastseenError('ERR_EVENT_INVALID', 'an event must have a payload');
  }
  // The server checks the other members: it knows the rules.
  return {
    accessId: (accessid ?? accessId) as string,
    createdAt: createdAt as number,
    rawPayload: text.slice(payload.start, payload.end),
    ...(id === undefined || id === null ? {} : { id: id as string }),
  };
}

/** The text of each event, unchanged. */
async function* readEventTexts(file: string | undefined): AsyncGenerator<string> {
  const input = file === undefined ? process.stdin : createReadStream(file);
  const lines = createInterface({ input, crlfDelay: Infinity });
  let array: string[] | undefined;
  let isFirst = true;
  let number = 0;
  for await (const line of lines) {
    number += 1;
    if (isFirst && line.trim() === '') {
      continue;
    }
    if (isFirst && line.trimStart().startsWith('[')) {
      array = [];
    }
    isFirst = false;
    if (array !== undefined) {
      array.push(line);
    } else if (line.trim() !== '') {
      assertJson(line, `line ${number}`);
      yield line.trim();
    }
  }
  if (array === undefined) {
    return;
  }
  const text = array.join('\n');
  assertJson(text, 'the input');
  for (const { start, end } of elementSpans(text)) {
    yield text.slice(start, end);
  }
}

function assertJson(text: string, subject: string): void {
  try {
    JSON.parse(text);
  } catch (error) {
    throw new LastseenError(
      'ERR_BODY_MALFORMED',
      `${subject} is not JSON: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

/** Adds an id to an event without one. The same input leads to the same ids. */
function createIdAssigner(source: string): (text: string) => string {
  let chain = createHash('sha256').update(source).digest();
  return (text) => {
    chain = createHash('sha256').update(chain).update(text).digest();
    const hasBody = text.startsWith('{') && text.slice(1).trimStart() !== '}';
    if (!hasBody || memberSpan(text, 0, 'id') !== undefined) {
      return text;
    }
    return `{"id":"push-${chain.toString('base64url').slice(0, 27)}",${text.slice(1)}`;
  };
}
