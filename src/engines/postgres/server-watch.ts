/**
 * Watches the server behind all connections of a process, on a connection of its own. A server that stands still, or that
 * a network cuts off without a word, closes no connection: statements on it would wait for their own limits, one after
 * the other. The watch asks every second whether the server answers, accepts writes and is still the same. If not, it has
 * all connections dropped, and each opens anew at the host that accepts writes.
 */
import { type Runtime, sleep } from '../../runtime.ts';
import { readPostgresUrl } from '../postgres-url.ts';
import { connect, type Connection, destroyConnection, isEnough } from './connection.ts';
import { isSameServer, readServerState, type ServerIdentity } from './server-identity.ts';

const BEAT_MS = 1_000;

/** Beats without an answer after which the server counts as lost. Counted, so that a process that stood still itself waits again. */
const MISSED_BEATS = 3;
const RECONNECT_MS = 250;
const ANOTHER_SERVER = 'another PostgreSQL server answers';

export interface ServerWatchOptions {
  readonly url: string;
  readonly runtime: Pick<Runtime, 'timers'>;
}

/** `serving` is the server to use now, if it is known: connections to it may stay. */
export type ServerLost = (reason: string, serving: ServerIdentity | undefined) => void;

export interface ServerWatch {
  /** Calls `listener` when open connections may belong to a server that is lost. Returns a function that stops it. */
  onLost(listener: ServerLost): () => void;
  stop(): void;
}

export function startServerWatch({ url, runtime }: ServerWatchOptions): ServerWatch {
  const { timers } = runtime;
  const hosts = readPostgresUrl(url).length;
  const stopping = new AbortController();
  const isStopped = (): boolean => stopping.signal.aborted;
  let connection: Connection | undefined;
  /** The server of the last connection. */
  let known: ServerIdentity | undefined;
  let isAsking = false;
  let missedBeats = 0;
  const listeners = new Set<ServerLost>();
  const onLost: ServerLost = (reason, serving) => {
    for (const listener of listeners) {
      listener(reason, serving);
    }
  };

  async function open(): Promise<void> {
    while (!isStopped()) {
      try {
        const opened = await connect(url, { name: 'lastseen watch', access: 'primary', onLost: leave });
        if (isStopped()) {
          destroyConnection(opened);
          return;
        }
        isAsking = false;
        missedBeats = 0;
        const before = known;
        known = opened.identity;
        connection = opened;
        if (before !== undefined && !isSameServer(before, known)) {
          onLost(ANOTHER_SERVER, known);
        }
        return;
      } catch {
        // Callers report their own failures.
        await sleep(timers, RECONNECT_MS, stopping.signal);
      }
    }
  }

  /** Takes another connection in place of this one. */
  function leave(left: object): void {
    if (connection !== undefined && connection === left) {
      destroyConnection(connection);
      connection = undefined;
      void open();
    }
  }

  function lose(lost: Connection, reason: string): void {
    if (connection === lost && !isStopped()) {
      leave(lost);
      onLost(reason, undefined);
    }
  }

  async function ask(asked: Connection): Promise<void> {
    isAsking = true;
    try {
      const { identity, refusal } = await readServerState(asked);
      if (connection !== asked) {
        return;
      }
      isAsking = false;
      missedBeats = 0;
      if (!isEnough('primary', refusal, hosts)) {
        lose(asked, `the PostgreSQL server ${refusal}`);
      } else if (!isSameServer(identity, asked.identity)) {
        // A pooler has changed the server under an open connection.
        lose(asked, ANOTHER_SERVER);
      }
    } catch {
      leave(asked);
    }
  }

  const stopBeats = timers.every(BEAT_MS, () => {
    const current = connection;
    if (current === undefined) {
      return;
    }
    if (!isAsking) {
      void ask(current);
      return;
    }
    missedBeats += 1;
    if (missedBeats >= MISSED_BEATS) {
      lose(current, `the PostgreSQL server has not answered for ${(MISSED_BEATS * BEAT_MS) / 1_000} s`);
    }
  });
  void open();

  return {
    onLost(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    stop() {
      stopping.abort();
      stopBeats();
      const last = connection;
      connection = undefined;
      if (last !== undefined) {
        destroyConnection(last);
      }
    },
  };
}
