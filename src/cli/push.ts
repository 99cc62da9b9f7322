/** lastseen push: a file or standard input, as a JSON array or NDJSON, in batches, safe to repeat. */
import type { Command } from 'commander';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { readClientConfig, type ClientConfig } from '../config.ts';
import { LastseenError } from '../log/errors.ts';
import { elementSpans, memberSpan } from '../log/json-text.ts';
import { backoffMs } from './backoff.ts';

/** A batch is closed when it has so many characters, well under the server's limit. */
const MAX_BATCH_CHARACTERS = 2 * 1024 * 1024;
const MAX_TRIES = 12;

interface PushOptions {
  readonly url?: string;
  readonly batch: string;
  readonly source?: string;
}

export function addPush(program: Command): void {
  program
    .command('push')
    .description('push events from FILE or standard input: a JSON array, or one JSON object a line')
    .argument('[file]', 'file to read; "-" or none: standard input')
    .option('--url <url>', 'server (default http://127.0.0.1:8080) [LASTSEEN_URL]')
    .option('--batch <events>', 'events a request', '500')
    .option(
      '--source <name>',
      'name of the input, part of the ids made for events without one (default: the file)',
    )
    .addHelpText(
      'after',
      `
The token is read from LASTSEEN_TOKEN.
Repeating a push appends nothing twice: an event without an "id" gets one, made from its text, the text of all
events before it in the input, and the name of the input.`,
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
  const name = nameEvents(options.source ?? file ?? '');
  let batch: string[] = [];
  let characters = 0;
  let sent = 0;
  let appended = 0;
  const flush = async (): Promise<void> => {
    if (batch.length === 0) return;
    appended += await send(client, batch, sent);
    sent += batch.length;
    batch = [];
    characters = 0;
    progress(`${String(sent)} events pushed, ${String(appended)} new`);
  };
  for await (const text of readEvents(file)) {
    const event = name(text);
    if (batch.length >= size || characters + event.length > MAX_BATCH_CHARACTERS) await flush();
    batch.push(event);
    characters += event.length;
  }
  await flush();
  if (process.stderr.isTTY) process.stderr.write('\r\u001b[K');
  process.stdout.write(`${String(sent)} events pushed, ${String(appended)} new\n`);
}

/** The text of each event, as it stands in the input. */
async function* readEvents(file: string | undefined): AsyncGenerator<string> {
  const input = file === undefined ? process.stdin : createReadStream(file);
  const lines = createInterface({ input, crlfDelay: Infinity });
  let array: string[] | undefined;
  let isFirst = true;
  let number = 0;
  for await (const line of lines) {
    number += 1;
    if (isFirst && line.trim() === '') continue;
    if (isFirst && line.trimStart().startsWith('[')) array = [];
    isFirst = false;
    if (array !== undefined) array.push(line);
    else if (line.trim() !== '') {
      checkJson(line, `line ${String(number)}`);
      yield line.trim();
    }
  }
  if (array === undefined) return;
  const text = array.join('\n');
  checkJson(text, 'the input');
  for (const { start, end } of elementSpans(text)) yield text.slice(start, end);
}

function checkJson(text: string, what: string): void {
  try {
    JSON.parse(text);
  } catch (error) {
    throw new LastseenError(
      'ERR_BODY_MALFORMED',
      `${what} is not JSON: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

/** Gives an event without an id one that is the same whenever the same input is pushed again. */
function nameEvents(source: string): (text: string) => string {
  let chain = createHash('sha256').update(source).digest();
  return (text) => {
    chain = createHash('sha256').update(chain).update(text).digest();
    const hasBody = text.startsWith('{') && text.slice(1).trimStart() !== '}';
    if (!hasBody || memberSpan(text, 0, 'id') !== undefined) return text;
    return `{"id":"push-${chain.toString('base64url').slice(0, 27)}",${text.slice(1)}`;
  };
}

/** Pushes one batch and returns how many of its events were new. */
async function send(client: ClientConfig, batch: readonly string[], before: number): Promise<number> {
  for (let attempt = 1; ; attempt += 1) {
    const answer = await post(client, `[${batch.join(',')}]`);
    if (answer.status === 200) return (JSON.parse(answer.text) as { appended: number }).appended;
    const isTemporary = answer.status === 0 || answer.status === 429 || answer.status === 503;
    if (!isTemporary || attempt >= MAX_TRIES) {
      const where = before === 0 ? '' : ` (the ${String(before)} events before it are in)`;
      throw new LastseenError(
        'ERR_STORE_UNAVAILABLE',
        `the batch from event ${String(before)} was not taken${where}: ${reasonOf(answer)}`,
      );
    }
    progress(`waiting for the server: ${reasonOf(answer)}`);
    await sleep(backoffMs(attempt, answer.retryAfterSeconds));
  }
}

interface Answer {
  /** 0 when there was none. */
  readonly status: number;
  readonly text: string;
  readonly retryAfterSeconds: number;
}

async function post(client: ClientConfig, body: string): Promise<Answer> {
  try {
    const response = await fetch(`${client.url}/push_events`, {
      method: 'POST',
      headers: {
        'Content-Type': 'application/json',
        Prefer: 'return=representation',
        ...(client.token === undefined ? {} : { Authorization: `Bearer ${client.token}` }),
      },
      body,
    });
    const retryAfterSeconds = Number(response.headers.get('Retry-After') ?? 0);
    return { status: response.status, text: await response.text(), retryAfterSeconds };
  } catch (error) {
    const cause =
      error instanceof Error && error.cause instanceof Error ? error.cause.message : String(error);
    return { status: 0, text: cause, retryAfterSeconds: 0 };
  }
}

function reasonOf(answer: Answer): string {
  if (answer.status === 0) return answer.text;
  try {
    return `${String(answer.status)} ${(JSON.parse(answer.text) as { detail: string }).detail}`;
  } catch {
    return String(answer.status);
  }
}

/** One line that overwrites itself, on a terminal only. */
function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${text}`);
}
