/** A port that nothing listens on. */
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';

/** Another process may take it before the caller does: for programs that cannot listen on port 0 and say which they got. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
