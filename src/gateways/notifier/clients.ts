/** GET /clients: the connected clients of this node and of the other nodes on the same log. */
import type { Request, Response } from 'express';
import type { Hub } from '../../delivery/hub.ts';
import { negotiate } from '../../http/routes.ts';
import { cursorOf } from '../../log/cursor.ts';
import type { Log } from '../../log/log.ts';
import type { Peers } from '../../peers.ts';

/** One feed that a connection reads. */
interface ConnectedClient {
  readonly access_id: string;
  readonly gateway: string;
  /** Milliseconds since 1970. */
  readonly since: number;
  readonly cursor: string;
  /** Positions between the reader and the head of the log; 0 if the reader is live. */
  readonly lag: number;
  readonly buffered_bytes: number;
}

/** Returns the clients of this node as JSON, the answer to a question of another node. */
export function localClientsJson(hub: Hub, log: Log): string {
  const clients: ConnectedClient[] = [...hub.sessions].flatMap((session) =>
    session.feeds.map((feed) => ({
      access_id: feed.accessId,
      gateway: session.connection.gateway,
      since: session.startedAt,
      cursor: cursorOf(feed.place),
      lag: feed.isLive ? 0 : Math.max(0, log.head.position - feed.place.position),
      buffered_bytes: session.connection.bufferedBytes,
    })),
  );
  return JSON.stringify(clients);
}

/**
 * Sends the clients of all nodes.
 * @throws ERR_NOT_ACCEPTABLE
 */
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
