/** GET /clients: who is connected, to this node and to every other over the same log. */
import type { Request, Response } from 'express';
import type { Hub } from '../../delivery/hub.ts';
import { negotiate } from '../../http/routes.ts';
import type { Log } from '../../log/log.ts';
import type { Peers } from '../../peers.ts';

/** One feed that one connection reads. */
interface ConnectedClient {
  readonly access_id: string;
  readonly gateway: string;
  /** Milliseconds since 1970. */
  readonly since: number;
  readonly cursor: string;
  /** Events of the whole log that this reader may still have to look through: 0 when it is live. */
  readonly lag: number;
  readonly buffered_bytes: number;
}

/** What this node answers when a node asks all. */
export function localClientsJson(hub: Hub, log: Log): string {
  const clients: ConnectedClient[] = [...hub.sessions].flatMap((session) =>
    session.feeds.map((feed) => ({
      access_id: feed.accessId,
      gateway: session.connection.gateway,
      since: session.startedAt,
      cursor: log.cursor(feed.position),
      lag: feed.isLive ? 0 : Math.max(0, log.head - feed.position),
      buffered_bytes: session.connection.bufferedBytes,
    })),
  );
  return JSON.stringify(clients);
}

/** @throws ERR_NOT_ACCEPTABLE */
export async function sendClients(peers: Peers, request: Request, response: Response): Promise<void> {
  const type = negotiate(request, ['application/json', 'text/plain']);
  const answers = await peers.askAll();
  const clients = answers.flatMap((answer) => JSON.parse(answer) as ConnectedClient[]);
  if (type === 'application/json') {
    response.json(clients);
    return;
  }
  const names = new Set(clients.map((client) => `${client.access_id} `));
  response.type('text/plain').end(`Connected clients:${[...names].join('')}`);
}
