/** A TCP proxy that can be told to swallow bytes, as a half-open connection does, or to cut. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface Proxy {
  readonly port: number;
  /** Connections accepted since the start. */
  readonly accepted: number;
  /** From now on what comes in on connections that are open is swallowed, both ways; new ones work. */
  swallow(): void;
  /** Holds back what comes on connections that are open, both ways, for so long. */
  delay(ms: number): void;
  /** From now on nothing passes, on connections that are open and on new ones: no byte, and no end of a connection. */
  silence(): void;
  /** New connections lead to this port. */
  redirect(port: number): void;
  /** Cuts all connections. */
  cut(): void;
  close(): Promise<void>;
}

export async function startProxy(firstPort: number): Promise<Proxy> {
  let port = firstPort;
  let isSilent = false;
  const pairs = new Set<readonly [Socket, Socket]>();
  /** Pairs through which nothing flows for a while, or any more. */
  const held = new WeakSet<readonly [Socket, Socket]>();
  const swallowed = new WeakSet<readonly [Socket, Socket]>();
  let accepted = 0;
  /** Of connections that lead nowhere. */
  const silent = new Set<Socket>();
  const server = createServer((inner) => {
    accepted += 1;
    if (isSilent) {
      silent.add(inner.resume());
      inner.on('error', () => undefined);
      inner.once('close', () => silent.delete(inner));
      return;
    }
    const outer = connect(port, '127.0.0.1');
    const pair = [inner, outer] as const;
    pairs.add(pair);
    for (const [from, to] of [
      [inner, outer],
      [outer, inner],
    ] as const) {
      from.pipe(to);
      from.on('error', () => undefined);
      from.once('close', () => {
        pairs.delete(pair);
        if (isSilent) {
          silent.add(to);
        } else {
          to.destroy();
        }
      });
    }
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');

  function swallow(): void {
    for (const pair of pairs) {
      const [inner, outer] = pair;
      held.add(pair);
      swallowed.add(pair);
      inner.unpipe(outer).resume();
      outer.unpipe(inner).resume();
    }
  }

  return {
    port: (server.address() as AddressInfo).port,
    get accepted() {
      return accepted;
    },
    swallow,
    silence() {
      isSilent = true;
      swallow();
    },
    redirect(next) {
      port = next;
    },
    delay(ms) {
      for (const pair of pairs) {
        if (held.has(pair)) {
          continue;
        }
        const [inner, outer] = pair;
        held.add(pair);
        inner.unpipe(outer).pause();
        outer.unpipe(inner).pause();
        setTimeout(() => {
          if (!pairs.has(pair) || swallowed.has(pair)) {
            return;
          }
          held.delete(pair);
          inner.pipe(outer);
          outer.pipe(inner);
        }, ms);
      }
    },
    cut() {
      for (const pair of pairs) {
        for (const socket of pair) {
          socket.destroy();
        }
      }
    },
    async close() {
      for (const socket of silent) {
        socket.destroy();
      }
      for (const pair of pairs) {
        for (const socket of pair) {
          socket.destroy();
        }
      }
      isSilent = false;
      server.close();
      await once(server, 'close');
    },
  };
}
