/** Clients and connectors that go on whatever happens to the servers, and what became of it. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, TOKEN, type WireEvent } from './service.ts';
import { until } from './until.ts';

const authorization = { Authorization: `Bearer ${TOKEN}` };

/** The refusal of a cursor. */
export interface Verdict {
  readonly code: string;
  readonly floor?: string;
  /** Close code of the socket. */
  readonly close: number;
}

export interface Follower {
  readonly events: WireEvent[];
  /** Set once the server has refused its cursor: it then follows no further. */
  readonly verdict: Verdict | undefined;
  /** Ends its connection; it connects again only after `proceed`. */
  pause(): void;
  proceed(): void;
  stop(): Promise<void>;
}

/** Follows a feed, comes back whenever it is sent away, to the next node each time, from its last cursor. */
export function followAlways(ports: readonly number[], accessId: string): Follower {
  const events: WireEvent[] = [];
  const stopped = new AbortController();
  const isOver = (): boolean => stopped.signal.aborted;
  const stopping = once(stopped.signal, 'abort');
  let verdict: Verdict | undefined;
  let isPaused = false;
  let end: () => void = () => undefined;
  const follow = async (port: number): Promise<void> => {
    const client = await connect(port, { headers: authorization });
    end = () => client.socket.terminate();
    client.send({ access_id: accessId, after: events.at(-1)?.cursor ?? 'start' });
    let taken = 0;
    let refused: { code: string; floor?: string } | undefined;
    const take = (): void => {
      const frames = client.frames.slice(taken);
      taken += frames.length;
      for (const frame of frames) {
        const message = JSON.parse(frame) as {
          type: string;
          code?: string;
          floor?: string;
          events?: WireEvent[];
        };
        if (message.type === 'events') {
          events.push(...(message.events ?? []));
        } else if (message.type === 'error' && message.code?.startsWith('ERR_CURSOR_') === true) {
          refused = { code: message.code, ...(message.floor === undefined ? {} : { floor: message.floor }) };
        }
      }
    };
    client.socket.on('message', take);
    const closed = once(client.socket, 'close') as Promise<[code: number]>;
    const ended = await Promise.race([closed, stopping.then(() => undefined)]);
    take();
    client.socket.terminate();
    if (refused !== undefined && ended !== undefined) {
      verdict = { ...refused, close: ended[0] };
    }
  };
  const run = async (): Promise<void> => {
    for (let turn = 0; !isOver() && verdict === undefined; turn += 1) {
      if (!isPaused) {
        // If the node is away: the next one, a moment later.
        await follow(ports[turn % ports.length] ?? 0).catch(() => undefined);
      }
      await sleep(50);
    }
  };
  const running = run();
  return {
    events,
    get verdict() {
      return verdict;
    },
    pause() {
      isPaused = true;
      end();
    },
    proceed() {
      isPaused = false;
    },
    async stop() {
      stopped.abort();
      await running;
    },
  };
}

/** Waits for that many events, and checks that their versions have no hole and no repeat. */
export async function untilExact(follower: Follower, count: number): Promise<void> {
  await until(
    () => follower.events.length >= count || follower.verdict !== undefined,
    () => `${count} events, got ${follower.events.length}`,
  );
  assert.equal(follower.verdict, undefined);
  assert.deepEqual(
    follower.events.map((event) => event.version),
    Array.from({ length: count }, (_, at) => at + 1),
  );
}

/** A connector: pushes one batch after the other, each until it is acknowledged, with the same ids. */
export interface Connector {
  /** Payloads of the acknowledged events; each is the event's id too. */
  readonly acknowledged: string[];
  readonly batchEvents: number;
  /** Statuses of the answers that were no acknowledgement; 0 where there was no answer. */
  readonly refusals: number[];
  /** Pushes everything again that was acknowledged, with the same ids. */
  repeat(): Promise<void>;
  /** Waits until the last batch is acknowledged. */
  stop(): Promise<void>;
  /** Ends it though the last batch is not acknowledged. */
  giveUp(): void;
}

export interface ConnectorOptions {
  readonly url: string;
  /** Where it goes on, in turns with `url`, each time that it gets no acknowledgement. */
  readonly otherUrls?: readonly string[];
  /** Of all events, or of each by its number. */
  readonly accessId: string | ((number: number) => string);
  readonly name: string;
  /** Default 1. */
  readonly batchEvents?: number;
  /** A push without an answer by then counts as not answered. Default: no limit. */
  readonly timeoutMs?: number;
}

export function startConnector(options: ConnectorOptions): Connector {
  const { url, otherUrls = [], accessId, name, batchEvents = 1, timeoutMs } = options;
  const urls = [url, ...otherUrls];
  const acknowledged: string[] = [];
  const refusals: number[] = [];
  let isOver = false;
  let isGivenUp = false;
  let turn = 0;
  const toEvent = (id: string): unknown => ({
    access_id: typeof accessId === 'string' ? accessId : accessId(Number(id.slice(name.length + 1))),
    created_at: 1,
    id,
    payload: id,
  });
  const push = async (ids: readonly string[]): Promise<void> => {
    const body = JSON.stringify(ids.map(toEvent));
    for (;;) {
      const status = await fetch(`${urls[turn % urls.length] ?? ''}/push_events`, {
        method: 'POST',
        headers: { ...authorization, 'Content-Type': 'application/json' },
        body,
        ...(timeoutMs === undefined ? {} : { signal: AbortSignal.timeout(timeoutMs) }),
      }).then(
        async (response) => {
          await response.text();
          return response.status;
        },
        () => 0,
      );
      if (status === 200) {
        return;
      }
      refusals.push(status);
      assert.ok([0, 503, 504].includes(status), `the answer was ${status}`);
      assert.ok(!isGivenUp, 'a connector is given up');
      turn += 1;
      await sleep(50);
    }
  };
  const run = async (): Promise<void> => {
    for (let number = 0; !isOver; number += batchEvents) {
      const ids = Array.from({ length: batchEvents }, (_, index) => `${name}-${number + index}`);
      await push(ids);
      acknowledged.push(...ids);
    }
  };
  const running = run();
  // `stop` reports the failure.
  running.catch(() => undefined);
  return {
    acknowledged,
    batchEvents,
    refusals,
    repeat: () => push(acknowledged),
    async stop() {
      isOver = true;
      await running;
    },
    giveUp() {
      isOver = true;
      isGivenUp = true;
    },
  };
}

/** Waits until each connector has this many acknowledged events more than now. */
export function untilMore(connectors: readonly Connector[], count: number, what: string): Promise<void> {
  const before = connectors.map(({ acknowledged }) => acknowledged.length);
  return until(
    () => connectors.every(({ acknowledged }, index) => acknowledged.length >= (before[index] ?? 0) + count),
    () =>
      `${what}; answers that were no acknowledgement: ${[...new Set(connectors.flatMap(({ refusals }) => refusals))].join(', ')}`,
  );
}
